"""Code shared by the worker, the starter and the workflow."""

import asyncio
import logging
import os
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

TASK_QUEUE = "order-fulfillment"  # Choose your own.


@dataclass(frozen=True)
class Order:
    """A customer's order. ``price`` is per item, in dollars and cents; ``cc_expiry`` is MM/YY."""

    # Give new fields a default: running orders were started without them. Don't validate in
    # __post_init__: an error there fails the workflow task, over and over, instead of the order.
    order_id: str
    item: str
    quantity: int
    price: str
    cc_expiry: str


async def connect() -> Client:
    """Connect using TEMPORAL_* variables or temporal.toml. Raises SystemExit if it can't."""
    try:
        config = ClientConfig.load_client_connect_config()
    except (RuntimeError, ValueError, OSError) as error:
        raise SystemExit(f"Temporal settings: {' '.join(str(error).split())}") from None
    address = config.setdefault("target_host", "localhost:7233")
    advice = " To start it: uv run temporal server start-dev" if "localhost" in address else ""
    problem, deadline = "", asyncio.get_running_loop().time() + 30
    while asyncio.get_running_loop().time() < deadline:
        try:
            return await Client.connect(connect_timeout=timedelta(seconds=5), **config)
        except ValueError as error:
            raise SystemExit(f"Temporal settings: address {address!r}: {error}") from None
        except RuntimeError as error:  # The server may still come up.
            if not problem:
                print(f"Waiting up to 30 s for {address}: {error}.{advice}", file=sys.stderr)
            problem = f"Can't connect to Temporal at {address}: {error}.{advice}"
        await asyncio.sleep(0.5)
    raise SystemExit(problem)


def run(main: Coroutine[None, None, None]) -> None:
    """Run a script and exit with status 0, 130 if interrupted, or 1 after an error."""
    status = 1
    try:
        asyncio.run(main)
        status = 0
    except KeyboardInterrupt:
        status = 130
    except SystemExit as failure:
        print(failure, file=sys.stderr)
    except RPCError as error:
        print(f"{error.status.name}: {error}", file=sys.stderr)
    except BaseException:
        logging.exception("Unexpected error")
    # In our runs, SDK threads crashed 7 of 40 clients at shutdown (sdk-python issue 300).
    # os._exit prevents that, and skips atexit handlers: flush buffered logs and metrics before it.
    os._exit(status)
