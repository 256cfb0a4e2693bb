"""Measures what an order costs, beside two floors: ``uv run python -m tests.tools.benchmark``.

It starts a dev server and workers of its own, measures the sample in turns with the floors (see
``floors``), and prints tables; ``--markdown FILE`` also writes them, below what people wrote in the
file. It takes 10 minutes at most, in which the machine should have nothing else to do. ``--long``
takes half an hour, for more rounds, and for 2,000 orders that wait at the same time.
"""

import argparse
import asyncio
import functools
import json
import math
import os
import platform
import random
import re
import resource
import statistics
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.metadata import version
from pathlib import Path
from typing import Any
from uuid import uuid4

from temporalio.client import Client, WorkflowHandle
from temporalio.service import GrpcCompression

import activities
import shared
from tests.acceptance.support import ROOT, Process, Stage
from tests.orders import an_order, read_history, until
from tests.tools.floors import steps
from tests.tools.floors import worker as floor_worker
from tests.tools.floors.bare import Bare
from tests.tools.floors.like_for_like import LikeForLike
from workflow import OrderFulfillment

SAMPLE, LIKE_FOR_LIKE, BARE = "sample", "like for like", "bare"
UNCOMPRESSED = "sample with GrpcCompression.NONE"

THROUGHPUT, P50, P95 = "orders a second", "latency p50, ms", "latency p95, ms"
CPU, SERVER_CPU = "worker CPU an order, ms", "server CPU an order, ms"
MEMORY = "worker peak memory, MiB"
# What a figure of the sample may at most, or for the throughput must at least, be of a floor's.
GOALS = (
    (CPU, LIKE_FOR_LIKE, 1.02),
    (CPU, BARE, 1.07),
    (THROUGHPUT, LIKE_FOR_LIKE, 0.97),
    (P50, LIKE_FOR_LIKE, 1.03),
)
RESULTS_BEGIN = "<!-- The benchmark writes what follows. -->\n"


def memory() -> tuple[float, float]:
    """Return the peak and the current memory of this process, in MiB."""
    status = Path("/proc/self/status")
    if status.exists():  # on Linux `ru_maxrss` begins with the peak of the process's parent
        lines = dict(line.split(":", 1) for line in status.read_text().splitlines())
        return int(lines["VmHWM"].split()[0]) / 1024, int(lines["VmRSS"].split()[0]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak //= 1024**2 if sys.platform == "darwin" else 1024  # there it counts bytes
    return peak, peak


def serve(kind: str) -> None:
    """Be a worker, and answer each line on the standard input with what it has cost so far."""

    def answer() -> None:
        for _ in sys.stdin:
            print(json.dumps([time.process_time(), *memory()]), flush=True)
        os._exit(0)  # the benchmark is gone

    threading.Thread(target=answer, daemon=True).start()
    if kind in (LIKE_FOR_LIKE, BARE):
        like_for_like = kind == LIKE_FOR_LIKE
        asyncio.run(floor_worker.main(os.environ["TEMPORAL_ADDRESS"], kind, like_for_like))
    if kind == UNCOMPRESSED:
        connect = functools.partial(Client.connect, grpc_compression=GrpcCompression.NONE)
        setattr(Client, "connect", connect)  # noqa: B010  mypy
    activities.SIMULATED_LATENCY_SECONDS = 0
    shared.APPROVAL_TIMEOUT = timedelta(hours=1)
    shared.TASK_QUEUE = kind
    import worker

    shared.run(worker.main())


@dataclass
class Cost:
    """What a worker has cost: CPU seconds, peak and current memory in MiB."""

    cpu: float
    peak: float
    memory: float


@dataclass
class WorkerProcess:
    """A worker of one kind, in a process of its own, and the orders for it."""

    stage: Stage
    kind: str
    process: Process

    async def cost(self) -> Cost:
        """Ask the worker."""
        assert self.process.process.stdin
        lines = self.process.stdout.count("\n")
        self.process.process.stdin.write(b"\n")

        def answered() -> bool:
            return self.process.stdout.count("\n") > lines

        await until(answered, 30, "what the worker cost")
        return Cost(*json.loads(self.process.stdout.splitlines()[-1]))

    async def start(self, *, approved: bool) -> WorkflowHandle[Any, Any]:
        """Start an order, or its like on a floor."""
        start = self.stage.client.start_workflow
        order = an_order(f"order-{uuid4()}")
        signal = "approve_order" if approved else None
        options: Any = {"id": order.order_id, "task_queue": self.kind, "start_signal": signal}
        if self.kind == BARE:
            return await start(Bare.run, order.order_id, **options)
        options["static_summary"] = "2 x Temporal mug, $39.98"
        if self.kind == LIKE_FOR_LIKE:
            return await start(LikeForLike.run, steps.Parcel(**vars(order)), **options)
        return await start(OrderFulfillment.run, order, **options)

    async def take_one(self, *, approved: bool) -> WorkflowHandle[Any, Any]:
        """Take an order to its end, approved with the start or while it waits for it."""
        handle = await self.start(approved=approved)
        if not approved:
            await self.stage.reaches(handle.id, "TIMER_STARTED")
            await handle.signal("approve_order")
        await handle.result()
        return handle


@asynccontextmanager
async def worker_process(stage: Stage, kind: str) -> AsyncIterator[WorkerProcess]:
    """Run a worker of a kind."""
    command = [sys.executable, "-m", "tests.tools.benchmark", "--serve", kind]
    process = await stage.run(*command, stdin=asyncio.subprocess.PIPE)
    await process.shows("Ready: ", within=60)
    yield WorkerProcess(stage, kind, process)
    await process.kill()


def server_cpu(stage: Stage) -> float:
    """Return the CPU seconds of the dev server so far, where /proc tells."""
    assert stage.server
    path = Path(f"/proc/{stage.server.process.pid}/stat")
    if not path.exists():
        return 0
    fields = path.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(
    worker: WorkerProcess, in_flight: int, orders: int, *, approved: bool
) -> dict[str, float]:
    """Take orders to their end, so many at a time, and return what that cost."""
    remaining, latencies = iter(range(orders)), []

    async def customer() -> None:
        for _ in remaining:
            begin = time.perf_counter()
            await worker.take_one(approved=approved)
            latencies.append(time.perf_counter() - begin)

    before, server, begin = await worker.cost(), server_cpu(worker.stage), time.perf_counter()
    await asyncio.gather(*[customer() for _ in range(in_flight)])
    seconds, after = time.perf_counter() - begin, await worker.cost()
    return {
        THROUGHPUT: orders / seconds,
        P50: statistics.median(latencies) * 1000,
        P95: statistics.quantiles(latencies, n=20)[-1] * 1000,
        CPU: (after.cpu - before.cpu) / orders * 1000,
        SERVER_CPU: (server_cpu(worker.stage) - server) / orders * 1000,
        MEMORY: after.peak,
    }


class Rounds:
    """What all rounds came to: for each kind of worker, the figures of each round."""

    def __init__(self) -> None:
        """Start without any."""
        self.of: defaultdict[str, list[dict[str, float]]] = defaultdict(list)

    def typical(self, kind: str, figure: str) -> str:
        """Return the figure of a median round, as the machine has its moods."""
        value = statistics.median(row[figure] for row in self.of[kind])
        return f"{value:.0f}" if value >= 100 else f"{value:.1f}"

    def ratio(self, figure: str, kind: str, to: str) -> tuple[float, float]:
        """Return the mean ratio of a figure in the same rounds, and its standard error."""
        pairs = zip(self.of[kind], self.of[to], strict=True)
        ratios = [row[figure] / other[figure] for row, other in pairs if other[figure]] or [0]
        spread = statistics.stdev(ratios) if len(ratios) > 1 else math.nan
        return statistics.mean(ratios), spread / len(ratios) ** 0.5


class Report:
    """The tables, as they grow, in Markdown."""

    def __init__(self) -> None:
        """Start with what ran, and where."""
        cpuinfo = Path("/proc/cpuinfo")
        model = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
        processor = model[1] if model else platform.processor() or platform.machine()
        self.lines: list[str] = []
        self.write(
            f"`uv run python -m tests.tools.{' '.join(['benchmark', *sys.argv[1:]])}`, "
            f"{datetime.now(UTC):%Y-%m-%d}: {os.cpu_count()} cores, {processor}, "
            f"{platform.system()}, Python {platform.python_version()}, "
            f"temporalio {version('temporalio')}"
        )

    def write(self, line: str) -> None:
        """Add a line."""
        self.lines.append(line)
        print(line, flush=True)

    def table(self, title: str, header: list[str], rows: list[list[str]]) -> None:
        """Add a table."""
        widths = [max(map(len, column)) for column in zip(header, *rows, strict=True)]
        self.write(f"\n### {title}\n")
        for row in (header, ["-" * width for width in widths], *rows):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            self.write(f"| {' | '.join(cells)} |")

    def save(self, path: Path) -> None:
        """Write all tables to a file, in place of the former ones."""
        text = path.read_text() if path.exists() else ""
        text = text.partition(RESULTS_BEGIN)[0] + RESULTS_BEGIN + "\n"
        path.write_text(text + "\n".join(self.lines) + "\n")


def say(text: str) -> None:
    """Show the progress."""
    print(f"... {text}", file=sys.stderr, flush=True)


async def in_turns(
    stage: Stage, kinds: list[str], in_flight: int, orders: int, seconds: float, *, approved: bool
) -> Rounds:
    """Measure workers of all kinds round by round, in another order each time.

    A worker that follows itself finds its caches warm, and the server still busy with its like.
    """
    shuffled, rounds = random.Random(5), Rounds()
    end = time.monotonic() + seconds
    async with AsyncExitStack() as stack:
        workers = [await stack.enter_async_context(worker_process(stage, kind)) for kind in kinds]
        for worker in workers:
            await measure(worker, in_flight, max(in_flight, 20), approved=approved)
        number, begin = 1, 0.0
        # Begins another round while one more like the last still fits.
        while number == 1 or 2 * time.monotonic() - begin < end:
            begin = time.monotonic()
            say(f"{in_flight} in flight, round {number}")
            for worker in shuffled.sample(workers, len(workers)):
                row = await measure(worker, in_flight, orders, approved=approved)
                rounds.of[worker.kind].append(row)
            number += 1
    return rounds


def plus_minus(ratio: tuple[float, float]) -> str:
    """Return a ratio with its standard error, if there is one."""
    mean, error = ratio
    return f"{mean:.3f}" if math.isnan(error) else f"{mean:.3f} ± {error:.3f}"


async def cost_of_an_order(stage: Stage, report: Report, seconds: float) -> None:
    """Measure throughput, latency, CPU and memory at several loads, in turns with the floors."""
    goals, compression = [], []
    for approved, in_flight, orders, share in (
        # Short rounds, as the machine's moods must be the same for all workers of one.
        (True, 1, 10, 0.10),
        (True, 20, 40, 0.35),
        (True, 200, 200, 0.15),
        (False, 20, 40, 0.40),
    ):
        load = f"{in_flight} in flight, approved {'with the start' if approved else 'as it waits'}"
        kinds = [SAMPLE, LIKE_FOR_LIKE, BARE] + [UNCOMPRESSED] * (approved and in_flight == 20)
        rounds = await in_turns(stage, kinds, in_flight, orders, seconds * share, approved=approved)
        report.table(
            f"{load}, {len(rounds.of[SAMPLE])} rounds of {orders} orders",
            ["", SAMPLE, LIKE_FOR_LIKE, "sample / it", BARE, "sample / it"],
            [
                [figure, rounds.typical(SAMPLE, figure)]
                + [
                    cell
                    for floor in (LIKE_FOR_LIKE, BARE)
                    for cell in (
                        rounds.typical(floor, figure),
                        plus_minus(rounds.ratio(figure, SAMPLE, floor)),
                    )
                ]
                for figure in (THROUGHPUT, P50, P95, CPU, SERVER_CPU, MEMORY)
            ],
        )
        if in_flight != 20:
            continue
        for figure, floor, goal in GOALS:
            ratio = rounds.ratio(figure, SAMPLE, floor)
            met = ratio[0] >= goal if figure == THROUGHPUT else ratio[0] <= goal
            bound = f"{'least' if figure == THROUGHPUT else 'most'} {goal}"
            row = [load, figure, floor, f"at {bound}", plus_minus(ratio), "yes" if met else "no"]
            goals.append(row)
        for figure in (CPU, THROUGHPUT, P50) if approved else ():
            ratio = rounds.ratio(figure, UNCOMPRESSED, SAMPLE)
            compression.append([load, figure, plus_minus(ratio)])
    report.table(
        "grpc_compression=GrpcCompression.NONE beside the default, gzip",
        ["load", "", "without / with"],
        compression,
    )
    header = ["load", "sample's", "of the floor", "goal", "measured", "met"]
    report.table("Goals", header, goals)


async def events_of_an_order(stage: Stage, report: Report) -> None:
    """Count events and workflow tasks, approved with the start and approved while waiting."""
    counts: dict[str, list[str]] = defaultdict(list)
    for kind in (SAMPLE, LIKE_FOR_LIKE, BARE):
        async with worker_process(stage, kind) as worker:
            for approved, way in (True, "with the start"), (False, "as it waits"):
                events: Counter[str] = (
                    await read_history(await worker.take_one(approved=approved))
                ).events
                counts[f"events, approved {way}"].append(f"{events.total()}")
                tasks = f"{events['WORKFLOW_TASK_COMPLETED']}"
                counts[f"workflow tasks, approved {way}"].append(tasks)
    rows = [[name, *of_kinds] for name, of_kinds in counts.items()]
    report.table("Event history", ["", SAMPLE, LIKE_FOR_LIKE, BARE], rows)


async def waiting_orders(worker: WorkerProcess, number: int) -> tuple[str, str]:
    """Return worker memory an order that waits, in KiB, and the seconds to close them all."""
    await measure(worker, 20, 200, approved=True)
    before = (await worker.cost()).memory
    few_at_once = asyncio.Semaphore(100)

    async def start() -> WorkflowHandle[Any, Any]:
        async with few_at_once:
            handle = await worker.start(approved=False)
            await worker.stage.reaches(handle.id, "TIMER_STARTED")
            return handle

    async def approve(handle: WorkflowHandle[Any, Any]) -> None:
        async with few_at_once:
            await handle.signal("approve_order")
            await handle.result()

    handles = await asyncio.gather(*[start() for _ in range(number)])
    each = ((await worker.cost()).memory - before) * 1024 / number
    begin = time.perf_counter()
    await asyncio.gather(*[approve(handle) for handle in handles])
    return f"{each:.0f}", f"{time.perf_counter() - begin:.0f}"


async def many_orders(stage: Stage, report: Report, number: int = 2_000) -> None:
    """Measure what it takes to hold orders that wait."""
    found = []
    for kind in (SAMPLE, LIKE_FOR_LIKE, BARE):
        say(f"{number} orders that wait, {kind}")
        async with worker_process(stage, kind) as worker:
            found.append(await waiting_orders(worker, number))
    memory, seconds = zip(*found, strict=True)
    report.table(
        f"{number} orders that wait for approval",
        ["", SAMPLE, LIKE_FOR_LIKE, BARE],
        [["worker memory an order, KiB", *memory], ["seconds to close them all", *seconds]],
    )


async def main() -> None:
    """Measure all and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--long", action="store_true", help="measure for half an hour, and more")
    parser.add_argument("--minutes", type=float, help="of measured rounds, in place of 8 or 24")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables there")
    arguments = parser.parse_args()
    minutes = arguments.minutes or (24 if arguments.long else 8)
    report, begin = Report(), time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder) / "sample")
        stage.folder.symlink_to(ROOT, target_is_directory=True)
        try:
            await stage.start_server(in_memory=True)
            await cost_of_an_order(stage, report, minutes * 60)
            await events_of_an_order(stage, report)
            if arguments.long:
                await many_orders(stage, report)
        finally:
            for process in reversed(stage.processes):
                await process.kill()
    say(f"took {time.monotonic() - begin:.0f} s")
    if arguments.markdown:
        report.save(arguments.markdown)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2])
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        os._exit(130)
    sys.stdout.flush()
    os._exit(0)  # without the interpreter's shutdown, see ``shared.run``
