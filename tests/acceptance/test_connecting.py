"""The way to the server and back out: what a script waits for, what it says, how it ends."""

import asyncio
import contextlib
import os
import re
import socket
import sys
import time
from pathlib import Path

import pytest

from tests.acceptance.proxies import proxy_to
from tests.acceptance.readme import SHOWN, section
from tests.acceptance.support import ORDER_ID, READY, Stage, bare
from tests.orders import FULFILLED

pytestmark = pytest.mark.slow


async def test_nothing_is_configured(tmp_path: Path) -> None:
    reservation = socket.socket()
    reservation.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        reservation.bind(("127.0.0.1", 7233))
    except OSError:
        reservation.close()
        pytest.skip("somebody's server has the default port")
    async with bare(tmp_path, 7233) as stage:
        stage.reservation = reservation
        stage.environment.clear()
        stage.environment |= {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        worker, starter = await stage.script("worker.py"), await stage.script("starter.py")
        for script in (worker, starter):
            await script.shows("Waiting for a Temporal server at localhost:7233\n")
        await stage.start_server(in_memory=True)
        await worker.shows(f"{READY}localhost:7233, namespace default")
        workflow_id = (await starter.shows(r"Started workflow (\S+) at localhost:7233"))[1]
        await stage.approve(workflow_id)
        assert await starter.ends() == 0
        shown = SHOWN.findall(section("Happy path"))[0]
        assert starter.stdout == re.sub(ORDER_ID, workflow_id, shown), "to the letter"
        assert (await stage.history(workflow_id)).completed == FULFILLED


async def test_waiting_for_a_server_costs_little(stage_without_server: Stage) -> None:
    import resource  # Windows, which collects this file too, has none

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    starter = await stage_without_server.script("starter.py")
    await starter.shows("Waiting")
    await asyncio.sleep(7)
    assert starter.process.returncode is None, starter.output
    await starter.kill()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2
    assert starter.output.count("\n") == 1


@pytest.mark.parametrize("name", ["worker.py", "starter.py"])
async def test_server_that_is_still_starting(stage: Stage, name: str) -> None:
    async with proxy_to(stage.port) as proxy:
        proxy.status = (14, "starting")
        stage.environment["TEMPORAL_ADDRESS"] = proxy.address
        script = await stage.script(name)
        await script.shows("Waiting for a Temporal server")
        waited = time.monotonic() - proxy.connections[0].since
        assert 0.5 < waited < 8, "long enough for one that is quick, and no mystery for a person"
        tried = len(proxy.connections)
        assert 2 <= tried <= 4, "with a pause between two of them"
        proxy.status = None
        await script.shows(f"({READY}|Started workflow .* at ){proxy.address}")


@pytest.mark.slow(25)
async def test_server_that_goes_away_for_a_while(stage_with_own_server: Stage) -> None:
    stage = stage_with_own_server
    stage.shorten(latency=0.2)
    worker = await stage.worker()
    assert stage.server
    await stage.server.kill()
    await asyncio.sleep(15)  # the SDK's core complains from the ninth second, if it may
    await stage.start_server()
    starter, workflow_id = await stage.starter()
    await stage.approve(workflow_id)
    assert await starter.ends(150) == 0
    assert all(READY in line or workflow_id in line for line in worker.output.splitlines())


@pytest.mark.skipif(sys.platform != "linux", reason="how a full queue behaves is the system's")
async def test_server_that_does_not_answer(stage_without_server: Stage) -> None:
    """As behind a firewall that drops packets: here the queue of those who connect is full."""
    stage = stage_without_server
    assert stage.reservation
    stage.reservation.listen(0)
    with contextlib.ExitStack() as queue:
        for _ in range(3):
            waiting = queue.enter_context(socket.socket())
            waiting.setblocking(False)
            waiting.connect_ex(("127.0.0.1", stage.port))
        starter = await stage.script("starter.py")
        assert await starter.ends(50) == 1
    assert re.fullmatch(f"{stage.address}: .*\n", starter.output)


@pytest.mark.parametrize("error", ["RuntimeError", "FileNotFoundError"])
@pytest.mark.parametrize("name", ["worker.py", "starter.py"])
async def test_bug_in_a_script_keeps_its_traceback(stage: Stage, name: str, error: str) -> None:
    connected = "    client = await connect()\n"
    stage.edit(name, connected, f'{connected}    raise {error}("a bug")\n')
    script = await stage.script(name)
    assert await script.ends() == 1
    assert script.stderr.startswith("Traceback")
    assert script.stderr.endswith(f"{error}: a bug\n")


async def test_workflow_that_the_sandbox_refuses(stage: Stage) -> None:
    imports = "from temporalio import workflow\n"
    code = f"from random import random\n\n{imports}\nDISCOUNT = random()\n"
    stage.edit("workflow.py", imports, code)
    worker = await stage.script("worker.py")
    assert await worker.ends() == 1
    assert "Failed validating workflow" in worker.stderr, "as the README says"


async def test_exception_that_an_activity_logs_keeps_its_traceback(stage: Stage) -> None:
    log = """try:
        1 / 0
    except ZeroDivisionError:
        activity.logger.exception("a line of one's own")
    """
    stage.edit("activities.py", 'return "delivered"', f'{log}return "delivered"')
    stage.shorten(latency=0.2)
    worker = await stage.worker()
    _, workflow_id = await stage.starter()
    await stage.approve(workflow_id)
    own = f"{workflow_id} deliver_order a line of one's own"
    await worker.shows(f"{own}\nTraceback (?s:.*)\nZeroDivisionError: division by zero\n")


async def test_error_that_is_its_own_cause(stage: Stage) -> None:
    bug = """if activity.info().attempt == 1:
        error = ConnectionError("API is down")
        raise error from error
    """
    stage.edit("activities.py", 'return "delivered"', f'{bug}return "delivered"')
    stage.shorten(latency=0.2)
    worker = await stage.worker()
    starter, workflow_id = await stage.starter()
    await stage.approve(workflow_id)
    await worker.shows(f"{workflow_id} deliver_order failed: ConnectionError: API is down: ")
    await worker.shows(f"{workflow_id} deliver_order attempt 2 delivering")
    assert await starter.ends() == 0


async def test_reader_of_the_starter_goes_away(stage: Stage) -> None:
    stage.shorten(latency=0.2)
    await stage.worker()
    pipeline = f"{sys.executable} starter.py | head -1; exit ${{PIPESTATUS[0]}}"
    starter = await stage.run("bash", "-c", pipeline)
    workflow_id = (await starter.shows(r"Started workflow (\S+) at "))[1]
    await stage.approve(workflow_id)
    assert await starter.ends() == 1
    assert starter.stdout.count("\n") == 1
    assert starter.stderr.count("\n") == 1
    await stage.reaches(workflow_id, "WORKFLOW_EXECUTION_COMPLETED")


async def test_terminal_that_lacks_the_letters(stage: Stage) -> None:
    stage.shorten(latency=0.2)
    stage.edit("starter.py", "Temporal mug", "ü☕")
    stage.environment["PYTHONIOENCODING"] = "utf-8"
    worker = await stage.worker()
    stage.environment["PYTHONIOENCODING"] = "ascii"
    starter, workflow_id = await stage.starter()
    await stage.approve(workflow_id)
    assert await starter.ends() == 0
    assert r"reserved 2 x \xfc\u2615, delivered" in starter.stdout
    assert starter.stderr == ""
    await worker.shows("reserving 2 x ü☕\n")
