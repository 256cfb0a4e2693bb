"""What ``starter.py`` prints about an order, with a stub for the activities."""

import uuid

import pytest
from temporalio import activity
from temporalio.exceptions import ApplicationError
from temporalio.testing import WorkflowEnvironment

import starter
from tests.helpers import new_worker
from workflow import OrderFulfillment


async def test_starter_prints_the_approval_command_and_the_result(
    server: WorkflowEnvironment, address: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def approve(_: str) -> None:
        order = server.client.get_workflow_handle(activity.info().workflow_id or "")
        await order.signal(OrderFulfillment.approve_order)

    async with new_worker(server.client, approve):
        await starter.main()
    started, _, command, result = capsys.readouterr().out.splitlines()
    order_id = started.removeprefix("Started workflow ")
    signal = f"uv run temporal workflow signal --workflow-id {order_id} --name approve_order"
    assert command == f"{signal} --address {address} --namespace default"
    assert result.startswith(f"Order {order_id} fulfilled: ")


@pytest.mark.usefixtures("address")
async def test_failed_order_and_used_order_id_exit_with_the_reason(
    server: WorkflowEnvironment, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def decline(_: str) -> None:
        raise ApplicationError("expired", type="Declined", non_retryable=True)

    monkeypatch.setattr(starter, "uuid4", lambda: uuid.UUID(int=7))
    async with new_worker(server.client, decline):
        with pytest.raises(SystemExit) as failed:
            await starter.main()
        with pytest.raises(SystemExit) as rejected:
            await starter.main()
    assert failed.value.code == "Order order-0000000 FAILED: Declined: expired"
    assert rejected.value.code == "Order order-0000000 already exists. Choose another order ID."
