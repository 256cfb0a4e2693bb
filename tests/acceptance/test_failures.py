"""What an order survives: workers and servers that die, at every moment."""

import re
import signal

import pytest

from tests.acceptance.support import WAITING, Process, Stage
from tests.orders import FULFILLED

pytestmark = pytest.mark.slow


async def finishes_elsewhere(stage: Stage, worker: Process, moment: str) -> None:
    """Kill the worker once it logs a moment; check that another one finishes the order."""
    starter, workflow_id = await stage.starter()
    if moment != WAITING and "process_payment" not in moment:
        await worker.shows(WAITING)
        await stage.approve(workflow_id)
    await worker.shows(moment)
    await worker.kill()
    if moment == WAITING or "process_payment" in moment:
        await stage.approve(workflow_id)
    await stage.worker()
    assert await starter.ends() == 0
    history = await stage.history(workflow_id)
    assert history.completed == FULFILLED
    assert history.scheduled == FULFILLED


async def test_no_worker_before_the_payment(stage: Stage) -> None:
    starter, workflow_id = await stage.starter()
    await stage.approve(workflow_id)
    await stage.worker()
    assert await starter.ends() == 0
    assert (await stage.history(workflow_id)).completed == FULFILLED


@pytest.mark.slow(15)
async def test_worker_killed_in_the_payment(stage: Stage) -> None:
    await finishes_elsewhere(stage, await stage.worker(), "process_payment charging")


@pytest.mark.slow(15)
async def test_worker_killed_while_waiting_for_approval(stage: Stage) -> None:
    await finishes_elsewhere(stage, await stage.worker(), WAITING)


@pytest.mark.slow(20)
async def test_worker_killed_in_the_reservation(stage: Stage) -> None:
    await finishes_elsewhere(stage, await stage.worker(), "reserve_inventory reserving")


@pytest.mark.slow(20)
async def test_worker_killed_in_the_delivery(stage: Stage) -> None:
    await finishes_elsewhere(stage, await stage.worker(), "deliver_order delivering")


async def waits_without_worker(stage: Stage) -> tuple[Process, str]:
    """Start an order, and kill its worker once the server has the timer of its approval."""
    stage.shorten(approval=5)
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await stage.reaches(workflow_id, "TIMER_STARTED")  # the worker's line comes a little earlier
    await worker.kill()
    return starter, workflow_id


@pytest.mark.slow(15)
async def test_approval_while_the_worker_is_down_past_the_deadline(stage: Stage) -> None:
    starter, workflow_id = await waits_without_worker(stage)
    await stage.approve(workflow_id)
    await stage.reaches(workflow_id, "TIMER_FIRED", within=60)
    await stage.worker()
    assert await starter.ends() == 0
    assert (await stage.history(workflow_id)).completed == FULFILLED


@pytest.mark.slow(20)
async def test_no_approval_while_the_worker_is_down_past_the_deadline(stage: Stage) -> None:
    starter, workflow_id = await waits_without_worker(stage)
    await stage.reaches(workflow_id, "TIMER_FIRED", within=60)
    await stage.worker()
    assert await starter.ends() == 1
    assert starter.stderr == "Workflow execution failed: OrderExpired: order expired\n"
    assert (await stage.history(workflow_id)).scheduled == {"process_payment": 1}


@pytest.mark.slow(15)
async def test_server_killed_while_an_order_waits(stage_with_own_server: Stage) -> None:
    stage = stage_with_own_server
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await worker.shows(WAITING)
    assert stage.server
    await stage.server.kill()
    assert await starter.ends() == 1
    assert re.match("(UNAVAILABLE|UNKNOWN): ", starter.stderr)
    assert starter.stderr.count("\n") == 1

    await stage.start_server()
    await stage.approve(workflow_id)
    result = await stage.temporal("workflow", "result", "--workflow-id", workflow_id)
    assert await result.ends() == 0
    assert f"Order {workflow_id} fulfilled" in result.stdout
    assert (await stage.history(workflow_id)).completed == FULFILLED
    worker.send(signal.SIGTERM)
    assert await worker.ends() == 0
