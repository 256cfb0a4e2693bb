"""The README's commands on a clean copy, and the names and excerpts that it contains."""

import asyncio
import os
import re
import shutil
import signal
import socket

import pytest

from tests.acceptance.conftest import Server
from tests.acceptance.helpers import README, ROOT, STARTED, WAITING, Program, normal

BLOCKS = re.findall(r"^```bash\n(.*?)^```$", README, re.M | re.S)
CONSOLE = dict(re.findall(r"^```console\n\$ (.*?)\n(.*?)^```$", README, re.M | re.S))
SERVER = "uv run temporal server start-dev"
WORKER, STARTER = "uv run worker.py", "uv run starter.py"
APPROVE = "uv run temporal workflow signal --workflow-id WORKFLOW_ID --name approve_order"
RESULT = "uv run temporal workflow result --workflow-id WORKFLOW_ID"


def test_every_command_is_tested() -> None:
    install, query, one_terminal, development = BLOCKS
    assert install.startswith("git clone ")
    assert "workflow list" in query  # in test_scenarios.py
    assert one_terminal.splitlines()[1:] == [f"{WORKER} &", STARTER]
    assert development.splitlines()[:3] == ["uv run ruff check .", "uv run mypy .", "uv run pytest"]
    assert set(CONSOLE) == {SERVER, WORKER, STARTER, APPROVE}
    assert f"`{RESULT}`" in README


def test_excerpts_are_parts_of_the_workflow() -> None:
    text = (ROOT / "workflow.py").read_text()
    excerpt = re.findall(r"^```python\n(.*?)^```$", README, re.M | re.S)[0]
    for part in excerpt.split("\n\n"):
        assert part.rstrip() in text


def test_files_exist_and_commands_fit_80_columns() -> None:
    for name in re.findall(r"\]\((?!https?:)([^)#]+)\)|`(tests/[\w/.]+|\w+\.py)`", README):
        assert (ROOT / "".join(name)).exists(), name
    commands = [line for output in CONSOLE.values() for line in output.splitlines()]
    assert max(map(len, commands)) <= 80


@pytest.fixture
def clone(server: Server) -> Server:
    """What git has of this folder, with its uncommitted changes and without an environment."""
    ignore = shutil.ignore_patterns(".venv", ".git", "*_cache", "__pycache__")
    shutil.copytree(ROOT, server.folder, ignore=ignore, dirs_exist_ok=True)
    return server


async def shell(clone: Server, command: str) -> Program:
    """Run a command from the README with the test's port."""
    port = f"start-dev --headless --port {clone.port}"
    return await clone.start("bash", "-c", command.replace("start-dev", port))


async def approve(clone: Server, starter: Program, worker: Program) -> str:
    """Approve an order with the README's command, once it waits, and see the starter succeed."""
    workflow_id = (await starter.prints(r"Started workflow (\S+)\n"))[1]
    await worker.prints(WAITING)
    approval = await shell(clone, APPROVE.replace("WORKFLOW_ID", workflow_id))
    assert await approval.exits() == 0
    assert approval.output == CONSOLE[APPROVE].replace("WORKFLOW_ID", workflow_id)
    assert await starter.exits() == 0
    return workflow_id


async def test_three_terminals_and_one(clone: Server) -> None:
    install = await shell(clone, BLOCKS[0].splitlines()[-1])
    assert await install.exits(120) == 0, install.output
    server, worker, starter = [await shell(clone, each) for each in (SERVER, WORKER, STARTER)]
    await server.prints(f"Temporal Server: +localhost:{clone.port}\n")
    workflow_id = await approve(clone, starter, worker)
    assert normal(worker.stdout) == normal(CONSOLE[WORKER])
    link = re.sub("Dev server UI.*\n", "", CONSOLE[STARTER])
    final = re.findall(r"```text\n(Order .* fulfilled.*)```", README, re.S)[0].split("```")[0]
    assert normal(starter.stdout) == normal(link + final)
    result = await shell(clone, RESULT.replace("WORKFLOW_ID", workflow_id))
    assert await result.exits() == 0
    assert "fulfilled" in result.stdout
    for program in (worker, server):
        program.send(signal.SIGINT)
        await program.exits()

    one = await shell(clone, f"set -m\n{BLOCKS[2]}\nkill %1 %2\nwait")
    await one.prints(STARTED)
    workflow_id = (await one.prints(r"Started workflow (\S+)\n"))[1]
    await one.prints(WAITING)
    await clone.approve(workflow_id)
    await one.prints("fulfilled")
    await one.exits()


async def test_development_commands(clone: Server) -> None:
    clone.environment["PYTEST_ADDOPTS"] = "-k total_is_exact or files_exist"
    checks = await shell(clone, f"set -e\nuv sync\n{BLOCKS[3]}")
    assert await checks.exits(120) == 0, checks.output
    assert checks.stdout.count(" passed") == 2


async def test_defaults_print_what_the_readme_shows(server: Server) -> None:
    with socket.socket() as default:
        if default.connect_ex(("localhost", 7233)) == 0:
            pytest.skip("the default port is in use")
    server.port = 7233
    server.environment = {"PATH": os.environ["PATH"], "HOME": str(server.folder)}
    await server.serve()
    worker = await server.worker()
    assert worker.stdout == CONSOLE[WORKER]
    starter, workflow_id = await server.starter()
    shown = re.sub(r"order-5f0c2b1", workflow_id, CONSOLE[STARTER])
    await starter.prints("approve_order\n")
    assert starter.stdout == shown
    await asyncio.gather(worker.kill(), starter.kill())
