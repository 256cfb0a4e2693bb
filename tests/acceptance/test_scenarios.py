"""The README's scenarios, each with the edit that it names, and what it says you will see."""

import asyncio
import base64
import re
import shutil
import signal
import sys

from tests.acceptance.helpers import (
    AUTHORIZING,
    README,
    ROOT,
    TEXTS,
    WAITING,
    Program,
    Sample,
    edit_of,
    normal,
    promised,
)
from tests.helpers import STEPS

signal.signal(signal.SIGQUIT, signal.SIG_DFL)  # A background job would ignore Ctrl-\.
NONDETERMINISM = r"(?m)^\d\d:\d\d:\d\d .*\[TMPRL1100\] Nondeterminism error"


async def test_worker_logs_what_the_readme_shows(sample: Sample) -> None:
    worker = await sample.worker()
    starter, workflow_id = await sample.waiting_order()
    await sample.approve(workflow_id)
    assert await starter.exits() == 0
    assert normal(worker.stderr) == normal(TEXTS[1])
    history = await sample.history(workflow_id)
    assert history.activities() == STEPS
    # The README's figures rest on these: more events make each order more expensive.
    assert len(history.events) == 29
    assert history.events.count("WORKFLOW_TASK_COMPLETED") == 5
    events = await sample.temporal("workflow", "show", "--workflow-id", workflow_id, "-o", "json")
    assert base64.b64encode(b'"human approval"').decode() in events, "the name in the Timeline"


async def test_human_in_the_loop(sample: Sample) -> None:
    worker = await sample.worker()
    starter, workflow_id = await sample.waiting_order()
    await worker.stop(signal.SIGINT)
    await sample.approve(workflow_id)
    assert (await sample.history(workflow_id)).activities("SCHEDULED") == ["process_payment"]
    worker = await sample.worker()
    await worker.prints("reserve_inventory reserving", seconds=3)
    assert await starter.exits() == 0


async def test_approve_or_expire(sample: Sample) -> None:
    await sample.worker()
    starter, workflow_id = await sample.starter()
    assert await starter.exits() == 1
    assert starter.stderr == f"Order {workflow_id} {promised('Approve or expire', 'FAILED')}\n"
    history = await sample.history(workflow_id)
    paid = history.times["ACTIVITY_TASK_COMPLETED process_payment"]
    assert 30 <= history.times["WORKFLOW_EXECUTION_FAILED"] - paid < 35


async def test_invalid_order(sample: Sample) -> None:
    sample.edit(*edit_of("Invalid order"))
    worker = await sample.worker()
    starter, workflow_id = await sample.starter()
    assert await starter.exits() == 1
    assert starter.stderr == f"Order {workflow_id} {promised('Invalid order', 'FAILED')}\n"
    assert (await sample.history(workflow_id)).activities("STARTED") == ["process_payment"]
    assert worker.stderr.count("failed: ") == 1, "the payment was retried"


async def test_api_downtime(sample: Sample) -> None:
    file, before, after = edit_of("API downtime")
    sample.edit(file, before, after)
    worker = await sample.worker()
    starter, workflow_id = await sample.starter()
    await sample.approve(workflow_id)
    await worker.prints("attempt 3 Completing activity as failed")
    assert worker.stderr.count(promised("API downtime", "Conn")) == 3
    await worker.stop(signal.SIGINT)
    sample.edit(file, after, before)
    worker = await sample.worker()
    assert await starter.exits(15) == 0
    assert AUTHORIZING not in worker.stderr
    assert (await sample.history(workflow_id)).activities() == STEPS


async def crash(worker: Program) -> None:
    """Send what Ctrl-\\ sends to the programs in a terminal."""
    assert "press Ctrl-\\ in the worker's terminal" in README
    assert await worker.stop(signal.SIGQUIT) == -signal.SIGQUIT


async def test_worker_crash(sample: Sample) -> None:
    first = await sample.worker()
    starter, workflow_id = await sample.waiting_order()
    await crash(first)
    command = "temporal workflow show --follow --workflow-id"
    assert f"`uv run {command} WORKFLOW_ID`" in README
    witness = await sample.start(*command.split(), workflow_id)
    await sample.approve(workflow_id)
    await witness.prints("WorkflowExecutionSignaled")
    second = await sample.worker()
    await witness.prints("WorkflowTaskTimedOut(?s:.*)ActivityTaskScheduled", seconds=12)
    assert await starter.exits() == 0
    assert (first.stderr + second.stderr).count("authorizing") == 1
    assert (await sample.history(workflow_id)).activities("SCHEDULED") == STEPS


async def test_worker_crash_during_the_payment_without_ctrl_backslash(sample: Sample) -> None:
    assert "run `kill -9 %%`" in README
    sample.edit(*edit_of("Worker crash"))
    command = ["bash", "-c", 'set -m; "$0" worker.py & read -r; kill -9 %%; wait', sys.executable]
    shell = await sample.start(*command, stdin=asyncio.subprocess.PIPE)
    _, workflow_id = await sample.starter()
    await shell.prints(AUTHORIZING)
    assert shell.process.stdin
    shell.process.stdin.close()
    await shell.exits()
    second = await sample.worker()
    again = AUTHORIZING.replace(" ", " attempt 2 ")
    await second.prints(f"{again} .39.98, idempotency key {workflow_id}\n", seconds=8)


async def test_bug_in_workflow(sample: Sample) -> None:
    file, before, after = edit_of("Bug in workflow")
    error = re.escape(promised("Bug in workflow", "RuntimeError: "))
    sample.edit(file, before, after)
    worker = await sample.worker()
    starter, workflow_id = await sample.starter()
    await worker.prints(f" {workflow_id} Failed activation .*: {error}\n", times=3)
    await sample.event(workflow_id, "WORKFLOW_TASK_FAILED")
    assert len(worker.stderr.splitlines()) == worker.stderr.count("workflow bug!") + 1
    await worker.stop()
    sample.edit(file, after, before)
    worker = await sample.worker()
    await worker.prints(WAITING, seconds=25)
    await sample.approve(workflow_id)
    assert await starter.exits() == 0
    assert (await sample.history(workflow_id)).activities("SCHEDULED") == STEPS


async def replay_status(sample: Sample) -> int:
    command = "uv run pytest tests/test_replay.py"
    assert f"`{command}`" in README
    return await (await sample.start(sys.executable, "-m", *command.split()[2:])).exits()


async def test_workflow_change(sample: Sample) -> None:
    shutil.copytree(ROOT / "tests", sample.folder / "tests")
    shutil.copy(ROOT / "pyproject.toml", sample.folder)
    file, before, after = edit_of("Workflow change")
    original = (sample.folder / file).read_text()
    worker = await sample.worker()
    starter, workflow_id = await sample.waiting_order()
    await worker.stop(signal.SIGINT)

    sample.edit(file, before, after)
    worker = await sample.worker()
    await sample.approve(workflow_id)
    await worker.prints(NONDETERMINISM, seconds=12)
    assert await replay_status(sample) == 1
    await worker.stop()

    patch = re.findall(r"```python\n( +if workflow.patched.*?)```", README, re.S)[0]
    sample.edit(file, f"        {after}", patch)
    worker = await sample.worker()
    new, new_id = await sample.starter()
    query = re.findall(r"temporal workflow list --query '(.*?)'\n", README)[0]
    assert workflow_id in await sample.temporal("workflow", "list", "--query", query)
    assert await replay_status(sample) == 0
    assert await starter.exits(25) == 0
    assert "TIMER_FIRED" not in (await sample.history(workflow_id)).events
    await sample.event(new_id, "TIMER_FIRED")
    await sample.event(new_id, "ACTIVITY_TASK_COMPLETED process_payment")
    assert await sample.temporal("workflow", "list", "--query", query) == ""
    await worker.stop()

    (sample.folder / file).write_text(original)
    worker = await sample.worker()
    await sample.approve(new_id)
    await worker.prints(NONDETERMINISM, seconds=12)
    assert new.process.returncode is None
