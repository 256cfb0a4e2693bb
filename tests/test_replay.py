"""The workflow's code fits the event histories that orders have: running orders survive a change.

When this fails, the change would strand orders that are under way: each of their workflow tasks
would fail. Make it compatible (``workflow.patched``). Only if it may strand them, as when none runs
any more, record the histories anew: ``uv run python -m tests.tools.record_histories``.
"""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from workflow import OrderFulfillment

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


def parts(path: Path) -> Iterator[WorkflowHistory]:
    """Yield a history as it was at each of its workflow tasks, and as it is at its end."""
    history = WorkflowHistory.from_json(f"order-{path.stem}", path.read_text())
    for number, event in enumerate(history.events, start=1):
        if event.HasField("workflow_task_started_event_attributes"):
            yield WorkflowHistory(history.workflow_id, history.events[:number])
    yield history


def test_histories_of_all_kinds_are_there() -> None:
    assert [path.stem for path in HISTORIES] == [
        "approved_early",
        "approved_late",
        "cancelled",
        "expired",
        "fulfilled",
        "outage_survived",
        "payment_refused",
        "waiting",
    ]


@pytest.mark.parametrize(
    "history",
    [
        pytest.param(part, id=f"{path.stem} up to event {len(part.events)}")
        for path in HISTORIES
        for part in parts(path)
    ],
)
def test_history_fits_the_code(history: WorkflowHistory, caplog: pytest.LogCaptureFixture) -> None:
    asyncio.run(Replayer(workflows=[OrderFulfillment]).replay_workflow(history))
    # The last task goes on where the history ends. When it fails, the SDK only logs it.
    assert not caplog.messages
