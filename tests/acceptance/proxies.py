"""A network that the tests hold in their hands: a proxy between the scripts and a server."""

import asyncio
import contextlib
import socket
import ssl
import struct
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

# What HTTP/2 needs to answer each request with a gRPC status (RFC 9113, section 6).
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
HEADERS, SETTINGS, PING = 1, 4, 6
ACKNOWLEDGED, END_OF_STREAM_AND_HEADERS = 1, 5


@dataclass
class Connection:
    """A connection of a client, and what came through it so far, in plain bytes."""

    writer: asyncio.StreamWriter
    sent: bytearray = field(default_factory=bytearray)
    answered: bytearray = field(default_factory=bytearray)
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    since: float = field(default_factory=time.monotonic)


def in_hpack(letters: str) -> bytes:
    """Return how a header's value goes over HTTP/2 (RFC 7541, appendix B), if of these letters."""
    codes = {" ": "010100", "B": "1011101", "a": "00011", "e": "00101", "r": "101100"}
    bits = "".join(codes[letter] for letter in letters)
    bits += "1" * (-len(bits) % 8)
    return bytes([0x80 | len(bits) // 8]) + int(bits, 2).to_bytes(len(bits) // 8, "big")


class Proxy:
    """Forwards connections to a server on this machine, as long as the test lets it."""

    def __init__(self, server_port: int) -> None:
        """Forward everything."""
        self.server_port = server_port
        self.port = 0
        self.connections: list[Connection] = []
        self.status: tuple[int, str] | None = None
        self._light = asyncio.Event()
        self._light.set()

    @property
    def address(self) -> str:
        """Where clients find the proxy."""
        return f"127.0.0.1:{self.port}"

    @property
    def open(self) -> list[Connection]:
        """The connections through which a server has answered, and which are not closed."""
        return [c for c in self.connections if c.answered and not c.writer.is_closing()]

    def goes_dark(self) -> None:
        """Forward nothing and close nothing, as when a cable is pulled."""
        self._light.clear()

    def lights_up(self) -> None:
        """Forward again, also what came meanwhile."""
        self._light.set()

    def reset(self) -> None:
        """Reset all connections, as a router does that is restarted."""
        for connection in self.open:
            at_once = struct.pack("ii", 1, 0)
            connection.writer.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, at_once
            )
            connection.writer.transport.abort()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve a connection until it ends, in whatever way, at either side."""
        connection = Connection(writer)
        self.connections.append(connection)
        try:
            with contextlib.suppress(OSError, asyncio.IncompleteReadError):
                await (self.answer if self.status else self.forward)(reader, connection)
        finally:
            writer.transport.abort()
            connection.ended.set()

    async def forward(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        """Let a client and the server talk."""

        async def pump(
            source: asyncio.StreamReader, sink: asyncio.StreamWriter, seen: bytearray
        ) -> None:
            try:
                while data := await source.read(65_536):
                    await self._light.wait()
                    seen += data
                    sink.write(data)
                    await sink.drain()
                await self._light.wait()
            finally:
                sink.transport.abort()

        server_reader, server = await asyncio.open_connection("127.0.0.1", self.server_port)
        await asyncio.gather(
            pump(reader, server, connection.sent),
            pump(server_reader, connection.writer, connection.answered),
            return_exceptions=True,
        )

    async def answer(self, reader: asyncio.StreamReader, connection: Connection) -> None:
        """Answer each request with the status."""
        assert self.status
        number, message = self.status
        fields = {"content-type": "application/grpc", "grpc-status": f"{number}"}
        # HPACK (RFC 7541): `:status 200` by its index, the others as literals that are not indexed.
        block = b"\x88" + b"".join(
            b"\x00" + bytes([len(name)]) + name.encode() + bytes([len(value)]) + value.encode()
            for name, value in {**fields, "grpc-message": message}.items()
        )

        def send(kind: int, flags: int, stream: int, payload: bytes = b"") -> None:
            head = (
                len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
            )
            connection.writer.write(head + payload)

        await reader.readexactly(len(PREFACE))
        send(SETTINGS, 0, 0)
        while True:
            head = await reader.readexactly(9)
            kind, flags, stream = head[3], head[4], int.from_bytes(head[5:], "big")
            payload = await reader.readexactly(int.from_bytes(head[:3], "big"))
            if kind == HEADERS:
                send(HEADERS, END_OF_STREAM_AND_HEADERS, stream, block)
            elif kind in (SETTINGS, PING) and not flags & ACKNOWLEDGED:
                send(kind, ACKNOWLEDGED, 0, payload if kind == PING else b"")


@asynccontextmanager
async def proxy_to(server_port: int, context: ssl.SSLContext | None = None) -> AsyncIterator[Proxy]:
    """Provide a proxy to a server; with a context, it takes TLS connections alone."""
    proxy = Proxy(server_port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0, ssl=context)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        proxy.lights_up()
        for connection in proxy.connections:
            connection.writer.transport.abort()
            await connection.ended.wait()
