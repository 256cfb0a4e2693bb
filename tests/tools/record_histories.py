"""Records the event histories that ``test_replay.py`` replays, on a dev server.

``uv run python -m tests.tools.record_histories`` records those of ``RECORDED`` in ``helpers.py``
that are missing, and leaves the others as they are. Two orders wait the full ``APPROVAL_TIMEOUT``
in real time. If yours is long, shorten it for now.
"""

import asyncio
import json
from pathlib import Path
from typing import Any

from temporalio.testing import WorkflowEnvironment

from tests.helpers import HISTORIES, RECORDED, run_order, start_dev_server


def without_origin(fields: dict[str, Any]) -> dict[str, Any]:
    """Drop fields that identify the machine and its folders. A replay doesn't need them."""
    return {key: fields[key] for key in fields if key not in ("identity", "stackTrace")}


async def record(server: WorkflowEnvironment, name: str, folder: Path) -> None:
    """Run an order, and write its history to ``NAME.json`` in the folder."""
    handle, ending = await run_order(server, f"order-{name}", RECORDED[name])
    text = (await handle.fetch_history()).to_json()
    history = json.loads(text, object_hook=without_origin)
    (folder / f"{name}.json").write_text(json.dumps(history, indent=1) + "\n")
    print(f"Recorded {name}.json: {ending}", flush=True)


async def main() -> None:
    """Record the missing histories, one after the other."""
    missing = [name for name in RECORDED if not (HISTORIES / f"{name}.json").exists()]
    async with await start_dev_server() as server:
        for name in missing:
            await record(server, name, HISTORIES)
    print(f"{len(RECORDED)} histories, {len(missing)} of them new")


if __name__ == "__main__":
    asyncio.run(main())
