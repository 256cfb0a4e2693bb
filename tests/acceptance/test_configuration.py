"""Worker, starter and CLI on another server: by environment variables, or by a profile alone."""

import os

import pytest

from tests.acceptance.support import READY, Stage, clean_environment
from tests.orders import FULFILLED

pytestmark = pytest.mark.slow


async def order_is_fulfilled_there(stage: Stage) -> None:
    """Take an order to its end on the stage's server, as its environment has it."""
    stage.shorten(latency=0.2)
    worker = await stage.script("worker.py")
    where = f"{stage.address}, namespace {stage.namespace}, task queue order-fulfillment"
    await worker.shows(READY + where)
    starter, workflow_id = await stage.starter()
    await stage.approve(workflow_id)
    assert await starter.ends() == 0, starter.output
    assert (await stage.history(workflow_id)).completed == FULFILLED


async def test_environment_variables_alone(stage: Stage) -> None:
    names = {name for name in stage.environment if name.startswith("TEMPORAL_")}
    assert names == {"TEMPORAL_ADDRESS", "TEMPORAL_NAMESPACE", "TEMPORAL_CONFIG_FILE"}
    await order_is_fulfilled_there(stage)


async def test_profile_alone(stage: Stage) -> None:
    file = stage.folder.parent / "temporal.toml"
    file.write_text(
        '[profile.default]\naddress = "127.0.0.1:1"\n'
        f'[profile.mine]\naddress = "{stage.address}"\nnamespace = "{stage.namespace}"\n'
    )
    stage.environment.clear()
    stage.environment.update(
        clean_environment(TEMPORAL_CONFIG_FILE=str(file), TEMPORAL_PROFILE="mine")
    )
    await order_is_fulfilled_there(stage)


@pytest.mark.skipif(os.name != "posix", reason="XDG_CONFIG_HOME is for Linux")
async def test_profile_in_the_folder_of_the_user_configuration(stage: Stage) -> None:
    for folder in ("home/.config", "home/Library/Application Support"):
        file = stage.folder.parent / folder / "temporalio" / "temporal.toml"
        file.parent.mkdir(parents=True)
        file.write_text(
            f'[profile.default]\naddress = "{stage.address}"\nnamespace = "{stage.namespace}"\n'
        )
    home = str(stage.folder.parent / "home")
    environment = clean_environment(HOME=home)
    for name in ("TEMPORAL_CONFIG_FILE", "XDG_CONFIG_HOME"):
        environment.pop(name, None)
    stage.environment.clear()
    stage.environment.update(environment)
    await order_is_fulfilled_there(stage)


async def both_say(stage: Stage, line: str) -> None:
    """Check that worker and starter end with one line, after one that says that they wait."""
    for script in [await stage.script("worker.py"), await stage.script("starter.py")]:
        assert await script.ends(45) == 1
        assert script.stdout == ""
        waiting = f"Waiting for a Temporal server at {stage.environment['TEMPORAL_ADDRESS']}\n"
        assert script.stderr.removeprefix(waiting) == line + "\n"


CHECK = "Check the TEMPORAL_* variables and temporal.toml"
START = "Start one: uv run temporal server start-dev"


async def test_wrong_namespace(stage: Stage) -> None:
    stage.environment["TEMPORAL_NAMESPACE"] = "nowhere"
    await both_say(stage, f"{stage.address}: Namespace nowhere is not found. {CHECK}")


async def test_api_key_without_tls(stage: Stage) -> None:
    stage.environment["TEMPORAL_API_KEY"] = "a-key"
    reason = "it does not speak TLS"
    await both_say(stage, f"No Temporal server at {stage.address}: {reason}. {START}")


async def test_unknown_profile(stage_without_server: Stage) -> None:
    stage = stage_without_server
    stage.environment["TEMPORAL_PROFILE"] = "nobodys"
    await both_say(stage, f"localhost:7233: Profile 'nobodys' not found. {CHECK}")


async def test_file_that_is_not_toml(stage_without_server: Stage) -> None:
    stage = stage_without_server
    file = stage.folder.parent / "temporal.toml"
    file.write_text("[profile\n")
    stage.environment["TEMPORAL_CONFIG_FILE"] = str(file)
    worker = await stage.script("worker.py")
    assert await worker.ends() == 1
    assert worker.stderr.startswith("localhost:7233: Configuration loading error: TOML parse error")
    assert worker.stderr.count("\n") == 1
