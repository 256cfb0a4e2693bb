"""The bare floor: its workflow and activities in one module, all with the SDK's defaults."""

from datetime import timedelta

from temporalio import activity, workflow


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


@workflow.defn
class Bare:
    """Takes as many steps as an order."""

    def __init__(self) -> None:
        """Start without the signal."""
        self._approved = False

    @workflow.signal
    def approve_order(self) -> None:
        """Let it go on."""
        self._approved = True

    @workflow.run
    async def run(self, text: str) -> str:
        """Take the steps."""
        timeout = timedelta(seconds=5)
        await workflow.execute_activity(first, text, start_to_close_timeout=timeout)
        if not self._approved:
            await workflow.wait_condition(lambda: self._approved, timeout=timedelta(hours=1))
        await workflow.execute_activity(second, text, start_to_close_timeout=timeout)
        return await workflow.execute_activity(third, text, start_to_close_timeout=timeout)
