"""The floor: as little as an order can cost with the SDK.

Three empty activities, one signal and one timer, the SDK's defaults, and plain strings.
"""

import asyncio
import sys
from datetime import timedelta

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

TASK_QUEUE = "floor"


@activity.defn
async def first(text: str) -> str:
    """Do nothing."""
    return text


@activity.defn
async def second(text: str) -> str:
    """Do nothing."""
    return text


@activity.defn
async def third(text: str) -> str:
    """Do nothing."""
    return text


@activity.defn
async def one_second(text: str) -> str:
    """Do nothing for a second, for the comparison with latency."""
    await asyncio.sleep(1)
    return text


@workflow.defn
class Floor:
    """Takes the steps that an order takes."""

    def __init__(self) -> None:
        """Start without the signal."""
        self._approved = False

    @workflow.signal
    def approve_order(self) -> None:
        """Let it go on."""
        self._approved = True

    @workflow.run
    async def run(self, text: str) -> str:
        """Take the steps; the text says whether they take a second each."""
        timeout = timedelta(seconds=5)
        steps = [one_second] * 3 if text == "slow" else [first, second, third]
        await workflow.execute_activity(steps[0], text, start_to_close_timeout=timeout)
        await workflow.wait_condition(lambda: self._approved, timeout=timedelta(hours=1))
        await workflow.execute_activity(steps[1], text, start_to_close_timeout=timeout)
        return await workflow.execute_activity(steps[2], text, start_to_close_timeout=timeout)


async def main(address: str) -> None:
    """Serve until killed."""
    client = await Client.connect(address)
    activities = [first, second, third, one_second]
    async with Worker(client, task_queue=TASK_QUEUE, workflows=[Floor], activities=activities):
        print("Ready: the floor", file=sys.stderr, flush=True)
        await asyncio.Event().wait()
