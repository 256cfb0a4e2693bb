"""Worker, starter and CLI on another server: by environment variables, or by a profile alone."""

import os

import pytest
from temporalio.client import Client

from tests.acceptance.support import READY, Stage, clean_environment, free_port, side_by_side
from tests.orders import FULFILLED

pytestmark = pytest.mark.slow

SECOND = "second-namespace"


async def order_in_the_second_namespace(stage: Stage) -> None:
    """Take an order to its end on the stage's server, as its environment has it."""
    worker = await stage.script("worker.py")
    await worker.shows(f"{READY}{stage.address}, namespace {SECOND}, task queue order-fulfillment")
    starter, workflow_id = await stage.starter()
    await stage.approve(workflow_id)
    assert await starter.ends() == 0, starter.output
    stage.client = await Client.connect(stage.address, namespace=SECOND)
    assert (await stage.history(workflow_id)).completed == FULFILLED
    await worker.kill()


async def with_second_namespace(stage: Stage) -> None:
    """Start the stage's server anew with a second namespace, on a port that is not 7233."""
    assert stage.server
    await stage.server.kill()
    await stage.start_server("--namespace", SECOND)


@side_by_side
async def test_environment_variables_alone(stage: Stage) -> None:
    await with_second_namespace(stage)
    stage.environment["TEMPORAL_NAMESPACE"] = SECOND
    await order_in_the_second_namespace(stage)


@side_by_side
async def test_profile_alone(stage: Stage) -> None:
    await with_second_namespace(stage)
    file = stage.folder.parent / "temporal.toml"
    file.write_text(
        '[profile.default]\naddress = "127.0.0.1:1"\n'
        f'[profile.mine]\naddress = "{stage.address}"\nnamespace = "{SECOND}"\n'
    )
    stage.environment.clear()
    stage.environment.update(
        clean_environment(TEMPORAL_CONFIG_FILE=str(file), TEMPORAL_PROFILE="mine")
    )
    await order_in_the_second_namespace(stage)


@pytest.mark.skipif(os.name != "posix", reason="XDG_CONFIG_HOME is for Linux")
@side_by_side
async def test_profile_in_the_folder_of_the_user_configuration(stage: Stage) -> None:
    await with_second_namespace(stage)
    for folder in ("home/.config", "home/Library/Application Support"):
        file = stage.folder.parent / folder / "temporalio" / "temporal.toml"
        file.parent.mkdir(parents=True)
        file.write_text(f'[profile.default]\naddress = "{stage.address}"\nnamespace = "{SECOND}"\n')
    home = str(stage.folder.parent / "home")
    environment = clean_environment(HOME=home)
    for name in ("TEMPORAL_CONFIG_FILE", "XDG_CONFIG_HOME"):
        environment.pop(name, None)
    stage.environment.clear()
    stage.environment.update(environment)
    await order_in_the_second_namespace(stage)


async def both_say(stage: Stage, line: str) -> None:
    """Check that worker and starter end with one line, after one that says that they wait."""
    for script in [await stage.script("worker.py"), await stage.script("starter.py")]:
        assert await script.ends(45) == 1
        assert script.stdout == ""
        waiting = f"Waiting for a Temporal server at {stage.environment['TEMPORAL_ADDRESS']}\n"
        assert script.stderr.removeprefix(waiting) == line + "\n"


CHECK = "Check the TEMPORAL_* variables and temporal.toml"
START = "Start one: uv run temporal server start-dev"


@side_by_side
async def test_wrong_namespace(stage: Stage) -> None:
    stage.environment["TEMPORAL_NAMESPACE"] = "nowhere"
    await both_say(stage, f"{stage.address}: Namespace nowhere is not found. {CHECK}")


@side_by_side
async def test_wrong_port(stage: Stage) -> None:
    address = f"127.0.0.1:{free_port()}"
    stage.environment["TEMPORAL_ADDRESS"] = address
    await both_say(stage, f"No Temporal server at {address}: Connection refused. {START}")


@side_by_side
async def test_api_key_without_tls(stage: Stage) -> None:
    stage.environment["TEMPORAL_API_KEY"] = "a-key"
    reason = "it does not speak TLS"
    await both_say(stage, f"No Temporal server at {stage.address}: {reason}. {START}")


@side_by_side
async def test_unknown_profile(stage: Stage) -> None:
    stage.environment["TEMPORAL_PROFILE"] = "nobodys"
    await both_say(stage, f"localhost:7233: Profile 'nobodys' not found. {CHECK}")


@side_by_side
async def test_file_that_is_not_toml(stage: Stage) -> None:
    file = stage.folder.parent / "temporal.toml"
    file.write_text("[profile\n")
    stage.environment["TEMPORAL_CONFIG_FILE"] = str(file)
    worker = await stage.script("worker.py")
    assert await worker.ends() == 1
    assert worker.stderr.startswith("localhost:7233: Configuration loading error: TOML parse error")
    assert worker.stderr.count("\n") == 1
