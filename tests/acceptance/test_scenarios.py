"""The README's scenarios, each with the edit that it names, and what it says you will see."""

import re
import shutil
import signal

from tests.acceptance import readme
from tests.acceptance.helpers import AUTHORIZING, ROOT, WAITING, Sample, normal
from tests.helpers import RESULTS, read_events, steps, wait_for_event


async def test_human_in_the_loop_and_approve_or_expire_order(sample: Sample) -> None:
    worker = await sample.worker()
    starter, workflow_id = await sample.waiting_order()
    expiring, expiring_id = await sample.waiting_order()
    await worker.stop(signal.SIGINT)
    await sample.approve(workflow_id)
    worker = await sample.worker()
    await worker.prints(f"{workflow_id} reserve_inventory reserving", seconds=3)
    assert await starter.exits() == 0

    assert await expiring.exits() == 1
    assert expiring.stderr == f"Order {expiring_id} {readme.EXPIRED}\n"
    order = await sample.order(expiring_id).describe()
    assert order.close_time
    assert 31 <= (order.close_time - order.start_time).total_seconds() < 36


async def test_invalid_order(sample: Sample) -> None:
    sample.edit(*readme.INVALID_ORDER)
    worker = await sample.worker()
    starter, workflow_id = await sample.starter()
    assert await starter.exits() == 1
    assert starter.stderr == f"Order {workflow_id} {readme.CARD_EXPIRED}\n"
    assert worker.stderr.count("failed: ") == 1, "the payment was retried"


async def test_api_downtime(sample: Sample) -> None:
    sample.edit(*readme.API_DOWNTIME)
    worker = await sample.worker()
    starter, workflow_id = await sample.starter()
    await sample.approve(workflow_id)
    await worker.prints("attempt 3 Completing activity as failed")
    assert worker.stderr.count(readme.DOWN) == 3
    await worker.stop(signal.SIGINT)
    sample.restore("activities.py")
    worker = await sample.worker()
    assert await starter.exits(15) == 0
    assert AUTHORIZING not in worker.stderr


async def test_worker_crash(sample: Sample) -> None:
    workers = [await sample.worker(), await sample.worker()]
    starter, workflow_id = await sample.waiting_order()
    first, second = sorted(workers, key=lambda worker: WAITING not in worker.stderr)
    assert await first.stop(signal.SIGQUIT) == -signal.SIGQUIT
    await sample.approve(workflow_id)
    await second.prints("reserve_inventory reserving", seconds=11)
    assert await starter.exits() == 0
    assert (first.stderr + second.stderr).count("authorizing") == 1
    assert steps(await read_events(sample.order(workflow_id)), "SCHEDULED") == list(RESULTS)


async def test_workflow_change(sample: Sample) -> None:
    shutil.copytree(ROOT / "tests", sample.folder / "tests")
    replay = readme.REPLAY.replace("uv run", "python -m")
    worker = await sample.worker()
    starter, workflow_id = await sample.waiting_order()
    await worker.stop(signal.SIGINT)

    sample.edit(*readme.CHANGE)
    worker = await sample.worker()
    await sample.approve(workflow_id)
    await worker.prints(re.escape(readme.NONDETERMINISM), seconds=12)
    assert await (await sample.shell(replay)).exits() == 1
    await worker.stop()

    sample.edit("workflow.py", f"        {readme.CHANGE[2]}\n", readme.PATCH)
    worker = await sample.worker()
    new, new_id = await sample.starter()
    await sample.run(replay)
    assert await starter.exits(25) == 0
    assert "TIMER_FIRED other" not in await read_events(sample.order(workflow_id))
    await wait_for_event(sample.order(new_id), "TIMER_FIRED other")
    await sample.approve(new_id)
    assert await new.exits() == 0


async def test_bug_in_workflow(sample: Sample) -> None:
    sample.edit(*readme.BUG)
    worker = await sample.worker()
    starters = await sample.shell(readme.TEN_ORDERS.replace("uv run", "python"))
    await worker.prints(f" Failed activation .*: {readme.BUGGY}\n", times=20)
    for line in worker.stderr.splitlines():
        assert readme.BUGGY in line or AUTHORIZING in line
    await worker.stop()
    sample.restore("workflow.py")
    worker = await sample.worker()
    await sample.run(readme.APPROVE_ALL.replace("uv run ", ""))
    assert await starters.exits(40) == 0
    assert normal(starters.stdout) == normal(readme.FULFILLED) * 10
    assert AUTHORIZING not in worker.stderr
