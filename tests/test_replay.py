"""The workflow's code replays the event histories of all kinds of orders.

When this fails, the change breaks running orders. Put it behind ``workflow.patched``. Then keep the
old histories. To record one with the change, add a case to ``RECORDED`` in ``helpers.py``, and run
``uv run python -m tests.tools.record_histories``. Every ``*.json`` in ``histories`` is replayed.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
from temporalio.client import WorkflowHistory
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from tests.helpers import HISTORIES, RECORDED
from tests.tools.record_histories import record
from workflow import OrderFulfillment


def prefixes(path: Path) -> Iterator[WorkflowHistory]:
    history = WorkflowHistory.from_json(f"order-{path.stem}", path.read_text())
    for number, event in enumerate(history.events, start=1):
        if event.HasField("workflow_task_started_event_attributes"):
            yield WorkflowHistory(history.workflow_id, history.events[:number])
    yield history


async def replay(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    for history in prefixes(path):
        await Replayer(workflows=[OrderFulfillment]).replay_workflow(history)
        # If the task after the last event fails, the SDK doesn't raise an error but logs it.
        assert not caplog.messages, f"after event {len(history.events)}"


NAMES = {*RECORDED, *(path.stem for path in HISTORIES.glob("*.json"))}


@pytest.mark.parametrize("name", sorted(NAMES))
async def test_history_replays(name: str, caplog: pytest.LogCaptureFixture) -> None:
    await replay(HISTORIES / f"{name}.json", caplog)


async def test_new_history_replays(
    dev_server: WorkflowEnvironment, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    await record(dev_server, "approved_early", tmp_path)
    assert "identity" not in (tmp_path / "approved_early.json").read_text()
    await replay(tmp_path / "approved_early.json", caplog)
