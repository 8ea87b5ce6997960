"""Tokens of a real, certified OpenID provider: npm's ``oidc-provider``, and ``bedside serve`` in front of it."""

import json
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.acceptance.conftest import Served, start, stop
from tests.waiting import PATIENCE_SECONDS, wait_until

from bedside.errors import ExpiredToken, InvalidToken, IssuerUnavailable
from bedside.security.oidc import OidcAuthenticator
from bedside.settings import AuthSettings
from bedside.types import UnverifiedToken

PROVIDER = Path(__file__).parent / "oidc_provider" / "provider.mjs"
CLIENT = ("radiology-viewer", "a-secret-for-tests-only")
SCOPES = ("bedside.infer", "bedside.infer:record_classification", "bedside.infer:other", "bedside.admin")
RECORD = {"age": 63, "chol": 233, "thalach": 150}


@dataclass
class Provider:
    """The provider's process and its issuer."""

    process: subprocess.Popen[str]
    issuer: str

    def token(self, scope: str = "bedside.infer", resource: str = "urn:bedside:rs256") -> str:
        """Return an access token by the client credentials grant."""
        form = {"grant_type": "client_credentials", "scope": scope, "resource": resource}
        answer = httpx.post(f"{self.issuer}/token", data=form, auth=CLIENT, trust_env=False)
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def command(self, word: str) -> dict[str, Any]:
        """Have it ``rotate`` or ``withdraw`` keys."""
        assert self.process.stdin is not None
        self.process.stdin.write(word + "\n")
        self.process.stdin.flush()
        return self._line()

    def stop(self) -> None:
        """End the process."""
        self.process.terminate()
        self.process.wait(PATIENCE_SECONDS)

    def _line(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        # Its notices come between our lines.
        answer: dict[str, Any] = json.loads(next(line for line in self.process.stdout if line.startswith("{")))
        return answer


@contextmanager
def _running_provider() -> Iterator[Provider]:
    node = shutil.which("node")
    if node is None or not (PROVIDER.parent / "node_modules" / "oidc-provider").is_dir():
        pytest.skip("needs npm's oidc-provider: make test-servers")
    process = subprocess.Popen(
        [node, PROVIDER.name, *SCOPES],
        cwd=PROVIDER.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        provider = Provider(process, "")
        provider.issuer = provider._line()["issuer"]
        yield provider
    finally:
        process.terminate()
        process.wait(PATIENCE_SECONDS)


@pytest.fixture
def provider() -> Iterator[Provider]:
    """Return a provider of the test's own, which it may rotate and stop."""
    with _running_provider() as running:
        yield running


@pytest.fixture(scope="module")
def shared_provider() -> Iterator[Provider]:
    """Return a provider that no test changes."""
    with _running_provider() as running:
        yield running


class Clock:
    """Seconds that pass when told."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


def _authenticator(issuer: str, monotonic: Callable[[], float] = time.monotonic, **changes: Any) -> OidcAuthenticator:
    return OidcAuthenticator(AuthSettings(issuer=issuer, **changes), monotonic=monotonic)


@pytest.mark.parametrize("algorithm", ["RS256", "ES256"])
async def test_access_token_is_verified(shared_provider: Provider, algorithm: str) -> None:
    """The provider's JWT access token gives its client, its scopes and its end, with either algorithm."""
    authenticator = _authenticator(shared_provider.issuer, algorithms=(algorithm,))
    token = shared_provider.token("bedside.infer bedside.admin", f"urn:bedside:{algorithm.lower()}")
    principal = await authenticator.authenticate(UnverifiedToken(token))
    assert (principal.subject, principal.issuer) == (CLIENT[0], shared_provider.issuer)
    assert principal.scopes == {"bedside.infer", "bedside.admin"}
    assert 0 < principal.expires_at - time.time() <= 600
    await authenticator.close()


async def test_algorithm_that_is_not_allowed_is_refused(shared_provider: Provider) -> None:
    """A genuine ES256 token does not verify where the site allows RS256 alone."""
    authenticator = _authenticator(shared_provider.issuer, algorithms=("RS256",))
    with pytest.raises(InvalidToken):
        await authenticator.authenticate(UnverifiedToken(shared_provider.token(resource="urn:bedside:es256")))


async def test_unknown_scope_is_dropped_by_the_provider(shared_provider: Provider) -> None:
    """A scope that the provider does not know is missing from the token instead of failing the request for it."""
    authenticator = _authenticator(shared_provider.issuer)
    token = shared_provider.token("bedside.infer bedside.everything")
    assert (await authenticator.authenticate(UnverifiedToken(token))).scopes == {"bedside.infer"}


async def test_token_for_another_audience_is_refused(shared_provider: Provider) -> None:
    """A genuine token that the same provider made for another service is not for us."""
    authenticator = _authenticator(shared_provider.issuer)
    with pytest.raises(InvalidToken, match="audience"):
        await authenticator.authenticate(UnverifiedToken(shared_provider.token(resource="urn:other:rs256")))


async def test_expired_token_is_refused(shared_provider: Provider) -> None:
    """A genuine token is refused after its end, and the error says that a new one will do."""
    authenticator = _authenticator(shared_provider.issuer)
    with pytest.raises(ExpiredToken):
        await authenticator.authenticate(UnverifiedToken(shared_provider.token(resource="urn:bedside:expired")))


async def test_keys_rotate(provider: Provider) -> None:
    """After a rotation the new key is fetched at the first token that names it; tokens of the old one still verify."""
    clock = Clock()
    authenticator = _authenticator(provider.issuer, clock, token_cache_size=0)
    before = UnverifiedToken(provider.token())
    await authenticator.authenticate(before)
    provider.command("rotate")
    clock.now += 11
    assert await authenticator.authenticate(UnverifiedToken(provider.token()))
    assert await authenticator.authenticate(before)


async def test_withdrawn_key_ends_its_tokens(provider: Provider) -> None:
    """Once the provider has withdrawn a key, its tokens are refused, also those verified before."""
    clock = Clock()
    authenticator = _authenticator(provider.issuer, clock, token_cache_seconds=86400.0)
    before = UnverifiedToken(provider.token())
    await authenticator.authenticate(before)
    provider.command("rotate")
    provider.command("withdraw")
    clock.now += 11
    await authenticator.authenticate(UnverifiedToken(provider.token()))
    with pytest.raises(InvalidToken):
        await authenticator.authenticate(before)


async def test_provider_that_stops_does_not_stop_us(provider: Provider) -> None:
    """While the provider is gone its known keys serve, for as long as the settings say and no longer."""
    clock = Clock()
    authenticator = _authenticator(provider.issuer, clock, token_cache_size=0, jwks_stale_seconds=3600.0)
    token = UnverifiedToken(provider.token())
    await authenticator.authenticate(token)
    provider.stop()
    clock.now += 3500
    assert await authenticator.authenticate(token)
    clock.now += 200
    with pytest.raises(IssuerUnavailable):
        await authenticator.authenticate(token)


@pytest.fixture(scope="module")
def served(shared_provider: Provider, bundles: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """Return a server that trusts the provider, with one record model."""
    folder = tmp_path_factory.mktemp("served")
    running = start([bundles / "record_classification"], folder, BEDSIDE_AUTH__ISSUER=shared_provider.issuer)
    yield running
    assert stop(running) == 0


def ask(served: Served, token: str | None) -> httpx.Response:
    """Have the record model predict."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    address = f"{served.url}/v1/models/record_classification/predict"
    return httpx.post(address, json=RECORD, headers=headers, trust_env=False, timeout=60)


def _lines(log: Path) -> list[dict[str, Any]]:
    text = log.read_bytes()
    return [json.loads(line) for line in text[: text.rfind(b"\n") + 1].splitlines() if line.startswith(b"{")]


@pytest.mark.parametrize(
    ("scope", "resource"),
    [
        ("bedside.infer", "urn:bedside:rs256"),
        ("bedside.infer", "urn:bedside:es256"),
        ("bedside.infer:record_classification", "urn:bedside:rs256"),
    ],
)
def test_model_answers_who_may_use_it(served: Served, shared_provider: Provider, scope: str, resource: str) -> None:
    """A token with the scope for all models, or for this one, gets a prediction."""
    answer = ask(served, shared_provider.token(scope, resource))
    assert answer.status_code == 200, answer.text
    assert "prediction" in answer.text


@pytest.mark.parametrize("scope", ["bedside.infer:other", "bedside.admin", ""])
def test_missing_scope_is_403(served: Served, shared_provider: Provider, scope: str) -> None:
    """A good token without the scope is forbidden, and told which scope to ask for."""
    answer = ask(served, shared_provider.token(scope))
    assert answer.status_code == 403
    challenge = answer.headers["www-authenticate"]
    assert challenge.startswith("Bearer")
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="bedside.infer"' in challenge


def test_no_token_is_401_without_an_error_code(served: Served) -> None:
    """Who sends no token is asked for one; RFC 6750 §3.1 gives no error code then."""
    answer = ask(served, None)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"].startswith("Bearer")
    assert "error=" not in answer.headers["www-authenticate"]


def test_expired_token_is_401(served: Served, shared_provider: Provider) -> None:
    """A genuine token past its end is an invalid token."""
    answer = ask(served, shared_provider.token(resource="urn:bedside:expired"))
    assert answer.status_code == 401
    assert 'error="invalid_token"' in answer.headers["www-authenticate"]


def test_log_accounts_for_calls_and_names_nobody(served: Served, shared_provider: Provider) -> None:
    """Each call leaves one event with a pseudonym; neither the client's name nor its token is in the log."""
    token = shared_provider.token()
    request_id = ask(served, token).headers["x-request-id"]
    (event,) = wait_until(lambda: [line for line in _lines(served.log) if _request_id(line) == request_id])
    assert event["message"] == "inference_completed"
    assert event["event"]["outcome"] == "success"
    assert len(event["user"]["hash"]) == 16
    text = served.log.read_text()
    assert CLIENT[0] not in text
    assert token[-40:] not in text


def _request_id(line: dict[str, Any]) -> Any:
    return line.get("http", {}).get("request", {}).get("id")
