"""The scripts as people run them: what they print, and how they end."""

import json
import re
import signal
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata

from shared import APPROVAL_TIMEOUT
from tests.acceptance.support import ORDER_ID, READY, WAITING, Process, Stage
from tests.orders import FULFILLED, until

pytestmark = pytest.mark.slow


def started(workflow_id: str, seconds: int = 30) -> str:
    """Return what the starter prints at once."""
    approve = f"uv run temporal workflow signal --workflow-id {workflow_id} --name approve_order"
    return (
        f"Started workflow {workflow_id}: 2 x Temporal mug, $39.98\n"
        f"Waiting for approval, up to {seconds} s after the payment. In another terminal:\n"
        f"  {approve}\n"
    )


def result_hint(why: str, workflow_id: str) -> str:
    """Return the line with which a starter leaves an order that goes on."""
    command = f"uv run temporal workflow result --workflow-id {workflow_id}"
    return f"{why}; order goes on. Result: {command}\n"


def log_of(worker: Process) -> list[str]:
    """Return the worker's lines, without the times."""
    lines = worker.stderr.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines), worker.stderr
    assert all(len(line) <= 100 for line in lines), worker.stderr
    return [re.sub(r"\d\d:\d\d:\d\d", "TIME", line)[5:] for line in lines]


def ready(stage: Stage) -> str:
    """Return the worker's first line."""
    where = f"{stage.address}, namespace {stage.namespace}, task queue order-fulfillment"
    return f"Ready: {where} (Ctrl-C to stop)"


async def test_approved(stage: Stage) -> None:
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    assert re.fullmatch(ORDER_ID, workflow_id)
    await worker.shows(WAITING)
    await stage.approve(workflow_id)
    assert await starter.ends() == 0
    done = "charged $39.98, approved, reserved 2 x Temporal mug, delivered"
    assert starter.stdout == started(workflow_id) + f"Order {workflow_id} fulfilled: {done}.\n"
    assert starter.stderr == ""
    worker.send(signal.SIGTERM)
    assert await worker.ends() == 0
    assert worker.stdout == ""
    log = [
        ready(stage),
        f"{workflow_id} process_payment charging $39.98",
        f"{workflow_id} waiting until TIME UTC for the signal approve_order",
        f"{workflow_id} reserve_inventory reserving 2 x Temporal mug",
        f"{workflow_id} deliver_order delivering 2 x Temporal mug",
        f"{workflow_id} fulfilled",
    ]
    assert log_of(worker)[: len(log)] == log, "and then what the SDK says of its end"
    history = await stage.history(workflow_id)
    assert history.total == 29
    assert history.events["WORKFLOW_TASK_COMPLETED"] == 5


async def test_expired(stage: Stage) -> None:
    stage.shorten(approval=3)
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    assert await starter.ends() == 1
    assert starter.stdout == started(workflow_id, seconds=3)
    assert starter.stderr == f"Order {workflow_id} failed: order expired\n"
    assert log_of(worker)[1:] == [
        f"{workflow_id} process_payment charging $39.98",
        f"{workflow_id} waiting until TIME UTC for the signal approve_order",
        f"{workflow_id} expired",
    ]


async def test_invalid(stage: Stage) -> None:
    stage.edit("starter.py", "12/99", "12/23")
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    assert await starter.ends() == 1
    reason = "credit card expired, cc_expiry is 12/23"
    assert starter.stdout == started(workflow_id)
    assert starter.stderr == f"Order {workflow_id} failed: {reason}\n"
    assert log_of(worker)[1:] == [f"{workflow_id} process_payment attempt 1 refused: {reason}"]


async def closed(stage: Stage, command: str, reason: str, *options: str) -> None:
    """Close an order with a CLI command and check what the starter says of it."""
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await worker.shows(WAITING)
    process = await stage.temporal("workflow", command, "--workflow-id", workflow_id, *options)
    assert await process.ends() == 0, process.output
    assert await starter.ends() == 1
    assert starter.stderr == f"Order {workflow_id} failed: {reason}\n"


async def test_cancelled(stage: Stage) -> None:
    await closed(stage, "cancel", "CancelledError('Workflow cancelled')")


async def test_terminated(stage: Stage) -> None:
    await closed(
        stage,
        "terminate",
        "TerminatedError('out of mugs')",
        "--reason",
        "out of mugs",
    )


async def test_timed_out(stage: Stage) -> None:
    stage.edit(
        "starter.py",
        "id=order.order_id,\n",
        "id=order.order_id,\n        execution_timeout=APPROVAL_TIMEOUT / 10,\n",
    )
    await stage.worker()
    starter, workflow_id = await stage.starter()
    assert await starter.ends() == 1
    assert starter.stderr == f"Order {workflow_id} failed: TimeoutError('Workflow timed out')\n"


async def test_order_id_that_is_running(stage: Stage) -> None:
    stage.edit("starter.py", 'f"order-{uuid4().hex[:8]}"', '"order-1"')
    stage.edit("starter.py", "from uuid import uuid4\n", "")
    await stage.starter()
    second = await stage.script("starter.py")
    assert await second.ends() == 1
    assert second.output == "Workflow execution already started\n"


async def test_any_order_of_starting(stage_without_server: Stage) -> None:
    stage = stage_without_server
    starter, worker = await stage.script("starter.py"), await stage.script("worker.py")
    for script in (starter, worker):
        await script.shows(f"Waiting for a Temporal server at {stage.address}")
    await stage.start_server()
    workflow_id = (await starter.shows(r"Started workflow (\S+):"))[1]
    await worker.shows(WAITING)
    await stage.approve(workflow_id)
    assert await starter.ends() == 0
    assert starter.stderr == f"Waiting for a Temporal server at {stage.address}\n"
    assert worker.stderr.startswith(starter.stderr)
    assert starter.stdout.startswith(started(workflow_id))
    worker.send(signal.SIGINT)
    assert await worker.ends() == 0


@pytest.mark.long
async def test_no_server(stage_without_server: Stage) -> None:
    stage = stage_without_server
    begin = time.monotonic()
    scripts = [await stage.script("starter.py"), await stage.script("worker.py")]
    for script in scripts:
        assert await script.ends(45) == 1
        assert script.stdout == ""
        assert script.stderr == (
            f"Waiting for a Temporal server at {stage.address}\n"
            f"No Temporal server at {stage.address}: Connection refused. "
            "Start one: uv run temporal server start-dev\n"
        )
    assert 30 <= time.monotonic() - begin < 45


async def test_interrupted_starter(stage: Stage) -> None:
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await worker.shows(WAITING)
    starter.send(signal.SIGINT)
    assert await starter.ends() == 130
    assert starter.stderr == result_hint("Interrupted", workflow_id)
    await stage.approve(workflow_id)
    result = await stage.temporal("workflow", "result", "--workflow-id", workflow_id)
    assert await result.ends() == 0
    assert f"Order {workflow_id} fulfilled" in result.stdout
    assert (await stage.history(workflow_id)).completed == FULFILLED


async def test_interrupted_while_there_is_no_server(stage_without_server: Stage) -> None:
    stage = stage_without_server
    for name in ("starter.py", "worker.py"):
        script = await stage.script(name)
        await script.shows("Waiting for a Temporal server")
        script.send(signal.SIGINT)
        assert await script.ends(5) == 130
        assert script.output == f"Waiting for a Temporal server at {stage.address}\n"


async def test_stopped_worker_lets_its_activity_finish(stage: Stage) -> None:
    """Even when the signal comes twice, as from a process manager that tells the whole group."""
    for times, stop in enumerate((signal.SIGTERM, signal.SIGINT), start=1):
        worker = await stage.worker()
        starter, workflow_id = await stage.starter()
        await worker.shows("process_payment charging")
        for _ in range(times):
            worker.send(stop)
        assert await worker.ends() == 0
        said = [line for line in log_of(worker) if workflow_id in line]
        assert said == [f"{workflow_id} process_payment charging $39.98"]
        history = await stage.history(workflow_id)
        assert history.completed == {"process_payment": 1}
        assert history.events["ACTIVITY_TASK_STARTED"] == 1
        await starter.kill()


async def test_several_workers(stage: Stage) -> None:
    stage.shorten(latency=0.2)
    workers = [await stage.worker(), await stage.worker()]
    orders = [await stage.starter() for _ in range(4)]
    for _, workflow_id in orders:
        await stage.approve(workflow_id)
    for starter, _ in orders:
        assert await starter.ends() == 0
    logs = "".join(worker.stderr for worker in workers)
    assert logs.count("fulfilled") == 4
    assert logs.count(READY) == 2


async def test_cli_start(stage: Stage) -> None:
    """An order that the CLI starts is like any other."""
    stage.shorten(latency=0.2)
    await stage.worker()
    order = (
        '{"order_id": "o-1", "item": "mug", "quantity": 1, "price_cents": 5, "cc_expiry": "12/99"}'
    )
    options = ("--type", "OrderFulfillment", "--task-queue", "order-fulfillment")
    start = ("workflow", "start", *options, "--workflow-id", "o-1", "--input", order)
    assert await (await stage.temporal(*start)).ends() == 0
    await stage.approve("o-1")

    async def fulfilled() -> bool:
        return (await stage.history("o-1")).completed == FULFILLED

    await until(fulfilled, 20, "order of the CLI")


async def details(stage: Stage, workflow_id: str) -> str:
    """Return what the Web UI shows as the current details of an order."""
    handle = stage.client.get_workflow_handle(workflow_id)
    metadata: Any = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    for signal_definition in metadata.definition.signal_definitions:
        assert signal_definition.name == "approve_order"
        assert signal_definition.description.startswith("Approve the order")
    assert len(metadata.definition.signal_definitions) == 1
    return str(metadata.current_details)


async def test_what_the_web_ui_shows(stage: Stage) -> None:
    worker = await stage.worker()
    _, workflow_id = await stage.starter()
    handle = stage.client.get_workflow_handle(workflow_id)
    description = await handle.describe()
    assert await description.static_summary() == "2 x Temporal mug, $39.98"
    approve = f"uv run temporal workflow signal --workflow-id {workflow_id} --name approve_order"
    assert f"`{approve}`" in (await description.static_details() or "")

    await worker.shows("process_payment charging")
    assert await details(stage, workflow_id) == "Charging the credit card"
    until_when = (await worker.shows(r"waiting until (\d\d:\d\d:\d\d UTC)"))[1]
    waiting = await details(stage, workflow_id)
    assert waiting.startswith(f"Waiting until {until_when} for approval: ")
    assert waiting.endswith("`approve_order`")
    paid = (await stage.history(workflow_id)).times["process_payment"]
    expiry = datetime.fromtimestamp(paid, UTC) + APPROVAL_TIMEOUT
    shown = datetime.strptime(until_when, "%H:%M:%S UTC").replace(tzinfo=UTC)
    assert abs((expiry - datetime.combine(expiry.date(), shown.timetz())).total_seconds()) < 2

    await stage.approve(workflow_id)
    await worker.shows("reserve_inventory reserving")
    assert await details(stage, workflow_id) == "Approved, reserving the items"
    await worker.shows("deliver_order delivering")
    assert await details(stage, workflow_id) == "Delivering the items"
    await worker.shows("fulfilled")
    assert await details(stage, workflow_id) == "Fulfilled"

    summaries = []
    async for event in handle.fetch_history_events():
        if event.user_metadata.HasField("summary"):
            summaries.append(json.loads(event.user_metadata.summary.data))
    assert list(dict.fromkeys(summaries)) == [
        "2 x Temporal mug, $39.98",
        "Charge the credit card",
        "Wait for the approval",
        "Reserve the items",
        "Deliver the items",
    ]
    assert (await stage.history(workflow_id)).total == 29, "none of it costs an event"


async def test_dev_server_that_forgets_the_order(stage_with_own_server: Stage) -> None:
    stage = stage_with_own_server
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await worker.shows(WAITING)
    assert stage.server
    await stage.server.kill()
    for file in stage.folder.parent.glob("db*"):
        file.unlink()
    await stage.start_server()
    assert await starter.ends() == 1
    assert starter.stderr == f"Order {workflow_id} is gone: the server kept it in memory\n"
