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

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="SIGTERM stops the worker")

ROOT = Path(__file__).parent.parent
LATENCY = 0.4


@asynccontextmanager
async def script(path: Path, client: Client) -> AsyncIterator[Process]:
    """Run a script as long as it is needed, against the server of a client."""
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


async def line_with(text: str, stream: asyncio.StreamReader | None) -> str:
    """Read the output of a process until a line contains a text, and return that line."""
    assert stream
    async with asyncio.timeout(60):
        async for line in stream:
            if text in line.decode():
                return line.decode()
    raise AssertionError(f"ended without {text!r}")


@pytest.fixture(scope="module")
async def sample(
    dev_server: WorkflowEnvironment, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Path]:
    """Provide a copy of the sample with shorter steps, and its worker."""
    folder = tmp_path_factory.mktemp("sample")
    for path in ROOT.glob("*.py"):
        text = path.read_text().replace("SECONDS = 1.0", f"SECONDS = {LATENCY}")
        (folder / path.name).write_text(text)
    async with script(folder / "worker.py", dev_server.client) as worker:
        await line_with("Ready", worker.stderr)
        yield folder
        worker.terminate()
        assert await asyncio.wait_for(worker.wait(), 60) == 0


async def test_starter_prints_the_result_of_its_order(
    dev_server: WorkflowEnvironment, sample: Path
) -> None:
    client = dev_server.client
    async with script(sample / "starter.py", client) as starter:
        order_id = (await line_with("Started workflow", starter.stdout)).split()[2]
        await client.get_workflow_handle(order_id).signal(OrderFulfillment.approve_order)
        assert await line_with(f"Order {order_id} fulfilled", starter.stdout)
        assert await asyncio.wait_for(starter.wait(), 60) == 0


@pytest.mark.usefixtures("sample")
async def test_orders_of_one_worker_do_not_wait_for_each_other(
    dev_server: WorkflowEnvironment,
) -> None:
    handles = [
        await dev_server.client.start_workflow(
            OrderFulfillment.run, an_order(), id=f"order-{number}", task_queue=TASK_QUEUE
        )
        for number in range(6)
    ]

    async def paid(handle: WorkflowHandle[OrderFulfillment, str]) -> float | None:
        return (await read_history(handle)).times.get("process_payment")

    payments = [await until(partial(paid, handle), 60, "payment") for handle in handles]
    gaps = [later - earlier for earlier, later in itertools.pairwise(sorted(payments))]
    assert min(gaps) < LATENCY / 2, "one after the other, there is a whole payment in each gap"
