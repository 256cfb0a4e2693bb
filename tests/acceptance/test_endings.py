"""What the scripts print, and their exit status, for each outcome and each error."""

import json
import re
import shutil
import signal
import socket
import sys

from tests.acceptance.helpers import AUTHORIZING, ROOT, WAITING, Sample, clean_environment
from tests.helpers import new_order


async def test_starter_prints_how_the_order_closed(sample: Sample) -> None:
    sample.set_durations()
    worker = await sample.worker()
    canceled, first = await sample.starter()
    terminated, second = await sample.starter()
    sample.edit("starter.py", "id=order_id,", "execution_timeout=APPROVAL_TIMEOUT/15, id=order_id,")
    timed_out, third = await sample.starter()
    await worker.prints(WAITING, times=3)
    await sample.temporal("workflow", "cancel", "--workflow-id", first)
    await sample.temporal("workflow", "terminate", "--workflow-id", second, "--reason", "fraud")
    for starter, ending in (
        (canceled, f"{first} CANCELED: Workflow cancelled"),
        (terminated, f"{second} TERMINATED: fraud"),
        (timed_out, f"{third} TIMED_OUT: Workflow timed out"),
    ):
        assert await starter.exits() == 1
        assert starter.stderr == f"Order {ending}\n"


async def test_duplicate_order_id_and_closed_standard_output(sample: Sample) -> None:
    sample.set_durations()
    sample.edit("starter.py", 'f"order-{uuid4().hex[:7]}"', '"order-7"')
    worker = await sample.worker()
    silent = await sample.start("bash", "-c", 'exec "$0" starter.py >&-', sys.executable)
    await worker.prints(WAITING)
    second = await sample.script("starter.py")
    assert await second.exits() == 1
    line = "Order order-7 is already running. Choose another order ID.\n"
    assert (second.stdout, second.stderr) == ("", line)
    await sample.approve("order-7")
    assert (await silent.exits(), silent.stderr) == (0, "")


async def test_printed_command_works_in_another_terminal(sample: Sample) -> None:
    sample.set_durations(approval=25)
    await sample.worker()
    starter, workflow_id = await sample.starter()
    stopped, _ = await sample.starter()
    pattern = "Approve the order within 25 s after payment:\nuv run (.* --namespace default)\n"
    commands = [(await each.prints(pattern))[1] for each in (starter, stopped)]
    assert (await stopped.stop(signal.SIGINT), stopped.stderr) == (130, "")
    for command in commands:
        approval = await sample.start("bash", "-c", command, env=clean_environment())
        assert await approval.exits() == 0, approval.stderr
    assert await starter.exits() == 0
    assert starter.stdout.splitlines()[-1].startswith(f"Order {workflow_id} fulfilled: authorized")
    assert "http" not in starter.stdout, "the link is for the default address only"
    assert "fulfilled" in await sample.handle(commands[1].split()[4]).result(), "despite Ctrl-C"


async def test_graceful_shutdown_and_second_ctrl_c(sample: Sample) -> None:
    sample.set_durations(latency=3)
    twice = [signal.SIGINT] * 2
    # A process manager may send SIGTERM to uv and to the worker, and uv sends it again.
    for signals, status in ((twice, 130), ([signal.SIGINT], 130), ([signal.SIGTERM] * 2, 0)):
        worker = await sample.worker()
        _, workflow_id = await sample.starter()
        await worker.prints(f"{workflow_id} {AUTHORIZING}")
        for number in signals:
            worker.send(number)
            await worker.prints("Beginning worker shutdown")
        assert await worker.exits() == status
        completed = (await sample.history(workflow_id)).activities()
        assert completed == ([] if signals == twice else ["process_payment"])


async def test_worker_waits_for_the_server_until_it_is_stopped(own_server: Sample) -> None:
    for number in (signal.SIGTERM, signal.SIGINT):
        worker = await own_server.script("worker.py")
        await worker.prints("Waiting")
        assert await worker.stop(number) == 130
        assert worker.stderr.count("\n") == 1
    own_server.edit("shared.py", "time() + 30", "time() + 3")
    port = own_server.environment["TEMPORAL_ADDRESS"].split(":")[1]
    for host, error in (("localhost", "ConnectionRefused"), ("no-such-host.invalid", "dns error")):
        worker = await own_server.script("worker.py", TEMPORAL_ADDRESS=f"{host}:{port}")
        await worker.prints("Waiting")
        assert await worker.exits() == 1
        waiting, last = worker.stderr.splitlines()
        assert waiting.startswith(f"Waiting up to 30 s for {host}:{port}: ")
        assert last.startswith(f"Can't connect to Temporal at {host}:{port}: ")
        for line in (waiting, last):
            assert error in line
            assert ("server start-dev" in line) == (host == "localhost")
    with socket.create_server(("127.0.0.1", 0), backlog=0) as server:
        host, port = server.getsockname()
        with socket.create_connection((host, port)):  # The queue is full, so Linux drops new SYNs.
            worker = await own_server.script("worker.py", TEMPORAL_ADDRESS=f"{host}:{port}")
            await worker.prints("Waiting .*TimedOut")


async def test_unexpected_error_prints_its_traceback(sample: Sample) -> None:
    sample.edit("shared.py", "Client.connect(", "Client.connect(no_such_option=1, ")
    for name in ("worker.py", "starter.py"):
        script = await sample.script(name)
        assert await script.exits(25) == 1
        assert re.search(r"Unexpected error\nTraceback(?s:.*)\nTypeError: .*no_such", script.stderr)


async def test_wrong_setting_prints_one_line(sample: Sample) -> None:
    (sample.folder / "bad.toml").write_text("[profile\n")
    sample.edit("shared.py", "time() + 30", "time() + 0.1")
    for setting, value, line in (
        ("TEMPORAL_NAMESPACE", "nowhere", "NOT_FOUND: .*nowhere.*\n"),
        ("TEMPORAL_ADDRESS", " localhost:1", "Temporal settings: address ' localhost:1': .*\n"),
        ("TEMPORAL_API_KEY", "x", "Waiting .*\nCan't connect to .*InvalidContentType.*\n"),
        ("TEMPORAL_CONFIG_FILE", "bad.toml", "Temporal settings: .*TOML.*\n"),
        ("TEMPORAL_TLS_CLIENT_CERT_PATH", "no.pem", "Temporal settings: .*no.pem.*\n"),
        ("TEMPORAL_PROFILE", "nobody", "Temporal settings: .*nobody.*\n"),
    ):
        for name in ("worker.py", "starter.py"):
            script = await sample.script(name, **{setting: value})
            assert await script.exits(10) == 1
            assert re.fullmatch(line, script.stderr), script.stderr
            assert script.stdout == ""


async def test_undecodable_order_runs_no_activity(sample: Sample) -> None:
    worker = await sample.worker()
    start = ["workflow", "start", "--type", "OrderFulfillment", "--task-queue", "order-fulfillment"]
    for name, order in (("number", {**vars(new_order()), "price": 19.99}), ("empty", {})):
        await sample.temporal(*start, "--workflow-id", name, "--input", json.dumps(order))
        await sample.event(name, "WORKFLOW_TASK_FAILED")
        await worker.prints(f"{name} .*RuntimeError: Failed decoding arguments")
        assert (await sample.history(name)).activities("SCHEDULED") == []
    assert "Failed converting field price" in worker.stderr


async def test_log_is_one_line_on_the_terminal_and_complete_in_a_file(sample: Sample) -> None:
    sample.set_durations()
    sample.edit("starter.py", '"Temporal mug"', r'"red\x1b[31m mug\n10:00:00 ü"')
    first_attempt = "if activity.info().attempt == 1: raise ConnectionError(1) from OSError(1)"
    sample.edit("activities.py", '# raise ConnectionError("API is down")', first_attempt)
    sample.edit(
        "activities.py", 'return "delivered"', '(lambda:\n        time.strptime("", "%Y"))()'
    )
    log = """    logging.getLogger().addHandler(logging.FileHandler("worker.log"))
    try:
        1 / 0
    except ZeroDivisionError:
        logging.exception("about no order")
"""
    sample.edit("worker.py", "    run(main())", f"{log}    run(main())")
    worker = await sample.worker()
    _, workflow_id = await sample.starter()
    await sample.approve(workflow_id)
    above = (sample.folder / "activities.py").read_text().split("time.strptime")[0]
    error = rf"failed: ValueError: .* \(activities.py:{above.count(chr(10)) + 1}\)\n"
    await worker.prints(f" {workflow_id} deliver_order Completing activity as {error}")
    await worker.prints(f" {workflow_id} deliver_order attempt 2 delivering")
    assert re.search(r"failed: ConnectionError: 1 \(activities.py:\d+\)\n", worker.stderr)
    assert r"reserving 2 x red\x1b[31m mug\n10:00:00 ü" in worker.stderr
    time, (others, orders) = r"\d\d:\d\d:\d\d", worker.stderr.split(" by zero\n")
    assert re.match(f"{time} about no order\nTraceback ", others)
    assert all(re.match(f"{time} {workflow_id} ", line) for line in orders.splitlines())
    assert "in deliver_order\n" in (sample.folder / "worker.log").read_text()


async def test_sdk_log_format_as_the_comment_says(sample: Sample) -> None:
    sample.set_durations()
    shutil.copy(ROOT / "pyproject.toml", sample.folder)
    comment = "# For the SDK's own format, delete the next line and set both flags to True.\n"
    before, after = (sample.folder / "worker.py").read_text().split(comment)
    edited = after.partition("\n")[2].lstrip().replace("_on_message = False", "_on_message = True")
    (sample.folder / "worker.py").write_text(before + edited)
    for tool in (["ruff", "check", "."], ["mypy", "."]):
        check = await sample.start(sys.executable, "-m", *tool)
        assert await check.exits() == 0, check.stdout
    worker = await sample.worker()
    starter, workflow_id = await sample.starter()
    await sample.approve(workflow_id)
    assert await starter.exits() == 0
    await worker.prints(f"INFO:temporalio.activity:authorizing .*{workflow_id}")
    await worker.prints(f"INFO:temporalio.workflow:waits up to .*{workflow_id}")
