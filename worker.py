"""The worker: runs workflows and activities until Ctrl-C or SIGTERM."""

import asyncio
import logging
import re
import signal
import traceback
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.worker import Worker

from activities import deliver_order, process_payment, reserve_inventory
from shared import TASK_QUEUE, connect, one_line, run
from workflow import OrderFulfillment


class _OneLine(logging.Formatter):
    """Says in one line what happens to an order. Leave it out to see the SDK's tracebacks."""

    def format(self, record: logging.LogRecord) -> str:
        step = getattr(record, "temporal_activity", {})
        order = step or getattr(record, "temporal_workflow", {})
        failed = record.exc_info if hasattr(record, "__temporal_error_identifier") else None
        text, error = record.getMessage(), failed[1] if failed else None
        if error:
            place = traceback.extract_tb(error.__traceback__)[-1]
            where = f"workflow task failed at {place.filename.rpartition('/')[2]}:{place.lineno}"
            text, record.exc_info = "failed" if step else where, None
        while error and len(text) < 1_000:  # a cause may be its own cause
            text, error = f"{text}: {type(error).__name__}: {error}", error.__cause__
        text = re.sub(r'^Evicting .*ID (\S+),.*(\[TMPRL1100\][^"]+).*', r"\2, run \1", text)
        attempt = f"attempt {step['attempt']}" if step.get("attempt", 1) > 1 else None
        words = order.get("workflow_id"), step.get("activity_type"), attempt, text
        record.msg, record.args = one_line(" ".join(filter(None, words))), ()
        return super().format(record)


async def main() -> None:
    """Serve orders; once stopped, give running activities 10 s to finish."""
    logging.basicConfig(level=logging.INFO)
    logging.getLogger().handlers[0].setFormatter(_OneLine("%(asctime)s %(message)s", "%H:%M:%S"))
    # Python has nondeterminism only among its reasons why a workflow leaves the cache.
    evictions = logging.getLogger("temporalio.worker._workflow")
    evictions.setLevel(logging.DEBUG)
    evictions.addFilter(lambda record: record.levelno > 10 or "[TMPRL1100]" in str(record.args))
    activity.logger.activity_info_on_message = workflow.logger.workflow_info_on_message = False
    client = await connect()
    await client.count_workflows()  # an RPCError in a namespace that is unknown or forbidden
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.call_soon_threadsafe(stop.set))
    async with Worker(
        client,
        task_queue=TASK_QUEUE,
        workflows=[OrderFulfillment],
        activities=[process_payment, reserve_inventory, deliver_order],
        graceful_shutdown_timeout=timedelta(seconds=10),
    ) as worker:
        while not worker.is_running:  # noqa: ASYNC110  the SDK has no event for its start
            await asyncio.sleep(0.01)
        where = f"{client.service_client.config.target_host}, namespace {client.namespace}"
        logging.info("Ready: %s, task queue %s", where, TASK_QUEUE)
        await stop.wait()


if __name__ == "__main__":
    run(main())
