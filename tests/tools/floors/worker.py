"""The workers of the floors."""

import asyncio
import logging
import sys

from temporalio import activity, workflow
from temporalio.client import Client
from temporalio.worker import Worker

from tests.tools.floors import bare, steps
from tests.tools.floors.like_for_like import LikeForLike


async def main(address: str, task_queue: str, like_for_like: bool) -> None:
    """Serve until killed."""
    if like_for_like:
        logging.basicConfig(
            level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
        )
        activity.logger.activity_info_on_message = False
        workflow.logger.workflow_info_on_message = False
    worker = Worker(
        await Client.connect(address),
        task_queue=task_queue,
        workflows=[LikeForLike if like_for_like else bare.Bare],
        activities=[steps.process_payment, steps.reserve_inventory, steps.deliver_order]
        if like_for_like
        else [bare.first, bare.second, bare.third],
    )
    async with worker:
        print(f"Ready: {task_queue}", file=sys.stderr, flush=True)
        await asyncio.Event().wait()
