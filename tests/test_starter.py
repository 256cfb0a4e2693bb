"""What ``starter.py`` prints about an order, with a stub for the activities."""

import uuid
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import WorkflowHandle
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

import starter
from tests.helpers import RESULTS, new_worker
from workflow import OrderFulfillment


def order() -> WorkflowHandle[Any, Any]:
    return activity.client().get_workflow_handle(activity.info().workflow_id or "")


async def approve(_: str) -> None:
    await order().signal(OrderFulfillment.approve_order)


async def cancel(_: str) -> None:
    await order().cancel()


async def decline(_: str) -> None:
    raise ApplicationError("expired", type="CreditCardExpired", non_retryable=True)


async def test_starter_prints_the_approval_command_and_the_result(
    server: WorkflowEnvironment, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with new_worker(server.client, approve):
        await starter.main()
    started, _, command, result = capsys.readouterr().out.splitlines()
    order_id = started.removeprefix("Started workflow ")
    signal = f"uv run temporal workflow signal --workflow-id {order_id} --name approve_order"
    assert command == f"{signal} --address {address} --namespace default"
    payment, reservation, delivery = RESULTS.values()
    assert result == f"Order {order_id} fulfilled: {payment}, approved, {reservation}, {delivery}."


@pytest.mark.parametrize(
    ("act", "ending"),
    [(decline, "FAILED: CreditCardExpired: expired"), (cancel, "CANCELED: Workflow cancelled")],
)
@pytest.mark.usefixtures("address")
async def test_failed_order_and_used_order_id_exit_with_the_reason(
    act: Callable[[str], Awaitable[None]],
    ending: str,
    server: WorkflowEnvironment,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(starter, "uuid4", lambda: uuid.UUID(int=7))
    async with new_worker(server.client, act):
        with pytest.raises(SystemExit) as failed:
            await starter.main()
        with pytest.raises(SystemExit) as rejected:
            await starter.main()
    assert failed.value.code == f"Order order-0000000 {ending}"
    assert rejected.value.code == "Order order-0000000 already exists. Choose another order ID."
