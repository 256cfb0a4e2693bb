"""Measures one worker on this machine: ``uv run python -m tests.tools.benchmark``, on Linux only.

Runs orders without simulated latency, approved as soon as they wait, beside a dev server.
"""

import asyncio
import os
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from shared import run
from tests.acceptance.helpers import assign, copy_sample
from tests.helpers import find_program, start
from workflow import OrderFulfillment

SECONDS = 38  # for each row


def cpu_milliseconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return 1000 * (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(server: WorkflowEnvironment, folder: Path, in_flight: int) -> str:
    environment = {"TEMPORAL_ADDRESS": server.client.service_client.config.target_host}
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "worker.py", cwd=folder, env=environment, stdout=PIPE, stderr=DEVNULL
    )
    assert worker.stdout
    assert await worker.stdout.readline(), "the worker didn't start"
    cpu, begin, orders = cpu_milliseconds(worker.pid), time.perf_counter(), 0

    async def customer() -> None:
        nonlocal orders
        while time.perf_counter() < begin + SECONDS:
            orders += 1
            order = await start(server.client, f"{in_flight}-{orders}")
            async for event in order.fetch_history_events(wait_new_event=True):
                if event.HasField("timer_started_event_attributes"):
                    break
            await order.signal(OrderFulfillment.approve_order)
            await order.result()

    await asyncio.gather(*[customer() for _ in range(in_flight)])
    rate = orders / (time.perf_counter() - begin)
    each = (cpu_milliseconds(worker.pid) - cpu) / orders
    worker.terminate()
    await worker.wait()
    return f"| {in_flight} | {rate:.0f} | {each:.0f} ms |"


async def main() -> None:
    print(f"This takes two minutes: {SECONDS} seconds for each row.\n", flush=True)
    with tempfile.TemporaryDirectory() as parent:
        folder = copy_sample(Path(parent) / "sample")
        assign(folder / "activities.py", "SIMULATED_LATENCY_SECONDS", "0")
        path = find_program("temporal")
        async with await WorkflowEnvironment.start_local(dev_server_existing_path=path) as server:
            print(
                "| In flight | Orders per second | CPU per order |\n| --- | --- | --- |", flush=True
            )
            for in_flight in (1, 20, 200):
                print(await measure(server, folder, in_flight), flush=True)


if __name__ == "__main__":
    run(main())
