"""What the scripts print, and their exit status, for each outcome and each error."""

import os
import re
import signal
import sys

from tests.acceptance.helpers import AUTHORIZING, Sample
from tests.helpers import read_events, steps


async def test_starter_exits_after_closed_pipe_ctrl_c_and_cancellation(sample: Sample) -> None:
    sample.set_latency(0.2)
    worker = await sample.worker()
    piped = await sample.shell("python starter.py | head -1")
    started = await piped.prints(r"Started workflow (\S+)\n")
    await sample.approve(started[1])
    assert await piped.exits() == 0
    assert piped.stdout + piped.stderr == started[0]
    starter, workflow_id = await sample.waiting_order()
    assert (await starter.stop(signal.SIGINT), starter.stderr) == (130, "")
    await sample.approve(workflow_id)
    await worker.prints(f"{workflow_id} deliver_order delivering")
    starter, workflow_id = await sample.waiting_order()
    await sample.run("temporal workflow cancel --workflow-id WORKFLOW_ID", workflow_id)
    assert await starter.exits() == 1
    assert starter.stderr == f"Order {workflow_id} CANCELED: Workflow cancelled\n"


async def test_graceful_shutdown_and_second_ctrl_c(sample: Sample) -> None:
    sample.set_latency(3)
    twice = [signal.SIGINT] * 2
    # A process manager may send SIGTERM to uv and to the worker, and uv sends it again.
    for signals, status in ((twice, 130), ([signal.SIGINT], 130), ([signal.SIGTERM] * 2, 0)):
        worker = await sample.worker()
        _, workflow_id = await sample.starter()
        await worker.prints(f"{workflow_id} {AUTHORIZING}")
        for number in signals:
            os.killpg(worker.process.pid, number)
            await worker.prints("Beginning worker shutdown")
        assert await worker.exits() == status
        completed = steps(await read_events(sample.order(workflow_id)), "COMPLETED")
        assert completed == ([] if signals == twice else ["process_payment"])


async def test_worker_waits_for_the_server_until_it_is_stopped(own_server: Sample) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        worker = await own_server.script("worker.py")
        await worker.prints("Start the server within 30 s")
        assert await worker.stop(number) == 130
        assert worker.stderr.count("\n") == 1
    own_server.edit("shared.py", "monotonic() + 30", "monotonic() + 3")
    worker = await own_server.script("worker.py")
    assert await worker.exits() == 1
    first, last = worker.stderr.splitlines()
    assert re.match("Can't connect to Temporal at localhost:.*ConnectionRefused", last)
    assert first == f"{last} Start the server within 30 s."


async def test_wrong_setting_prints_one_line_immediately(sample: Sample) -> None:
    (sample.folder / "bad.toml").write_text("[profile\n")
    for setting, value, line in (
        ("TEMPORAL_NAMESPACE", "nowhere", "NOT_FOUND: .*nowhere.*\n"),
        ("TEMPORAL_ADDRESS", " localhost:1", "Can't connect to Temporal at  localhost:1: .*\n"),
        ("TEMPORAL_CONFIG_FILE", "bad.toml", "Invalid Temporal settings: .*TOML.*\n"),
        ("TEMPORAL_TLS_CLIENT_CERT_PATH", "no.pem", "Invalid Temporal settings: .*no.pem.*\n"),
        ("TEMPORAL_PROFILE", "nobody", "Invalid Temporal settings: .*nobody.*\n"),
    ):
        for name in ("worker.py", "starter.py"):
            script = await sample.script(name, **{setting: value})
            assert await script.exits(10) == 1
            assert re.fullmatch(line, script.stderr), script.stderr
            assert script.stdout == ""


async def test_script_exits_as_python_does(own_server: Sample) -> None:
    for statement, status, error in (
        ("raise SystemExit(0)", 0, ""),
        ("raise SystemExit(2)", 2, ""),
        ("raise SystemExit('message')", 1, "message\n"),
        ("1 / 0", 1, "Traceback .*\nZeroDivisionError: division by zero\n"),
    ):
        main = f"async def main():\n    print('printed', end='')\n    {statement}\n"
        script = f"from shared import run\n{main}run(main())"
        program = await own_server.start(sys.executable, "-c", script)
        assert (await program.exits(), program.stdout) == (status, "printed")
        assert re.fullmatch(error, program.stderr, re.S)
