"""A real gRPC server on the test's event loop, with made-up models, and a client that is not ours."""

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

_ROOT = str(Path(__file__).parents[4])
if _ROOT not in sys.path:
    sys.path.insert(0, _ROOT)

from tests.unit.transports.grpc.station import Station, station  # noqa: E402 - once the path is known


@pytest.fixture
async def heart() -> AsyncIterator[Station]:
    """Return a server with the models ``heart`` (records) and ``mask`` (volumes)."""
    async with station() as running:
        yield running
