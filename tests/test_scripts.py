"""The worker and the starter as processes, on a dev server."""

import asyncio
import os
import shutil
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from tests.helpers import read_history, wait_for_event
from workflow import OrderFulfillment

ROOT = Path(__file__).parent.parent


@asynccontextmanager
async def script(folder: Path, name: str, server: WorkflowEnvironment) -> AsyncIterator[Process]:
    environment = {
        **os.environ,
        "TEMPORAL_ADDRESS": server.client.service_client.config.target_host,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, name, cwd=folder, env=environment, stdout=PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def line_with(text: str, process: Process) -> str:
    assert process.stdout
    async with asyncio.timeout(60):
        async for line in process.stdout:
            if text in line.decode():
                return line.decode()
    raise AssertionError(f"the output ended without {text!r}")


async def test_blocking_activities_run_in_parallel(
    dev_server: WorkflowEnvironment, tmp_path: Path
) -> None:
    for path in ROOT.glob("*.py"):
        shutil.copy(path, tmp_path)
    edited = (tmp_path / "activities.py").read_text().replace("SECONDS = 1.0", "SECONDS = 2.0")
    (tmp_path / "activities.py").write_text(edited)
    async with script(tmp_path, "worker.py", dev_server) as worker, AsyncExitStack() as stack:
        await line_with("Worker started", worker)
        starters, handles = [], []
        for _ in range(3):
            running = script(tmp_path, "starter.py", dev_server)
            starters.append(await stack.enter_async_context(running))
        for starter in starters:
            order_id = (await line_with("Started workflow", starter)).split()[-1]
            handles.append(dev_server.client.get_workflow_handle(order_id))
            await handles[-1].signal(OrderFulfillment.approve_order)
        paid = "ACTIVITY_TASK_COMPLETED process_payment"
        await asyncio.gather(*[wait_for_event(handle, paid) for handle in handles])
        times = [(await read_history(handle)).times[paid] for handle in handles]
        assert max(times) - min(times) < 1.5, "one after the other, they are 2 seconds apart"
        for handle, starter in zip(handles, starters, strict=True):
            assert await line_with(f"Order {handle.id} fulfilled", starter)
            assert await asyncio.wait_for(starter.wait(), 60) == 0
        if sys.platform != "win32":  # Windows has no SIGTERM
            worker.terminate()
            assert await asyncio.wait_for(worker.wait(), 60) == 0
