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

    def ask(self, tests: deque[pytest.Item]) -> Any:
        """Return a report from it, or None if it was free and now has the next test."""
        message = self.connection.recv()
        if message is None:
            self.running = tests.popleft() if tests else None
            self.connection.send(self.running and self.running.nodeid)
        return message


def run_in_lanes(session: pytest.Session, reaper: Reaper, lanes: dict[Any, Lane]) -> None:
    """Give each lane that is free the next test, and show what becomes of it."""
    config, hook, tests = session.config, session.config.hook, deque(in_order(session.items))
    while tests or lanes:
        while tests and len(lanes) < AT_ONCE:
            lane = Lane(config, reaper)
            lanes[lane.connection] = lane
        for connection in wait(lanes):
            lane = lanes[connection]
            try:
                data = lane.ask(tests)
                report = data and hook.pytest_report_from_serializable(config=config, data=data)
            except (EOFError, OSError):
                del lanes[connection]
                report = death_of(lane)
            if report:
                hook.pytest_runtest_logreport(report=report)
            if session.shouldfail:
                raise session.Failed(session.shouldfail)
            if session.shouldstop:
                raise session.Interrupted(session.shouldstop)


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """Return the fast tests first, for a quick end with -x, and the longest before the shorter.

    It mixes folders, because some folders' tests wait and others' keep the processor busy.
    """
    place: dict[pytest.Item, tuple[bool, int, float]] = {}
    for folder in {item.path.parent for item in items}:
        there = [item for item in items if item.path.parent == folder]
        for index, item in enumerate(there):
            slow = item.get_closest_marker("slow")
            seconds = slow.args[0] if slow and slow.args else 0
            place[item] = (slow is not None, -seconds, index / len(there))
    return sorted(items, key=lambda item: place[item])


def death_of(lane: Lane) -> pytest.TestReport | None:
    """Return the report of a lane that has ended before its time, if it has."""
    status, item = lane.process.wait(), lane.running
    if not item and not status:
        return None
    name, location = (item.nodeid, item.location) if item else ("lane", ("lane", None, "lane"))
    words = f"a lane ended with status {status}\n{lane.stderr.read_text()}"
    return pytest.TestReport(name, location, {}, "failed", words, "call")
