"""The README's scenarios, each with the very edit that the README names."""

import asyncio
import re
import shutil
import sys

import pytest

from tests.acceptance.readme import KILL, PYTHON, edit_of, normal, promised
from tests.acceptance.support import READY, ROOT, WAITING, Process, Stage
from tests.orders import FULFILLED, until

pytestmark = pytest.mark.slow


def edit(stage: Stage, scenario: str) -> tuple[str, str, str]:
    """Make the edit of a scenario; return module, text before, text after."""
    module, before, after = edit_of(scenario)
    stage.edit(module, before, after)
    return module, before, after


async def test_edited_code_passes_the_checks(stage_without_server: Stage) -> None:
    stage = stage_without_server
    for scenario in (
        "API downtime",
        "Worker crash",
        "Bug in workflow",
        "Change of the workflow",
        "Invalid order",
    ):
        edit(stage, scenario)
    for tool in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]):
        config = "--config-file" if tool == ["mypy"] else "--config"
        command = [*tool, config, str(ROOT / "pyproject.toml"), "."]
        process = await stage.run(sys.executable, "-m", *command)
        assert await process.ends(120) == 0, process.output


@pytest.mark.slow(20)
async def test_api_downtime(stage: Stage) -> None:
    module, before, after = edit(stage, "API downtime")
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await worker.shows(WAITING)
    await stage.approve(workflow_id)
    for attempt in ("", "attempt 2 ", "attempt 3 "):
        failure = f"{attempt}failed: ConnectionError: API is down"
        await worker.shows(f"{workflow_id} reserve_inventory {failure}\n")
    assert set(promised("API downtime")) <= set(normal(worker.stderr))
    assert "Traceback" not in worker.output
    await worker.kill()

    stage.edit(module, after, before)
    worker = await stage.worker()
    assert await starter.ends() == 0
    assert f"Order {workflow_id} fulfilled" in starter.stdout
    assert (await stage.history(workflow_id)).completed == FULFILLED
    assert "process_payment" not in worker.output


@pytest.mark.slow(15)
async def test_bug_in_workflow(stage: Stage) -> None:
    module, before, after = edit(stage, "Bug in workflow")
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    line = (stage.folder / module).read_text().split(after)[0].count("\n") + 1
    failure = (
        f"{workflow_id} workflow task failed at {module}:{line}: RuntimeError: workflow bug!\n"
    )
    await worker.shows(re.escape(failure), times=3)
    assert promised("Bug in workflow")[0] in normal(worker.stderr)
    assert "Traceback" not in worker.output
    await stage.reaches(workflow_id, "WORKFLOW_TASK_FAILED")
    described = await stage.client.get_workflow_handle(workflow_id).describe()
    assert described.status
    assert described.status.name == "RUNNING"
    failed = (await stage.history(workflow_id)).failed_task_messages
    assert set(failed) == {"workflow bug!"}
    attempts = len(failed) + described.raw_description.pending_workflow_task.attempt
    assert worker.output.count("workflow bug!") <= attempts, "told once an attempt"
    await worker.kill()

    stage.edit(module, after, before)
    worker = await stage.worker()
    await worker.shows(WAITING)
    await stage.approve(workflow_id)
    assert await starter.ends() == 0
    history = await stage.history(workflow_id)
    assert history.completed == FULFILLED
    assert history.scheduled == FULFILLED


async def test_invalid_order(stage: Stage) -> None:
    edit(stage, "Invalid order")
    await stage.worker()
    starter, workflow_id = await stage.starter()
    assert await starter.ends() == 1
    assert normal(starter.stderr) == promised("Invalid order")
    history = await stage.history(workflow_id)
    assert history.scheduled == {"process_payment": 1}
    assert history.events["ACTIVITY_TASK_STARTED"] == 1
    assert history.events["TIMER_STARTED"] == 0


async def test_human_in_the_loop(stage: Stage) -> None:
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await worker.shows(WAITING)
    assert (await stage.history(workflow_id)).scheduled == {"process_payment": 1}
    await stage.approve(workflow_id)

    async def reserved() -> bool:
        return (await stage.history(workflow_id)).completed["reserve_inventory"] == 1

    await until(reserved, 60, "reservation after the approval")
    assert await starter.ends() == 0


@pytest.mark.slow(30)
async def test_approve_or_expire(stage: Stage) -> None:
    await stage.worker()
    starter, workflow_id = await stage.starter()
    assert await starter.ends(60) == 1
    assert normal(starter.stderr) == promised("Approve or expire")
    history = await stage.history(workflow_id)
    waited = history.times["WORKFLOW_EXECUTION_FAILED"] - history.times["process_payment"]
    assert 30 <= waited < 40
    assert history.scheduled == {"process_payment": 1}


async def worker_as_a_job(stage: Stage) -> Process:
    """Start a worker as a job of a shell, as in a terminal; return the shell, which can kill it."""
    # It does so once its input ends, which is at the latest when the test ends.
    script = f"set -m; {sys.executable} worker.py & read -r; {KILL} wait"
    shell = await stage.run("bash", "-c", script, stdin=asyncio.subprocess.PIPE)
    await shell.shows(READY)
    return shell


async def kill_the_job(shell: Process) -> None:
    """Let the shell run the README's command."""
    assert shell.process.stdin
    shell.process.stdin.close()
    await shell.ends()
    assert "fulfilled" not in shell.output


@pytest.mark.slow(15)
async def test_worker_crash_while_an_order_waits(stage: Stage) -> None:
    worker = await worker_as_a_job(stage)
    starter, workflow_id = await stage.starter()
    await worker.shows(WAITING)
    await kill_the_job(worker)
    await stage.approve(workflow_id)
    await stage.worker()
    assert await starter.ends() == 0
    history = await stage.history(workflow_id)
    assert history.scheduled == history.completed == FULFILLED


@pytest.mark.slow(20)
async def test_worker_crash_while_a_reservation_fails(stage: Stage) -> None:
    module, before, after = edit(stage, "API downtime")
    worker = await worker_as_a_job(stage)
    starter, workflow_id = await stage.starter()
    await stage.approve(workflow_id)
    await worker.shows("reserve_inventory attempt 2 failed")
    await kill_the_job(worker)
    second = await stage.worker()
    await second.shows("reserve_inventory attempt (3|4) failed")
    assert "reserve_inventory failed" not in second.output
    await second.kill()
    stage.edit(module, after, before)
    await stage.worker()
    assert await starter.ends() == 0
    assert (await stage.history(workflow_id)).completed == FULFILLED


@pytest.mark.slow(20)
async def test_worker_crash_while_it_charges(stage: Stage) -> None:
    edit(stage, "Worker crash")
    worker = await worker_as_a_job(stage)
    starter, workflow_id = await stage.starter()
    await worker.shows("process_payment charging")
    await kill_the_job(worker)
    second = await stage.worker()
    await stage.approve(workflow_id)
    assert await starter.ends() == 0
    [charged] = [line for line in second.stderr.splitlines() if "process_payment" in line]
    assert normal(charged) == promised("Worker crash")
    assert charged.endswith(f"idempotency key {workflow_id}")
    assert worker.output.count(f"idempotency key {workflow_id}") == 1
    assert (await stage.history(workflow_id)).completed == FULFILLED


async def replay(stage: Stage) -> Process:
    """Run the test that the README names, on the code of a stage; return the ended process."""
    process = await stage.run(sys.executable, "-m", "pytest", "-q", "tests/test_replay.py")
    await process.ends(120)
    return process


@pytest.mark.slow(40)
async def test_change_of_the_workflow(stage: Stage) -> None:
    module, before, after = edit_of("Change of the workflow")
    for folder in ("tests", "pyproject.toml"):
        copy = shutil.copytree if (ROOT / folder).is_dir() else shutil.copy
        copy(ROOT / folder, stage.folder / folder)
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await stage.reaches(workflow_id, "TIMER_STARTED")
    await worker.kill()

    stage.edit(module, before, after)
    worker = await stage.worker()
    await stage.approve(workflow_id)
    await worker.shows(r"\[TMPRL1100\]")
    assert set(promised("Change of the workflow")) <= set(normal(worker.stderr))
    await stage.reaches(workflow_id, "WORKFLOW_TASK_FAILED")
    await worker.kill()
    assert (await replay(stage)).process.returncode == 1

    [patched] = [block for block in PYTHON if "workflow.patched" in block]
    stage.edit(module, f"        {after}", patched)
    assert (await replay(stage)).process.returncode == 0
    worker = await stage.worker()
    assert await starter.ends(120) == 0, "the waiting order goes on as it began"
    assert (await stage.history(workflow_id)).events["MARKER_RECORDED"] == 0

    starter, workflow_id = await stage.starter()
    await stage.approve(workflow_id)
    assert await starter.ends() == 0
    history = await stage.history(workflow_id)
    assert history.events["MARKER_RECORDED"] == history.events["TIMER_STARTED"] == 1
    assert history.completed == FULFILLED


@pytest.mark.slow(25)
async def test_change_of_the_workflow_undone(stage: Stage) -> None:
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await stage.reaches(workflow_id, "TIMER_STARTED")
    await worker.kill()
    module, before, after = edit(stage, "Change of the workflow")
    worker = await stage.worker()
    await stage.approve(workflow_id)
    await worker.shows(r"\[TMPRL1100\]")
    await worker.kill()
    stage.edit(module, after, before)
    await stage.worker()
    assert await starter.ends(120) == 0
    history = await stage.history(workflow_id)
    assert history.scheduled == history.completed == FULFILLED
