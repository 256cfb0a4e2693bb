"""Lanes: pytest processes that run the tests side by side, as a test's time is mostly waiting.

When many slow tests are selected, this process starts some more like itself, the lanes. A lane asks
for a test, runs it and sends its reports, which are shown here as if the test had run here. With
``--pdb``, ``-s`` or few slow tests there are no lanes: all runs in this process, as usual.
"""

import os
import subprocess
import sys
import tempfile
from collections import deque
from multiprocessing import Pipe
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.reaper import Reaper

AT_ONCE = 8
MANY = 8
CONNECTION = "PYTEST_LANE_CONNECTION"


def pytest_runtestloop(session: pytest.Session) -> bool | None:
    """Run the tests in lanes, or be a lane, or leave it to pytest."""
    if CONNECTION in os.environ:
        return be_a_lane(session, Connection(int(os.environ.pop(CONNECTION))))
    option = session.config.option
    slow = [item for item in session.items if item.get_closest_marker("slow")]
    as_usual = option.usepdb or option.trace or option.capture == "no" or option.collectonly
    if as_usual or session.testsfailed or len(slow) < MANY or os.name != "posix":
        return None
    reaper, lanes = Reaper(), dict[Any, Lane]()
    try:
        run_in_lanes(session, reaper, lanes)
    finally:
        reaper.reap()
        for lane in lanes.values():
            lane.process.wait()
    return True


def be_a_lane(session: pytest.Session, connection: "Connection[Any, Any]") -> bool:
    """Run the tests that the main process names, and send it their reports; None asks for one."""
    hook, items = session.config.hook, {item.nodeid: item for item in session.items}

    class Sender:
        def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
            data = hook.pytest_report_to_serializable(config=session.config, report=report)
            connection.send(data)

    session.config.pluginmanager.register(Sender())
    connection.send(None)
    while name := connection.recv():
        # The fixtures of the session stay for the next test, whichever that will be.
        hook.pytest_runtest_protocol(item=items[name], nextitem=session)
        connection.send(None)
    session.testsfailed = 0  # its exit status says how the lane itself ended
    return True


class Lane:
    """A pytest process with the arguments of this one, and what it is running."""

    def __init__(self, config: pytest.Config, reaper: Reaper) -> None:
        """Start it, with a connection to this process and a folder of its own."""
        self.running: pytest.Item | None = None
        self.connection, theirs = Pipe()
        base: Path = vars(config)["_tmp_path_factory"].getbasetemp()
        folder = Path(tempfile.mkdtemp(prefix="lane-", dir=base))
        arguments = [*map(str, config.invocation_params.args), f"--basetemp={folder / 'tmp'}"]
        self.stderr = folder / "stderr"
        with self.stderr.open("wb") as stderr:
            self.process = subprocess.Popen(
                reaper.command(folder / "stdout", sys.executable, "-m", "pytest", *arguments),
                cwd=config.invocation_params.dir,
                env={**os.environ, CONNECTION: str(theirs.fileno())},
                stdin=subprocess.DEVNULL,
                stdout=reaper.pipe,
                stderr=stderr,
                pass_fds=[theirs.fileno()],
                start_new_session=True,
            )
        theirs.close()

    def run(self, item: pytest.Item | None) -> None:
        """Let it run a test, or end if there is none."""
        self.running = item
        self.connection.send(item and item.nodeid)

    def death(self) -> str:
        """Return how it ended, unless it ended well."""
        status = self.process.wait()
        return f"a lane ended with {status}: {self.stderr.read_text()}" if status else ""


def run_in_lanes(session: pytest.Session, reaper: Reaper, lanes: dict[Any, Lane]) -> None:
    """Give each lane that is free the next test, and show what becomes of it."""
    config, hook = session.config, session.config.hook

    def is_short(item: pytest.Item) -> tuple[bool, bool]:
        return not item.get_closest_marker("long"), not item.get_closest_marker("slow")

    tests = deque(sorted(session.items, key=is_short))  # a long one begun last would run alone
    while tests or lanes:
        while tests and len(lanes) < AT_ONCE:
            lane = Lane(config, reaper)
            lanes[lane.connection] = lane
        for connection in wait(lanes):
            lane = lanes[connection]
            try:
                data = lane.connection.recv()
                if data is None:
                    lane.run(tests.popleft() if tests else None)
                else:
                    report = hook.pytest_report_from_serializable(config=config, data=data)
                    hook.pytest_runtest_logreport(report=report)
            except (EOFError, OSError):
                del lanes[connection]
                death, item = lane.death(), lane.running
                if item:
                    report = pytest.TestReport(
                        item.nodeid, item.location, {}, "failed", death, "call"
                    )
                    hook.pytest_runtest_logreport(report=report)
                elif death:
                    session.shouldfail = death
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)
