"""A server that asks for TLS, for a client's certificate or for an API key, as the cloud does.

A proxy of the tests ends TLS in front of the dev server, with certificates that the tests make.
"""

import shutil
from collections.abc import AsyncIterator

import pytest

from tests.acceptance.certificates import Certificates
from tests.acceptance.proxies import Proxy, in_hpack, proxy_to
from tests.acceptance.refusals import end_at_once
from tests.acceptance.support import Stage
from tests.orders import FULFILLED

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not shutil.which("openssl"), reason="openssl makes the certificates"),
]

AUTHORITY = "TEMPORAL_TLS_SERVER_CA_CERT_PATH"
CERTIFICATE = "TEMPORAL_TLS_CLIENT_CERT_PATH"
KEY = "TEMPORAL_TLS_CLIENT_KEY_PATH"
API_KEY = "BareBeer"  # of the letters of `Bearer`, as `in_hpack` knows no others


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Provide certificates, of an authority that no machine knows."""
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
async def mutual_tls(stage: Stage, certificates: Certificates) -> AsyncIterator[Proxy]:
    """Provide a proxy that takes clients with a certificate alone; the environment has one."""
    async with proxy_to(stage.port, certificates.context(of_clients=True)) as proxy:
        stage.environment |= {
            "TEMPORAL_ADDRESS": proxy.address,
            AUTHORITY: certificates.path("authority.pem"),
            CERTIFICATE: certificates.path("client.pem"),
            KEY: certificates.path("client.key"),
        }
        yield proxy


@pytest.fixture
async def api_key(stage: Stage, certificates: Certificates) -> AsyncIterator[Proxy]:
    """Provide a proxy for clients with an API key; the environment has one."""
    async with proxy_to(stage.port, certificates.context(of_clients=False)) as proxy:
        stage.environment |= {
            "TEMPORAL_ADDRESS": proxy.address,
            AUTHORITY: certificates.path("authority.pem"),
            "TEMPORAL_API_KEY": API_KEY,
        }
        yield proxy


def to_a_profile(stage: Stage) -> None:
    """Move the settings from the environment to a profile."""
    del stage.environment["TEMPORAL_CONFIG_FILE"]
    settings, tls = list[str](), list[str]()
    for name in [name for name in stage.environment if name.startswith("TEMPORAL_")]:
        key = name.removeprefix("TEMPORAL_").lower()
        line = f'{key.removeprefix("tls_")} = "{stage.environment.pop(name)}"\n'
        (tls if key.startswith("tls_") else settings).append(line)
    file = stage.folder.parent / "temporal.toml"
    file.write_text("".join(["[profile.cloud]\n", *settings, "[profile.cloud.tls]\n", *tls]))
    stage.environment |= {"TEMPORAL_CONFIG_FILE": str(file), "TEMPORAL_PROFILE": "cloud"}


async def is_fulfilled(stage: Stage, proxy: Proxy) -> None:
    """Take an order to its end through the proxy, approved with the command of the starter."""
    stage.shorten(latency=0.2)
    await stage.worker()
    starter, workflow_id = await stage.starter()
    command = (await starter.shows("uv run (temporal workflow signal .*)\n"))[1]
    approval = await stage.temporal(*command.split()[1:])
    assert await approval.ends() == 0, approval.output
    assert await starter.ends() == 0, starter.output
    assert (await stage.history(workflow_id)).completed == FULFILLED
    assert len(proxy.connections) >= 3, "worker, starter and CLI"


async def test_mutual_tls_by_the_environment(stage: Stage, mutual_tls: Proxy) -> None:
    await is_fulfilled(stage, mutual_tls)


async def test_mutual_tls_by_a_profile(stage: Stage, mutual_tls: Proxy) -> None:
    to_a_profile(stage)
    await is_fulfilled(stage, mutual_tls)


def assert_key_on_each_connection(proxy: Proxy) -> None:
    """Check that each connection of each program carried the API key."""
    key = in_hpack(f"Bearer {API_KEY}")
    assert [key in connection.sent for connection in proxy.connections].count(False) == 0


async def test_api_key_by_the_environment(stage: Stage, api_key: Proxy) -> None:
    await is_fulfilled(stage, api_key)
    assert_key_on_each_connection(api_key)


async def test_api_key_by_a_profile(stage: Stage, api_key: Proxy) -> None:
    to_a_profile(stage)
    await is_fulfilled(stage, api_key)
    assert_key_on_each_connection(api_key)


async def test_api_key_that_the_server_refuses(stage: Stage, api_key: Proxy) -> None:
    api_key.status = (16, "Request unauthorized.")
    line = await end_at_once(stage, "worker.py", "starter.py")
    assert line.startswith(f"{api_key.address}: ")
    assert "Request unauthorized." in line
    assert len(api_key.connections) == 3, "the SDK here, worker and starter, each once"


MISTAKES: dict[str, dict[str, str | None]] = {
    "another authority": {AUTHORITY: "another-authority.pem"},
    "no client certificate": {CERTIFICATE: None, KEY: None},
    "certificate without its key": {KEY: None},
    "key of another certificate": {KEY: "server.key"},
    "no such file": {CERTIFICATE: "nowhere.pem"},
    "garbage for an authority": {AUTHORITY: "sections"},
    "garbage for a certificate": {CERTIFICATE: "sections"},
    "garbage for a key": {KEY: "sections"},
    "name that the server's certificate lacks": {"TEMPORAL_TLS_SERVER_NAME": "elsewhere"},
    "no TLS": {AUTHORITY: None, CERTIFICATE: None, KEY: None},
}


@pytest.mark.parametrize("mistake", MISTAKES)
async def test_mistake(
    stage: Stage, mutual_tls: Proxy, certificates: Certificates, mistake: str
) -> None:
    for name, value in MISTAKES[mistake].items():
        stage.environment.pop(name, None)
        if value:
            in_folder = name.endswith("_PATH")
            stage.environment[name] = certificates.path(value) if in_folder else value
    await end_at_once(stage, "starter.py")


async def test_api_key_for_a_server_without_tls(stage: Stage) -> None:
    stage.environment["TEMPORAL_API_KEY"] = API_KEY
    await end_at_once(stage, "worker.py", "starter.py")
