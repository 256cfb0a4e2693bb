"""The worker: runs the workflow and the activities until Ctrl-C or SIGTERM."""

import asyncio
import logging
import signal
from concurrent.futures import ThreadPoolExecutor

from temporalio import activity, workflow
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig
from temporalio.worker import Worker

from activities import deliver_order, process_payment, reserve_inventory
from shared import TASK_QUEUE, connect, run
from workflow import ATTEMPT_TIMEOUT, OrderFulfillment


async def main() -> None:
    """Run until Ctrl-C or SIGTERM, then let running activities finish their attempt."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # until connected, like Ctrl-C
    client = await connect()
    request = DescribeNamespaceRequest(namespace=client.namespace)  # fails without the namespace
    await client.workflow_service.describe_namespace(request, retry=True)
    loop, terminated = asyncio.get_running_loop(), asyncio.Event()
    signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(terminated.set))
    async with Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[OrderFulfillment],
        activities=[process_payment, reserve_inventory, deliver_order],
        activity_executor=ThreadPoolExecutor(100),  # one thread for each concurrent activity
        max_concurrent_activities=100,
        graceful_shutdown_timeout=ATTEMPT_TIMEOUT,  # your longest activity timeout
    ):
        server = f"{client.service_client.config.target_host}, namespace {client.namespace}"
        print(f"Worker started: {server}, task queue {TASK_QUEUE}", flush=True)
        await terminated.wait()


class OneLineFormatter(logging.Formatter):
    """Formats a record about an order as one line. The Web UI shows the tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line about an order, or any other record in the standard format."""
        order = vars(record).get("temporal_activity") or vars(record).get("temporal_workflow")
        if not order:
            return super().format(record)
        attempt = f"attempt {order['attempt']}" if order["attempt"] > 1 else None
        words = [order["workflow_id"], order.get("activity_type"), attempt, record.getMessage()]
        if record.exc_info and (error := record.exc_info[1]):
            words[-1] += f": {type(error).__name__}: {error}"
        line = " ".join([self.formatTime(record, self.datefmt), *filter(None, words)])
        return line if line.isprintable() else repr(line)  # Escape control characters.


if __name__ == "__main__":
    handler = logging.StreamHandler()
    handler.setFormatter(OneLineFormatter("%(asctime)s %(levelname)s %(message)s", "%H:%M:%S"))
    handler.addFilter(lambda record: record.msg != "Worker failed, shutting down")  # run() shows it
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    activity.logger.activity_info_on_message = False
    workflow.logger.workflow_info_on_message = False
    # Log the SDK core's warnings, too, except those that repeat an error with its traceback.
    core = logging.getLogger("temporalio.core")
    core.addFilter(lambda record: 'stack_trace: "  File' not in record.getMessage())
    logs = LoggingConfig("warn", LogForwardingConfig(core))
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=logs)))
    run(main())
