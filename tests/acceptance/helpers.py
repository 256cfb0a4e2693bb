"""A copy of the sample, the programs that a test runs in it, and what the README promises."""

import asyncio
import os
import re
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle
from temporalio.service import RPCError

from tests.helpers import History, read_history, wait_for, wait_for_event
from workflow import OrderFulfillment

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
MODULES = {path.name for path in ROOT.glob("*.py")}
STARTED, WAITING = "Worker started: ", "needs the signal approve_order"
AUTHORIZING = "process_payment authorizing"


def scenario(title: str) -> str:
    return README.split(f"### {title}\n")[1].split("\n##")[0]


def edit_of(title: str) -> tuple[str, str, str]:
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
    output = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", "DEADLINE", output)
    output = re.sub(r"^\d\d:\d\d:\d\d ", "TIME ", output, flags=re.M)
    output = re.sub(r" --address \S+ --namespace \S+", "", output)
    return re.sub(r"(localhost|127\.0\.0\.1):\d+, namespace [\w-]+", "SERVER", output).splitlines()


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
        """Wait until the output matches a pattern, once or more often; return the last match."""

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

    def send(self, number: signal.Signals) -> None:
        os.killpg(self.process.pid, number)

    async def kill(self) -> None:
        with suppress(ProcessLookupError):  # It may have ended by itself.
            self.send(signal.SIGKILL)
        await self.process.wait()


@dataclass
class Sample:
    """A copy of the sample, with the server and namespace that its programs use."""

    folder: Path
    client: Client
    environment: dict[str, str]
    programs: list[Program] = field(default_factory=list)

    async def start(self, *command: str, **options: Any) -> Program:
        logs = Path(tempfile.mkdtemp(dir=self.folder.parent))
        with (logs / "stdout").open("wb") as stdout, (logs / "stderr").open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self.folder,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                **{"stdin": asyncio.subprocess.DEVNULL, "env": self.environment, **options},
            )
        self.programs.append(Program(process, logs))
        return self.programs[-1]

    async def stop(self) -> None:
        """End all programs, and print their output for the report of a failed test."""
        for program in self.programs:
            await program.kill()
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
        worker = await self.start(sys.executable, "worker.py")
        await worker.prints(STARTED)
        return worker

    async def starter(self) -> tuple[Program, str]:
        starter = await self.start(sys.executable, "starter.py")
        return starter, (await starter.prints(r"Started workflow (\S+)\n"))[1]

    async def temporal(self, *arguments: str) -> Program:
        program = await self.start("temporal", *arguments)
        await program.exits()
        return program

    async def approve(self, workflow_id: str) -> None:
        options = ("--workflow-id", workflow_id, "--name", "approve_order")
        program = await self.temporal("workflow", "signal", *options)
        assert program.process.returncode == 0, program.stderr

    def handle(self, workflow_id: str) -> WorkflowHandle[OrderFulfillment, str]:
        return self.client.get_workflow_handle_for(OrderFulfillment.run, workflow_id)

    async def history(self, workflow_id: str) -> History:
        return await read_history(self.handle(workflow_id))

    async def event(self, workflow_id: str, event: str) -> None:
        await wait_for_event(self.handle(workflow_id), event)

    def edit(self, file: str, before: str, after: str) -> None:
        path = self.folder / file
        text = path.read_text()
        assert text.count(before) == 1, f"{file} has {before!r} {text.count(before)} times"
        path.write_text(text.replace(before, after))

    def shorten(self, latency: float = 0.2, approval: float = 30) -> None:
        """Shorten an activity and the wait, where their length isn't the point of a test."""
        self.edit("activities.py", "SECONDS = 1.0", f"SECONDS = {latency}")
        self.edit("workflow.py", "timedelta(seconds=30)", f"timedelta(seconds={approval})")


def copy_sample(folder: Path) -> Path:
    return Path(shutil.copytree(ROOT, folder, ignore=lambda _, names: {*names} - MODULES))


def clean_environment(**additions: str) -> dict[str, str]:
    """Return the environment of a user: without settings of Temporal, Python, pytest and uv."""
    dropped = ("TEMPORAL_", "PYTHON", "PYTEST", "VIRTUAL_ENV", "UV_PROJECT", "FORCE_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "TEMPORAL_CONFIG_FILE": os.devnull, **additions}
