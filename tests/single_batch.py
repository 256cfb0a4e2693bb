"""The SDK's next default, ahead of time, by a private call: leave it out of your own tests."""

from temporalio.worker import Worker
from temporalio.worker._workflow_instance import _WorkflowLogicFlag


def with_single_batch(worker: Worker) -> Worker:
    """Let a worker apply all events of a workflow task before the workflow's code goes on.

    The SDK says that this will be its default, and has no public way yet to try it.
    """
    flag = _WorkflowLogicFlag.PROCESS_WORKFLOW_ACTIVATION_JOBS_AS_SINGLE_BATCH
    worker._set_default_workflow_logic_flag(flag, enabled=True)
    return worker
