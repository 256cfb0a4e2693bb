"""Compares the sample with a baseline: ``uv run python -m tests.tools.benchmark``.

The baseline has the same activities, signal and timer, and nothing else. Prints a Markdown table
within five minutes. Needs Linux, two cores and nothing else running. Ratios are means over rounds,
with their standard error. Absolute numbers include the load of the dev server and this client.
"""

import asyncio
import os
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from pathlib import Path
from signal import SIGTERM
from typing import Any, TypeVar
from uuid import uuid4

from temporalio import activity, workflow
from temporalio.api.enums.v1 import EventType
from temporalio.client import Client, WorkflowHandle
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Worker

with workflow.unsafe.imports_passed_through():
    from shared import TASK_QUEUE, Order

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
STEPS = ("process_payment", "reserve_inventory", "deliver_order")
ATTEMPT, HOUR = timedelta(seconds=5), timedelta(hours=1)
QUEUES = {"OrderFulfillment": TASK_QUEUE, "Baseline": "baseline"}  # by workflow
CHANGES = {  # in the copy of the sample
    "activities.py": ("SIMULATED_LATENCY_SECONDS = 1.0", "SIMULATED_LATENCY_SECONDS = 0.0"),
    "workflow.py": (
        "APPROVAL_TIMEOUT = timedelta(seconds=30)",
        "APPROVAL_TIMEOUT = timedelta(hours=1)",
    ),
}
START, WAITING = "approved at the start", "approved while waiting"
LOADS = ((1, START, 30, 35), (20, START, 100, 50), (20, WAITING, 100, 50), (200, START, 400, 40))
RATE, MEDIAN, CPU, PEAK = FIGURES = (
    "orders per second",
    "median latency, ms",
    "worker CPU per order, ms",
    "worker peak memory, MiB",
)
GOALS = {RATE: 0.97, MEDIAN: 1.03, CPU: 1.05}  # RATE is a minimum, the others are maxima


@workflow.defn
class Baseline:
    """Three activities and a wait for the signal."""

    def __init__(self) -> None:
        self.approved = False

    @workflow.signal
    def approve_order(self) -> None:
        """Approve the order."""
        self.approved = True

    @workflow.run
    async def run(self, order: Order) -> str:
        """Run the activities, the first one before the approval."""
        first, *others = STEPS
        result = await workflow.execute_activity(first, order, start_to_close_timeout=ATTEMPT)
        await workflow.wait_condition(lambda: self.approved, timeout=HOUR)
        for step in others:
            await workflow.execute_activity(step, order, start_to_close_timeout=ATTEMPT)
        return f"Order {order.order_id} done: {result}"


async def serve_baseline(address: str) -> None:
    """Run the worker of the baseline until the process is killed."""

    def new_activity(name: str) -> Callable[[Order], str]:
        @activity.defn(name=name)
        def step(order: Order) -> str:
            return name

        return step

    async with Worker(
        await Client.connect(address),
        task_queue=QUEUES["Baseline"],
        workflows=[Baseline],
        activities=[new_activity(name) for name in STEPS],
        activity_executor=ThreadPoolExecutor(100),
    ):
        print("Worker started", flush=True)
        await asyncio.Event().wait()


@asynccontextmanager
async def worker(client: Client, name: str, folder: Path) -> AsyncIterator[int]:
    """Run a worker for this workflow in a process of its own, and give its process ID."""
    address = client.service_client.config.target_host
    baseline = ("-m", "tests.tools.benchmark", "--serve-baseline", address)
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *(baseline if name == "Baseline" else ("worker.py",)),
        cwd=ROOT if name == "Baseline" else folder,
        env={"TEMPORAL_ADDRESS": address, "TEMPORAL_CONFIG_FILE": os.devnull},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,  # Ctrl-C is for the benchmark, which then ends the workers.
    )
    try:
        line = await process.stdout.readline() if process.stdout else b""
        assert line.startswith(b"Worker started"), f"no worker for {name}: {line!r}"
        yield process.pid
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, user and system."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def memory(pid: int, field: str) -> float:
    """Return the memory of a process in MiB: VmHWM is the peak, VmRSS the present value."""
    return int(Path(f"/proc/{pid}/status").read_text().split(f"{field}:")[1].split()[0]) / 1024


async def repeat(times: int, at_once: int, work: Callable[[], Awaitable[T]]) -> list[T]:
    """Do the work so many times, and no more than some at once."""
    results, remaining = list[T](), iter(range(times))

    async def loop() -> None:
        for _ in remaining:
            results.append(await work())

    async with asyncio.TaskGroup() as group:
        for _ in range(at_once):
            group.create_task(loop())
    return results


async def start(client: Client, name: str, approval: str) -> WorkflowHandle[Any, Any]:
    """Start an order. Without approval at the start, return when it waits for the signal."""
    order = Order(str(uuid4()), "Temporal mug", 2, "19.99", "12/99")
    signal = "approve_order" if approval == START else None
    handle = await client.start_workflow(
        name, order, id=order.order_id, task_queue=QUEUES[name], start_signal=signal
    )
    if not signal:
        async for event in handle.fetch_history_events(wait_new_event=True):
            if event.event_type == EventType.EVENT_TYPE_TIMER_STARTED:
                break
    return handle


async def close(handle: WorkflowHandle[Any, Any], approval: str) -> None:
    """Approve the order if it waits, and let it finish."""
    if approval == WAITING:
        await handle.signal("approve_order")
    await handle.result()


async def measure(client: Client, name: str, pid: int, load: tuple[int, str, int]) -> list[float]:
    """Take orders from start to end, and return the four figures."""
    in_flight, approval, orders = load

    async def order() -> float:
        begin = time.perf_counter()
        await close(await start(client, name, approval), approval)
        return time.perf_counter() - begin

    cpu, begin = cpu_seconds(pid), time.perf_counter()
    latencies = await repeat(orders, in_flight, order)
    rate = orders / (time.perf_counter() - begin)
    cpu = cpu_seconds(pid) - cpu
    return [rate, 1e3 * statistics.median(latencies), 1e3 * cpu / orders, memory(pid, "VmHWM")]


def mean(values: list[float]) -> str:
    """Return the mean and its standard error."""
    error = statistics.stdev(values) / len(values) ** 0.5
    return f"{statistics.mean(values):.3f} ± {error:.3f}"


def row(*cells: str) -> None:
    """Print a row of the table."""
    print(f"| {' | '.join(cells)} |", flush=True)


async def compare(client: Client, folder: Path, seconds: float, *load: Any) -> None:
    """Measure sample and baseline in turns for some seconds, and print the comparison."""
    names, rounds = list(QUEUES), list[dict[str, list[float]]]()
    async with worker(client, names[0], folder) as one, worker(client, names[1], folder) as other:
        pids = dict(zip(names, (one, other), strict=True))
        for name, pid in pids.items():
            await measure(client, name, pid, load)  # not counted: caches fill
        end = time.monotonic() + seconds
        while len(rounds) < 2 or time.monotonic() < end:
            names.reverse()
            rounds.append({name: await measure(client, name, pids[name], load) for name in names})
    where = f"{load[0]} in flight, {load[1]} ({len(rounds)} rounds of {load[2]})"
    for index, figure in enumerate(FIGURES):
        sample, baseline = ([figures[name][index] for figures in rounds] for name in QUEUES)
        ratios = [a / b for a, b in zip(sample, baseline, strict=True)]
        goal, ratio, bound = (
            GOALS.get(figure),
            statistics.mean(ratios),
            "≥" if figure == RATE else "≤",
        )
        met = goal and (ratio >= goal if figure == RATE else ratio <= goal)
        judged = f"{bound} {goal}: {'met' if met else 'missed'}" if goal else ""
        middle = [f"{statistics.mean(values):.1f}" for values in (sample, baseline)]
        row(where, figure, *middle, mean(ratios), judged)


async def two_workers(client: Client, folder: Path) -> None:
    """Measure the sample with one worker, and again with a second one."""
    name, load = "OrderFulfillment", (20, START, 100)
    async with worker(client, name, folder) as pid:
        await measure(client, name, pid, load)
        one = [(await measure(client, name, pid, load))[0] for _ in range(8)]
        async with worker(client, name, folder):
            await measure(client, name, pid, load)
            two = [(await measure(client, name, pid, load))[0] for _ in range(8)]
    for number, rates in ((1, one), (2, two)):
        row(f"20 in flight, workers: {number}", RATE, mean(rates), "", "", "")


async def waiting_orders(client: Client, folder: Path, number: int) -> None:
    """Measure the memory for orders that wait at the same time, and the time to close them."""
    name = "OrderFulfillment"
    async with worker(client, name, folder) as pid:
        await measure(client, name, pid, (20, START, 200))
        before = memory(pid, "VmRSS")
        handles = await repeat(number, 100, lambda: start(client, name, WAITING))
        each = 1024 * (memory(pid, "VmRSS") - before) / number
        begin = time.perf_counter()
        await repeat(number, 100, lambda: close(handles.pop(), WAITING))
        seconds = time.perf_counter() - begin
    row(f"{number:,} waiting", "worker memory per order, KiB", f"{each:.1f}", "", "", "")
    row(f"{number:,} waiting", "seconds to approve and close", f"{seconds:.1f}", "", "", "")


async def main() -> None:
    """Start a dev server, measure everything and print the table."""
    if not sys.platform.startswith("linux"):
        raise SystemExit("The benchmark reads /proc: it needs Linux.")
    begin = time.monotonic()
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(SIGTERM, task.cancel)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for path in ROOT.glob("*.py"):
            old, new = CHANGES.get(path.name, ("", ""))
            assert old in path.read_text(), f"{path}: no {old}"
            (folder / path.name).write_text(
                path.read_text().replace(old, new) if old else path.read_text()
            )
        async with (
            asyncio.timeout(420),
            await WorkflowEnvironment.start_local(
                dev_server_existing_path=shutil.which("temporal"), dev_server_log_level="never"
            ) as env,
        ):
            row("orders", "figure", "sample", "baseline", "sample / baseline", "goal")
            row(*["---"] * 6)
            for in_flight, approval, orders, seconds in LOADS:
                await compare(env.client, folder, seconds, in_flight, approval, orders)
            await two_workers(env.client, folder)
            for number in (100, 2_000):
                await waiting_orders(env.client, folder, number)
    print(f"\nTook {time.monotonic() - begin:.0f} seconds.")


if __name__ == "__main__":
    asyncio.run(serve_baseline(sys.argv[2]) if sys.argv[2:] else main())
