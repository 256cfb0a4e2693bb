"""What each bad input ends in: one clear error, and a worker that serves the next order."""

import asyncio
import dataclasses
import json
import re
from typing import Any

import pytest
from temporalio.client import WorkflowFailureError

from tests.acceptance.support import WAITING, Stage
from tests.orders import FULFILLED, an_order, until

pytestmark = pytest.mark.slow

FIELDS = dataclasses.asdict(an_order())
START = ("workflow", "start", "--type", "OrderFulfillment", "--task-queue", "order-fulfillment")


def order(**changes: Any) -> str:
    """Return an order as JSON."""
    return json.dumps({**FIELDS, **changes})


def but(**changes: str) -> str:
    """Return an order as JSON, with raw text as the value of a field."""
    fields = {name: json.dumps(value) for name, value in FIELDS.items()}
    return (
        "{" + ", ".join(f'"{name}": {text}' for name, text in {**fields, **changes}.items()) + "}"
    )


# The payment refuses it: the order fails, and its message names the field.
REFUSED = {
    order(cc_expiry="13/30"): "cc_expiry must be MM/YY",
    order(cc_expiry="00/30"): "cc_expiry must be MM/YY",
    order(cc_expiry="1/30"): "cc_expiry must be MM/YY",
    order(cc_expiry="12-30"): "cc_expiry must be MM/YY",
    order(cc_expiry="12/2030"): "cc_expiry must be MM/YY",
    order(cc_expiry="1２/30"): "cc_expiry must be MM/YY",  # noqa: RUF001  full width
    order(cc_expiry=" 12/30"): "cc_expiry must be MM/YY",
    order(cc_expiry="12/30\n"): "cc_expiry must be MM/YY",
    order(cc_expiry=""): "cc_expiry must be MM/YY",
    order(cc_expiry="\0"): "cc_expiry must be MM/YY",
    order(cc_expiry="12/23"): "credit card expired, cc_expiry is 12/23",
    order(cc_expiry="01/00"): "credit card expired, cc_expiry is 01/00",
    order(order_id=""): "order_id must be 1 to 100 characters",
    order(order_id="\n"): "order_id must be 1 to 100 characters",
    order(order_id="o" * 101): "order_id must be 1 to 100 characters",
    order(item=""): "item must be 1 to 100 characters",
    order(item=" "): "item must be 1 to 100 characters",
    order(item="m" * 100_000): "item must be 1 to 100 characters",
    order(quantity=0): "quantity must be 1 to 1000000",
    order(quantity=-2): "quantity must be 1 to 1000000",
    order(quantity=10**9): "quantity must be 1 to 1000000",
    order(quantity=10**4_000): "quantity must be 1 to 1000000",
    order(quantity=False): "quantity must be 1 to 1000000",
    but(quantity="0.9"): "quantity must be 1 to 1000000",
    order(price_cents=0): "price_cents must be 1 to 1000000",
    order(price_cents=-1): "price_cents must be 1 to 1000000",
    order(price_cents=10**300): "price_cents must be 1 to 1000000",
    but(price_cents="1e300"): "price_cents must be 1 to 1000000",
}

# It does not decode: Temporal holds the order, in case the code is to be mended and not the input.
# The reason is in the words of the SDK and of Python, which name a field of the wrong type.
HELD = {
    order(cc_expiry=None): "cc_expiry",
    order(cc_expiry=1230): "cc_expiry",
    order(order_id=7): "order_id",
    order(item={"name": "mug"}): "item",
    order(quantity="two"): "quantity",
    order(quantity=None): "quantity",
    order(quantity=[2]): "quantity",
    order(price_cents="19.99"): "price_cents",
    but(price_cents="1e999"): "",
    but(quantity="9" * 5_000): "",
    "{}": "order_id",
    but(item='"", "colour": ""').replace("item", "name"): "item",
    "[]": "",
    f"[{order()}]": "",
    "null": "",
    '"a mug, please"': "",
    "42": "",
}

# The CLI does not even send it.
NOT_SENT = {"", "{", "mug", but(quantity="NaN"), but(quantity="02"), order() + ","}

# Nothing is wrong with it: a field that we do not know, names of any script, the last cent.
FINE = {
    order(colour="red"),
    order(item="Кружка ☕ \ud83d\ude00"),
    order(quantity=1_000_000, price_cents=1_000_000),
}


def test_table_is_long_enough() -> None:
    assert len({*REFUSED, *HELD, *NOT_SENT}) == len(REFUSED) + len(HELD) + len(NOT_SENT) >= 40


async def test_payloads(stage: Stage) -> None:
    stage.shorten(latency=0.2)
    worker = await stage.worker()
    few_at_once = asyncio.Semaphore(4)

    async def start(number: int, payload: str) -> str | None:
        path = stage.folder / f"{number}.json"
        path.write_text(payload)
        options = ("--workflow-id", f"order-{number}", "--input-file", str(path))
        process = await stage.temporal(*START, *options)
        return process.stderr if await process.ends() else None

    async def check(number: int, payload: str) -> None:
        refusal = await start(number, payload)
        if payload in NOT_SENT:
            assert refusal, payload
            return
        assert refusal is None, refusal
        workflow_id = f"order-{number}"
        handle = stage.client.get_workflow_handle(workflow_id)
        if payload in HELD:
            await stage.reaches(workflow_id, "WORKFLOW_TASK_FAILED")
            history = await stage.history(workflow_id)
            reason = f"Failed decoding arguments.*{re.escape(history.failed_task_messages[0])}"
            said = await worker.shows(f"{workflow_id} workflow task failed.*{reason}")
            assert HELD[payload] in said[0]
            assert history.scheduled == {}
        elif payload in REFUSED:
            with pytest.raises(WorkflowFailureError) as failed:
                await handle.result()
            cause = failed.value.cause.__cause__
            assert getattr(cause, "message", "").startswith(REFUSED[payload]), payload
            assert (await stage.history(workflow_id)).retries == 0
        else:
            await stage.approve(workflow_id)
            assert "fulfilled" in await handle.result()

    async def one(number: int, payload: str) -> None:
        # A crowd could time a workflow task out, and then no failed one is in its history.
        async with few_at_once:
            await check(number, payload)

    payloads = [*REFUSED, *HELD, *NOT_SENT, *FINE]
    checks = [one(number, payload) for number, payload in enumerate(payloads)]
    results = await asyncio.gather(*checks, return_exceptions=True)
    failures = [result for result in results if result]
    assert not failures, "\n".join(map(str, failures))

    starter, workflow_id = await stage.starter()
    await stage.approve(workflow_id)
    assert await starter.ends() == 0, "the worker must serve the next order"


async def test_starts_that_do_not_fit_the_workflow(stage: Stage) -> None:
    worker = await stage.worker()
    type_of_another = ("--type", "OrderCancellation", *START[4:])
    for workflow_id, options in (
        ("nothing", START[2:]),
        ("twice", (*START[2:], "-i", order(), "-i", order())),
        ("another", type_of_another),
    ):
        started = await stage.temporal(*START[:2], *options, "--workflow-id", workflow_id)
        assert await started.ends() == 0, started.output
        await stage.reaches(workflow_id, "WORKFLOW_TASK_FAILED")
        reasons = (await stage.history(workflow_id)).failed_task_messages
        await worker.shows(re.escape(reasons[0]))


async def test_held_order_is_replaced(stage: Stage) -> None:
    """What the README says to do with a payload that does not decode."""
    stage.shorten(latency=0.2)
    await stage.worker()
    await stage.temporal(*START, "--workflow-id", "order-1", "--input", order(quantity="two"))
    await stage.reaches("order-1", "WORKFLOW_TASK_FAILED")
    end = await stage.temporal("workflow", "terminate", "--workflow-id", "order-1")
    assert await end.ends() == 0, end.output
    await stage.temporal(*START, "--workflow-id", "order-1", "--input", order())
    await stage.approve("order-1")
    result = await stage.temporal("workflow", "result", "--workflow-id", "order-1")
    assert "order-1 fulfilled" in result.stdout


async def test_signals(stage: Stage) -> None:
    stage.shorten(latency=0.2)
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await worker.shows(WAITING)

    async def send(to: str, name: str, *options: str) -> tuple[int, str]:
        arguments = ("--workflow-id", to, "--name", name, *options)
        process = await stage.temporal("workflow", "signal", *arguments)
        return await process.ends(), process.stderr

    assert await send(workflow_id, "aprove_order") == (0, ""), (
        "Temporal keeps what it cannot handle"
    )
    status, message = await send("order-unknown", "approve_order")
    assert status == 1
    assert "workflow not found for ID: order-unknown" in message
    status, message = await send(workflow_id, "approve_order", "--input", "{")
    assert status == 1
    assert "JSON" in message
    assert (await stage.history(workflow_id)).scheduled == {"process_payment": 1}

    assert await send(workflow_id, "approve_order", "--input", '{"by": "me"}') == (0, "")
    assert await starter.ends() == 0, "an approval with an argument is an approval"
    status, message = await send(workflow_id, "approve_order")
    assert status == 1
    assert "workflow execution already completed" in message
    assert (await stage.history(workflow_id)).completed == FULFILLED


async def test_order_id_that_the_cli_starts_twice(stage: Stage) -> None:
    """The CLI then shows the run that there is; no second one begins."""
    stage.shorten(latency=0.2)
    worker = await stage.worker()
    for _ in range(2):
        started = await stage.temporal(*START, "--workflow-id", "order-1", "--input", order())
        assert await started.ends() == 0, started.output
        assert "Running execution" in started.stdout
    await worker.shows(WAITING)
    await stage.approve("order-1")

    async def fulfilled() -> bool:
        return (await stage.history("order-1")).completed == FULFILLED

    await until(fulfilled, 60, "the only run")
    assert len([run async for run in stage.client.list_workflows()]) == 1
