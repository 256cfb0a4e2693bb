"""What the worker, the starter and the workflow share."""

import asyncio
import os
import re
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta

from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.exceptions import TemporalError
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError

TASK_QUEUE = "order-fulfillment"
APPROVAL_TIMEOUT = timedelta(seconds=30)


@dataclass(frozen=True)
class Order:
    """What a customer orders, at whole US cents an item; the card is valid through MM/YY (20YY)."""

    # A field that you add needs a default, as the orders under way lack it. Don't validate in
    # __post_init__: an error there fails the workflow task, over and over, and not the order.
    order_id: str
    item: str
    quantity: int
    price_cents: int
    cc_expiry: str

    @property
    def total(self) -> str:
        """The price of the whole order, such as ``$39.98``."""
        return "${}.{:02}".format(*divmod(self.quantity * self.price_cents, 100))

    def problems(self) -> list[str]:
        """Return the rules that this order breaks, each beginning with the name of its field."""
        rules = {
            "order_id must be 1 to 100 characters": 1 <= len(self.order_id.strip()) <= 100,
            "item must be 1 to 100 characters": 1 <= len(self.item.strip()) <= 100,
            "quantity must be 1 to 1000000": 1 <= self.quantity <= 1_000_000,
            "price_cents must be 1 to 1000000": 1 <= self.price_cents <= 1_000_000,
            "cc_expiry must be MM/YY": re.fullmatch("(0[1-9]|1[0-2])/[0-9]{2}", self.cc_expiry),
        }
        return [rule for rule, kept in rules.items() if not kept]


async def connect() -> Client:
    """Connect as TEMPORAL_* or temporal.toml say. SystemExit: it fails, or no server for 30 s."""
    telemetry = TelemetryConfig(logging=LoggingConfig(filter="ERROR"))  # a lost server floods WARN
    runtime, limit, address = Runtime(telemetry=telemetry), timedelta(seconds=5), "Settings"
    for attempt in range(60):
        try:
            config = ClientConfig.load_client_connect_config(config_file_strict=True)
            address = config.setdefault("target_host", "localhost:7233")
            return await Client.connect(**config, runtime=runtime, connect_timeout=limit)
        except (RuntimeError, ValueError, OSError) as error:
            if not re.search("ConnectionRefused|code: Unavailable", str(error)):  # else wait
                raise SystemExit(f"{address}: {' '.join(str(error).split())}") from None
        if attempt == 2:
            print(f"Waiting for a Temporal server at {address}", file=sys.stderr)
        await asyncio.sleep(0.5)
    raise SystemExit(f"No server at {address}. Start one: uv run temporal server start-dev")


def one_line(text: str) -> str:
    """Return a text from outside as one line that can do a terminal no harm."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def run(main: Coroutine[None, None, None]) -> None:
    """Run a script and end its process: status 0, 130 after Ctrl-C, 1 with a line on stderr."""
    # A text that the terminal has no letters for must not end the script (typeshed: any TextIO).
    sys.stdout.reconfigure(errors="backslashreplace", line_buffering=True)  # type: ignore[union-attr]
    status = 1
    try:
        asyncio.run(main)
        status = 0
    except KeyboardInterrupt:
        status = 130
    except (SystemExit, TemporalError, BrokenPipeError) as failure:
        kind = f"{failure.status.name}: " if isinstance(failure, RPCError) else ""
        text, cause = f"{kind}{failure}", failure.__cause__
        while cause:
            text, cause = f"{text}: {cause}", cause.__cause__
        print(one_line(text), file=sys.stderr)
    except Exception as fault:
        sys.excepthook(type(fault), fault, fault.__traceback__)
    # The SDK's threads can crash an interpreter that shuts down (temporalio/sdk-python issue 300).
    os._exit(status)
