"""Counts how the scripts end: 200 starters and 100 stopped workers, with all cores busy.

Run ``uv run python -m tests.tools.measure_exits`` after an update of the SDK. The last row, a
client that connects, makes one call and ends in the usual way, tells whether ``shared.run`` still
has to avoid the interpreter's shutdown (temporalio/sdk-python issue 300). Counts of your own:
``--starters 20 --workers 10``. With ``--idle`` the cores are left to the scripts.
"""

import argparse
import asyncio
import contextlib
import io
import os
import platform
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.acceptance.support import Stage, staged

BUSY = "while True: pass"
USUAL_CLIENT = """
import asyncio
from temporalio.client import Client
from temporalio.envconfig import ClientConfig

async def main():
    client = await Client.connect(**ClientConfig.load_client_connect_config())
    await client.count_workflows()

asyncio.run(main())
"""


async def starter(stage: Stage) -> int:
    """Start and approve an order; return the starter's exit status."""
    process, workflow_id = await stage.starter()
    await stage.client.get_workflow_handle(workflow_id).signal("approve_order")
    return await process.ends(120)


async def worker(stage: Stage) -> int:
    """Start and stop a worker; return its exit status."""
    process = await stage.worker()
    process.send(signal.SIGTERM)
    return await process.ends(120)


async def usual_client(stage: Stage) -> int:
    """Run a client without the sample's way out; return its exit status."""
    process = await stage.run(sys.executable, "-c", USUAL_CLIENT)
    return await process.ends(120)


async def main() -> None:
    """Run all, a few at a time, and print how often each exit status came."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starters", type=int, default=200)
    parser.add_argument("--workers", type=int, default=100, help="and as many usual clients")
    parser.add_argument("--idle", action="store_true", help="leave the cores to the scripts")
    arguments = parser.parse_args()
    few_at_once, terminal = asyncio.Semaphore(3), sys.stdout
    # At its end a stage prints all that its processes wrote, which is of use in tests only.
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        async with staged(Path(folder)) as stage:
            stage.edit("activities.py", "SECONDS = 1.0", "SECONDS = 0.0")
            await stage.worker()
            for _ in range(0 if arguments.idle else os.cpu_count() or 1):
                await stage.run(sys.executable, "-c", BUSY)

            async def one(ending: Callable[[Stage], Awaitable[int]]) -> int:
                async with few_at_once:
                    return await ending(stage)

            for ending, times in (
                (starter, arguments.starters),
                (worker, arguments.workers),
                (usual_client, arguments.workers),
            ):
                statuses = Counter(await asyncio.gather(*[one(ending) for _ in range(times)]))
                words = f"Python {platform.python_version()}  {ending.__name__:13}"
                print(words, dict(statuses), file=terminal, flush=True)


if __name__ == "__main__":
    asyncio.run(main())
    os._exit(0)
