"""A copy of the sample, the programs that a test runs in it, and what the README promises."""

import asyncio
import os
import re
import shutil
import signal
import sys
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from temporalio.client import Client, WorkflowHandle

from shared import TASK_QUEUE, Order
from tests.helpers import History, read_history, wait_for, wait_for_event
from workflow import OrderFulfillment

ROOT = Path(__file__).parent.parent.parent
README = (ROOT / "README.md").read_text()
STARTED, WAITING = "Worker started: ", "needs the signal approve_order"
AUTHORIZING = "process_payment authorizing"


def scenario(title: str) -> str:
    """Return what the README says about a scenario."""
    return README.split(f"### {title}\n")[1].split("\n##")[0]


def edit_of(title: str) -> tuple[str, str, str]:
    """Return the file that a scenario edits, and the text before and after."""
    file, edit = re.findall(r"edit\*\* `(\w+\.py)`: (.*?)\. ", flat(scenario(title)), re.I)[0]
    if edit.startswith("uncomment"):
        line = re.findall("`# (.*)`", edit)[0]
        return file, f"# {line}\n", f"{line}\n"
    before, after = re.findall("`(.*?)`", edit)
    return file, before, after


def promised(title: str) -> list[str]:
    """Return the lines that the README shows in a scenario, without what differs each time."""
    blocks = re.findall(r"```text\n(.*?)```", scenario(title), re.S)
    return normal("".join(blocks))


def flat(text: str) -> str:
    """Return a text in one line."""
    return " ".join(text.split())


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
    files: tuple[Path, Path]

    @property
    def stdout(self) -> str:
        """The standard output so far."""
        return self.files[0].read_text()

    @property
    def stderr(self) -> str:
        """The standard error so far."""
        return self.files[1].read_text()

    @property
    def output(self) -> str:
        """Both."""
        return self.stdout + self.stderr

    async def prints(self, pattern: str, times: int = 1, seconds: float = 60) -> re.Match[str]:
        """Wait until the output matches a pattern, once or more often; return the last match."""

        async def matches() -> list[re.Match[str]]:
            ended, found = (
                self.process.returncode is not None,
                list(re.finditer(pattern, self.output)),
            )
            assert len(found) >= times or not ended, f"no {pattern!r} in {self.output}"
            return found if len(found) >= times else []

        found: list[re.Match[str]] = await wait_for(matches, f"{pattern!r}", seconds)
        return found[times - 1]

    async def exits(self, seconds: float = 60) -> int:
        """Wait for its end and return the exit status."""
        return await asyncio.wait_for(self.process.wait(), seconds)

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the program and what it started, like a terminal does."""
        os.killpg(self.process.pid, number)

    async def kill(self) -> None:
        """End it and what it started, with no chance to clean up."""
        if self.process.returncode is None:
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
        """Start a program in the folder."""
        logs = Path(tempfile.mkdtemp(dir=self.folder.parent))
        files = (logs / "stdout", logs / "stderr")
        with files[0].open("wb") as stdout, files[1].open("wb") as stderr:
            process = await asyncio.create_subprocess_exec(
                *command,
                cwd=self.folder,
                stdout=stdout,
                stderr=stderr,
                start_new_session=True,
                **{"stdin": asyncio.subprocess.DEVNULL, "env": self.environment, **options},
            )
        self.programs.append(Program(process, files))
        return self.programs[-1]

    async def stop(self) -> None:
        """End all programs, and print their output for the report of a failed test."""
        for program in self.programs:
            await program.kill()
            print(program.output[-5000:])

    async def script(self, name: str) -> Program:
        """Start one of the sample's scripts."""
        return await self.start(sys.executable, name)

    async def worker(self) -> Program:
        """Start a worker."""
        worker = await self.script("worker.py")
        await worker.prints(STARTED)
        return worker

    async def starter(self) -> tuple[Program, str]:
        """Start an order, and return its starter and workflow ID."""
        starter = await self.script("starter.py")
        return starter, (await starter.prints(r"Started workflow (\S+)\n"))[1]

    async def temporal(self, *arguments: str) -> Program:
        """Run the CLI to its end."""
        program = await self.start("temporal", *arguments)
        await program.exits()
        return program

    async def approve(self, workflow_id: str) -> None:
        """Approve an order with the CLI."""
        options = ("--workflow-id", workflow_id, "--name", "approve_order")
        program = await self.temporal("workflow", "signal", *options)
        assert program.process.returncode == 0, program.output

    def handle(self, workflow_id: str) -> WorkflowHandle[OrderFulfillment, str]:
        """Return the handle of an order."""
        return self.client.get_workflow_handle_for(OrderFulfillment.run, workflow_id)

    async def start_order(self, order: Order) -> WorkflowHandle[OrderFulfillment, str]:
        """Start an order without a starter."""
        return await self.client.start_workflow(
            OrderFulfillment.run, order, id=order.order_id, task_queue=TASK_QUEUE
        )

    async def history(self, workflow_id: str) -> History:
        """Return the event history of an order."""
        return await read_history(self.handle(workflow_id))

    async def event(self, workflow_id: str, event: str) -> None:
        """Wait for an event of an order."""
        await wait_for_event(self.handle(workflow_id), event)

    def edit(self, file: str, before: str, after: str) -> None:
        """Edit the one place in a file that has a text."""
        path = self.folder / file
        text = path.read_text()
        assert text.count(before) == 1, f"{file} has {before!r} {text.count(before)} times"
        path.write_text(text.replace(before, after))

    def shorten(self, latency: float = 0.2, approval: float = 30) -> None:
        """Shorten an activity and the wait, where their length isn't the point of a test."""
        self.edit("activities.py", "SECONDS = 1.0", f"SECONDS = {latency}")
        self.edit("workflow.py", "timedelta(seconds=30)", f"timedelta(seconds={approval})")


def copy_sample(folder: Path) -> Path:
    """Copy the five modules into a folder."""
    folder.mkdir()
    for path in ROOT.glob("*.py"):
        shutil.copy(path, folder)
    return folder


def clean_environment(**additions: str) -> dict[str, str]:
    """Return the environment of a user: without settings of Temporal, Python, pytest and uv."""
    dropped = ("TEMPORAL_", "PYTHON", "PYTEST", "VIRTUAL_ENV", "UV_PROJECT", "FORCE_COLOR")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {**kept, "TEMPORAL_CONFIG_FILE": os.devnull, **additions}
