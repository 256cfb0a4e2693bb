"""How the scripts end when they cannot connect and waiting does not mend it."""

import re

from temporalio.client import Client
from temporalio.envconfig import ClientConfig

from tests.acceptance.support import Stage


async def own_words(stage: Stage) -> str:
    """Return what the SDK says of the stage's settings, after the address if they have one."""
    address = "Settings"
    try:
        config = ClientConfig.load_client_connect_config(
            config_file_strict=True, override_env_vars=stage.environment
        )
        address = config["target_host"]
        await Client.connect(**config)
    except (RuntimeError, ValueError, OSError) as error:
        return f"{address}: {error}"
    raise AssertionError(f"the SDK connects to {address}")


def comparable(text: str) -> str:
    """Return an error in one line, without how a connection ended: no two need end alike."""
    return re.sub(r"Status \{.*tonic::transport.*\}$", "Status", " ".join(text.split()))


async def end_at_once(stage: Stage, *scripts: str) -> str:
    """Check that scripts say in a line what the SDK says, and end; return the line."""
    words = await own_words(stage)
    line = ""
    for script in [await stage.script(name) for name in scripts]:
        assert await script.ends() == 1
        assert script.stdout == ""
        line = script.stderr
        assert line.count("\n") == 1
        assert comparable(line) == comparable(words)
    return line
