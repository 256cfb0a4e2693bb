"""The README's commands on a clean copy, and the names and excerpts that it contains."""

import ast
import html
import os
import re
import shutil
import signal
import socket

import pytest

from tests.acceptance.helpers import README, ROOT, STARTED, TEXTS, WAITING, Program, Sample, normal

BLOCKS = re.findall(r"^```bash\n(.*?)^```$", README, re.M | re.S)
CONSOLE = dict(re.findall(r"^```console\n\$ (.*?)\n(.*?)^```$", README, re.M | re.S))
SERVER = "uv run temporal server start-dev"
WORKER, STARTER = "uv run worker.py", "uv run starter.py"
APPROVE = "uv run temporal workflow signal --workflow-id WORKFLOW_ID --name approve_order"
RESULT = "uv run temporal workflow result --workflow-id WORKFLOW_ID"


def test_every_command_is_tested() -> None:
    install, one_terminal, query, development = BLOCKS
    assert install == "uv sync\n"
    assert one_terminal.splitlines()[1:] == [f"{WORKER} &", STARTER]
    assert query.startswith("uv run temporal workflow list --query ")
    assert development.splitlines()[:3] == ["uv run ruff check .", "uv run mypy .", "uv run pytest"]
    assert set(CONSOLE) == {SERVER, WORKER, STARTER, APPROVE}
    assert f"`{RESULT}`" in README


def test_excerpts_parse_and_are_parts_of_the_workflow() -> None:
    excerpts = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)
    for excerpt in excerpts:
        ast.parse(f"async def run():\n{excerpt}")
    signal_handler, wait, _ = excerpts
    for excerpt in (signal_handler, wait):
        assert excerpt in (ROOT / "workflow.py").read_text()


def test_animation_shows_what_the_readme_shows() -> None:
    animation = html.unescape((ROOT / ".github" / "worker-crash.svg").read_text())
    shown = re.findall(r"<text[^>]*>([^<]*)</text>", animation)
    for output in (CONSOLE[WORKER], CONSOLE[STARTER], CONSOLE[APPROVE], *TEXTS):
        assert set(normal(output)) <= set(normal("\n".join(shown)))


def test_files_exist_and_outputs_fit_80_columns() -> None:
    for name in re.findall(r"\]\((?!https?:)([^)#]+)\)|`(tests/[\w/.]+|\w+\.py)`", README):
        assert (ROOT / "".join(name)).exists(), name
    assert max(len(line) for output in CONSOLE.values() for line in output.splitlines()) <= 80


@pytest.fixture
def clone(own_server: Sample) -> Sample:
    ignore = shutil.ignore_patterns(".venv", ".git", "*_cache", "__pycache__")
    shutil.copytree(ROOT, own_server.folder, ignore=ignore, dirs_exist_ok=True)
    return own_server


async def shell(clone: Sample, command: str) -> Program:
    port = clone.environment["TEMPORAL_ADDRESS"].split(":")[1]
    command = command.replace("start-dev", f"start-dev --headless --port {port}")
    return await clone.start("bash", "-c", command)


async def test_readme_commands_in_three_terminals_and_in_one(clone: Sample) -> None:
    install = await shell(clone, BLOCKS[0])
    assert await install.exits(120) == 0, install.stderr
    server, worker, starter = [await shell(clone, each) for each in (SERVER, WORKER, STARTER)]
    await server.prints("Temporal Server: +localhost:")
    workflow_id = (await starter.prints(r"Started workflow (\S+)\n"))[1]
    await worker.prints(WAITING)
    approval = await shell(clone, APPROVE.replace("WORKFLOW_ID", workflow_id))
    await approval.prints(CONSOLE[APPROVE])
    assert await starter.exits() == 0
    assert normal(worker.stdout) == normal(CONSOLE[WORKER])
    shown = re.sub("Web UI.*\n", "", CONSOLE[STARTER]) + TEXTS[0]
    assert normal(starter.stdout) == normal(shown)
    result = await shell(clone, RESULT.replace("WORKFLOW_ID", workflow_id))
    await result.prints("fulfilled")
    for program in (worker, server):
        await program.stop(signal.SIGINT)

    one = await shell(clone, f"set -m\n{BLOCKS[1]}\nkill %1 %2\nwait")
    await one.prints(STARTED)
    workflow_id = (await one.prints(r"Started workflow (\S+)\n"))[1]
    await one.prints(WAITING)
    await shell(clone, APPROVE.replace("WORKFLOW_ID", workflow_id))
    await one.prints("fulfilled")
    await one.exits()


async def test_defaults_print_what_the_readme_shows(own_server: Sample) -> None:
    with socket.socket() as default:
        if default.connect_ex(("localhost", 7233)) == 0:
            pytest.skip("the default port is in use")
    own_server.environment = {"PATH": os.environ["PATH"], "HOME": str(own_server.folder)}
    await own_server.serve()
    worker = await own_server.worker()
    assert worker.stdout == CONSOLE[WORKER]
    starter, workflow_id = await own_server.starter()
    await starter.prints("approve_order\n")
    assert starter.stdout == CONSOLE[STARTER].replace("order-5f0c2b1", workflow_id)
