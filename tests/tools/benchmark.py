"""Prints the table of "Performance" in the README: ``uv run python -m tests.tools.benchmark``.

Runs orders without simulated latency, approved as soon as they wait. Linux only, two minutes.
"""

import asyncio
import os
import re
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from statistics import median

from temporalio.testing import WorkflowEnvironment

from tests.acceptance.helpers import assign, copy_sample
from tests.helpers import start, start_dev_server

SECONDS = 38  # for each row
HEADER = "| Orders in flight | Orders per second | Median latency | CPU per order | Peak memory |"


async def run_order(server: WorkflowEnvironment, order_id: str) -> float:
    begin = time.perf_counter()
    handle = await start(server.client, order_id)
    async for event in handle.fetch_history_events(wait_new_event=True):
        if event.HasField("timer_started_event_attributes"):
            break
    await handle.signal("approve_order")
    await handle.result()
    return time.perf_counter() - begin


def cpu_and_memory(pid: int) -> tuple[float, float]:  # in milliseconds and MiB
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    ticks = int(fields[11]) + int(fields[12])
    peak = re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[0]
    return 1000 * ticks / os.sysconf("SC_CLK_TCK"), int(peak) / 1024


async def measure(server: WorkflowEnvironment, folder: Path, in_flight: int) -> str:
    environment = {"TEMPORAL_ADDRESS": server.client.service_client.config.target_host}
    worker = await asyncio.create_subprocess_exec(
        sys.executable, "worker.py", cwd=folder, env=environment, stdout=PIPE, stderr=DEVNULL
    )
    assert worker.stdout
    assert await worker.stdout.readline(), "the worker didn't start"
    cpu_before, _ = cpu_and_memory(worker.pid)
    begin, latencies = time.perf_counter(), list[float]()

    async def customer(number: int) -> None:
        while time.perf_counter() < begin + SECONDS:
            latencies.append(await run_order(server, f"{in_flight}-{number}-{len(latencies)}"))

    await asyncio.gather(*[customer(number) for number in range(in_flight)])
    cpu, memory = cpu_and_memory(worker.pid)
    rate = len(latencies) / (time.perf_counter() - begin)
    each, latency = (cpu - cpu_before) / len(latencies), median(latencies)
    worker.terminate()
    await worker.wait()
    return f"| {in_flight} | {rate:.0f} | {latency:.1f} s | {each:.0f} ms | {memory:.0f} MiB |"


async def main() -> None:
    with tempfile.TemporaryDirectory() as parent:
        folder = copy_sample(Path(parent) / "sample")
        assign(folder / "activities.py", "SIMULATED_LATENCY_SECONDS", "0")
        async with await start_dev_server() as server:
            for in_flight in (1, 20, 200):
                row = await measure(server, folder, in_flight)
                print(f"{HEADER}\n{'| --- ' * 5}|\n{row}" if in_flight == 1 else row, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
