"""The worker and the starter as processes, on a dev server."""

import asyncio
import os
import re
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from shared import TASK_QUEUE
from tests.helpers import new_order, read_history, wait_for_event
from workflow import OrderFulfillment

ROOT = Path(__file__).parent.parent


@asynccontextmanager
async def script(folder: Path, name: str, client: Client) -> AsyncIterator[Process]:
    """Run a script against a client's server, and end it."""
    address = client.service_client.config.target_host
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        name,
        cwd=folder,
        env={**os.environ, "TEMPORAL_ADDRESS": address},
        stdout=PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_with(text: str, process: Process) -> str:
    """Read the output of a process up to a line with a text, and return that line."""
    assert process.stdout
    async with asyncio.timeout(60):
        async for line in process.stdout:
            if text in line.decode():
                return line.decode()
    raise AssertionError(f"the output ended without {text!r}")


def copy_sample(folder: Path, latency_seconds: float) -> None:
    """Copy the sample, and change how long an activity takes."""
    for path in ROOT.glob("*.py"):
        text = re.sub("(?<=LATENCY_SECONDS = )1.0", str(latency_seconds), path.read_text())
        (folder / path.name).write_text(text)


async def test_order_is_fulfilled(dev_server: WorkflowEnvironment, tmp_path: Path) -> None:
    copy_sample(tmp_path, latency_seconds=0.1)
    async with script(tmp_path, "worker.py", dev_server.client) as worker:
        await line_with("Worker started", worker)
        async with script(tmp_path, "starter.py", dev_server.client) as starter:
            order_id = (await line_with("Started workflow", starter)).split()[-1]
            handle = dev_server.client.get_workflow_handle(order_id)
            await handle.signal(OrderFulfillment.approve_order)
            assert await line_with(f"Order {order_id} fulfilled", starter)
            assert await asyncio.wait_for(starter.wait(), 60) == 0
        if sys.platform != "win32":  # Windows has no SIGTERM
            worker.terminate()
            assert await asyncio.wait_for(worker.wait(), 60) == 0


async def test_blocking_step_holds_up_no_other_order(
    dev_server: WorkflowEnvironment, tmp_path: Path
) -> None:
    copy_sample(tmp_path, latency_seconds=3)
    async with script(tmp_path, "worker.py", dev_server.client) as worker:
        await line_with("Worker started", worker)
        handles = [
            await dev_server.client.start_workflow(
                OrderFulfillment.run, new_order(), id=f"blocked-{number}", task_queue=TASK_QUEUE
            )
            for number in range(3)
        ]
        paid = "ACTIVITY_TASK_COMPLETED process_payment"
        await asyncio.gather(*[wait_for_event(handle, paid) for handle in handles])
        times = [(await read_history(handle)).times[paid] for handle in handles]
        assert max(times) - min(times) < 2.5, "one after the other, they are 3 seconds apart"
        await asyncio.gather(*[handle.terminate() for handle in handles])
