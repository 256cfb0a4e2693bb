"""The workflow's code replays the event histories of all kinds of orders.

When this fails, the change breaks running orders: each of their workflow tasks would fail. Put the
change under ``workflow.patched``. Record the histories again only if no order is running any more:
``uv run python -m tests.tools.record_histories``.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from workflow import OrderFulfillment

HISTORIES = Path(__file__).parent / "histories"
NAMES = ["approved_early", "approved_late", "canceled", "declined", "expired", "fulfilled"]
NAMES += ["outage", "waiting"]


def prefixes(path: Path) -> Iterator[WorkflowHistory]:
    history = WorkflowHistory.from_json(f"order-{path.stem}", path.read_text())
    for number, event in enumerate(history.events, start=1):
        if event.HasField("workflow_task_started_event_attributes"):
            yield WorkflowHistory(history.workflow_id, history.events[:number])
    yield history


@pytest.mark.parametrize("name", NAMES)
async def test_history_replays(name: str, caplog: pytest.LogCaptureFixture) -> None:
    for history in prefixes(HISTORIES / f"{name}.json"):
        await Replayer(workflows=[OrderFulfillment]).replay_workflow(history)
        # If the task after the last event fails, the SDK doesn't raise an error but logs it.
        assert not caplog.messages, f"after event {len(history.events)}"
