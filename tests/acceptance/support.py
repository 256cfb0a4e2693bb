"""What the tests share: the sample's scripts as processes, a dev server and the real CLI."""

import asyncio
import functools
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.api.taskqueue.v1 import TaskQueue
from temporalio.api.workflowservice.v1 import DescribeTaskQueueRequest
from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from shared import TASK_QUEUE, Order
from tests.orders import History, read_history, until
from workflow import OrderFulfillment

ROOT = Path(__file__).parent.parent.parent
MODULES = ("activities.py", "workflow.py", "worker.py", "starter.py", "shared.py")

READY = "Ready: "
WAITING = "waiting until"


def clean_environment(**additions: str) -> dict[str, str]:
    """Return this environment without the person's Temporal settings and Python switches."""
    dropped = ("TEMPORAL_", "PYTHON", "VIRTUAL_ENV", "UV_PROJECT")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "TEMPORAL_CONFIG_FILE": os.devnull, **additions}


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@dataclass
class Process:
    """A running program and what it has written so far."""

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
    """A dev server of its own, and a folder with the sample's scripts."""

    folder: Path
    port: int = field(default_factory=free_port)
    server: Process | None = None
    processes: list[Process] = field(default_factory=list)
    client: Client = field(init=False)

    @property
    def address(self) -> str:
        """Where the server listens."""
        return f"127.0.0.1:{self.port}"

    @functools.cached_property
    def environment(self) -> dict[str, str]:
        """The environment of everything that runs here."""
        return clean_environment(TEMPORAL_ADDRESS=self.address)

    async def run(self, *command: str, **options: Any) -> Process:
        """Start a program in the folder, in a session of its own."""
        logs = Path(tempfile.mkdtemp(dir=self.folder.parent))
        out, err = logs / "stdout", logs / "stderr"
        with out.open("wb") as stdout, err.open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self.folder,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                **{"env": self.environment, "stdin": asyncio.subprocess.DEVNULL, **options},
            )
        self.processes.append(Process(process, out, err))
        return self.processes[-1]

    async def start_server(self, *options: str, in_memory: bool = False) -> None:
        """Start the dev server, on its database file or in memory, and connect a client to it."""
        cli = shutil.which("temporal")
        assert cli, "the Temporal CLI is not on the PATH"
        start = ["server", "start-dev", "--headless", "--log-level", "never"]
        start += ["--port", str(self.port)]
        if not in_memory:
            start += ["--db-filename", str(self.folder.parent / "db")]
        for attempts_left in (2, 1, 0):
            self.server = await self.run(cli, *start, *options)
            try:
                self.client = await until(self.all_up, 30, "the dev server is up")
                break
            except AssertionError:  # another process took one of its ports just before it did
                await self.server.kill()
                if not attempts_left:
                    raise

    async def all_up(self) -> Client | None:
        """Return a client once the last part of the dev server is up, its own worker."""
        assert self.server
        assert self.server.process.returncode is None, self.server.output
        queue = TaskQueue(name="default-worker-tq")
        request = DescribeTaskQueueRequest(namespace="temporal-system", task_queue=queue)
        try:
            client = await Client.connect(self.address)
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
        return starter, (await starter.shows(r"Started workflow (\S+):"))[1]

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

        await until(approved, 30, f"approval of {workflow_id}")

    async def start_order(self, order: Order) -> WorkflowHandle[OrderFulfillment, str]:
        """Start an order without a starter."""
        return await self.client.start_workflow(
            OrderFulfillment.run, order, id=order.order_id, task_queue=TASK_QUEUE
        )

    async def history(self, workflow_id: str) -> History:
        """Read the event history of an order."""
        return await read_history(self.client.get_workflow_handle(workflow_id))

    async def reaches(self, workflow_id: str, event: str, within: float = 30) -> None:
        """Wait until the history of an order has an event of a kind."""

        async def has_event() -> bool:
            return (await self.history(workflow_id)).events[event] > 0

        await until(has_event, within, f"{event} of {workflow_id}")

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
async def staged(folder: Path, *server_options: str) -> AsyncIterator[Stage]:
    """Provide a stage with a running server; at the end no process of it is left."""
    stage = Stage(folder / "sample")
    copy_modules(stage.folder)
    try:
        await stage.start_server(*server_options)
        yield stage
    finally:
        for process in reversed(stage.processes):
            await process.kill()


Scenario = Callable[[Stage], Awaitable[None]]


def side_by_side(scenario: Scenario) -> Callable[..., Awaitable[None]]:
    """Turn a scenario into a test that runs beside the others: most of its time it waits."""

    @functools.wraps(scenario)
    async def test(running: dict[str, asyncio.Task[None]], request: Any) -> None:
        await running[request.node.nodeid]

    del test.__dict__["__wrapped__"]  # pytest would look for the scenario's own parameters
    test.__dict__["scenario"] = scenario
    return test
