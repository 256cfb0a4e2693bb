"""A copy of the sample, the programs that a test runs in it, and what the README claims."""

import asyncio
import os
import re
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.client import Client
from temporalio.service import RPCError

from tests.helpers import Handle, History, read_history, wait_for_event
from workflow import OrderFulfillment

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
TEXTS = re.findall(r"^```text\n(.*?)^```$", README, re.M | re.S)  # the result, the worker's log
MODULES = {path.name for path in ROOT.glob("*.py")}
STARTED, WAITING = "Worker started: ", "waits up to 30 s for the signal approve_order"
AUTHORIZING = "process_payment authorizing"


def scenario(title: str) -> str:
    return README.split(f"### {title}\n")[1].split("\n##")[0]


def edit_of(title: str) -> tuple[str, str, str]:
    """Return the file of a scenario's edit, and the text before and after it."""
    text = " ".join(scenario(title).split())
    file, edit = re.findall(r"edit\*\* `(\w+\.py)`: (.*?)\. ", text, re.I)[0]
    if edit.startswith("uncomment"):
        line = re.findall("`# (.*)`", edit)[0]
        return file, f"# {line}\n", f"{line}\n"
    before, after = re.findall("`(.*?)`", edit)
    return file, before, after


def promised(title: str, start: str) -> str:
    return str(re.findall(rf"(?<!# )`({start}.*?)`", scenario(title))[0])


def normal(output: str) -> list[str]:
    """Return the lines of an output without IDs, times and addresses."""
    output = re.sub(r"order-[0-9a-f]{7}", "ORDER", output)
    output = re.sub(r"^\d\d:\d\d:\d\d ", "TIME ", output, flags=re.M)
    output = re.sub(r" --address \S+ --namespace \S+", "", output)
    return re.sub(r"(localhost|127\.0\.0\.1):\d+, namespace [\w-]+", "SERVER", output).splitlines()


async def wait_for(condition: Callable[[], Awaitable[Any]], what: str, seconds: float = 60) -> Any:
    """Return the first true value of a condition, or fail when the time is up."""
    deadline = time.monotonic() + seconds
    while not (value := await condition()):
        assert time.monotonic() < deadline, f"timed out after {seconds} s: {what}"
        await asyncio.sleep(0.05)
    return value


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
        """Wait for the given number of matches in the output. Return the last."""

        async def matches() -> list[re.Match[str]]:
            running = self.process.returncode is None
            output = self.stdout + self.stderr
            found = list(re.finditer(pattern, output))
            assert len(found) >= times or running, f"ended without {pattern!r}: {output}"
            return found if len(found) >= times else []

        found: list[re.Match[str]] = await wait_for(matches, f"{pattern!r}", seconds)
        return found[times - 1]

    async def exits(self, seconds: float = 60) -> int:
        return await asyncio.wait_for(self.process.wait(), seconds)

    async def stop(self, number: signal.Signals = signal.SIGKILL) -> int:
        with suppress(ProcessLookupError):  # It may have ended by itself.
            self.send(number)
        return await self.exits()

    def send(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)


@dataclass
class Sample:
    """A copy of the sample, and the programs that run in it."""

    folder: Path
    environment: dict[str, str]
    programs: list[Program] = field(default_factory=list)
    client: Client = field(init=False)  # of the server that serve() starts

    async def start(self, *command: str, **options: Any) -> Program:
        logs = Path(tempfile.mkdtemp(dir=self.folder.parent))
        options = {"env": self.environment, "stdin": asyncio.subprocess.DEVNULL, **options}
        with (logs / "stdout").open("wb") as stdout, (logs / "stderr").open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self.folder,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                **options,
            )
        self.programs.append(Program(process, logs))
        return self.programs[-1]

    async def script(self, name: str, **settings: str) -> Program:
        return await self.start(sys.executable, name, env={**self.environment, **settings})

    async def stop(self) -> None:
        """End all programs, and print their output for the report of a failed test."""
        for program in self.programs:
            await program.stop()
            print((program.stdout + program.stderr)[-5000:])

    async def serve(self) -> Program:
        """Start a dev server at the address in the environment, on a database file."""
        address = self.environment.get("TEMPORAL_ADDRESS", "localhost:7233")
        options = ["--headless", "--log-level", "never", "--db-filename", "../orders.db"]
        command = ["temporal", "server", "start-dev", *options, "--port", address.split(":")[1]]
        server = await self.start(*command)

        async def is_up() -> bool:
            with suppress(RuntimeError, RPCError):
                self.client = await Client.connect(address)
                return bool(await self.client.count_workflows())
            return False

        await wait_for(is_up, "dev server")
        return server

    async def worker(self) -> Program:
        worker = await self.script("worker.py")
        await worker.prints(STARTED)
        return worker

    async def starter(self) -> tuple[Program, str]:
        starter = await self.script("starter.py")
        return starter, (await starter.prints(r"Started workflow (\S+)\n"))[1]

    async def waiting_order(self) -> tuple[Program, str]:
        starter, workflow_id = await self.starter()
        await self.event(workflow_id, "TIMER_STARTED")
        return starter, workflow_id

    async def temporal(self, *arguments: str) -> str:
        program = await self.start("temporal", *arguments)
        assert await program.exits() == 0, program.stderr
        return program.stdout

    async def approve(self, workflow_id: str) -> None:
        await self.handle(workflow_id).signal(OrderFulfillment.approve_order)

    def handle(self, workflow_id: str) -> Handle:
        return self.client.get_workflow_handle_for(OrderFulfillment.run, workflow_id)

    async def history(self, workflow_id: str) -> History:
        return await read_history(self.handle(workflow_id))

    async def event(self, workflow_id: str, event: str) -> None:
        await wait_for_event(self.handle(workflow_id), event, seconds=60)

    def edit(self, file: str, before: str, after: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert text.count(before) == 1, f"{file} has {before!r} {text.count(before)} times"
        path.write_text(text.replace(before, after))

    def set_durations(self, latency: float = 0.2, approval: float = 30) -> None:
        """Set the duration of an activity and of the wait, in seconds."""
        assign(self.folder / "activities.py", "SIMULATED_LATENCY_SECONDS", f"{latency}")
        assign(self.folder / "workflow.py", "APPROVAL_TIMEOUT", f"timedelta(seconds={approval})")


def copy_sample(folder: Path) -> Path:
    return Path(shutil.copytree(ROOT, folder, ignore=lambda _, names: {*names} - MODULES))


def assign(file: Path, name: str, value: str) -> None:
    """Give a constant of a module another value."""
    text, count = re.subn(rf"(?m)^{name} = .*$", f"{name} = {value}", file.read_text())
    assert count == 1, f"{file.name} assigns {name} {count} times"
    file.write_text(text)


def clean_environment(**additions: str) -> dict[str, str]:
    """Return the environment of a user: without settings of Temporal, Python, pytest and uv."""
    dropped = ("TEMPORAL_", "PYTHON", "PYTEST", "VIRTUAL_ENV", "UV_PROJECT", "FORCE_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "TEMPORAL_CONFIG_FILE": os.devnull, **additions}
