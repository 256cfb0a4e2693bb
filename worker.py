"""The worker: runs the workflow and the activities until Ctrl-C or SIGTERM."""

import asyncio
import logging
import signal
import traceback
from concurrent.futures import ThreadPoolExecutor

from temporalio import activity, workflow
from temporalio.api.workflowservice.v1 import DescribeNamespaceRequest
from temporalio.runtime import LogForwardingConfig, LoggingConfig, Runtime, TelemetryConfig
from temporalio.service import RPCError
from temporalio.worker import Worker

from activities import deliver_order, process_payment, reserve_inventory
from shared import TASK_QUEUE, connect, run
from workflow import ATTEMPT_TIMEOUT, OrderFulfillment


async def main() -> None:
    """Run until Ctrl-C or SIGTERM, then let running activities finish their attempt."""
    client = await connect()
    try:  # The Worker checks this too, but fails with a traceback.
        request = DescribeNamespaceRequest(namespace=client.namespace)
        await client.workflow_service.describe_namespace(request, retry=True)
    except RPCError as error:
        raise SystemExit(f"Namespace {client.namespace}: {error.status.name}: {error}") from None
    terminated, loop = asyncio.Event(), asyncio.get_running_loop()
    signal.signal(signal.SIGTERM, lambda *_: loop.call_soon_threadsafe(terminated.set))
    async with Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[OrderFulfillment],
        activities=[process_payment, reserve_inventory, deliver_order],
        activity_executor=ThreadPoolExecutor(100),  # as many as max_concurrent_activities
        graceful_shutdown_timeout=ATTEMPT_TIMEOUT,
    ):
        where = f"{client.service_client.config.target_host}, namespace {client.namespace}"
        print(f"Worker started: {where}, task queue {TASK_QUEUE}", flush=True)
        await terminated.wait()


if __name__ == "__main__":
    # Logging: one line per record about an order. Delete all but run(main()) for the SDK's format.
    class _OneLine(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            order = getattr(record, "temporal_activity", getattr(record, "temporal_workflow", None))
            if not order:
                return super().format(record)
            attempt = f"attempt {order['attempt']}" if order["attempt"] > 1 else None
            words = [order["workflow_id"], order.get("activity_type"), attempt, record.getMessage()]
            if record.exc_info and (error := record.exc_info[1]):
                words[-1] += f": {type(error).__name__}: {error} {error.__cause__ or ''}".rstrip()
                for place in traceback.extract_tb(error.__traceback__)[-1:]:
                    words += [f"({place.filename.rpartition('/')[2]}:{place.lineno})"]
            text = " ".join([self.formatTime(record, self.datefmt), *filter(None, words)])
            return "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)

    logging.basicConfig(level=logging.INFO)
    logging.getLogger().handlers[0].setFormatter(_OneLine("%(asctime)s %(message)s", "%H:%M:%S"))
    activity.logger.activity_info_on_message = workflow.logger.workflow_info_on_message = False
    # Only the SDK's core logs nondeterminism (TMPRL1100). Its other warnings repeat the SDK's.
    core = logging.getLogger("temporalio.core")
    core.addFilter(lambda log: log.levelno >= logging.ERROR or "TMPRL1100" in log.getMessage())
    logs = LoggingConfig("warn", LogForwardingConfig(core))
    Runtime.set_default(Runtime(telemetry=TelemetryConfig(logging=logs)))
    run(main())
