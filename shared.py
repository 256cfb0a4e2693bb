"""Code shared by the worker, the starter and the workflow."""

import asyncio
import os
import sys
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Unpack

from temporalio.client import Client, ClientConnectConfig
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

TASK_QUEUE = "order-fulfillment"  # Choose your own.


@dataclass(frozen=True)
class Order:
    """A customer's order. ``price`` is per item, in dollars and cents; ``cc_expiry`` is MM/YY."""

    # Each replay decodes the order again: give new fields a default, and never tighten a rule.
    order_id: str  # also the workflow ID
    item: str
    quantity: int
    price: str
    cc_expiry: str


async def connect(**options: Unpack[ClientConnectConfig]) -> Client:
    """Connect using TEMPORAL_*, temporal.toml and ``options``. Raises SystemExit if it can't."""
    try:
        config = ClientConfig.load_client_connect_config()
    except (RuntimeError, ValueError, OSError) as error:
        raise SystemExit(f"Invalid Temporal settings: {' '.join(str(error).split())}") from None
    settings: ClientConnectConfig = {"target_host": "localhost:7233", **config, **options}
    settings.setdefault("connect_timeout", timedelta(seconds=5))
    waiting, deadline = False, time.monotonic() + 30
    while True:
        try:
            return await Client.connect(**settings)
        except (RuntimeError, ValueError) as error:
            problem = f"Can't connect to Temporal at {settings['target_host']}: {error}."
        # A server may still come up, but a wrong address, key or TLS setting stays wrong.
        lasting = ("invalid target", "Unauthenticated", "PermissionDenied", "InvalidData")
        if any(text in problem for text in lasting) or time.monotonic() > deadline:
            raise SystemExit(problem)
        if not waiting:
            print(f"{problem} Start the server within 30 s.", file=sys.stderr)
        waiting = True
        await asyncio.sleep(0.5)


def run(main: Coroutine[None, None, None]) -> None:
    """Run a script and exit as Python does, but 130 on Ctrl-C and one line for RPC errors."""
    status: int | str | None = None
    try:
        asyncio.run(main)
    except (KeyboardInterrupt, asyncio.CancelledError):  # the latter after a second Ctrl-C
        status = 130
    except SystemExit as end:
        status = end.code
    except RPCError as error:
        status = f"{error.status.name}: {error}"
    except BaseException as error:
        if not isinstance(error, BrokenPipeError):  # a closed pipe, as in: starter.py | head -1
            sys.excepthook(type(error), error, error.__traceback__)
        status = 1
    if not isinstance(status, int | None):
        print(status, file=sys.stderr)
        status = 1
    with suppress(BrokenPipeError):
        print(end="", flush=True)
    # Python's own shutdown sometimes crashes or, from Python 3.14 on, hangs in a thread of the SDK:
    # https://github.com/temporalio/sdk-python/issues/300. Call your atexit handlers here.
    os._exit(status or 0)
