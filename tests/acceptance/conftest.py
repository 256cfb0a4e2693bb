"""Copies of the sample, with a namespace or a server for each test."""

import socket
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from temporalio.api.workflowservice.v1 import RegisterNamespaceRequest
from temporalio.client import Client
from temporalio.testing import WorkflowEnvironment

from tests.acceptance.helpers import Sample, clean_environment, copy_sample


@pytest.fixture
async def sample(dev_server: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Sample]:
    """A copy of the sample, with a new namespace on the shared dev server."""
    address = dev_server.client.service_client.config.target_host
    namespace = f"test-{uuid4()}"
    request = RegisterNamespaceRequest(namespace=namespace)
    request.workflow_execution_retention_period.FromTimedelta(timedelta(days=1))
    await dev_server.client.workflow_service.register_namespace(request)
    client = await Client.connect(address, namespace=namespace)
    environment = clean_environment(TEMPORAL_ADDRESS=address, TEMPORAL_NAMESPACE=namespace)
    sample = Sample(copy_sample(tmp_path / "sample"), client, environment)
    yield sample
    await sample.stop()


@pytest.fixture
async def own_server(dev_server: WorkflowEnvironment, tmp_path: Path) -> AsyncIterator[Sample]:
    """A copy of the sample whose server isn't started yet, and may be killed."""
    with socket.socket() as free:
        free.bind(("localhost", 0))
        port = free.getsockname()[1]
    environment = clean_environment(TEMPORAL_ADDRESS=f"localhost:{port}")
    sample = Sample(copy_sample(tmp_path / "sample"), dev_server.client, environment)
    yield sample
    await sample.stop()
