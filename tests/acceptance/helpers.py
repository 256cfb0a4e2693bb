"""A copy of the sample, and the programs that a test runs in it."""

import asyncio
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from temporalio.client import Client

from tests.helpers import Handle, wait_for_event
from workflow import OrderFulfillment

ROOT = Path(__file__).parents[2]
AUTHORIZING = "process_payment authorizing"
WAITING = "waits for the signal approve_order"


def normal(output: str) -> list[str]:
    """Return the lines of an output without IDs and times."""
    output = re.sub(r"order-[0-9a-f]{7}", "ORDER", output)
    return re.sub(r"^\d\d:\d\d:\d\d ", "TIME ", output, flags=re.M).splitlines()


@dataclass
class Program:
    """A program that runs in a copy of the sample, with its output so far."""

    process: asyncio.subprocess.Process
    logs: Path

    @property
    def stdout(self) -> str:
        return (self.logs / "stdout").read_text()

    @property
    def stderr(self) -> str:
        return (self.logs / "stderr").read_text()

    async def prints(self, pattern: str, times: int = 1, seconds: float = 60) -> re.Match[str]:
        """Wait for a number of matches in the output. Return the match with that number."""
        deadline = time.monotonic() + seconds
        while True:
            late = self.process.returncode is not None or time.monotonic() > deadline
            output = self.stdout + self.stderr
            found = list(re.finditer(pattern, output))
            if len(found) >= times:
                return found[times - 1]
            assert not late, f"{len(found)} times {pattern!r} in: {output}"
            await asyncio.sleep(0.05)

    async def exits(self, seconds: float = 60) -> int:
        return await asyncio.wait_for(self.process.wait(), seconds)

    async def stop(self, number: signal.Signals = signal.SIGKILL) -> int:
        with suppress(ProcessLookupError):  # It may have ended by itself.
            os.killpg(self.process.pid, number)
        return await self.exits()


@dataclass
class Sample:
    """A copy of the sample, and the programs that run in it."""

    folder: Path
    environment: dict[str, str]
    programs: list[Program] = field(default_factory=list)
    client: Client = field(init=False)  # of the server that serve() starts

    async def start(self, *command: str, **settings: str) -> Program:
        logs = Path(tempfile.mkdtemp(dir=self.folder.parent))
        with (logs / "stdout").open("wb") as stdout, (logs / "stderr").open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self.folder,
                env={**self.environment, **settings},
                stdin=asyncio.subprocess.DEVNULL,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
            )
        self.programs.append(Program(process, logs))
        return self.programs[-1]

    async def script(self, name: str, **settings: str) -> Program:
        return await self.start(sys.executable, name, **settings)

    async def shell(self, command: str, workflow_id: str = "") -> Program:
        return await self.start("bash", "-c", command.replace("WORKFLOW_ID", workflow_id))

    async def run(self, command: str, workflow_id: str = "") -> str:
        program = await self.shell(command, workflow_id)
        assert await program.exits(120) == 0, program.stderr
        return program.stdout

    async def stop(self) -> None:
        """End all programs, and print their output for the report of a failed test."""
        for program in self.programs:
            await program.stop()
            print((program.stdout + program.stderr)[-5000:])

    async def serve(self) -> Program:
        """Start a dev server at the address in the environment, on a database file."""
        address = self.environment["TEMPORAL_ADDRESS"]
        options = ["--headless", "--log-level", "never", "--db-filename", "../orders.db"]
        port = address.split(":")[1]
        server = await self.start("temporal", "server", "start-dev", *options, "--port", port)
        await server.prints("Temporal Server:")
        self.client = await Client.connect(address)
        return server

    async def worker(self) -> Program:
        worker = await self.script("worker.py")
        await worker.prints("Worker started: ")
        return worker

    async def starter(self) -> tuple[Program, str]:
        starter = await self.script("starter.py")
        return starter, (await starter.prints(r"Started workflow (\S+)\n"))[1]

    async def waiting_order(self) -> tuple[Program, str]:
        starter, workflow_id = await self.starter()
        await wait_for_event(self.order(workflow_id), "TIMER_STARTED approval", seconds=60)
        return starter, workflow_id

    async def approve(self, workflow_id: str) -> None:
        await self.order(workflow_id).signal(OrderFulfillment.approve_order)

    def order(self, workflow_id: str) -> Handle:
        return self.client.get_workflow_handle_for(OrderFulfillment.run, workflow_id)

    def edit(self, file: str, before: str, after: str) -> None:
        text = (self.folder / file).read_text()
        assert text.count(before) == 1, f"{file} has {before!r} {text.count(before)} times"
        (self.folder / file).write_text(text.replace(before, after))

    def restore(self, file: str) -> None:
        shutil.copy(ROOT / file, self.folder)

    def set_latency(self, seconds: float) -> None:
        assign(self.folder / "activities.py", "SIMULATED_LATENCY_SECONDS", f"{seconds}")


def copy_sample(folder: Path) -> Path:
    ignore = shutil.ignore_patterns(".*", "__pycache__", "tests")
    return Path(shutil.copytree(ROOT, folder, ignore=ignore))


def assign(file: Path, name: str, value: str) -> None:
    """Give a constant of a module another value."""
    text, count = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", file.read_text())
    assert count == 1, f"{file.name} assigns {name} {count} times"
    file.write_text(text)
