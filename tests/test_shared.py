"""How the scripts connect to a server, and how they exit."""

import asyncio
import os
from pathlib import Path

import pytest

from shared import connect, run


async def test_profile_is_used_despite_unknown_keys(
    address: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / "temporal.toml"
    file.write_text(
        '[profile.cloud.oauth]\nclient_id = "x"\n[profile.mine]\nnamespace = "my-namespace"\n'
        'api_key = "secret"\n[profile.mine.tls]\ndisabled = true\n'
    )
    monkeypatch.setenv("TEMPORAL_CONFIG_FILE", str(file))
    monkeypatch.setenv("TEMPORAL_PROFILE", "mine")
    client = await connect(identity="me")
    assert (client.namespace, client.api_key, client.identity) == ("my-namespace", "secret", "me")


async def test_api_key_turns_tls_on_and_tls_errors_are_reported_immediately(
    address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_API_KEY", "secret")  # The server has no TLS.
    with pytest.raises(SystemExit, match=f"^Can't connect to .* {address}: .*InvalidContentType"):
        async with asyncio.timeout(10):
            await connect()


@pytest.mark.parametrize(
    ("status", "name"), [(b"\x0216", "Unauthenticated"), (b"\x017", "PermissionDenied")]
)
async def test_rejected_key_is_reported_immediately(
    status: bytes, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def reject(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer the first call as gRPC does over HTTP/2: with headers that contain a status."""
        headers = b"\x88\0\x0ccontent-type\x10application/grpc\0\x0bgrpc-status" + status
        await reader.readexactly(24)  # the preface of the connection
        writer.write(b"\0\0\0\x04\0\0\0\0\0")  # empty settings
        while (frame := await reader.readexactly(9))[3] != 1:  # the headers of the call
            await reader.readexactly(int.from_bytes(frame[:3], "big"))
        writer.write(bytes([0, 0, len(headers), 1, 5]) + frame[5:] + headers)
        writer.close()

    async with await asyncio.start_server(reject, "127.0.0.1", 0) as server:
        monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{server.sockets[0].getsockname()[1]}")
        with pytest.raises(SystemExit, match=f"^Can't connect to Temporal at .*{name}"):
            async with asyncio.timeout(10):
                await connect()


def test_script_that_fails_exits_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async def main() -> None:
        raise SystemExit("message")

    statuses: list[int] = []
    monkeypatch.setattr(os, "_exit", statuses.append)
    run(main())
    assert (statuses, capsys.readouterr().err) == ([1], "message\n")
