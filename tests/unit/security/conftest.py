"""What the security tests share: an issuer over real HTTP, clocks, and tokens."""

import time
from collections.abc import AsyncIterator, Iterator

import pytest
from tests.assets.tokens.make_tokens import Forge
from tests.unit.security.local_issuer import Clock, LocalIssuer


@pytest.fixture
def clock() -> Clock:
    """Return a clock that stands still until it is told."""
    return Clock()


@pytest.fixture(scope="session")
def session_forge() -> Forge:
    """Return a forge whose keys are made once."""
    return Forge("https://issuer.invalid", "bedside")


@pytest.fixture
def forge(session_forge: Forge) -> Iterator[Forge]:
    """Return the forge as it was made, whatever a test does to it."""
    kept = dict(session_forge.__dict__)
    session_forge.now = int(time.time())
    yield session_forge
    session_forge.__dict__.update(kept)


@pytest.fixture
async def issuer(forge: Forge) -> AsyncIterator[LocalIssuer]:
    """Return an issuer that listens on loopback, with the forge's keys."""
    async with LocalIssuer() as server:
        forge.issuer = server.url
        server.key_set = forge.key_set()
        yield server
