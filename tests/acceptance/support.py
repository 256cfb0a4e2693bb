"""What the scenarios share: the sample's scripts as processes, a dev server and the real CLI."""

import asyncio
import contextlib
import functools
import itertools
import os
import random
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from temporalio.api.enums.v1 import EventType
from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest, RegisterNamespaceRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from shared import TASK_QUEUE, Order
from tests.acceptance.reaper import Reaper
from tests.orders import History, read_history, until
from workflow import OrderFulfillment

ROOT = Path(__file__).parent.parent.parent
MODULES = ("activities.py", "workflow.py", "worker.py", "starter.py", "shared.py")

READY = "Ready: "
WAITING = "waiting up to"
ORDER_ID = r"order-[0-9a-f]{7}"


def clean_environment(**additions: str) -> dict[str, str]:
    """Return this environment without the person's Temporal settings and Python switches."""
    dropped = ("TEMPORAL_", "PYTHON", "PYTEST", "VIRTUAL_ENV", "UV_PROJECT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "TEMPORAL_CONFIG_FILE": os.devnull, **additions}


def reserve_port() -> socket.socket:
    """Return a socket with a port on which nothing listens, as long as the socket is open."""
    while True:
        reservation = socket.socket()
        # Below those that systems hand out, or one could come between its end and a server's start.
        with contextlib.suppress(OSError):
            reservation.bind(("127.0.0.1", random.randrange(10_000, 30_000)))
            return reservation
        reservation.close()


@dataclass
class Process:
    """A running program and what it has written so far."""

    command: tuple[str, ...]
    process: asyncio.subprocess.Process
    stdout_file: Path
    stderr_file: Path

    @property
    def stdout(self) -> str:
        """Everything on its standard output so far."""
        return self.stdout_file.read_text()

    @property
    def stderr(self) -> str:
        """Everything on its standard error so far."""
        return self.stderr_file.read_text()

    @property
    def output(self) -> str:
        """Both, for messages and searches."""
        return self.stdout + self.stderr

    async def shows(self, pattern: str, within: float = 60, times: int = 1) -> re.Match[str]:
        """Wait until its output has so many matches of a pattern; return the last of them."""

        def matches() -> list[re.Match[str]] | None:
            found = list(re.finditer(pattern, self.output))
            if len(found) < times:
                assert self.process.returncode is None, f"ended without {pattern!r}: {self.output}"
                return None
            return found

        try:
            found: list[re.Match[str]] = await until(matches, within, f"{times} x {pattern!r}")
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.output}") from None
        return found[times - 1]

    async def ends(self, within: float = 60) -> int:
        """Wait for its end and return its exit status."""
        try:
            return await asyncio.wait_for(self.process.wait(), within)
        except TimeoutError:
            raise AssertionError(f"still runs after {within} s: {self.output}") from None

    def send(self, number: signal.Signals) -> None:
        """Send a signal to it and to what it started, as a terminal's Ctrl-C does."""
        os.killpg(self.process.pid, number)

    async def kill(self) -> None:
        """End it as a power failure would, if it still runs."""
        if self.process.returncode is None:
            self.send(signal.SIGKILL)
            await self.process.wait()


@dataclass
class Stage:
    """A folder with the sample's scripts, and the address and namespace that they use."""

    folder: Path
    port: int = 0
    namespace: str = "default"
    server: Process | None = field(default=None, repr=False)
    processes: list[Process] = field(default_factory=list, repr=False)
    reaper: Reaper = field(default_factory=Reaper, repr=False)
    reservation: socket.socket | None = field(default=None, repr=False)
    client: Client = field(init=False, repr=False)

    def __post_init__(self) -> None:
        """Choose a port, unless there is a server."""
        if not self.port:
            self.choose_port()

    def choose_port(self) -> None:
        """Choose a port for a server of its own; until that starts, nothing listens there."""
        self.reservation = reserve_port()
        self.port = self.reservation.getsockname()[1]
        self.environment["TEMPORAL_ADDRESS"] = self.address

    def release_port(self) -> None:
        """Let a server have the port."""
        if self.reservation:
            self.reservation.close()

    @property
    def address(self) -> str:
        """Where the server listens."""
        return f"127.0.0.1:{self.port}"

    @functools.cached_property
    def environment(self) -> dict[str, str]:
        """The environment of everything that runs here."""
        environment = clean_environment(TEMPORAL_ADDRESS=self.address)
        if self.namespace != "default":
            environment["TEMPORAL_NAMESPACE"] = self.namespace
        return environment

    async def run(self, *command: str, **options: Any) -> Process:
        """Start a program in the folder, in a session of its own."""
        logs = Path(tempfile.mkdtemp(dir=self.folder.parent))
        out, err = logs / "stdout", logs / "stderr"
        out.touch()
        with err.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *self.reaper.command(out, *command),
                cwd=self.folder,
                stdout=self.reaper.pipe,
                stderr=stderr,
                start_new_session=True,
                **{"env": self.environment, "stdin": asyncio.subprocess.DEVNULL, **options},
            )
        self.processes.append(Process(command, process, out, err))
        return self.processes[-1]

    async def start_server(self, *options: str, in_memory: bool = False) -> None:
        """Start the dev server, on its database file or in memory, and connect a client to it."""
        cli = shutil.which("temporal")
        assert cli, "the Temporal CLI is not on the PATH"
        start = ["server", "start-dev", "--headless", "--log-level", "never", *options]
        if not in_memory:
            start += ["--db-filename", str(self.folder.parent / "db")]
        nobody_knows_the_port = not self.processes
        for attempts_left in (2, 1, 0):
            self.release_port()
            self.server = await self.run(cli, *start, "--port", str(self.port))
            try:
                self.client = await until(self.all_up, 60, "the dev server is up")
                break
            except AssertionError:  # another process took one of its ports just before it did
                await self.server.kill()
                if not attempts_left:
                    raise
                if nobody_knows_the_port:
                    self.choose_port()

    async def end(self) -> None:
        """End all that was started here."""
        self.release_port()
        self.reaper.reap()
        for process in self.processes:
            await process.process.wait()
            # Shown if the test fails.
            print(f"$ {' '.join(process.command):.200}\n{process.output[-10_000:]}")

    async def all_up(self) -> Client | None:
        """Return a client once the last part of the dev server is up, its own worker."""
        assert self.server
        assert self.server.process.returncode is None, self.server.output
        queue = TaskQueue(name="default-worker-tq")
        request = DescribeTaskQueueRequest(namespace="temporal-system", task_queue=queue)
        try:
            client = await Client.connect(self.address, namespace=self.namespace)
            last = await client.workflow_service.describe_task_queue(request)
        except (RuntimeError, RPCError):
            return None
        return client if last.pollers else None

    async def script(self, name: str) -> Process:
        """Start one of the sample's scripts."""
        return await self.run(sys.executable, name)

    async def worker(self) -> Process:
        """Start a worker and wait until it is ready."""
        worker = await self.script("worker.py")
        await worker.shows(READY)
        return worker

    async def starter(self) -> tuple[Process, str]:
        """Start an order and return its starter and its workflow id."""
        starter = await self.script("starter.py")
        return starter, (await starter.shows(r"Started workflow (\S+) at "))[1]

    async def temporal(self, *arguments: str) -> Process:
        """Run the Temporal CLI to its end."""
        process = await self.run("temporal", *arguments)
        await process.ends(60)
        return process

    async def approve(self, workflow_id: str) -> None:
        """Approve an order as the README says; again, while a restarted server is busy with it."""
        arguments = ("--workflow-id", workflow_id, "--name", "approve_order")

        async def approved() -> bool:
            process = await self.temporal("workflow", "signal", *arguments)
            assert process.process.returncode == 0 or "is busy" in process.stderr, process.output
            return process.process.returncode == 0

        await until(approved, 60, f"approval of {workflow_id}")

    async def start_order(self, order: Order) -> WorkflowHandle[OrderFulfillment, str]:
        """Start an order without a starter."""
        return await self.client.start_workflow(
            OrderFulfillment.run, order, id=order.order_id, task_queue=TASK_QUEUE
        )

    async def history(self, workflow_id: str) -> History:
        """Read the event history of an order."""
        return await read_history(self.client.get_workflow_handle(workflow_id))

    async def reaches(self, workflow_id: str, event: str, within: float = 60) -> None:
        """Wait until the history of an order has an event of a kind; the server tells."""
        kind, handle = f"EVENT_TYPE_{event}", self.client.get_workflow_handle(workflow_id)
        async with asyncio.timeout(within):
            async for each in handle.fetch_history_events(wait_new_event=True):
                if EventType.Name(each.event_type) == kind:
                    return
        raise AssertionError(f"{workflow_id} ended without {event}")

    def shorten(self, *, latency: float = 1, approval: float = 30) -> None:
        """Let an activity, and the wait for approval, take less time, where that is not the point.

        A killed worker needs a second of latency to be killed in, on a busy machine.
        """
        for module, before, seconds in (
            ("activities.py", "SIMULATED_LATENCY_SECONDS = 1.0", latency),
            ("shared.py", "APPROVAL_TIMEOUT = timedelta(seconds=30)", approval),
        ):
            self.edit(module, before, re.sub(r"[\d.]+", f"{seconds}", before))

    def edit(self, module: str, before: str, after: str) -> None:
        """Edit one place of a module, as a person does; it must be there exactly once."""
        path = self.folder / module
        text = path.read_text()
        assert text.count(before) == 1, f"{module} has {text.count(before)} x {before!r}"
        path.write_text(text.replace(before, after))


def copy_modules(folder: Path, names: Iterable[str] = MODULES) -> None:
    """Copy modules of the sample into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        shutil.copy(ROOT / name, folder)


@asynccontextmanager
async def bare(folder: Path, port: int = 0, namespace: str = "default") -> AsyncIterator[Stage]:
    """Provide a stage that starts no server; at the end no process of it is left."""
    copy_modules(folder / "sample")
    stage = Stage(folder / "sample", port, namespace)
    try:
        yield stage
    finally:
        await stage.end()


@asynccontextmanager
async def staged(
    folder: Path, *server_options: str, in_memory: bool = False
) -> AsyncIterator[Stage]:
    """Provide a stage with a server of its own."""
    async with bare(folder) as stage:
        await stage.start_server(*server_options, in_memory=in_memory)
        yield stage


_numbers = itertools.count(1)


@asynccontextmanager
async def hosted(folder: Path, host: Stage) -> AsyncIterator[Stage]:
    """Provide a stage with a namespace of its own on the server of another stage."""
    namespace = f"test-{next(_numbers)}"
    request = RegisterNamespaceRequest(namespace=namespace)
    request.workflow_execution_retention_period.FromTimedelta(timedelta(days=1))
    await host.client.workflow_service.register_namespace(request)
    async with bare(folder, host.port, namespace) as stage:
        stage.client = await Client.connect(stage.address, namespace=namespace)
        yield stage
