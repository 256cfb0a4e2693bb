"""The README's scenarios, each with the very edit that the README names."""

import re
import sys

import pytest

from tests.acceptance.readme import edit_of, normal, promised
from tests.acceptance.support import ROOT, WAITING, Stage
from tests.orders import FULFILLED, until

pytestmark = pytest.mark.slow


def edit(stage: Stage, scenario: str) -> tuple[str, str, str]:
    """Make the edit of a scenario; return module, text before, text after."""
    module, before, after = edit_of(scenario)
    stage.edit(module, before, after)
    return module, before, after


async def test_edited_code_passes_the_checks(stage_without_server: Stage) -> None:
    stage = stage_without_server
    for scenario in ("API downtime", "Bug in workflow", "Invalid order"):
        module, before, after = edit(stage, scenario)
        for tool in (["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]):
            config = "--config-file" if tool == ["mypy"] else "--config"
            command = [*tool, config, str(ROOT / "pyproject.toml"), "."]
            process = await stage.run(sys.executable, "-m", *command)
            assert await process.ends(120) == 0, process.output
        stage.edit(module, after, before)


async def test_api_downtime(stage: Stage) -> None:
    module, before, after = edit(stage, "API downtime")
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await worker.shows(WAITING)
    await stage.approve(workflow_id)
    failure = "failed, retrying: ConnectionError: API is down"
    for attempt in (1, 2, 3):
        await worker.shows(f"{workflow_id} reserve_inventory attempt {attempt} {failure}\n")
    assert set(promised("API downtime")) <= set(normal(worker.stderr))
    assert "Traceback" not in worker.output
    await worker.kill()

    stage.edit(module, after, before)
    worker = await stage.worker()
    assert await starter.ends() == 0
    assert f"Order {workflow_id} fulfilled" in starter.stdout
    assert (await stage.history(workflow_id)).completed == FULFILLED
    assert "process_payment" not in worker.output


async def test_bug_in_workflow(stage: Stage) -> None:
    module, before, after = edit(stage, "Bug in workflow")
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    line = (stage.folder / module).read_text().split(after)[0].count("\n") + 1
    failure = f"{workflow_id} workflow task failed: RuntimeError: workflow bug! ({module}:{line})"
    await worker.shows(re.escape(failure))
    assert promised("Bug in workflow")[0] in normal(worker.stderr)
    assert "Traceback" not in worker.output
    await stage.reaches(workflow_id, "WORKFLOW_TASK_FAILED")
    described = await stage.client.get_workflow_handle(workflow_id).describe()
    assert described.status
    assert described.status.name == "RUNNING"
    assert set((await stage.history(workflow_id)).failed_task_messages) == {"workflow bug!"}
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

    await until(reserved, 10, "reservation after the approval")
    assert await starter.ends() == 0


@pytest.mark.long
async def test_approve_or_expire(stage: Stage) -> None:
    await stage.worker()
    starter, workflow_id = await stage.starter()
    assert await starter.ends(60) == 1
    assert normal(starter.stderr) == promised("Approve or expire")
    history = await stage.history(workflow_id)
    waited = history.times["WORKFLOW_EXECUTION_FAILED"] - history.times["process_payment"]
    assert 30 <= waited < 40
    assert history.scheduled == {"process_payment": 1}
