"""The scripts as people run them: what they print, and how they end."""

import json
import re
import signal
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from temporalio.api.sdk.v1 import WorkflowMetadata

from shared import APPROVAL_TIMEOUT
from tests.acceptance.proxies import proxy_to
from tests.acceptance.support import (
    ORDER_ID,
    READY,
    WAITING,
    Process,
    Stage,
    clean_environment,
    staged,
)
from tests.orders import FULFILLED, until

pytestmark = pytest.mark.slow


def options(stage: Stage, workflow_id: str) -> str:
    """Return the options with which the printed commands work in any terminal."""
    return f"--workflow-id {workflow_id} --address {stage.address} --namespace {stage.namespace}"


def started(stage: Stage, workflow_id: str, within: str = "0:00:30") -> str:
    """Return what the starter prints at once."""
    temporal, where = "uv run temporal workflow", options(stage, workflow_id)
    web_ui = f"http://127.0.0.1:{stage.port + 1000}/namespaces/{stage.namespace}"
    return (
        f"Started workflow {workflow_id} at {stage.address}, namespace {stage.namespace}\n"
        f"In a dev server's Web UI:\n{web_ui}/workflows/{workflow_id}\n"
        f"Approve it within {within} of its payment, in another terminal:\n"
        f"{temporal} signal {where} --name approve_order\n"
        f"Ask for its result: {temporal} result {where}\n"
    )


def log_of(worker: Process) -> list[str]:
    """Return the worker's lines, without the times."""
    lines = worker.stderr.splitlines()
    assert all(re.match(r"\d\d:\d\d:\d\d ", line) for line in lines), worker.stderr
    return [line[9:] for line in lines]


def ready(stage: Stage) -> str:
    """Return the worker's first line."""
    where = f"{stage.address}, namespace {stage.namespace}, task queue order-fulfillment"
    return f"Ready: {where}"


async def ends_with(starter: Process, reason: str) -> None:
    """Check that a starter fails with one line, which ends with a reason."""
    assert await starter.ends() == 1
    assert re.fullmatch(rf".*\b{reason}\n", starter.stderr)


async def test_approved(stage: Stage) -> None:
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    assert re.fullmatch(ORDER_ID, workflow_id)
    await worker.shows(WAITING)
    await stage.approve(workflow_id)
    assert await starter.ends() == 0
    done = "charged $39.98, approved, reserved 2 x Temporal mug, delivered"
    assert (
        starter.stdout == started(stage, workflow_id) + f"Order {workflow_id} fulfilled: {done}.\n"
    )
    assert starter.stderr == ""
    worker.send(signal.SIGTERM)
    assert await worker.ends() == 0
    assert worker.stdout == ""
    log = [
        ready(stage),
        f"{workflow_id} process_payment charging $39.98, idempotency key {workflow_id}",
        f"{workflow_id} waiting up to 0:00:30 for the signal approve_order",
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
    assert starter.stdout == started(stage, workflow_id, "0:00:03")
    assert starter.stderr == "Workflow execution failed: OrderExpired: order expired\n"
    assert log_of(worker)[1:] == [
        f"{workflow_id} process_payment charging $39.98, idempotency key {workflow_id}",
        f"{workflow_id} waiting up to 0:00:03 for the signal approve_order",
        f"{workflow_id} expired",
    ]


async def test_invalid(stage: Stage) -> None:
    stage.edit("starter.py", '"12/99"', '"12/23"')
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    reason = "CreditCardExpired: credit card expired, cc_expiry is 12/23"
    await ends_with(starter, reason)
    assert starter.stdout == started(stage, workflow_id)
    assert log_of(worker)[1:] == [
        f"{workflow_id} process_payment failed: ApplicationError: {reason}"
    ]


async def closed(stage: Stage, command: str, reason: str, *options: str) -> None:
    """Close an order with a CLI command and check what the starter says of it."""
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await worker.shows(WAITING)
    process = await stage.temporal("workflow", command, "--workflow-id", workflow_id, *options)
    assert await process.ends() == 0, process.output
    await ends_with(starter, reason)


async def test_cancelled(stage: Stage) -> None:
    await closed(stage, "cancel", "cancelled")


async def test_terminated(stage: Stage) -> None:
    await closed(stage, "terminate", "out of mugs", "--reason", "out of mugs")


async def test_timed_out(stage: Stage) -> None:
    stage.edit(
        "starter.py",
        "id=order_id,\n",
        "id=order_id,\n        execution_timeout=APPROVAL_TIMEOUT / 10,\n",
    )
    await stage.worker()
    starter, _ = await stage.starter()
    await ends_with(starter, "timed out")


def with_one_order_id(stage: Stage) -> None:
    """Let each starter of a stage start the same order."""
    stage.edit("starter.py", 'f"order-{uuid4().hex[:7]}"', '"order-1"')


async def test_order_id_that_was_fulfilled_is_not_charged_again(stage: Stage) -> None:
    stage.shorten(latency=0.2)
    with_one_order_id(stage)
    await stage.worker()
    first, workflow_id = await stage.starter()
    await stage.approve(workflow_id)
    assert await first.ends() == 0
    second = await stage.script("starter.py")
    await ends_with(second, "already started")
    assert second.stdout == ""
    assert (await stage.history(workflow_id)).completed == FULFILLED


async def test_order_id_that_failed_may_be_started_again(stage: Stage) -> None:
    stage.shorten(latency=0.2)
    with_one_order_id(stage)
    stage.edit("starter.py", '"12/99"', '"12/23"')
    await stage.worker()
    first, _ = await stage.starter()
    assert await first.ends() == 1
    stage.edit("starter.py", '"12/23"', '"12/99"')
    second, workflow_id = await stage.starter()
    await stage.approve(workflow_id)
    assert await second.ends() == 0


async def test_order_id_that_is_running(stage: Stage) -> None:
    with_one_order_id(stage)
    await stage.starter()
    second = await stage.script("starter.py")
    await ends_with(second, "already started")
    assert second.stdout == ""


async def test_any_order_of_starting(stage_without_server: Stage) -> None:
    stage = stage_without_server
    starter, worker = await stage.script("starter.py"), await stage.script("worker.py")
    for script in (starter, worker):
        await script.shows(f"Waiting for a Temporal server at {stage.address}")
    await stage.start_server()
    workflow_id = (await starter.shows(r"Started workflow (\S+) at "))[1]
    await worker.shows(WAITING)
    await stage.approve(workflow_id)
    assert await starter.ends() == 0
    assert starter.stderr == f"Waiting for a Temporal server at {stage.address}\n"
    assert worker.stderr.startswith(starter.stderr)
    assert starter.stdout.startswith(started(stage, workflow_id))
    worker.send(signal.SIGINT)
    assert await worker.ends() == 0


@pytest.mark.slow(30)
async def test_no_server(stage_without_server: Stage) -> None:
    stage = stage_without_server
    scripts = [await stage.script("starter.py"), await stage.script("worker.py")]
    for script in scripts:
        await script.shows("Waiting")  # which is a second after its first attempt
    begin = time.monotonic()
    for script in scripts:
        assert await script.ends() == 1
        assert script.stdout == ""
        assert script.stderr == (
            f"Waiting for a Temporal server at {stage.address}\n"
            f"No server at {stage.address}. Start one: uv run temporal server start-dev\n"
        )
    assert 25 < time.monotonic() - begin < 45


async def test_interrupted_starter(stage: Stage) -> None:
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await worker.shows(WAITING)
    starter.send(signal.SIGINT)
    assert await starter.ends() == 130
    assert starter.stderr == "", "what becomes of the order, it cannot know"
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
        assert await script.ends() == 130
        assert script.output == f"Waiting for a Temporal server at {stage.address}\n"


async def test_stopped_worker_lets_its_activity_finish(stage: Stage) -> None:
    """Even when the signal comes twice, as from a process manager that tells the whole group."""
    stage.shorten(latency=4)  # it may take 5 s
    for times, stop in enumerate((signal.SIGTERM, signal.SIGINT), start=1):
        worker = await stage.worker()
        starter, workflow_id = await stage.starter()
        await worker.shows("process_payment charging")
        for _ in range(times):
            worker.send(stop)
        assert await worker.ends() == 0
        said = [line for line in log_of(worker) if workflow_id in line]
        [line] = said
        assert line.startswith(f"{workflow_id} process_payment charging")
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
    what = ("--type", "OrderFulfillment", "--task-queue", "order-fulfillment")
    start = ("workflow", "start", *what, "--workflow-id", "o-1", "--input", order)
    assert await (await stage.temporal(*start)).ends() == 0
    await stage.approve("o-1")

    async def fulfilled() -> bool:
        return (await stage.history("o-1")).completed == FULFILLED

    await until(fulfilled, 60, "order of the CLI")


async def details(stage: Stage, workflow_id: str) -> str:
    """Return what the Web UI shows as the current details of an order."""
    handle = stage.client.get_workflow_handle(workflow_id)
    metadata: Any = await handle.query("__temporal_workflow_metadata", result_type=WorkflowMetadata)
    for signal_definition in metadata.definition.signal_definitions:
        assert signal_definition.name == "approve_order"
        assert signal_definition.description.startswith("Approve the order")
    assert len(metadata.definition.signal_definitions) == 1
    return str(metadata.current_details)


async def waits_until(stage: Stage, workflow_id: str) -> tuple[datetime, str]:
    """Return until when the details say that an order waits, and how to approve it."""
    found = re.fullmatch(r"Waiting until (.*) UTC: (.*)", await details(stage, workflow_id))
    assert found
    return datetime.strptime(found[1], "%Y-%m-%d %H:%M:%S").replace(tzinfo=UTC), found[2]


async def test_wait_of_30_days(stage: Stage) -> None:
    stage.edit("shared.py", "timedelta(seconds=30)", "timedelta(days=30)")
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await starter.shows("Approve it within 30 days, 0:00:00 of its payment")
    await worker.shows("waiting up to 30 days, 0:00:00 for the signal")
    await stage.reaches(workflow_id, "TIMER_STARTED")
    until_when, _ = await waits_until(stage, workflow_id)
    assert 29 <= (until_when - datetime.now(UTC)).days <= 30


async def test_order_that_was_cancelled_no_longer_waits(stage: Stage) -> None:
    await stage.worker()
    starter, workflow_id = await stage.starter()
    await stage.reaches(workflow_id, "TIMER_STARTED")
    await stage.client.get_workflow_handle(workflow_id).cancel()
    assert await starter.ends() == 1
    assert await details(stage, workflow_id) == ""


async def test_printed_commands_work_in_another_terminal(stage: Stage) -> None:
    stage.shorten(latency=0.2)
    worker = await stage.worker()
    starter, _ = await stage.starter()
    await worker.shows(WAITING)
    await starter.shows("Ask for its result: .*\n")
    for command in re.findall(r"uv run (temporal .*)", starter.stdout):
        process = await stage.run("bash", "-c", command, env=clean_environment())
        assert await process.ends() == 0, process.output
    assert await starter.ends() == 0


async def test_text_from_outside_does_the_terminal_no_harm(stage: Stage) -> None:
    worker = await stage.worker()
    stage.edit("starter.py", '"Temporal mug"', r'"red\x1b[31m mug\n10:00:00 order-1 fulfilled"')
    starter, workflow_id = await stage.starter()
    await stage.approve(workflow_id)
    assert await starter.ends() == 0
    assert "\x1b" not in worker.stderr + starter.stdout
    assert r"reserving 2 x red\x1b[31m mug\n10:00:00 order-1 fulfilled" in worker.stderr
    assert "order-1 fulfilled" not in log_of(worker)
    starter, workflow_id = await stage.starter()
    reason = "--reason=\x1b[31mout\nof mugs"
    await stage.temporal("workflow", "terminate", "--workflow-id", workflow_id, reason)
    assert await starter.ends() == 1
    assert starter.stderr == r"Workflow execution failed: \x1b[31mout\nof mugs" + "\n"


async def test_what_the_web_ui_shows(stage: Stage) -> None:
    worker = await stage.worker()
    _, workflow_id = await stage.starter()
    handle = stage.client.get_workflow_handle(workflow_id)
    description = await handle.describe()
    assert await description.static_summary() == "2 x Temporal mug, $39.98"
    await worker.shows("process_payment charging")
    assert await details(stage, workflow_id) == ""
    await stage.reaches(workflow_id, "TIMER_STARTED")
    until_when, how = await waits_until(stage, workflow_id)
    assert "Send a Signal" in how
    assert "approve_order" in how
    paid = (await stage.history(workflow_id)).times["process_payment"]
    assert abs(until_when.timestamp() - paid - APPROVAL_TIMEOUT.total_seconds()) < 1.5

    await stage.approve(workflow_id)
    for step in ("reserve_inventory reserving", "deliver_order delivering", "fulfilled"):
        await worker.shows(step)
        assert await details(stage, workflow_id) == "", "it no longer waits"

    summaries = []
    async for event in handle.fetch_history_events():
        if event.user_metadata.HasField("summary"):
            summaries.append(json.loads(event.user_metadata.summary.data))
    assert list(dict.fromkeys(summaries)) == [
        "2 x Temporal mug, $39.98",
        "Charge the credit card",
        "For approval",
        "Reserve the items",
        "Deliver the items",
    ]
    assert (await stage.history(workflow_id)).total == 29, "none of it costs an event"


async def test_dev_server_that_forgets_the_order(
    stage_with_own_server: Stage, tmp_path: Path
) -> None:
    """As after a restart in no time: a slow one may outlast the SDK's patience."""
    stage = stage_with_own_server
    async with proxy_to(stage.port) as proxy, staged(tmp_path / "new", in_memory=True) as new:
        stage.environment["TEMPORAL_ADDRESS"] = proxy.address
        starter, _ = await stage.starter()
        proxy.server_port = new.port
        proxy.reset()
        assert await starter.ends() == 1
    assert starter.stderr.startswith("NOT_FOUND: ")
    assert starter.stderr.count("\n") == 1
