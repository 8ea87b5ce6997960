"""The issuer's keys over time, fetched over real HTTP: rotation, outage, single flight, floods."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from tests.assets.tokens.make_tokens import Forge, SigningKey
from tests.unit.security.local_issuer import JWKS, Clock, LocalIssuer, response

from bedside.errors import InvalidToken, IssuerUnavailable
from bedside.security.oidc import OidcAuthenticator
from bedside.settings import AuthSettings
from bedside.types import Principal, UnverifiedToken

Make = Callable[..., OidcAuthenticator]


@pytest.fixture
async def make(issuer: LocalIssuer, clock: Clock) -> AsyncIterator[Make]:
    """Return a function that makes authenticators of the local issuer, closed afterwards."""
    made: list[OidcAuthenticator] = []

    def build(**changes: Any) -> OidcAuthenticator:
        """Return one, closed after the test."""
        authenticator = OidcAuthenticator(AuthSettings(issuer=issuer.url, **changes), monotonic=clock)
        made.append(authenticator)
        return authenticator

    yield build
    for authenticator in made:
        await authenticator.close()


def verify(authenticator: OidcAuthenticator, token: str) -> Awaitable[Principal]:
    """Authenticate a token."""
    return authenticator.authenticate(UnverifiedToken(token))


async def background(authenticator: OidcAuthenticator) -> None:
    """Wait for the fetch that is under way."""
    fetch = authenticator._issuer_keys._fetch
    assert fetch is not None
    await fetch


async def test_keys_are_fetched_once_for_many_tokens(make: Make, issuer: LocalIssuer, forge: Forge) -> None:
    """Keys that are known and fresh need no issuer."""
    authenticator = make()
    for number in range(5):
        await verify(authenticator, forge.token(jti=str(number)))
    assert issuer.hits[JWKS] == 1


async def test_concurrent_calls_share_one_fetch(make: Make, issuer: LocalIssuer, forge: Forge) -> None:
    """A hundred calls at a cold start are one request to the issuer."""
    authenticator = make()
    tokens = [forge.token(jti=str(number)) for number in range(100)]
    await asyncio.gather(*(verify(authenticator, token) for token in tokens))
    assert issuer.hits[JWKS] == 1


async def test_caller_that_gives_up_does_not_end_the_fetch_of_others(
    make: Make, issuer: LocalIssuer, forge: Forge
) -> None:
    """A disconnected client cancels its own wait only."""
    authenticator = make()
    issuer.gate.clear()
    first = asyncio.ensure_future(verify(authenticator, forge.token(jti="1")))
    second = asyncio.ensure_future(verify(authenticator, forge.token(jti="2")))
    await issuer.arrived.wait()
    first.cancel()
    issuer.gate.set()
    assert await second
    assert first.cancelled()


async def test_rotated_key_is_fetched_at_once(make: Make, issuer: LocalIssuer, forge: Forge, clock: Clock) -> None:
    """An unknown key id asks the issuer although the known keys are fresh."""
    authenticator = make()
    await verify(authenticator, forge.token())
    forge.rsa = SigningKey.rsa("rotated")
    issuer.key_set = forge.key_set()
    clock.now += 11
    assert await verify(authenticator, forge.token())
    assert issuer.hits[JWKS] == 2


async def test_key_taken_back_no_longer_verifies(make: Make, issuer: LocalIssuer, forge: Forge, clock: Clock) -> None:
    """Neither afresh nor from the cache: a change of keys clears it."""
    authenticator = make()
    old = forge.token()
    await verify(authenticator, old)
    forge.rsa = SigningKey.rsa("rotated")
    issuer.key_set = forge.key_set()
    clock.now += 11
    await verify(authenticator, forge.token())
    with pytest.raises(InvalidToken):
        await verify(authenticator, old)


async def test_cache_survives_a_fetch_that_changes_nothing(
    make: Make, issuer: LocalIssuer, forge: Forge, clock: Clock
) -> None:
    """The same keys in another order are the same keys."""
    authenticator = make()
    await verify(authenticator, forge.token())
    issuer.key_set["keys"].reverse()
    clock.now += 301
    await verify(authenticator, forge.token(jti="2"))
    await background(authenticator)
    assert issuer.hits[JWKS] == 2
    assert len(authenticator._cache) == 2


async def test_issuer_that_takes_all_keys_back_is_believed(
    make: Make, issuer: LocalIssuer, forge: Forge, clock: Clock
) -> None:
    """An empty key set is an answer, not an outage: nobody gets in, also not with a token that is remembered."""
    authenticator = make()
    await verify(authenticator, forge.token())
    issuer.key_set = {"keys": []}
    clock.now += 301
    await verify(authenticator, forge.token(jti="2"))
    await background(authenticator)
    with pytest.raises(IssuerUnavailable):
        await verify(authenticator, forge.token())


async def test_keys_of_an_idle_night_are_fetched_before_they_are_used(
    make: Make, issuer: LocalIssuer, forge: Forge, clock: Clock
) -> None:
    """They are old because nobody called; a key withdrawn meanwhile must not verify the first call of the morning."""
    authenticator = make()
    old = forge.token(jti="old")
    await verify(authenticator, forge.token())
    forge.rsa = SigningKey.rsa("rotated")
    issuer.key_set = forge.key_set()
    clock.now += 8 * 3600
    with pytest.raises(InvalidToken):
        await verify(authenticator, old)


def test_fetch_of_an_event_loop_that_has_ended_is_not_waited_for(forge: Forge) -> None:
    """A test or a script that runs one loop after another gets its keys in the second."""
    loop = asyncio.new_event_loop()

    async def abandoned() -> OidcAuthenticator:
        """Return an authenticator whose fetch will never end."""
        server = await LocalIssuer().__aenter__()
        server.gate.clear()
        authenticator = OidcAuthenticator(AuthSettings(issuer=server.url, jwks_refresh_interval_seconds=0.001))
        waiting = asyncio.ensure_future(verify(authenticator, forge.token()))
        await server.arrived.wait()
        waiting.cancel()
        assert server._server is not None
        server._server.close()
        return authenticator

    authenticator = loop.run_until_complete(abandoned())
    with pytest.raises(IssuerUnavailable):
        asyncio.run(asyncio.wait_for(authenticator.authenticate(UnverifiedToken(forge.token())), 10))
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()


async def test_slow_issuer_does_not_hold_up_known_keys(
    make: Make, issuer: LocalIssuer, forge: Forge, clock: Clock
) -> None:
    """Keys past their age are refreshed behind the call, not before it."""
    authenticator = make()
    await verify(authenticator, forge.token())
    issuer.gate.clear()
    issuer.arrived.clear()
    clock.now += 301
    assert await verify(authenticator, forge.token(jti="2"))
    await issuer.arrived.wait()
    assert await verify(authenticator, forge.token(jti="3"))
    issuer.gate.set()
    await background(authenticator)


async def test_unknown_key_ids_do_not_flood_the_issuer(
    make: Make, issuer: LocalIssuer, forge: Forge, clock: Clock
) -> None:
    """Two hundred made-up key ids, at once and one by one, are one more fetch per interval."""
    authenticator = make()
    await verify(authenticator, forge.token())
    tokens = [forge.token(header={"kid": f"made-up-{number}"}) for number in range(100)]
    clock.now += 11
    results = await asyncio.gather(*(verify(authenticator, token) for token in tokens), return_exceptions=True)
    assert all(isinstance(result, InvalidToken) for result in results)
    for token in tokens:
        with pytest.raises(InvalidToken):
            await verify(authenticator, token)
    assert issuer.hits[JWKS] == 2


async def test_known_keys_are_served_stale_while_the_issuer_is_down(
    make: Make, issuer: LocalIssuer, forge: Forge, clock: Clock
) -> None:
    """An identity provider that restarts does not stop the models, and is asked again in intervals."""
    authenticator = make(jwks_stale_seconds=3600)
    await verify(authenticator, forge.token())
    issuer.down = True
    for number in range(5):
        clock.now += 400
        assert await verify(authenticator, forge.token(jti=f"down-{number}"))
        await background(authenticator)


async def test_keys_too_old_are_used_no_longer(make: Make, issuer: LocalIssuer, forge: Forge, clock: Clock) -> None:
    """After jwks_stale_seconds of outage nobody gets in; when the issuer is back, everybody does."""
    authenticator = make(jwks_stale_seconds=3600)
    await verify(authenticator, forge.token())
    issuer.down = True
    clock.now += 3601
    with pytest.raises(IssuerUnavailable):
        await verify(authenticator, forge.token(jti="2"))
    issuer.down = False
    clock.now += 11
    assert await verify(authenticator, forge.token(jti="3"))


async def test_stale_serving_can_be_switched_off(make: Make, issuer: LocalIssuer, forge: Forge, clock: Clock) -> None:
    """With jwks_stale_seconds 0, keys live for jwks_max_age_seconds."""
    authenticator = make(jwks_stale_seconds=0)
    await verify(authenticator, forge.token())
    issuer.down = True
    clock.now += 299
    assert await verify(authenticator, forge.token(jti="2"))
    clock.now += 2
    with pytest.raises(IssuerUnavailable):
        await verify(authenticator, forge.token(jti="3"))


async def test_issuer_that_was_never_reached_is_asked_in_intervals(
    make: Make, issuer: LocalIssuer, forge: Forge, clock: Clock
) -> None:
    """Until then calls get IssuerUnavailable at once, without a request of their own."""
    issuer.down = True
    authenticator = make()
    assert not await authenticator.prefetch()
    for _ in range(3):
        with pytest.raises(IssuerUnavailable):
            await verify(authenticator, forge.token())
    assert sum(issuer.hits.values()) == 1
    issuer.down = False
    clock.now += 11
    assert await authenticator.prefetch()
    assert await verify(authenticator, forge.token())


async def test_unknown_key_during_an_outage_is_an_invalid_token(
    make: Make, issuer: LocalIssuer, forge: Forge, clock: Clock
) -> None:
    """Keys that may be used are known, so this is about the token: made-up ids must not look like an outage."""
    authenticator = make()
    await verify(authenticator, forge.token())
    issuer.down = True
    clock.now += 11
    with pytest.raises(InvalidToken):
        await verify(authenticator, forge.token(header={"kid": "made-up"}))


async def test_unforeseen_fault_while_fetching_is_an_outage(
    make: Make, forge: Forge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever waits gets IssuerUnavailable, not the fault."""
    authenticator = make()

    async def broken() -> None:
        """Fail as nobody foresaw."""
        raise ZeroDivisionError

    monkeypatch.setattr(authenticator._issuer_keys._client, "fetch_keys", broken)
    with pytest.raises(IssuerUnavailable):
        await verify(authenticator, forge.token())


async def test_close_ends_a_fetch_that_hangs(issuer: LocalIssuer, forge: Forge) -> None:
    """A server that stops does not wait for its issuer."""
    authenticator = OidcAuthenticator(AuthSettings(issuer=issuer.url))
    issuer.gate.clear()
    waiting = asyncio.ensure_future(verify(authenticator, forge.token()))
    await issuer.arrived.wait()
    await authenticator.close()
    with pytest.raises(IssuerUnavailable):
        await waiting


async def test_cached_token_does_not_suspend(make: Make, forge: Forge) -> None:
    """The hot path runs to its end in one step of the coroutine."""
    authenticator = make()
    token = forge.token()
    await verify(authenticator, token)
    with pytest.raises(StopIteration) as finished:
        authenticator.authenticate(UnverifiedToken(token)).send(None)
    assert finished.value.value.subject == "radiology-viewer"


async def test_documents_too_large_are_not_read_to_the_end(make: Make, issuer: LocalIssuer, forge: Forge) -> None:
    """The bound is on what is kept, whatever Content-Length says."""
    issuer.raw[JWKS] = response(b" " * 300_000)
    with pytest.raises(IssuerUnavailable):
        await verify(make(), forge.token())
