"""The README's scenarios, each with the edit that it names, and what it says you will see."""

import asyncio
import re
import shutil
import signal
import sys

from tests.acceptance.helpers import (
    AUTHORIZING,
    README,
    ROOT,
    STARTED,
    WAITING,
    Program,
    Sample,
    edit_of,
    normal,
    promised,
    scenario,
)
from tests.helpers import STEPS


async def test_happy_path(sample: Sample) -> None:
    worker = await sample.worker()
    starter, workflow_id = await sample.starter()
    await sample.event(workflow_id, "TIMER_STARTED")
    await sample.approve(workflow_id)
    assert await starter.exits() == 0
    shown = scenario("Happy path").split("```text\n")[1].split("```")[0]
    assert normal(worker.stderr) == normal(shown)
    history = await sample.history(workflow_id)
    assert len(history.events) == 29
    assert history.events.count("WORKFLOW_TASK_COMPLETED") == 5
    assert history.activities() == STEPS


async def test_human_in_the_loop(sample: Sample) -> None:
    worker = await sample.worker()
    starter, workflow_id = await sample.starter()
    await worker.prints(WAITING)
    worker.send(signal.SIGINT)
    await worker.exits()
    await sample.approve(workflow_id)
    assert (await sample.history(workflow_id)).activities("SCHEDULED") == ["process_payment"]
    worker = await sample.worker()
    await worker.prints("reserve_inventory reserving", seconds=12)
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
    await sample.worker()
    starter, workflow_id = await sample.starter()
    assert await starter.exits() == 1
    assert starter.stderr == f"Order {workflow_id} {promised('Invalid order', 'FAILED')}\n"
    history = await sample.history(workflow_id)
    assert history.activities("STARTED") == ["process_payment"]
    assert history.retries == 0


async def test_api_downtime(sample: Sample) -> None:
    file, before, after = edit_of("API downtime")
    sample.edit(file, before, after)
    worker = await sample.worker()
    starter, workflow_id = await sample.starter()
    await sample.approve(workflow_id)
    await worker.prints("attempt 3 Completing activity as failed")
    assert worker.stderr.count(promised("API downtime", "Conn")) == 3
    worker.send(signal.SIGINT)
    await worker.exits()
    sample.edit(file, after, before)
    worker = await sample.worker()
    assert await starter.exits(15) == 0
    assert AUTHORIZING not in worker.stderr
    assert (await sample.history(workflow_id)).activities() == STEPS


async def worker_in_a_shell(sample: Sample) -> Program:
    """Start a worker in a shell, which kills it when its own input ends."""
    assert "run `kill -9 %%`" in README
    command = ["bash", "-c", 'set -m; "$0" worker.py & read -r; kill -9 %%; wait', sys.executable]
    shell = await sample.start(*command, stdin=asyncio.subprocess.PIPE)
    await shell.prints(STARTED)
    return shell


async def kill_worker(shell: Program) -> None:
    assert shell.process.stdin
    shell.process.stdin.close()
    await shell.exits()


async def test_worker_crash(sample: Sample) -> None:
    first = await worker_in_a_shell(sample)
    starter, workflow_id = await sample.starter()
    await sample.event(workflow_id, "TIMER_STARTED")
    await kill_worker(first)
    command = "temporal workflow show --follow --workflow-id"
    assert f"`uv run {command} WORKFLOW_ID`" in README
    witness = await sample.start(*command.split(), workflow_id)
    await sample.approve(workflow_id)
    await witness.prints("WorkflowExecutionSignaled")
    assert "TimerCanceled" not in witness.stdout
    second = await sample.worker()
    await witness.prints("TimerCanceled(?s:.*)ActivityTaskScheduled", seconds=12)
    assert await starter.exits() == 0
    assert (first.stderr + second.stderr).count("authorizing") == 1
    assert (await sample.history(workflow_id)).activities("SCHEDULED") == STEPS


async def test_worker_crash_during_the_payment(sample: Sample) -> None:
    sample.edit(*edit_of("Worker crash"))
    first = await worker_in_a_shell(sample)
    _, workflow_id = await sample.starter()
    await first.prints(AUTHORIZING)
    await kill_worker(first)
    second = await sample.worker()
    again = AUTHORIZING.replace(" ", " attempt 2 ")
    await second.prints(f"{again} .39.98, idempotency key {workflow_id}\n", seconds=8)


async def test_bug_in_workflow(sample: Sample) -> None:
    file, before, after = edit_of("Bug in workflow")
    error = re.escape(promised("Bug in workflow", "RuntimeError: "))
    sample.edit(file, before, after)
    worker = await sample.worker()
    starter, workflow_id = await sample.starter()
    failure = f" {workflow_id} Failed activation .*: {error}\n"
    await worker.prints(failure, times=3)
    await sample.event(workflow_id, "WORKFLOW_TASK_FAILED")
    assert len(worker.stderr.splitlines()) == worker.stderr.count("workflow bug!") + 1
    await worker.kill()
    sample.edit(file, after, before)
    await sample.worker()
    await sample.approve(workflow_id)
    assert await starter.exits(25) == 0
    assert (await sample.history(workflow_id)).activities("SCHEDULED") == STEPS


async def replay_status(sample: Sample) -> int:
    command = "uv run pytest tests/test_replay.py"
    assert f"`{command}`" in README
    pytest_run = await sample.start(sys.executable, "-m", *command.split()[2:], "-q")
    return await pytest_run.exits()


async def test_change_of_the_workflow(sample: Sample) -> None:
    shutil.copytree(ROOT / "tests", sample.folder / "tests")
    shutil.copy(ROOT / "pyproject.toml", sample.folder)
    file, before, after = edit_of("Change of the workflow")
    original = (sample.folder / file).read_text()
    worker = await sample.worker()
    starter, workflow_id = await sample.starter()
    await sample.event(workflow_id, "TIMER_STARTED")
    await worker.kill()

    sample.edit(file, before, after)
    worker = await sample.worker()
    await sample.approve(workflow_id)
    await worker.prints(r"\[TMPRL1100\] Nondeterminism error", seconds=12)
    assert await replay_status(sample) == 1
    await worker.kill()

    patch = re.findall(r"```python\n( +if workflow.patched.*?)```", README, re.S)[0]
    sample.edit(file, f"        {after}", patch)
    worker = await sample.worker()
    new, new_id = await sample.starter()
    query = re.findall(r"temporal workflow list --query '(.*?)'`", " ".join(README.split()))[0]
    assert workflow_id in (await sample.temporal("workflow", "list", "--query", query)).stdout
    assert await replay_status(sample) == 0
    assert await starter.exits(25) == 0
    assert "TIMER_FIRED" not in (await sample.history(workflow_id)).events
    await sample.event(new_id, "TIMER_FIRED")
    await sample.event(new_id, "ACTIVITY_TASK_COMPLETED process_payment")

    after_patch = await sample.temporal("workflow", "list", "--query", query)
    assert "order-" not in after_patch.stdout
    await worker.kill()

    (sample.folder / file).write_text(original)
    worker = await sample.worker()
    await sample.approve(new_id)
    await worker.prints(r"\[TMPRL1100\] Nondeterminism error", seconds=12)
    assert new.process.returncode is None
