"""The worker: runs workflows and activities until Ctrl-C or SIGTERM."""

import asyncio
import logging
import signal
import sys
import traceback
from datetime import timedelta
from pathlib import Path

from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError
from temporalio.worker import Worker

from activities import deliver_order, process_payment, reserve_inventory
from shared import TASK_QUEUE, connect, run
from workflow import OrderFulfillment


class OneLineFormatter(logging.Formatter):
    """Shows time, order, step and message in one line. Leave it out to see the tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        """Format a record with the order, step and attempt that the SDK's loggers add to it."""
        step = getattr(record, "temporal_activity", {})
        order = step or getattr(record, "temporal_workflow", {})
        parts = [self.formatTime(record, "%H:%M:%S"), order.get("workflow_id")]
        parts.append(step.get("activity_type"))
        error = record.exc_info[1] if record.exc_info else None
        if step and (error or step["attempt"] > 1):
            parts.append(f"attempt {step['attempt']}")
        if not error:
            parts.append(record.getMessage())
        elif isinstance(error, ApplicationError) and error.non_retryable:
            parts.append(f"refused: {error.message}")
        elif step:
            parts.append(f"failed, retrying: {type(error).__name__}: {error}")
        else:
            reasons = [str(error)]
            while error.__cause__:
                error = error.__cause__
                reasons.append(str(error))
            place = traceback.extract_tb(error.__traceback__)[-1]
            parts.append(f"workflow task failed: {type(error).__name__}: {': '.join(reasons)}")
            parts.append(f"({Path(place.filename).name}:{place.lineno})")
        return " ".join(filter(None, parts))


async def main() -> None:
    """Serve orders; once stopped, give running activities 10 s to finish."""
    handler = logging.StreamHandler()
    handler.setFormatter(OneLineFormatter())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    activity.logger.activity_info_on_message = False
    workflow.logger.workflow_info_on_message = False

    client = await connect()
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    if sys.platform != "win32":  # where asyncio knows only Ctrl-C, which cancels this coroutine
        for stop_signal in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(stop_signal, stop.set)
    async with Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[OrderFulfillment],
        activities=[process_payment, reserve_inventory, deliver_order],
        graceful_shutdown_timeout=timedelta(seconds=10),
    ):
        address = client.service_client.config.target_host
        where = f"{address}, namespace {client.namespace}, task queue {TASK_QUEUE}"
        logging.info("Ready: %s (Ctrl-C to stop)", where)
        await stop.wait()


if __name__ == "__main__":
    run(main())
