"""A real gRPC server on the test's event loop, with made-up models, and a client that is not ours."""

from collections.abc import AsyncIterator

import pytest
from tests.unit.transports.grpc.station import Station, station


@pytest.fixture
async def heart() -> AsyncIterator[Station]:
    """Return a server with the models ``heart`` (records) and ``mask`` (volumes)."""
    async with station() as running:
        yield running
