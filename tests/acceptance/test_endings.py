"""What the scripts print, and their exit status, for each ending and each mistake."""

import asyncio
import json
import re
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from temporalio.testing import WorkflowEnvironment

from tests.acceptance.conftest import Server
from tests.acceptance.helpers import (
    AUTHORIZING,
    STARTED,
    WAITING,
    Sample,
    clean_environment,
    copy_sample,
)
from tests.helpers import new_order

START = ("workflow", "start", "--type", "OrderFulfillment", "--task-queue", "order-fulfillment")


async def test_last_line_of_each_ending(sample: Sample) -> None:
    sample.shorten(latency=0.2)
    worker = await sample.worker()
    (canceled, first), (terminated, second) = await sample.starter(), await sample.starter()
    sample.edit(
        "starter.py", "id=order_id, ", "id=order_id, execution_timeout=APPROVAL_TIMEOUT / 15, "
    )
    timed_out, third = await sample.starter()
    await worker.prints(WAITING, times=3)
    await sample.temporal("workflow", "cancel", "--workflow-id", first)
    reason = ("--reason", "fraud suspected")
    await sample.temporal("workflow", "terminate", "--workflow-id", second, *reason)
    for starter, line in (
        (canceled, f"Order {first} CANCELED: Workflow cancelled\n"),
        (terminated, f"Order {second} TERMINATED: fraud suspected\n"),
        (timed_out, f"Order {third} TIMED_OUT: Workflow timed out\n"),
    ):
        assert await starter.exits() == 1
        assert starter.stderr == line


async def test_printed_command_works_in_another_terminal(sample: Sample) -> None:
    sample.shorten(approval=25)
    await sample.worker()
    starter, workflow_id = await sample.starter()
    command = (await starter.prints("You have 25 seconds .* approve it:\nuv run (temporal .*)\n"))[
        1
    ]
    assert "http" not in starter.stdout, "the link is for the default address only"
    approval = await sample.start("bash", "-c", command, env=clean_environment())
    assert await approval.exits() == 0, approval.output
    assert await starter.exits() == 0
    result = rf"\nOrder {workflow_id} fulfilled: authorized \$39.98, .*\.\n\Z"
    assert re.search(result, starter.stdout)
    assert starter.stderr == ""


async def test_ctrl_c_stops_the_starter_but_not_the_order(sample: Sample) -> None:
    sample.shorten()
    await sample.worker()
    starter, workflow_id = await sample.starter()
    starter.send(signal.SIGINT)
    assert await starter.exits() == 130
    assert starter.stderr == ""
    await sample.approve(workflow_id)
    assert "fulfilled" in await sample.handle(workflow_id).result()


@pytest.mark.parametrize(
    ("number", "status"), [(signal.SIGTERM, 0), (signal.SIGINT, 130)], ids=["SIGTERM", "Ctrl-C"]
)
async def test_stopped_worker_finishes_its_activity(
    sample: Sample, number: signal.Signals, status: int
) -> None:
    sample.shorten(latency=3)
    worker = await sample.worker()
    _, workflow_id = await sample.starter()
    await worker.prints(AUTHORIZING)
    worker.send(number)
    if number == signal.SIGTERM:
        worker.send(number)  # A process manager and uv may both send it.
    assert await worker.exits(12) == status
    history = await sample.history(workflow_id)
    assert (history.activities(), history.retries) == (["process_payment"], 0)
    assert "Traceback" not in worker.output


async def test_second_ctrl_c_ends_the_worker_immediately(sample: Sample) -> None:
    sample.edit("activities.py", "SECONDS = 1.0", "SECONDS = 60.0")
    worker = await sample.worker()
    await sample.starter()
    await worker.prints(AUTHORIZING)
    worker.send(signal.SIGINT)
    await worker.prints("Beginning worker shutdown")
    worker.send(signal.SIGINT)
    assert await worker.exits(2) == 130


async def test_ctrl_c_while_waiting_for_a_server(server: Server) -> None:
    for name in ("worker.py", "starter.py"):
        script = await server.script(name)
        await script.prints("Waiting")
        script.send(signal.SIGINT)
        assert await script.exits() == 130
        assert script.output.count("\n") == 1


async def test_no_server(server: Server) -> None:
    server.edit("shared.py", "(1, 30)", "(1, 4)")
    for name, host in (("worker.py", "localhost"), ("starter.py", "127.0.0.1")):
        server.environment["TEMPORAL_ADDRESS"] = f"{host}:{server.port}"
        script = await server.script(name)
        await script.prints("Waiting", seconds=3)
        assert script.process.returncode is None
        assert await script.exits(8) == 1
        waiting, last = script.stderr.splitlines()
        assert waiting.startswith(f"Waiting up to 30 s for a Temporal server at {host}:")
        assert last.startswith(f"No Temporal server at {host}:{server.port}")
        assert "ConnectionRefused" in waiting
        assert "ConnectionRefused" in last
        assert ("uv run temporal server start-dev" in last) == (host == "localhost")


async def test_connection_errors_are_shown_as_they_are(server: Server) -> None:
    server.environment["TEMPORAL_ADDRESS"] = "no-such-host.invalid:7233"
    script = await server.script("starter.py")
    line = (await script.prints("Waiting.*\n"))[0]
    assert "dns error" in line
    assert "start-dev" not in line


async def test_profile_is_used_despite_unknown_keys(sample: Sample, tmp_path: Path) -> None:
    sample.shorten()
    address, namespace = (sample.environment[f"TEMPORAL_{key}"] for key in ("ADDRESS", "NAMESPACE"))
    (tmp_path / "temporal.toml").write_text(
        '[profile.default]\naddress = "localhost:1"\n[profile.cloud.oauth]\nclient_id = "x"\n'
        f'[profile.mine]\naddress = "{address}"\nnamespace = "{namespace}"\n'
    )
    file = str(tmp_path / "temporal.toml")
    sample.environment = clean_environment(TEMPORAL_CONFIG_FILE=file, TEMPORAL_PROFILE="mine")
    worker = await sample.worker()
    where = f"{address}, namespace {namespace}, task queue order-fulfillment\n"
    assert worker.stdout == STARTED + where
    starter, workflow_id = await sample.starter()
    await sample.approve(workflow_id)
    assert await starter.exits() == 0


@pytest.mark.parametrize(
    ("setting", "value", "line"),
    [
        ("TEMPORAL_PROFILE", "nobody", "Temporal settings: .*nobody.*\n"),
        ("TEMPORAL_CONFIG_FILE", "bad.toml", "Temporal settings: .*TOML.*\n"),
        ("TEMPORAL_TLS_CLIENT_CERT_PATH", "no.pem", "Temporal settings: .*no.pem.*\n"),
        ("TEMPORAL_NAMESPACE", "nowhere", "(NOT_FOUND: )?Namespace nowhere.*\n"),
    ],
)
async def test_wrong_setting_ends_in_one_line(
    sample: Sample, setting: str, value: str, line: str
) -> None:
    (sample.folder / "bad.toml").write_text("[profile\n")
    sample.environment[setting] = value
    for name in ("worker.py", "starter.py"):
        script = await sample.script(name)
        assert await script.exits(10) == 1
        assert re.fullmatch(line, script.stderr)
        assert script.stdout == ""


async def test_input_that_does_not_decode_is_never_paid(sample: Sample) -> None:
    worker = await sample.worker()
    fields = vars(new_order())
    inputs = {
        "number": {**fields, "price": 19.99},
        "text": {**fields, "quantity": "two"},
        "empty": {},
    }
    for name, value in inputs.items():
        await sample.temporal(*START, "--workflow-id", name, "--input", json.dumps(value))
        await sample.event(name, "WORKFLOW_TASK_FAILED")
        await worker.prints(f"{name} .*RuntimeError: Failed decoding arguments")
        assert (await sample.history(name)).activities("SCHEDULED") == []
    assert "Failed converting field price" in worker.stderr
    await sample.temporal(*START, "--workflow-id", "order-1", "--input", json.dumps(fields))
    await sample.approve("order-1")
    assert "fulfilled" in await sample.handle("order-1").result()


async def test_misspelled_signal_does_not_approve(sample: Sample) -> None:
    sample.shorten(approval=2)
    await sample.worker()
    starter, workflow_id = await sample.starter()
    options = ("--workflow-id", workflow_id, "--name", "aprove_order")
    assert (await sample.temporal("workflow", "signal", *options)).process.returncode == 0
    assert await starter.exits() == 1
    late = await sample.temporal("workflow", "signal", *options)
    assert "workflow execution already completed" in late.stderr
    unknown = await sample.temporal("workflow", "signal", *options[2:], "--workflow-id", "no")
    assert "workflow not found" in unknown.stderr


async def test_log_is_one_line_on_the_terminal_and_complete_in_a_file(sample: Sample) -> None:
    sample.shorten()
    sample.edit("starter.py", '"Temporal mug"', r'"red\x1b[31m mug\n10:00:00 ü"')
    sample.edit("activities.py", 'return "delivered"', "return delivered")
    handler = 'logging.getLogger().addHandler(logging.FileHandler("worker.log"))'
    sample.edit("worker.py", "    run(main())", f"    {handler}\n    run(main())")
    worker = await sample.worker()
    _, workflow_id = await sample.starter()
    await sample.approve(workflow_id)
    line = (sample.folder / "activities.py").read_text().split("return delivered")[0].count(
        "\n"
    ) + 1
    error = "Completing activity as failed: NameError: name 'delivered' is not defined"
    await worker.prints(f" {workflow_id} deliver_order {error} .activities.py:{line}.\n")
    await worker.prints(f" {workflow_id} deliver_order attempt 2 delivering")
    assert r"reserving 2 x red\x1b[31m mug\n10:00:00 ü" in worker.stderr
    assert all(
        re.match(rf"\d\d:\d\d:\d\d {workflow_id} ", row) for row in worker.stderr.splitlines()
    )
    log = (sample.folder / "worker.log").read_text()
    assert "Traceback" in log
    assert "NameError" in log


async def test_records_about_no_order_keep_their_traceback(sample: Sample) -> None:
    bug = (
        '    try:\n        1 / 0\n    except ZeroDivisionError:\n        logging.exception("own")\n'
    )
    sample.edit(
        "worker.py", "    client = await connect()\n", f"{bug}    client = await connect()\n"
    )
    core = '    core.handle(logging.makeLogRecord({"levelno": 40, "msg": "core error"}))\n'
    sample.edit("worker.py", "    run(main())", f"{core}    run(main())")
    worker = await sample.worker()
    assert re.match(r"\d\d:\d\d:\d\d core error\n\d\d:\d\d:\d\d own\nTraceback ", worker.stderr)
    assert "ZeroDivisionError: division by zero\n" in worker.stderr


async def test_worker_works_without_the_logging_part(sample: Sample) -> None:
    sample.shorten()
    path = sample.folder / "worker.py"
    before, logging_part = path.read_text().split("    # Logging")
    assert logging_part.endswith("    run(main())\n")
    path.write_text(f"{before}    run(main())\n")
    await sample.worker()
    starter, workflow_id = await sample.starter()
    await sample.approve(workflow_id)
    assert await starter.exits() == 0


@pytest.fixture
async def test_server(time_skipping: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Sample]:
    """A copy of the sample on the SDK's test server, which has no visibility."""
    address = time_skipping.client.service_client.config.target_host
    environment = clean_environment(TEMPORAL_ADDRESS=address)
    sample = Sample(copy_sample(tmp_path / "sample"), time_skipping.client, environment)
    yield sample
    await sample.stop()


async def test_worker_runs_without_visibility(test_server: Sample) -> None:
    test_server.shorten()
    await test_server.worker()
    handle = await test_server.start_order(new_order())
    await handle.signal("approve_order")
    assert "fulfilled" in await asyncio.wait_for(handle.result(), 30)


async def test_bug_in_a_script_keeps_its_traceback(sample: Sample) -> None:
    connected = "    client = await connect()\n"
    for name in ("worker.py", "starter.py"):
        sample.edit(name, connected, f'{connected}    raise RuntimeError("a bug")\n')
        script = await sample.script(name)
        assert await script.exits() != 0
        assert script.stderr.startswith("Traceback")
        assert "RuntimeError: a bug\n" in script.stderr
