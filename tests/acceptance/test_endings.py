"""What the scripts print, and their exit status, for each ending and each mistake."""

import json
import re
import signal
import sys
from pathlib import Path

from temporalio.testing import WorkflowEnvironment

from tests.acceptance.helpers import AUTHORIZING, STARTED, WAITING, Sample, clean_environment
from tests.helpers import new_order


async def test_last_line_of_each_ending(sample: Sample) -> None:
    sample.shorten()
    worker = await sample.worker()
    canceled, first = await sample.starter()
    terminated, second = await sample.starter()
    sample.edit(
        "starter.py", "id=order_id,", "execution_timeout=APPROVAL_TIMEOUT / 15, id=order_id,"
    )
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


async def test_printed_command_works_in_another_terminal(sample: Sample) -> None:
    sample.shorten(approval=25)
    await sample.worker()
    starter, workflow_id = await sample.starter()
    stopped, _ = await sample.starter()
    pattern = "You have 25 seconds after payment to approve it:\nuv run (.*)\n"
    commands = [(await each.prints(pattern))[1] for each in (starter, stopped)]
    stopped.send(signal.SIGINT)
    assert (await stopped.exits(), stopped.stderr) == (130, "")
    for command in commands:
        approval = await sample.start("bash", "-c", command, env=clean_environment())
        assert await approval.exits() == 0, approval.stderr
    assert await starter.exits() == 0
    assert starter.stdout.splitlines()[-1].startswith(f"Order {workflow_id} fulfilled: authorized")
    assert "http" not in starter.stdout, "the link is for the default address only"
    assert "fulfilled" in await sample.handle(commands[1].split()[4]).result(), "despite Ctrl-C"


async def test_graceful_shutdown_and_second_ctrl_c(sample: Sample) -> None:
    sample.shorten(latency=3)
    twice = [signal.SIGINT] * 2
    # A process manager may send SIGTERM to uv and to the worker, and uv sends it again.
    for signals, status in ((twice, 130), ([signal.SIGINT], 130), ([signal.SIGTERM] * 2, 0)):
        worker = await sample.worker()
        _, workflow_id = await sample.starter()
        await worker.prints(f"{workflow_id} {AUTHORIZING}")
        for number in signals:
            worker.send(number)
            await worker.prints("Beginning worker shutdown")
        assert await worker.exits(1 if signals == twice else 12) == status
        completed = (await sample.history(workflow_id)).activities()
        assert completed == ([] if signals == twice else ["process_payment"])


async def test_no_server(own_server: Sample) -> None:
    own_server.edit("shared.py", "(1, 30)", "(1, 4)")
    port = own_server.environment["TEMPORAL_ADDRESS"].split(":")[1]
    for host, error in (("localhost", "ConnectionRefused"), ("no-such-host.invalid", "dns error")):
        own_server.environment["TEMPORAL_ADDRESS"] = f"{host}:{port}"
        script = await own_server.start(sys.executable, "worker.py")
        await script.prints("Waiting", seconds=3)
        assert await script.exits(8) == 1
        waiting, last = script.stderr.splitlines()
        assert waiting.startswith(f"Waiting up to 30 s for a Temporal server at {host}:{port}")
        assert last.startswith(f"No Temporal server at {host}:{port}")
        assert waiting.count(error) == last.count(error) > 0
        assert ("uv run temporal server start-dev" in last) == (host == "localhost")


async def test_profile_is_used_despite_unknown_keys(sample: Sample, tmp_path: Path) -> None:
    sample.shorten()
    address, namespace = (sample.environment[f"TEMPORAL_{key}"] for key in ("ADDRESS", "NAMESPACE"))
    file = tmp_path / "temporal.toml"
    file.write_text(
        '[profile.default]\naddress = "localhost:1"\n[profile.cloud.oauth]\nclient_id = "x"\n'
        f'[profile.mine]\naddress = "{address}"\nnamespace = "{namespace}"\n'
    )
    sample.environment = clean_environment(TEMPORAL_CONFIG_FILE=str(file), TEMPORAL_PROFILE="mine")
    worker = await sample.worker()
    assert worker.stdout.startswith(f"{STARTED}{address}, namespace {namespace}, ")
    starter, workflow_id = await sample.starter()
    await sample.approve(workflow_id)
    assert await starter.exits() == 0


async def test_wrong_setting_ends_in_one_line(sample: Sample) -> None:
    (sample.folder / "bad.toml").write_text("[profile\n")
    for setting, value, line in (
        ("TEMPORAL_NAMESPACE", "nowhere", "Namespace nowhere: NOT_FOUND: .*nowhere.*\n"),
        ("TEMPORAL_CONFIG_FILE", "bad.toml", "Temporal settings: .*TOML.*\n"),
        ("TEMPORAL_TLS_CLIENT_CERT_PATH", "no.pem", "Temporal settings: .*no.pem.*\n"),
        ("TEMPORAL_PROFILE", "nobody", "Temporal settings: .*nobody.*\n"),
    ):
        environment = {**sample.environment, setting: value}
        for name in ("worker.py", "starter.py"):
            script = await sample.start(sys.executable, name, env=environment)
            assert await script.exits(10) == 1
            told = line if name == "worker.py" else line.removeprefix("Namespace nowhere: ")
            assert re.fullmatch(told, script.stderr)
            assert script.stdout == ""


async def test_undecodable_input_is_never_paid(sample: Sample) -> None:
    worker = await sample.worker()
    fields = vars(new_order())
    start = ["workflow", "start", "--type", "OrderFulfillment", "--task-queue", "order-fulfillment"]
    for name, order in (("number", {**fields, "price": 19.99}), ("empty", {}), ("good", fields)):
        await sample.temporal(*start, "--workflow-id", name, "--input", json.dumps(order))
        if name != "good":
            await sample.event(name, "WORKFLOW_TASK_FAILED")
            await worker.prints(f"{name} .*RuntimeError: Failed decoding arguments")
            assert (await sample.history(name)).activities("SCHEDULED") == []
    assert "Failed converting field price" in worker.stderr
    await sample.approve("good")
    assert "fulfilled" in await sample.handle("good").result()


async def test_log_is_one_line_on_the_terminal_and_complete_in_a_file(sample: Sample) -> None:
    sample.shorten()
    sample.edit("starter.py", '"Temporal mug"', r'"red\x1b[31m mug\n10:00:00 ü"')
    sample.edit("activities.py", 'return "delivered"', "return delivered")
    log = """    logging.getLogger().addHandler(logging.FileHandler("worker.log"))
    core.handle(logging.makeLogRecord({"levelno": 40, "msg": "core error"}))
    try:
        1 / 0
    except ZeroDivisionError:
        logging.exception("about no order")
"""
    sample.edit("worker.py", "    run(main())", f"{log}    run(main())")
    worker = await sample.worker()
    _, workflow_id = await sample.starter()
    await sample.approve(workflow_id)
    above = (sample.folder / "activities.py").read_text().split("return delivered")[0]
    place = f".activities.py:{above.count(chr(10)) + 1}.\n"
    error = "Completing activity as failed: NameError: name 'delivered' is not defined"
    await worker.prints(f" {workflow_id} deliver_order {error} {place}")
    await worker.prints(f" {workflow_id} deliver_order attempt 2 delivering")
    assert r"reserving 2 x red\x1b[31m mug\n10:00:00 ü" in worker.stderr
    time, (others, orders) = r"\d\d:\d\d:\d\d", worker.stderr.split(" by zero\n")
    assert re.match(f"{time} core error\n{time} about no order\nTraceback ", others)
    assert all(re.match(f"{time} {workflow_id} ", line) for line in orders.splitlines())
    assert "in deliver_order\n" in (sample.folder / "worker.log").read_text()


async def test_worker_runs_without_logging_or_visibility(
    sample: Sample, server: WorkflowEnvironment
) -> None:
    """The SDK's test server has no visibility."""
    sample.shorten()
    sample.client = server.client
    address = sample.client.service_client.config.target_host
    sample.environment = clean_environment(TEMPORAL_ADDRESS=address)
    worker = sample.folder / "worker.py"
    before, logging_part = worker.read_text().split("    # Logging")
    worker.write_text(f"{before}    {logging_part.splitlines()[-1].strip()}\n")
    await sample.worker()
    starter, workflow_id = await sample.starter()
    await sample.approve(workflow_id)
    assert await starter.exits() == 0
