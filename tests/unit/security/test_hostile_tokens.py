"""Tokens that somebody made to get in, against the issuer's real key set over real HTTP."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.assets.tokens.make_tokens import HOSTILE, Forge, SigningKey
from tests.unit.security.local_issuer import LocalIssuer

from bedside.errors import ExpiredToken, InvalidToken, Unauthenticated
from bedside.security.authenticator import TokenAuthenticator
from bedside.security.embedded import _FixedKeys
from bedside.security.keys import read_key_set
from bedside.security.oidc import OidcAuthenticator
from bedside.security.token_cache import TokenCache
from bedside.settings import AuthSettings
from bedside.types import UnverifiedToken


@pytest.fixture
async def authenticator(issuer: LocalIssuer) -> AsyncIterator[OidcAuthenticator]:
    """Return an authenticator of the local issuer."""
    made = OidcAuthenticator(AuthSettings(issuer=issuer.url))
    yield made
    await made.close()


@pytest.fixture(scope="module")
def hostile(session_forge: Forge) -> dict[str, str]:
    """Return the hostile tokens, made once: a hundred signatures take a tenth of a second."""
    return session_forge.hostile()


@pytest.mark.parametrize("defect", HOSTILE)
async def test_hostile_token_is_invalid(session_forge: Forge, hostile: dict[str, str], defect: str) -> None:
    """A token with the named defect is refused, and the refusal repeats nothing out of it."""
    with pytest.raises(InvalidToken) as refused:
        await _offline(session_forge).authenticate(UnverifiedToken(hostile[defect]))
    assert refused.value.__cause__ is None
    assert refused.value.__suppress_context__ or refused.value.__context__ is None
    assert not any(word in refused.value.detail for word in ("made-up", "somebody", "another-service", "Signature"))


@pytest.mark.parametrize("defect", ["expired", "expired_a_moment_beyond_the_leeway", "not_yet_valid"])
async def test_token_outside_its_validity_is_told_apart(
    authenticator: OidcAuthenticator, forge: Forge, defect: str
) -> None:
    """Who gets ExpiredToken asks for a new token; who gets InvalidToken need not."""
    with pytest.raises(ExpiredToken):
        await authenticator.authenticate(UnverifiedToken(forge.out_of_time()[defect]))


@pytest.mark.parametrize("header", [{"typ": "JWT"}, {"typ": "at+JWT"}, {"typ": "application/at+jwt"}, {"typ": None}])
@pytest.mark.parametrize("key", ["rsa", "rsa_next", "ec"])
async def test_good_token_of_either_type_passes(
    authenticator: OidcAuthenticator, forge: Forge, header: dict[str, str | None], key: str
) -> None:
    """RS256 and ES256, JWT and at+jwt, any letter case, or no type at all."""
    signing_key: SigningKey = getattr(forge, key)
    principal = await authenticator.authenticate(UnverifiedToken(forge.token(signing_key, header=header)))
    assert (principal.subject, principal.issuer) == ("radiology-viewer", forge.issuer)
    assert principal.expires_at == forge.now + 3600


async def test_token_without_key_id_passes_where_there_is_no_choice(
    authenticator: OidcAuthenticator, forge: Forge
) -> None:
    """There is one ES256 key, so it is meant."""
    token = forge.token(forge.ec, header={"kid": None})
    assert (await authenticator.authenticate(UnverifiedToken(token))).subject == "radiology-viewer"


async def test_leeway_covers_a_clock_that_is_a_little_off(authenticator: OidcAuthenticator, forge: Forge) -> None:
    """Twenty seconds either way are within the thirty of the default."""
    late, early = forge.token(exp=forge.now - 20), forge.token(nbf=forge.now + 20)
    for token in (late, early):
        assert await authenticator.authenticate(UnverifiedToken(token))


@pytest.mark.parametrize(
    ("claims", "scopes"),
    [
        ({"scope": "bedside.infer  bedside.admin"}, {"bedside.infer", "bedside.admin"}),
        ({"scope": None, "scp": ["bedside.admin"]}, {"bedside.admin"}),
        ({"scope": None, "scp": "bedside.admin x"}, {"bedside.admin", "x"}),
        ({"scope": ""}, set()),
        ({"scope": None}, set()),
    ],
)
async def test_scopes_are_read_in_the_ways_issuers_write_them(
    authenticator: OidcAuthenticator, forge: Forge, claims: dict[str, Any], scopes: set[str]
) -> None:
    """A string, a list, both or none."""
    principal = await authenticator.authenticate(UnverifiedToken(forge.token(**claims)))
    assert principal.scopes == scopes


async def test_audience_may_be_one_of_several(authenticator: OidcAuthenticator, forge: Forge) -> None:
    """RFC 7519 §4.1.3: a list that holds us is for us."""
    assert await authenticator.authenticate(UnverifiedToken(forge.token(aud=["other", "bedside"])))


async def test_long_token_is_refused_before_it_is_parsed(issuer: LocalIssuer, forge: Forge) -> None:
    """Not even the issuer is asked for its keys."""
    authenticator = OidcAuthenticator(AuthSettings(issuer=issuer.url, token_bytes=100))
    with pytest.raises(InvalidToken, match="too long"):
        await authenticator.authenticate(UnverifiedToken(forge.token()))
    assert not issuer.hits
    await authenticator.close()


async def test_algorithm_that_the_site_excludes_is_refused(issuer: LocalIssuer, forge: Forge) -> None:
    """With ES256 alone, a good RS256 token is none."""
    authenticator = OidcAuthenticator(AuthSettings(issuer=issuer.url, algorithms=("ES256",)))
    with pytest.raises(InvalidToken, match="ES256"):
        await authenticator.authenticate(UnverifiedToken(forge.token()))
    assert await authenticator.authenticate(UnverifiedToken(forge.token(forge.ec)))
    await authenticator.close()


_SEGMENT = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_", max_size=60)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_comes_as_a_token_is_refused_in_one_way(forge: Forge, data: st.DataObject) -> None:
    """Any text, and any change to a good token, is Unauthenticated: nothing else comes out, and nobody gets in."""
    authenticator = _offline(forge)
    good = forge.token()
    at = data.draw(st.integers(0, len(good) - 1))
    changed = st.builds(lambda new: good[:at] + new + good[at + 1 :], st.text(max_size=3))
    parts = st.lists(_SEGMENT, min_size=1, max_size=5).map(".".join)
    token = data.draw(st.one_of(st.text(max_size=80), parts, changed, st.just(good)))
    try:
        principal = asyncio.run(authenticator.authenticate(UnverifiedToken(token)))
    except Unauthenticated:
        assert token != good
    else:
        assert token == good
        assert principal.subject == "radiology-viewer"


def _offline(forge: Forge) -> TokenAuthenticator:
    auth = AuthSettings(issuer=forge.issuer)
    keys = read_key_set(forge.key_set(), auth.algorithms)
    return TokenAuthenticator(auth, forge.issuer, _FixedKeys(keys), TokenCache(0, 0), time.time)
