"""The lanes: they show what pytest shows, and leave nothing behind."""

import contextlib
import os
import re
import signal
import sys
from collections.abc import Awaitable, Callable

import pytest

from tests.acceptance.support import ROOT, Process, Stage
from tests.orders import until

pytestmark = pytest.mark.slow

PASS = """
import os, subprocess, time
from pathlib import Path
import pytest
from tests.acceptance.reaper import Reaper

pytestmark = pytest.mark.slow

@pytest.mark.parametrize("number", range(8))
def test_passes(number):
    pass
"""

DO_NOT_PASS = """
@pytest.fixture
def broken():
    raise LookupError("no such fixture")

def test_fails():
    print("printed before the failure")
    assert number_of_mugs == 2

def test_skips():
    pytest.skip("no mugs today")

def test_breaks(broken):
    pass
"""

DIE = """
def test_dies():
    os._exit(3)
"""

# A program and its child, which hold the FIFO open as long as they run; then a failure.
HANG = """
@pytest.mark.slow(1000)
def test_hangs():
    reaper, alive = Reaper(), open("alive", "w")
    command = reaper.command(Path(os.devnull), "sh", "-c", "sleep 1000 & sleep 1000")
    options = {"stdout": reaper.pipe, "start_new_session": True, "pass_fds": [alive.fileno()]}
    subprocess.Popen(command, **options)
    Path("up").touch()
    time.sleep(1000)

def test_fails_then():
    while not Path("up").exists():
        time.sleep(0.01)
    assert False
"""

Run = Callable[..., Awaitable[Process]]


@pytest.fixture
def run_pytest(stage_without_server: Stage) -> Run:
    """Provide pytest with tests of its own."""
    stage = stage_without_server
    stage.environment["PYTHONPATH"] = str(ROOT)

    async def run(tests: str, *options: str) -> Process:
        (stage.folder / "test_mugs.py").write_text(tests)
        return await stage.run(sys.executable, "-m", "pytest", "-p", "no:asyncio", *options)

    return run


LANES = ("-p", "tests.acceptance.lanes")


def outcomes(pytest_process: Process) -> list[str]:
    """Return what became of each test, in the order of their names."""
    line = r"^test_mugs\.py::\S+ [A-Z]+(?: \(.*\))?|^E  .*|^printed .*"
    return sorted(re.findall(line, pytest_process.stdout, re.M))


async def test_what_they_show(run_pytest: Run) -> None:
    usual, lanes = [await run_pytest(PASS + DO_NOT_PASS, "-v", *options) for options in ((), LANES)]
    assert await usual.ends() == await lanes.ends() == 1
    assert outcomes(usual) == outcomes(lanes)
    assert len(outcomes(lanes)) > 11
    counted = "1 failed, 8 passed, 1 skipped, .*1 error"
    assert re.search(counted, usual.stdout)
    assert re.search(counted, lanes.stdout)


async def test_lane_that_dies_fails_its_test_alone(run_pytest: Run) -> None:
    lanes = await run_pytest(PASS + DO_NOT_PASS + DIE, "-v", *LANES)
    assert await lanes.ends() == 1
    assert "test_dies FAILED" in lanes.stdout
    assert "a lane ended with status 3" in lanes.stdout
    assert "2 failed, 8 passed, 1 skipped" in lanes.stdout


@pytest.mark.parametrize(("end", "status"), [("-x", 1), ("SIGINT", 2), ("SIGKILL", -9)])
async def test_nothing_is_left(
    stage_without_server: Stage, run_pytest: Run, end: str, status: int
) -> None:
    folder = stage_without_server.folder
    os.mkfifo(folder / "alive")
    alive = os.open(folder / "alive", os.O_RDONLY | os.O_NONBLOCK)

    def nobody_has_it_open() -> bool:
        with contextlib.suppress(BlockingIOError):
            return os.read(alive, 1) == b""
        return False

    lanes = await run_pytest(PASS + HANG, *LANES, "-x" if end == "-x" else "-v")
    await until((folder / "up").exists, 60, "the test that hangs")
    if end != "-x":
        await lanes.shows("test_fails_then FAILED")
        lanes.process.send_signal(signal.Signals[end])
    assert await lanes.ends() == status
    await until(nobody_has_it_open, 60, "the end of all")
    os.close(alive)
