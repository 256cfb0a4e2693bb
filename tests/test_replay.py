"""The workflow's code fits the event histories that orders have: running orders survive a change.

When this fails, the change would strand orders that are under way: each of their workflow tasks
would fail. Make it compatible (``workflow.patched``), or, if no such order runs anywhere, record
the histories anew: ``uv run python -m tests.tools.record_histories``.
"""

import asyncio
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import Replayer

from workflow import OrderFulfillment

HISTORIES = sorted((Path(__file__).parent / "histories").glob("*.json"))


def test_histories_of_all_endings_are_there() -> None:
    names = [path.stem for path in HISTORIES]
    endings = ["approved_early", "expired", "fulfilled", "outage_survived", "payment_refused"]
    assert names == endings


@pytest.mark.parametrize("path", HISTORIES, ids=lambda path: path.stem)
def test_history_fits_the_code(path: Path) -> None:
    history = WorkflowHistory.from_json(f"order-{path.stem}", path.read_text())
    asyncio.run(Replayer(workflows=[OrderFulfillment]).replay_workflow(history))
