"""Compares the sample with a baseline: ``uv run python -m tests.tools.benchmark``.

The baseline has the same activities, signal and timer, and nothing else. A cell has the sample's
value, and its mean ratio to the baseline with the standard error. Takes five minutes, on Linux.
"""

import asyncio
import os
import shutil
import sys
import tempfile
import time
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from statistics import mean, median, stdev
from typing import Any
from uuid import uuid4

from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment

from shared import TASK_QUEUE
from tests.helpers import new_order

QUEUES = {"OrderFulfillment": TASK_QUEUE, "Baseline": "baseline"}
HEADER = ["Load", "Orders/s", "Median latency, ms", "Worker CPU per order, ms", "Memory, MiB"]
ROWS = [HEADER, ["---"] * 5]
LOADS = ((1, True, 20, 30), (20, True, 60, 60), (20, False, 60, 60), (200, True, 200, 30))


@asynccontextmanager
async def worker(client: Client, name: str, folder: str) -> AsyncIterator[int]:
    address = client.service_client.config.target_host
    command, cwd = (["worker.py"], folder)
    if name == "Baseline":
        command, cwd = (["-m", "tests.tools.baseline", address], ".")
    options: Any = {"env": {"TEMPORAL_ADDRESS": address}, "stdout": PIPE, "stderr": DEVNULL}
    process = await asyncio.create_subprocess_exec(sys.executable, *command, cwd=cwd, **options)
    try:
        assert process.stdout
        assert await process.stdout.readline(), f"the worker of {name} doesn't start"
        yield process.pid
    finally:
        process.kill()
        await process.wait()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int, field: str) -> float:
    """Return the peak (VmHWM) or present (VmRSS) memory of a process in MiB."""
    return int(Path(f"/proc/{pid}/status").read_text().split(f"{field}:")[1].split()[0]) / 1024


async def repeat(times: int, in_flight: int, work: Callable[[], Awaitable[Any]]) -> list[Any]:
    results, remaining = [], iter(range(times))

    async def loop() -> None:
        for _ in remaining:
            results.append(await work())

    await asyncio.gather(*[loop() for _ in range(in_flight)])
    return results


async def start(client: Client, name: str, approved: bool) -> WorkflowHandle[Any, Any]:
    order, signal = new_order(str(uuid4())), "approve_order" if approved else None
    handle: WorkflowHandle[Any, Any] = await client.start_workflow(
        name, order, id=order.order_id, task_queue=QUEUES[name], start_signal=signal
    )
    if not approved:
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.HasField("timer_started_event_attributes"):
                break
    return handle


async def measure(client: Client, name: str, pid: int, *load: Any) -> list[float]:
    in_flight, approved, orders = load

    async def order() -> float:
        begin = time.perf_counter()
        handle = await start(client, name, approved)
        if not approved:
            await handle.signal("approve_order")
        await handle.result()
        return time.perf_counter() - begin

    cpu, begin = cpu_seconds(pid), time.perf_counter()
    latencies = await repeat(orders, in_flight, order)
    rate, cpu = orders / (time.perf_counter() - begin), cpu_seconds(pid) - cpu
    return [rate, 1000 * median(latencies), 1000 * cpu / orders, memory(pid, "VmHWM")]


async def compare(client: Client, folder: str, load: list[Any], seconds: int) -> None:
    names, rounds = list(QUEUES), list[dict[str, list[float]]]()
    end = time.monotonic() + seconds
    while len(rounds) < 3 or time.monotonic() < end:
        names.reverse()
        # Each round has new workers, as two processes of the same program differ by a few percent.
        async with worker(client, names[0], folder) as one, worker(client, names[1], folder) as two:
            pids = dict(zip(names, (one, two), strict=True))
            for each in ([20, True, 60], load):  # The first fills caches, and doesn't count.
                cells = {name: await measure(client, name, pids[name], *each) for name in names}
        rounds.append(cells)
    row = []
    for index in range(4):
        values, base_values = ([cells[name][index] for cells in rounds] for name in QUEUES)
        ratios = [one / other for one, other in zip(values, base_values, strict=True)]
        ratio = f"{mean(ratios):.3f} ± {stdev(ratios) / len(ratios) ** 0.5:.3f}"
        row.append(f"{mean(values):.1f} ({ratio})")
    when = "at the start" if load[1] else "while waiting"
    ROWS.append([f"{load[0]} in flight, approved {when}", *row])


async def growth(client: Client, folder: str) -> None:
    name = "OrderFulfillment"
    async with worker(client, name, folder) as pid, worker(client, name, folder):
        await measure(client, name, pid, 20, True, 60)
        rate, latency, *_ = await measure(client, name, pid, 20, True, 300)
        ROWS.append(["20 in flight, 2 workers", f"{rate:.1f}", f"{latency:.1f}", "", ""])
    for number in (100, 2_000):
        async with worker(client, name, folder) as pid:
            await measure(client, name, pid, 20, True, 60)
            before = memory(pid, "VmRSS")
            handles = await repeat(number, 50, lambda: start(client, name, approved=False))
            each = 1024 * (memory(pid, "VmRSS") - before) / number
            ROWS.append([f"{number:,} orders waiting", "", "", "", f"{each:.0f} KiB per order"])
            await asyncio.gather(*[handle.terminate() for handle in handles])


def copy_sample(folder: Path) -> None:
    for path in Path().glob("*.py"):
        text = path.read_text().replace("LATENCY_SECONDS = 1.0", "LATENCY_SECONDS = 0.0")
        (folder / path.name).write_text(text.replace("(seconds=30)", "(hours=1)"))


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy_sample(Path(folder))
        async with await WorkflowEnvironment.start_local(
            dev_server_existing_path=shutil.which("temporal"), dev_server_log_level="never"
        ) as server:
            for *load, seconds in LOADS:
                await compare(server.client, folder, load, seconds)
            await growth(server.client, folder)


if __name__ == "__main__":
    asyncio.run(main())
    print("\n".join(f"| {' | '.join(cells)} |" for cells in ROWS))
