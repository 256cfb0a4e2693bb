"""The worker of the benchmark's baseline: an order's activities, signal and timer, and no more.

It has a module to itself, because the SDK's sandbox imports a workflow's module for each order.
"""

import asyncio
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from shared import Order


@activity.defn
def step(order: Order) -> str:
    return order.item


@workflow.defn
class Baseline:
    def __init__(self) -> None:
        self.approved = False

    @workflow.signal
    def approve_order(self) -> None:
        self.approved = True

    @workflow.run
    async def run(self, order: Order) -> str:
        timeout = timedelta(seconds=5)
        await workflow.execute_activity(step, order, start_to_close_timeout=timeout)
        await workflow.wait_condition(lambda: self.approved, timeout=timedelta(hours=1))
        await workflow.execute_activity(step, order, start_to_close_timeout=timeout)
        return await workflow.execute_activity(step, order, start_to_close_timeout=timeout)


async def main() -> None:
    client, executor = await Client.connect(sys.argv[1]), ThreadPoolExecutor(100)
    async with Worker(
        client,
        task_queue="baseline",
        workflows=[Baseline],
        activities=[step],
        activity_executor=executor,
    ):
        print("Worker started", flush=True)
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
