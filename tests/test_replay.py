"""The workflow's code replays the event histories in ``histories``.

When this fails, the change breaks running orders: put it behind ``workflow.patched``. Then add the
history of an order with the change, from a dev server or from production:

    temporal workflow show --workflow-id WORKFLOW_ID -o json > tests/histories/NAME.json

A history contains the order's data. Keep the old histories until you deprecate the patch: from then
on, those recorded before the patch no longer replay, so delete them.
"""

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from tests.helpers import RESULTS
from workflow import OrderFulfillment

HISTORIES = {
    path.stem: WorkflowHistory.from_json(path.stem, path.read_text())
    for path in sorted(Path(__file__).parent.glob("histories/*.json"))
}


def prefixes(history: WorkflowHistory) -> Iterator[WorkflowHistory]:
    """Return what the server has recorded at each workflow task, and at the end."""
    for number, event in enumerate(history.events, start=1):
        if event.HasField("workflow_task_started_event_attributes"):
            yield WorkflowHistory(history.workflow_id, history.events[:number])
    yield history


@pytest.mark.parametrize("name", HISTORIES)
async def test_history_replays(name: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for history in prefixes(HISTORIES[name]):
        await Replayer(workflows=[OrderFulfillment]).replay_workflow(history)
        # If the task after the last event fails, the SDK doesn't raise an error but logs it.
        assert not caplog.messages, f"after event {len(history.events)}"


@pytest.mark.parametrize("step", RESULTS)
def test_step_is_in_a_history(step: str) -> None:
    events = [event for history in HISTORIES.values() for event in history.events]
    scheduled = [event.activity_task_scheduled_event_attributes for event in events]
    recorded = {attributes.activity_type.name for attributes in scheduled}
    assert step in recorded, f"add the history of an order with {step}"
