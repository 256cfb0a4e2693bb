"""What an order survives of the network, and of a worker that stands still for a while."""

import asyncio
import signal

import pytest

from tests.acceptance.proxies import Proxy, proxy_to
from tests.acceptance.support import WAITING, Stage
from tests.orders import FULFILLED, an_order, until
from workflow import OrderFulfillment

pytestmark = pytest.mark.slow


async def is_fulfilled(stage: Stage, workflow_id: str) -> None:
    """Check that an order ends well: each activity once, and reserved only after an approval."""
    await stage.reaches(workflow_id, "WORKFLOW_EXECUTION_COMPLETED", within=180)
    history = await stage.history(workflow_id)
    assert history.completed == FULFILLED
    assert history.scheduled == FULFILLED
    assert history.approved_before_reservation


async def reset(proxy: Proxy, times: int = 1) -> None:
    """Reset all connections, each time as soon as there is one that works again."""
    for _ in range(times):
        await until(lambda: proxy.open, 60, "a connection to reset")
        proxy.reset()


async def test_connections_reset_ten_times(stage: Stage) -> None:
    async with proxy_to(stage.port) as proxy:
        stage.environment["TEMPORAL_ADDRESS"] = proxy.address
        worker = await stage.worker()
        starter, workflow_id = await stage.starter()
        await worker.shows("process_payment charging")
        await reset(proxy, times=3)
        await worker.shows(WAITING)
        await reset(proxy, times=4)
        await stage.approve(workflow_id)
        await worker.shows("reserve_inventory .*reserving")
        await reset(proxy, times=2)
        await worker.shows("deliver_order .*delivering")
        await reset(proxy)
        await is_fulfilled(stage, workflow_id)
        assert await starter.ends() == 0, starter.output


@pytest.mark.slow(35)
async def test_network_that_goes_dark(stage: Stage) -> None:
    """For 20 s, in which one order is paid, one waits, one is reserved, and one delivered."""
    stage.shorten(latency=2)
    async with proxy_to(stage.port) as proxy:
        stage.environment["TEMPORAL_ADDRESS"] = proxy.address
        worker = await stage.worker()
        starter, waits = await stage.starter()
        await worker.shows(WAITING)
        orders = ["order-1", "order-2", "order-3"]
        for order, moment in zip(orders, ("reserve", "reserve", "process_payment"), strict=True):
            handle = await stage.start_order(an_order(order))
            await handle.signal(OrderFulfillment.approve_order)
            await worker.shows(f"{order} {moment}")
        proxy.goes_dark()
        await stage.client.get_workflow_handle(waits).signal(OrderFulfillment.approve_order)
        await asyncio.sleep(20)
        for order in (*orders, waits):
            assert not (await stage.history(order)).completed["deliver_order"]
        proxy.lights_up()
        for order in (*orders, waits):
            await is_fulfilled(stage, order)
        assert await starter.ends() == 0, starter.output


@pytest.mark.slow(20)
async def test_worker_that_stands_still_and_wakes_up(stage: Stage) -> None:
    """As when its machine is suspended, for longer than an attempt may take."""
    # One that asks for more activities than the one it runs would take attempts into its sleep.
    stage.edit(
        "worker.py",
        "        task_queue",
        "        max_concurrent_activities=1,\n        task_queue",
    )
    sleeper = await stage.worker()
    starter, workflow_id = await stage.starter()
    await sleeper.shows("process_payment charging")
    sleeper.send(signal.SIGSTOP)
    second = await stage.worker()
    await second.shows("process_payment attempt 2 charging")
    await stage.reaches(workflow_id, "ACTIVITY_TASK_COMPLETED")
    sleeper.send(signal.SIGCONT)  # and it ends an attempt that was given up
    await stage.approve(workflow_id)
    await is_fulfilled(stage, workflow_id)
    assert await starter.ends() == 0

    await second.kill()
    starter, workflow_id = await stage.starter()
    await stage.approve(workflow_id)
    assert await starter.ends() == 0
    await is_fulfilled(stage, workflow_id)
    assert f"{workflow_id} fulfilled" in sleeper.output
