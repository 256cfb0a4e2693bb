"""What the worker, the starter and the workflow share."""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Coroutine
from dataclasses import dataclass

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.service import RPCError

TASK_QUEUE = "order-fulfillment"


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
    """Connect with TEMPORAL_* or temporal.toml. Raises SystemExit after 30 s without success."""
    try:
        config = ClientConfig.load_client_connect_config()
    except (RuntimeError, ValueError, OSError) as error:
        raise SystemExit(f"Temporal settings: {' '.join(str(error).split())}") from None
    address = config.setdefault("target_host", "localhost:7233")
    advice = " (start one: uv run temporal server start-dev)" if "localhost" in address else ""
    begin = time.monotonic()
    for seconds in (1, 30):
        while time.monotonic() - begin < seconds:
            try:
                return await Client.connect(**config)
            except Exception as error:
                problem = f"Temporal server at {address}{advice}: {error}"
            await asyncio.sleep(0.5)
        if seconds == 1:
            print(f"Waiting up to 30 s for a {problem}", file=sys.stderr)
    raise SystemExit(f"No {problem}")


def run(main: Coroutine[None, None, None]) -> None:
    """Run a script and end its process: status 0, 130 after Ctrl-C, or 1 after an error."""
    status = 1
    try:
        asyncio.run(main)
        status = 0
    except KeyboardInterrupt:
        status = 130
    except RPCError as error:
        print(f"{error.status.name}: {error}", file=sys.stderr)
    except SystemExit as failure:
        print(failure, file=sys.stderr)
    # SDK threads crashed 7 of 40 clients and 3 of 15 workers at shutdown (sdk-python issue 300).
    logging.shutdown()
    sys.stdout.flush()
    os._exit(status)
