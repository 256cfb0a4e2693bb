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
        message, attempt = record.getMessage(), step.get("attempt", 0)
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, ApplicationError) and error.non_retryable:
            message = f"refused: {error.message}"
        elif error and step:
            message = f"failed, retrying: {type(error).__name__}: {error}"
        elif error:
            reasons = str(error)
            while error.__cause__:
                error = error.__cause__
                reasons += f": {error}"
            place = traceback.extract_tb(error.__traceback__)[-1]
            what = "workflow task failed" if order else message
            where = f"{Path(place.filename).name}:{place.lineno}"
            message = f"{what}: {type(error).__name__}: {reasons} ({where})"
        if attempt > 1 or (step and error):
            message = f"attempt {attempt} {message}"
        parts = order.get("workflow_id"), step.get("activity_type"), message
        return " ".join(filter(None, [self.formatTime(record, "%H:%M:%S"), *parts]))


async def main() -> None:
    """Serve orders; once stopped, give running activities 10 s to finish."""
    logging.basicConfig(level=logging.INFO)
    logging.getLogger().handlers[0].setFormatter(OneLineFormatter())
    activity.logger.activity_info_on_message = False
    workflow.logger.workflow_info_on_message = False

    client = await connect()
    stop = asyncio.Event()
    if sys.platform != "win32":  # where asyncio knows only Ctrl-C, which cancels this coroutine
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
    async with Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[OrderFulfillment],
        activities=[process_payment, reserve_inventory, deliver_order],
        graceful_shutdown_timeout=timedelta(seconds=10),
    ):
        where = f"{client.service_client.config.target_host}, namespace {client.namespace}"
        logging.info("Ready: %s, task queue %s (Ctrl-C to stop)", where, TASK_QUEUE)
        await stop.wait()


if __name__ == "__main__":
    run(main())
