"""The README: each of its commands works, and shows what the README says it shows."""

import ast
import os
import re
import shutil
import signal
import sys
import textwrap

import pytest

from tests.acceptance.readme import BLOCKS, KILL, PYTHON, README, SHOWN, normal, promised
from tests.acceptance.support import READY, ROOT, WAITING, Process, Stage, clean_environment

ONE_TERMINAL = next(block for block in BLOCKS if "trap" in block)
INSTALL = "uv sync\n"
SERVER = "uv run temporal server start-dev\n"
WORKER = "uv run worker.py\n"
STARTER = "uv run starter.py\n"
APPROVE = "uv run temporal workflow signal --workflow-id WORKFLOW_ID --name approve_order\n"
RESULT = "uv run temporal workflow result --workflow-id WORKFLOW_ID\n"
CHECKS = "uv run ruff check .\nuv run mypy .\nuv run pytest\n"
TEST, FAST_TEST = "uv run pytest\n", 'uv run pytest -m "not slow"\n'
RECORD = "uv run python -m tests.tools.record_histories\n"
BENCHMARK = "uv run python -m tests.tools.benchmark\n"

for_a_unix_shell = pytest.mark.skipif(sys.platform == "win32", reason="the blocks are for one")


def test_every_block_is_run_below() -> None:
    run = {ONE_TERMINAL, INSTALL, SERVER, WORKER, STARTER, APPROVE, RESULT, KILL}
    assert set(BLOCKS) == run | {CHECKS, TEST, FAST_TEST, RECORD, BENCHMARK}


def test_sections_people_look_for() -> None:
    sections = re.findall(r"^## (.*)$", README, re.M)
    for title in (
        "Prerequisites",
        "Installation",
        "Running the Sample",
        "Scenarios",
        "Development",
    ):
        assert title in sections


def test_files_it_names_exist_and_all_are_named() -> None:
    table = README.split("## Layout")[1].split("##")[0]
    named = set(re.findall(r"^\| `([\w./]+)`", table, re.M))
    modules = {path.name for path in ROOT.glob("*.py")}
    assert named == modules | {"tests/", "tests/acceptance/", "tests/tools/"}


def test_commands_fit_a_terminal_of_80_columns() -> None:
    shown = "".join(SHOWN.findall(README)).splitlines()
    commands = [line for line in shown if "uv run" in line]
    assert len(commands) > 1
    assert [line for line in commands if len(line) > 80] == []


def shortens(excerpt: list[ast.stmt], whole: list[ast.stmt]) -> bool:
    """Tell whether statements are those of a longer code, with some of them left out."""
    rest = iter(whole)
    return all(any(is_like(statement, other) for other in rest) for statement in excerpt)


def is_like(statement: ast.AST, other: ast.AST) -> bool:
    """Tell whether a statement is another one, but for what is left out of its blocks."""
    if type(statement) is not type(other):
        return False
    for name, value in ast.iter_fields(statement):
        theirs = getattr(other, name)
        if isinstance(value, list) and all(isinstance(part, ast.stmt) for part in value):
            if not shortens(value, theirs):
                return False
        elif isinstance(value, list) and value and isinstance(value[0], ast.ExceptHandler):
            if not all(map(is_like, value, theirs)):
                return False
        elif (
            ast.dump(value) != ast.dump(theirs)
            if isinstance(value, ast.AST)
            else (not isinstance(value, list) and value != theirs)
        ):
            return False
    return True


def test_workflow_that_it_shows_is_the_workflow() -> None:
    shown = next(block for block in PYTHON if "async def run" in block)
    assert 20 <= shown.count("\n") <= 30
    [excerpt] = ast.parse(textwrap.dedent(shown)).body
    module = ast.parse((ROOT / "workflow.py").read_text())
    [run] = [part for part in ast.walk(module) if isinstance(part, ast.AsyncFunctionDef)]
    assert is_like(excerpt, run)


async def shell(stage: Stage, block: str, workflow_id: str = "") -> Process:
    """Run a block of the README in a clone, against the stage's port."""
    assert block in BLOCKS
    command = block.replace("WORKFLOW_ID", workflow_id)
    ports = f"--headless --port {stage.port}"
    command = command.replace("server start-dev", f"server start-dev {ports}")
    return await stage.run("bash", "-c", command)


async def to_the_end(stage: Stage, block: str, workflow_id: str = "") -> Process:
    """Run a block to its end, and well."""
    process = await shell(stage, block, workflow_id)
    assert await process.ends(240) == 0, process.output
    return process


@pytest.fixture
def stage(stage_without_server: Stage) -> Stage:
    """Provide a machine with nothing but uv and a clone: no server, no virtual environment."""
    # What git has of this project, as a clone does, but with the edits of the moment.
    ignore = shutil.ignore_patterns(".venv", ".git", "*_cache", "__pycache__")
    shutil.copytree(ROOT, stage_without_server.folder, ignore=ignore, dirs_exist_ok=True)
    stage_without_server.release_port()
    return stage_without_server


async def fulfilled(stage: Stage, starter: Process, worker: Process) -> str:
    """Approve a starter's order once it waits, see the starter end well; return the workflow id."""
    workflow_id = (await starter.shows(r"Started workflow (\S+) at ", within=120))[1]
    await worker.shows(WAITING)
    await to_the_end(stage, APPROVE, workflow_id)
    assert await starter.ends() == 0
    return workflow_id


@for_a_unix_shell
@pytest.mark.slow
async def test_one_terminal(stage: Stage) -> None:
    """The whole first screen."""
    process = await shell(stage, ONE_TERMINAL)
    await fulfilled(stage, process, process)
    assert set(promised("Happy path")) <= set(normal(process.output))
    with pytest.raises(ProcessLookupError):
        os.killpg(process.process.pid, 0)  # nothing of it is left


@for_a_unix_shell
@pytest.mark.slow
async def test_terminal_each(stage: Stage) -> None:
    await to_the_end(stage, INSTALL)
    server = await shell(stage, SERVER)
    worker = await shell(stage, WORKER)
    await worker.shows(READY, within=60)
    starter = await shell(stage, STARTER)
    workflow_id = await fulfilled(stage, starter, worker)
    result = await to_the_end(stage, RESULT, workflow_id)
    assert f"{workflow_id} fulfilled" in result.stdout
    assert promised("Happy path") == normal(starter.stdout) + normal(worker.stderr)
    for process in (worker, server):
        process.send(signal.SIGINT)
        assert await process.ends() == 0


@for_a_unix_shell
@pytest.mark.slow(40)
async def test_development(stage: Stage) -> None:
    """The tests' command runs a test here, not all: this is one of them."""
    stage.environment["PYTEST_ADDOPTS"] = "-k total_is_exact"
    for block in (CHECKS, TEST, FAST_TEST):
        process = await to_the_end(stage, block)
        assert re.search(r"6 passed, \d+ deselected", process.stdout)
    before = (stage.folder / "tests" / "histories" / "expired.json").read_text()
    stage.shorten(approval=3)
    await to_the_end(stage, RECORD)
    assert (stage.folder / "tests" / "histories" / "expired.json").read_text() != before
    benchmark = await shell(stage, BENCHMARK)  # 10 minutes; its first rounds will do
    await benchmark.shows("in flight, round 2|worker CPU an order", within=180)
    benchmark.send(signal.SIGINT)
    assert await benchmark.ends() == 130
    assert "Traceback" not in benchmark.output


def test_environment_of_the_processes_is_clean(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TEMPORAL_API_KEY", "a person's own")
    environment = clean_environment(TEMPORAL_ADDRESS="here")
    names = {name for name in environment if name.startswith("TEMPORAL_")}
    assert names == {"TEMPORAL_ADDRESS", "TEMPORAL_CONFIG_FILE"}
