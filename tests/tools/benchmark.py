"""Measures what an order costs, beside the floor: ``uv run python -m tests.tools.benchmark``.

It starts a dev server and workers of its own and prints a table; ``--json FILE`` writes the same as
data. The floor (``floor.py``) is measured in the same run, in turns with the sample. It takes about
25 minutes, in which the machine should have nothing else to do.
"""

import argparse
import asyncio
import functools
import json
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
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

from temporalio import workflow
from temporalio.client import WorkflowHandle
from temporalio.worker import PollerBehaviorAutoscaling, Worker

import activities
import shared
from tests.acceptance.support import ROOT, Process, Stage
from tests.orders import an_order, read_history, until
from tests.tools import floor
from workflow import OrderFulfillment

SAMPLE, FLOOR, PLAIN = "sample", "floor", "sample-without-summaries"
DEFAULTS = "SDK's defaults"
SETTINGS: dict[str, dict[str, Any]] = {
    DEFAULTS: {},
    "the defaults again": {},
    "max_concurrent_activities=1000": {"max_concurrent_activities": 1000},
    "max_concurrent_workflow_tasks=500": {"max_concurrent_workflow_tasks": 500},
    "max_concurrent_workflow_tasks=10": {"max_concurrent_workflow_tasks": 10},
    "max_cached_workflows=5000": {"max_cached_workflows": 5000},
    "poller autoscaling": {
        "workflow_task_poller_behavior": PollerBehaviorAutoscaling(),
        "activity_task_poller_behavior": PollerBehaviorAutoscaling(),
    },
}


def serve(kind: str, latency: float, setting: str) -> None:
    """Be a worker, and answer each line on the standard input with what it has cost so far."""

    def answer() -> None:
        for _ in sys.stdin:
            memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            memory //= 1024 if sys.platform == "darwin" else 1  # there it counts bytes
            pages = Path("/proc/self/statm")
            now = int(pages.read_text().split()[1]) * 4 if pages.exists() else memory
            print(json.dumps([time.process_time(), memory, now]), flush=True)
        os._exit(0)  # the benchmark is gone

    threading.Thread(target=answer, daemon=True).start()
    if kind == FLOOR:
        asyncio.run(floor.main(os.environ["TEMPORAL_ADDRESS"]))
    if kind == PLAIN:
        execute: Any = workflow.execute_activity

        def without_summary(*arguments: Any, summary: str, **options: Any) -> Any:
            return execute(*arguments, **options)

        setattr(workflow, "execute_activity", without_summary)  # noqa: B010  mypy
    activities.SIMULATED_LATENCY_SECONDS = latency
    shared.APPROVAL_TIMEOUT = timedelta(hours=1)
    shared.TASK_QUEUE = kind
    import worker

    setattr(worker, "Worker", functools.partial(Worker, **SETTINGS[setting]))  # noqa: B010  mypy
    shared.run(worker.main())


@dataclass
class Cost:
    """What a worker has cost: CPU seconds, peak and current memory in MiB."""

    cpu: float
    peak: float
    memory: float


def answered(process: Process, lines: int) -> bool:
    """Tell whether a worker has answered once more."""
    return process.stdout.count("\n") > lines


@dataclass
class Workers:
    """Some worker processes of one kind."""

    stage: Stage
    kind: str
    processes: list[Process]

    async def cost(self) -> Cost:
        """Ask all of them, and add it up."""
        total = Cost(0, 0, 0)
        for process in self.processes:
            assert process.process.stdin
            lines = process.stdout.count("\n")
            process.process.stdin.write(b"\n")
            await until(functools.partial(answered, process, lines), 30, "what the worker cost")
            cpu, peak, memory = json.loads(process.stdout.splitlines()[-1])
            total.cpu += cpu
            total.peak += peak / 1024
            total.memory += memory / 1024
        return total

    async def start(self, text: str, approved: bool) -> WorkflowHandle[Any, Any]:
        """Start an order, or its like on the floor."""
        start = self.stage.client.start_workflow
        name, signal = f"{self.kind}-{uuid4()}", "approve_order" if approved else None
        options: Any = {"id": name, "task_queue": self.kind, "start_signal": signal}
        if self.kind == FLOOR:
            return await start(floor.Floor.run, text, **options)
        return await start(OrderFulfillment.run, an_order(name), **options)


@asynccontextmanager
async def workers(
    stage: Stage, kind: str, number: int = 1, latency: float = 0, setting: str = DEFAULTS
) -> AsyncIterator[Workers]:
    """Run some worker processes of a kind."""
    me = "tests.tools.benchmark"
    command = [sys.executable, "-m", me, "--serve", kind, str(latency), setting]
    pipe = asyncio.subprocess.PIPE
    processes = [await stage.run(*command, stdin=pipe) for _ in range(number)]
    for process in processes:
        await process.shows("Ready: ", within=60)
    yield Workers(stage, kind, processes)
    for process in processes:
        await process.kill()


@dataclass
class Figures:
    """What rounds of orders came to; a median round counts, as the machine has its moods."""

    throughput: list[float] = field(default_factory=list)
    cpu: list[float] = field(default_factory=list)
    server_cpu: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    peak: float = 0

    def row(self) -> dict[str, float]:
        """Return the figures of the table."""
        cut = statistics.quantiles(self.latencies, n=100)
        return {
            "orders a second": statistics.median(self.throughput),
            "latency p50, ms": cut[49] * 1000,
            "latency p95, ms": cut[94] * 1000,
            "latency p99, ms": cut[98] * 1000,
            "worker CPU an order, ms": statistics.median(self.cpu) * 1000,
            "server CPU an order, ms": statistics.median(self.server_cpu) * 1000,
            "worker peak memory, MiB": self.peak,
        }


def server_cpu(stage: Stage) -> float:
    """Return the CPU seconds of the dev server so far, where /proc tells."""
    assert stage.server
    path = Path(f"/proc/{stage.server.process.pid}/stat")
    if not path.exists():
        return 0
    fields = path.read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def measure(
    crew: Workers, in_flight: int, orders: int, into: Figures, text: str = "", spread: float = 0
) -> None:
    """Take orders to their end, so many at a time, and add what that cost.

    The text goes to the floor; the first orders begin spread over so many seconds.
    """
    waiting = iter(range(orders))

    async def customer(number: int) -> None:
        await asyncio.sleep(spread * number / in_flight)
        for _ in waiting:
            begin = time.perf_counter()
            await (await crew.start(text, approved=True)).result()
            into.latencies.append(time.perf_counter() - begin)

    cost, server, begin = await crew.cost(), server_cpu(crew.stage), time.perf_counter()
    await asyncio.gather(*[customer(number) for number in range(in_flight)])
    into.throughput.append(orders / (time.perf_counter() - begin))
    after = await crew.cost()
    into.cpu.append((after.cpu - cost.cpu) / orders)
    into.server_cpu.append((server_cpu(crew.stage) - server) / orders)
    into.peak = after.peak


class Report:
    """The table, as it grows."""

    def __init__(self) -> None:
        """Start with what machine it is."""
        processor = platform.processor() or platform.machine()
        cpuinfo = Path("/proc/cpuinfo")
        model = re.search(r"model name\s*: (.*)", cpuinfo.read_text()) if cpuinfo.exists() else None
        processor = model[1] if model else processor
        python = platform.python_version()
        self.machine = f"{os.cpu_count()} cores, {processor}, {platform.system()}, Python {python}"
        self.rows: list[dict[str, Any]] = []
        print(self.machine, flush=True)

    def section(self, title: str) -> None:
        """Begin a part of the table."""
        print(f"\n{title:58}{'sample':>10}{'floor':>10}{'ratio':>8}", flush=True)

    def add(self, name: str, sample: float, floor: float | None = None) -> None:
        """Add a row."""
        ratio = sample / floor if floor else None
        self.rows.append({"name": name, "sample": sample, "floor": floor, "ratio": ratio})
        right = f"{floor:10.2f}{ratio:8.2f}" if floor and ratio else ""
        print(f"  {name:56}{sample:10.2f}{right}", flush=True)


def say(text: str) -> None:
    """Show the progress."""
    print(f"... {text}", file=sys.stderr, flush=True)


async def in_turns(
    crews: list[Workers], in_flight: int, orders: int, rounds: int
) -> dict[str, dict[str, float]]:
    """Measure workers round by round, in another order each time; return a row for each.

    A worker that follows itself finds its caches warm, and the server still busy with its like.
    """
    figures = {crew.kind: Figures() for crew in crews}
    shuffled = random.Random(5)
    for crew in crews:
        await measure(crew, in_flight, in_flight, Figures())
    for turn in range(rounds):
        say(f"{in_flight} in flight, round {turn + 1} of {rounds}")
        for crew in shuffled.sample(crews, len(crews)):
            await measure(crew, in_flight, orders, figures[crew.kind])
    return {kind: of_kind.row() for kind, of_kind in figures.items()}


async def cost_of_an_order(stage: Stage, report: Report) -> None:
    """Measure throughput, latency, CPU and memory at several loads, in turns with the floor."""
    for in_flight, orders, rounds in ((1, 30, 8), (20, 100, 16), (200, 200, 8)):
        async with (
            workers(stage, SAMPLE) as sample,
            workers(stage, FLOOR) as lowest,
            workers(stage, PLAIN) as plain,
        ):
            rows = await in_turns([sample, lowest, plain], in_flight, orders, rounds)
        for kind, title in ((SAMPLE, "No latency"), (PLAIN, "No latency, no summaries")):
            report.section(f"{title}, {in_flight} in flight")
            for name, figure in rows[kind].items():
                report.add(name, figure, rows[FLOOR][name])


async def events_of_an_order(stage: Stage, report: Report) -> None:
    """Count events and workflow tasks, approved with the start and approved while waiting."""
    report.section("Event history")
    async with workers(stage, SAMPLE) as sample, workers(stage, FLOOR) as lowest:
        for approved, name in (True, "approved with the start"), (False, "approved while it waits"):
            histories = []
            for crew in (sample, lowest):
                handle = await crew.start("", approved)
                if not approved:
                    await stage.reaches(handle.id, "TIMER_STARTED", within=120)
                    await handle.signal("approve_order")
                await handle.result()
                histories.append(await read_history(handle))
            report.add(f"events, {name}", *[history.total for history in histories])
            tasks = [history.events["WORKFLOW_TASK_COMPLETED"] for history in histories]
            report.add(f"workflow tasks, {name}", *tasks)


async def carried_with_latency(stage: Stage, report: Report) -> None:
    """Find how many orders one worker carries with steps of a second, by kind and setting."""
    report.section("Steps of a second")
    found = []
    for kind, setting in (
        (SAMPLE, DEFAULTS),
        (FLOOR, DEFAULTS),
        (SAMPLE, "max_concurrent_activities=1000"),
    ):
        carried, throughput, base = 0, 0.0, 0.0
        async with workers(stage, kind, latency=1, setting=setting) as crew:
            for in_flight in (1, 25, 50, 75, 100, 125, 150, 200):
                say(f"steps of a second, {kind}, {setting}: {in_flight} in flight")
                figures = Figures()
                await measure(crew, in_flight, in_flight * 3, figures, "slow", spread=3)
                middle = statistics.median(figures.latencies)
                base = base or middle
                if middle > base * 1.1:
                    break
                carried, throughput = in_flight, figures.throughput[0]
        found.append((carried, throughput))
    report.add("orders in flight before latency grows by 10 %", found[0][0], found[1][0])
    report.add("orders a second then", found[0][1], found[1][1])
    report.add("orders in flight, max_concurrent_activities=1000", found[2][0])


async def wait_and_drain(crew: Workers, number: int) -> tuple[float, float]:
    """Return worker memory a waiting order, in KiB, and the seconds to drain them all."""
    await measure(crew, 20, 200, Figures())
    before = (await crew.cost()).memory
    few_at_once = asyncio.Semaphore(100)

    async def start() -> WorkflowHandle[Any, Any]:
        async with few_at_once:
            return await crew.start("", approved=False)

    async def approve(handle: WorkflowHandle[Any, Any]) -> None:
        async with few_at_once:
            await handle.signal("approve_order")
            await handle.result()

    handles = await asyncio.gather(*[start() for _ in range(number)])
    for handle in handles:
        await crew.stage.reaches(handle.id, "TIMER_STARTED", within=120)
    each = ((await crew.cost()).memory - before) * 1024 / number
    begin = time.perf_counter()
    await asyncio.gather(*[approve(handle) for handle in handles])
    return each, time.perf_counter() - begin


async def waiting_orders(stage: Stage, report: Report, number: int = 2_000) -> None:
    """Measure memory and drain of orders that wait for approval."""
    report.section(f"{number} orders that wait for approval")
    found = []
    larger = "max_cached_workflows=5000"
    for kind, setting in ((SAMPLE, DEFAULTS), (FLOOR, DEFAULTS), (SAMPLE, larger)):
        say(f"{number} orders that wait, {kind}, {setting}")
        async with workers(stage, kind, setting=setting) as crew:
            found.append(await wait_and_drain(crew, number))
    for column, name in enumerate(("worker memory an order, KiB", "seconds until all are closed")):
        report.add(name, found[0][column], found[1][column])
        report.add(f"{name}, {larger}", found[2][column])


async def several_workers(stage: Stage, report: Report) -> None:
    """Measure one, two and four workers, and who uses the processor."""
    for number in (1, 2, 4):
        say(f"{number} workers")
        async with workers(stage, SAMPLE, number) as crew, workers(stage, FLOOR, number) as lowest:
            rows = await in_turns([crew, lowest], 200, 200, 2)
        report.section(f"{number} worker{'s' * (number > 1)}, 200 in flight")
        second = "orders a second"
        report.add(second, rows[SAMPLE][second], rows[FLOOR][second])
        for who in ("worker", "server"):
            name = f"{who} CPU an order, ms"
            used = [row[name] * row[second] / 1000 for row in (rows[SAMPLE], rows[FLOOR])]
            report.add(f"cores used by the {who}{'s' * (who == 'worker')}", *used)


async def settings(stage: Stage, report: Report) -> None:
    """Measure what the worker's settings do, in turns with the defaults."""
    report.section("Settings (sample) beside the SDK's defaults (floor)")
    async with AsyncExitStack() as stack:
        entered = [workers(stage, setting, setting=setting) for setting in SETTINGS]
        crews = [await stack.enter_async_context(crew) for crew in entered]
        rows = await in_turns(crews, 200, 200, 6)
    default = rows.pop(DEFAULTS)
    for name in ("orders a second", "worker CPU an order, ms"):
        for setting, row in rows.items():
            report.add(f"{name}, {setting}", row[name], default[name])


async def main() -> None:
    """Measure all and print it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table as data")
    arguments = parser.parse_args()
    report, begin = Report(), time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        stage = Stage(Path(folder) / "sample")
        stage.folder.symlink_to(ROOT, target_is_directory=True)
        try:
            await stage.start_server(in_memory=True)
            await cost_of_an_order(stage, report)
            await events_of_an_order(stage, report)
            await carried_with_latency(stage, report)
            await waiting_orders(stage, report)
            await several_workers(stage, report)
            await settings(stage, report)
        finally:
            for process in reversed(stage.processes):
                await process.kill()
    say(f"took {time.perf_counter() - begin:.0f} s")
    if arguments.json:
        data = {"machine": report.machine, "rows": report.rows}
        arguments.json.write_text(json.dumps(data, indent=1) + "\n")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--serve"]:
        serve(sys.argv[2], float(sys.argv[3]), sys.argv[4])
    try:
        asyncio.run(main())
    except KeyboardInterrupt:
        os._exit(130)
    sys.stdout.flush()
    os._exit(0)  # without the interpreter's shutdown, see ``shared.run``
