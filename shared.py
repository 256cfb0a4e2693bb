"""What the worker, the starter and the workflow share."""

import asyncio
import os
import re
import sys
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NoReturn

from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.client import Client
from temporalio.envconfig import ClientConfig
from temporalio.exceptions import TemporalError
from temporalio.runtime import LoggingConfig, Runtime, TelemetryConfig

TASK_QUEUE = "order-fulfillment"
APPROVAL_TIMEOUT = timedelta(seconds=30)


@dataclass(frozen=True)
class Order:
    """What a customer orders; ``price_cents`` is the price of one item in whole US cents.

    ``cc_expiry`` is the last month in which the credit card is valid, ``MM/YY`` (YY means 20YY).
    There is no card number, as anyone can read the event history: a real system passes a token.
    """

    order_id: str
    item: str
    quantity: int
    price_cents: int
    cc_expiry: str

    @property
    def total(self) -> str:
        """The price of the whole order, such as ``$39.98``."""
        return f"${self.quantity * self.price_cents / 100:.2f}"


async def connect() -> Client:
    """Connect to the server that TEMPORAL_* variables or temporal.toml name, else localhost:7233.

    Waits up to 30 s for it, so that all can be started in any order. Raises SystemExit with one
    line when there is none by then, or when the namespace or the settings are wrong.
    """
    # The SDK's core warns of a lost server in many lines; what else fails, the worker logs itself.
    runtime = Runtime(telemetry=TelemetryConfig(logging=LoggingConfig(filter="ERROR")))
    address, reason = "localhost:7233", "no answer"
    try:
        config = ClientConfig.load_client_connect_config()
        address = config.setdefault("target_host", address)
        waiting = f"Waiting for a Temporal server at {address}\n"
        notice = asyncio.get_running_loop().call_later(1, sys.stderr.write, waiting)
        async with asyncio.timeout(30):
            while True:
                try:
                    client = await Client.connect(**config, runtime=runtime)
                    break
                except RuntimeError as error:
                    # Quoted last in the SDK's error is what the operating system says.
                    text = str(error).replace("InvalidContentType", '"it does not speak TLS"')
                    reason = [text, *re.findall('"([^"]+)"', text)][-1]
                    await asyncio.sleep(0.5)
        notice.cancel()
        namespace = DescribeNamespaceRequest(namespace=client.namespace)
        await client.workflow_service.describe_namespace(namespace)
        return client
    except TimeoutError:
        hint = "Start one: uv run temporal server start-dev"
        raise SystemExit(f"No Temporal server at {address}: {reason}. {hint}") from None
    except Exception as error:
        reason = " ".join(str(error).split()).rstrip(".")
        hint = "Check the TEMPORAL_* variables and temporal.toml"
        raise SystemExit(f"{address}: {reason}. {hint}") from None


def run(main: Coroutine[Any, Any, None]) -> NoReturn:
    """Run a script and end its process: status 0, 130 after Ctrl-C, 1 with a line on stderr."""
    status = 0
    try:
        asyncio.run(main)
    except KeyboardInterrupt:
        status = 130
    except (SystemExit, TemporalError, RuntimeError) as failure:
        print(failure, file=sys.stderr)
        status = 1
    # The SDK's threads can crash an interpreter that shuts down: leave without the shutdown
    # (temporalio/sdk-python issue 300).
    sys.stdout.flush()
    os._exit(status)
