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


async def test_server_elsewhere(stage: Stage) -> None:
    """Its Web UI may be anywhere, so there is no link that may be wrong."""
    address = f"127.1:{stage.port}"  # another name of this machine, as good as that of another one
    stage.environment["TEMPORAL_ADDRESS"] = address
    starter, workflow_id = await stage.starter()
    await starter.shows(f"Ask for its result: .* --address {address} --namespace {stage.namespace}")
    assert starter.stdout.startswith(f"Started workflow {workflow_id} at {address}, ")
    assert "http" not in starter.stdout


async def both_say(stage: Stage, beginning: str, word: str = "") -> None:
    """Check that worker and starter end at once, with one line that begins so and has a word."""
    for script in [await stage.script("worker.py"), await stage.script("starter.py")]:
        assert await script.ends() == 1
        assert script.stdout == ""
        assert script.stderr.count("\n") == 1
        assert "Waiting" not in script.stderr
        assert script.stderr.startswith(beginning)
        assert word in script.stderr


async def test_wrong_namespace(stage: Stage) -> None:
    stage.environment["TEMPORAL_NAMESPACE"] = "nowhere"
    await both_say(stage, "NOT_FOUND: ", "nowhere")


async def test_ready_is_what_the_server_has_agreed_to(stage: Stage) -> None:
    """Here it does not; without the edit the worker would know that before it starts."""
    stage.edit("worker.py", "    await client.count_workflows()", "    ")
    stage.environment["TEMPORAL_NAMESPACE"] = "nowhere"
    worker = await stage.script("worker.py")
    assert await worker.ends() == 1
    assert "nowhere" in worker.stderr
    assert READY not in worker.output


async def test_unknown_profile(stage_without_server: Stage) -> None:
    stage_without_server.environment["TEMPORAL_PROFILE"] = "nobodys"
    await both_say(stage_without_server, "Settings: ", "nobodys")


@pytest.mark.parametrize("text", ["[profile\n", '[profile.default]\nadress = "127.0.0.1:7233"\n'])
async def test_file_with_a_mistake(stage_without_server: Stage, text: str) -> None:
    stage = stage_without_server
    file = stage.folder.parent / "temporal.toml"
    file.write_text(text)
    stage.environment["TEMPORAL_CONFIG_FILE"] = str(file)
    await both_say(stage, "Settings: ", text.splitlines()[-1].split("=")[0].strip())


@pytest.mark.parametrize("address", ["localhost:port", "no-such-host.invalid:7233"])
async def test_address_that_cannot_be(stage_without_server: Stage, address: str) -> None:
    stage_without_server.environment["TEMPORAL_ADDRESS"] = address
    await both_say(stage_without_server, f"{address}: ")


async def test_address_that_would_colour_the_terminal(stage_without_server: Stage) -> None:
    stage_without_server.environment["TEMPORAL_ADDRESS"] = "\x1b[31mlocalhost:7233"
    await both_say(stage_without_server, r"\x1b[31mlocalhost:7233: ")
