"""The worker: runs the workflow and the activities until Ctrl-C or SIGTERM."""

import asyncio
import logging
import re
import signal
import traceback
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from temporalio import activity, workflow
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig
from temporalio.worker import Worker

from activities import deliver_order, process_payment, reserve_inventory
from shared import TASK_QUEUE, connect, run
from workflow import ATTEMPT_TIMEOUT, OrderFulfillment


async def main() -> None:
    """Run until Ctrl-C or SIGTERM, then let running activities finish their attempt."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # ends connect(), like Ctrl-C
    client = await connect()
    request = DescribeNamespaceRequest(namespace=client.namespace)  # fails if it doesn't exist
    await client.workflow_service.describe_namespace(request, retry=True)
    terminated = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
    threads = 100  # one for each concurrent activity
    async with Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[OrderFulfillment],
        activities=[process_payment, reserve_inventory, deliver_order],
        activity_executor=ThreadPoolExecutor(threads),
        max_concurrent_activities=threads,
        graceful_shutdown_timeout=ATTEMPT_TIMEOUT,  # your longest activity timeout
    ):
        server = f"{client.service_client.config.target_host}, namespace {client.namespace}"
        print(f"Worker started: {server}, task queue {TASK_QUEUE}", flush=True)
        await terminated.wait()


class OneLineFormatter(logging.Formatter):
    """Formats a record about an order as one line. The Web UI shows its traceback."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line about an order, or any other record in the default format."""
        order = vars(record).get("temporal_activity") or vars(record).get("temporal_workflow")
        if not order:
            return super().format(record)
        attempt = f"attempt {order['attempt']}" if order["attempt"] > 1 else None
        words = [order["workflow_id"], order.get("activity_type"), attempt, record.getMessage()]
        if record.exc_info and (error := record.exc_info[1]):
            words[-1] = f"{words[-1]}: {type(error).__name__}: {error}"
            if error.__cause__ and str(error.__cause__) != str(error):
                words.append(str(error.__cause__))
            for frame in reversed(traceback.extract_tb(error.__traceback__)):
                if Path(frame.filename).parent == Path(__file__).parent:
                    words.append(f"({Path(frame.filename).name}:{frame.lineno})")
                    break
        line = " ".join([self.formatTime(record, self.datefmt), *filter(None, words)])
        return "".join(c if c.isprintable() else repr(c)[1:-1] for c in line)


def configure_logging() -> None:
    """Log orders, and warnings of the SDK's core such as a lost connection, to stderr."""
    handler = logging.StreamHandler()
    # For the SDK's own format, delete the next line and set both flags to True.
    handler.setFormatter(OneLineFormatter("%(asctime)s %(message)s", "%H:%M:%S"))
    activity.logger.activity_info_on_message = False
    workflow.logger.workflow_info_on_message = False
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    core = logging.getLogger("temporalio.core")
    # Hide what the SDK already logged: workflow tasks that failed with a Python traceback.
    core.addFilter(lambda log: not re.search('Failing workflow task.*"  File', log.getMessage()))
    logs = LoggingConfig("warn", LogForwardingConfig(core))
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=logs)))


if __name__ == "__main__":
    configure_logging()
    run(main())
