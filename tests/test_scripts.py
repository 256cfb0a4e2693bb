"""The worker and the starter as the processes that they are, on a dev server."""

import asyncio
import itertools
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from shared import TASK_QUEUE
from tests.orders import an_order, read_history, until
from workflow import OrderFulfillment

ROOT = Path(__file__).parent.parent
LATENCY = 0.4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Provide a copy of the sample whose steps take less time."""
    for path in ROOT.glob("*.py"):
        (tmp_path / path.name).write_text(
            path.read_text().replace("SECONDS = 1.0", "SECONDS = 0.5")
        )
    return tmp_path


@asynccontextmanager
async def script(path: Path, client: Client) -> AsyncIterator[Process]:
    """Run a script until it ends, or until it is no longer needed."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        path.name,
        cwd=path.parent,
        env={**os.environ, "TEMPORAL_ADDRESS": client.service_client.config.target_host},
        stdout=PIPE,
        stderr=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def shows(stream: asyncio.StreamReader | None, text: str) -> str:
    """Read lines until one contains a text, and return that line."""
    assert stream
    async for line in stream:
        if text in line.decode():
            return line.decode()
    raise AssertionError(f"ended without {text!r}")


async def test_starter_prints_what_the_worker_makes_of_its_order(
    dev_server: WorkflowEnvironment, folder: Path
) -> None:
    client = dev_server.client
    async with (
        asyncio.timeout(60),
        script(folder / "worker.py", client) as worker,
        script(folder / "starter.py", client) as starter,
    ):
        await shows(worker.stderr, "Ready")
        order_id = (await shows(starter.stdout, "Started workflow")).split()[2]
        await client.get_workflow_handle(order_id).signal(OrderFulfillment.approve_order)
        assert await shows(starter.stdout, f"Order {order_id} fulfilled")
        assert await starter.wait() == 0
        worker.terminate()
        assert await worker.wait() == 0


async def test_orders_of_one_worker_do_not_wait_for_each_other(
    dev_server: WorkflowEnvironment, folder: Path
) -> None:
    client = dev_server.client
    async with asyncio.timeout(60), script(folder / "worker.py", client):
        handles = [
            await client.start_workflow(
                OrderFulfillment.run, an_order(), id=f"order-{number}", task_queue=TASK_QUEUE
            )
            for number in range(6)
        ]

        async def paid(handle: WorkflowHandle[OrderFulfillment, str]) -> float | None:
            return (await read_history(handle)).times.get("process_payment")

        paid_at = [await until(partial(paid, handle), 60, "payment") for handle in handles]
    gaps = [later - earlier for earlier, later in itertools.pairwise(sorted(paid_at))]
    assert min(gaps) < LATENCY / 2, "one after the other, there is a whole payment in each gap"
