"""The issuer for one machine: its key file, its tokens, and where it refuses to work."""

import multiprocessing
import os
import stat
import time
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from tests.assets.tokens.make_tokens import Forge
from tests.unit.security.local_issuer import Clock

from bedside.errors import ConfigurationError, ExpiredToken, InvalidToken
from bedside.security.embedded import ISSUER, KEY_FILE, EmbeddedAuthenticator, EmbeddedIssuer
from bedside.security.key_file import load_or_create_key, load_or_create_secret
from bedside.settings import AuthSettings, RuntimeSettings, Settings
from bedside.types import UnverifiedToken


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings whose state folder does not exist yet."""
    return Settings(runtime=RuntimeSettings(state_dir=tmp_path / "deep" / "state"))


async def test_token_that_was_minted_verifies(settings: Settings) -> None:
    """Issuer and authenticator find the same key, as `bedside token` and `bedside serve` do."""
    token = EmbeddedIssuer(settings).mint("developer", ["bedside.infer", "bedside.admin"], 60)
    principal = await EmbeddedAuthenticator(settings).authenticate(UnverifiedToken(token))
    assert (principal.subject, principal.issuer) == ("developer", ISSUER)
    assert principal.scopes == {"bedside.infer", "bedside.admin"}


async def test_token_for_another_audience_is_refused(settings: Settings) -> None:
    """Of two servers with one key, each takes its own."""
    another = Settings(env=settings.env, auth=AuthSettings(audience="another"), runtime=settings.runtime)
    token = EmbeddedIssuer(another).mint("developer", [], 60)
    authenticator = EmbeddedAuthenticator(settings)
    with pytest.raises(InvalidToken):
        await authenticator.authenticate(UnverifiedToken(token))
    await authenticator.close()


async def test_token_expires(settings: Settings) -> None:
    """Also one that is remembered: after its expiry it is verified again, and refused as expired."""
    clock = Clock(time.time())
    token = UnverifiedToken(EmbeddedIssuer(settings, clock).mint("developer", [], 10))
    authenticator = EmbeddedAuthenticator(settings, clock=clock)
    await authenticator.authenticate(token)
    clock.now += 10 + 31
    with pytest.raises(ExpiredToken):
        await authenticator.authenticate(token)


@pytest.mark.parametrize("defect", ["strangers_key_under_our_id", "none_without_signature", "garbage"])
async def test_hostile_tokens_take_the_same_path(settings: Settings, forge: Forge, defect: str) -> None:
    """There is one verification, whoever issued the token."""
    with pytest.raises(InvalidToken):
        await EmbeddedAuthenticator(settings).authenticate(UnverifiedToken(forge.hostile()[defect]))


async def test_algorithms_of_the_site_do_not_disturb_it(settings: Settings) -> None:
    """A site that will only accept ES256 from its issuer can still try things out."""
    strict = settings.model_copy(update={"auth": AuthSettings(algorithms=("ES256",))})
    token = EmbeddedIssuer(strict).mint("developer", [], 60)
    assert await EmbeddedAuthenticator(strict).authenticate(UnverifiedToken(token))


@pytest.mark.parametrize("make", [EmbeddedIssuer, EmbeddedAuthenticator])
def test_production_is_refused(settings: Settings, make: Any) -> None:
    """And no key is left behind."""
    with pytest.raises(ConfigurationError, match="one machine"):
        make(settings.model_copy(update={"env": "production"}))
    assert not settings.runtime.state_dir.exists()


@pytest.mark.parametrize(
    ("subject", "scopes", "seconds"),
    [("x", [], 0), ("x", [], -1), ("x", [], 31 * 86400), ("", [], 60), ("x", ["two words"], 60), ("x", [""], 60)],
)
def test_tokens_that_make_no_sense_are_not_minted(
    settings: Settings, subject: str, scopes: list[str], seconds: int
) -> None:
    """Lifetimes out of range, nobody's tokens, scopes that would become two."""
    with pytest.raises(ConfigurationError):
        EmbeddedIssuer(settings).mint(subject, scopes, seconds)


def test_key_file_is_its_owners_alone(settings: Settings) -> None:
    """0600 in a folder with 0700, whatever the umask says."""
    before = os.umask(0)
    try:
        EmbeddedIssuer(settings)
    finally:
        os.umask(before)
    file = settings.runtime.state_dir / KEY_FILE
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700
    assert [path.name for path in file.parent.iterdir()] == [KEY_FILE]


def test_key_is_in_no_representation(settings: Settings) -> None:
    """What a log or a debugger shows is the key's id."""
    issuer = EmbeddedIssuer(settings)
    pem = (settings.runtime.state_dir / KEY_FILE).read_text()
    assert "PRIVATE" not in f"{issuer!r}{issuer}{issuer.keys!r}"
    assert pem.splitlines()[1] not in repr(vars(issuer))


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666])
def test_key_that_others_could_read_is_refused(tmp_path: Path, mode: int) -> None:
    """It may have been copied, so it is not mended but refused."""
    path = tmp_path / KEY_FILE
    load_or_create_key(path)
    path.chmod(mode)
    with pytest.raises(ConfigurationError, match="others"):
        load_or_create_key(path)


def test_key_behind_a_link_is_refused(tmp_path: Path) -> None:
    """Whoever can place a link could choose the key."""
    load_or_create_key(tmp_path / "real.pem")
    (tmp_path / "link.pem").symlink_to(tmp_path / "real.pem")
    (tmp_path / "dangling.pem").symlink_to(tmp_path / "nowhere.pem")
    for name in ("link.pem", "dangling.pem"):
        with pytest.raises(ConfigurationError):
            load_or_create_key(tmp_path / name)
    assert not (tmp_path / "nowhere.pem").exists()


def test_pipe_for_a_key_is_refused(tmp_path: Path) -> None:
    """And does not make the server wait for somebody to write into it."""
    os.mkfifo(tmp_path / KEY_FILE, 0o600)
    with pytest.raises(ConfigurationError, match="others"):
        load_or_create_key(tmp_path / KEY_FILE)


def test_key_in_a_file_for_a_folder_is_refused(tmp_path: Path) -> None:
    """The setting is named, and the class of what went wrong."""
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match=r"FileExistsError|NotADirectoryError"):
        load_or_create_key(tmp_path / "file" / KEY_FILE)


def _pem(key: Any) -> bytes:
    encoding, form = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    pem: bytes = key.private_bytes(encoding, form, serialization.NoEncryption())
    return pem


@pytest.mark.parametrize("content", ["nonsense", "ec", "weak"])
def test_file_that_holds_no_such_key_is_refused(tmp_path: Path, content: str) -> None:
    """Another kind of key, a short one, or none."""
    keys = {
        "nonsense": b"nonsense",
        "ec": _pem(ec.generate_private_key(ec.SECP256R1())),
        "weak": _pem(rsa.generate_private_key(65537, 1024)),  # noqa: S505 - it is refused
    }
    path = tmp_path / KEY_FILE
    path.touch(mode=0o600)
    path.write_bytes(keys[content])
    with pytest.raises(ConfigurationError, match="it is not"):
        load_or_create_key(path)


def test_processes_that_start_together_share_one_key(tmp_path: Path) -> None:
    """The first to finish wins, and the others read its key."""
    context = multiprocessing.get_context("spawn")
    with context.Pool(3) as pool:
        keys = pool.map(load_or_create_key, [tmp_path / "state" / KEY_FILE] * 6, chunksize=1)
    assert len(set(keys)) == 1


def test_key_of_a_faster_process_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the file appears while ours is being made, ours is thrown away."""
    path = tmp_path / KEY_FILE
    theirs = load_or_create_key(tmp_path / "theirs.pem")
    generate = rsa.generate_private_key

    def slowly(**options: Any) -> rsa.RSAPrivateKey:
        os.link(tmp_path / "theirs.pem", path)
        return generate(**options)

    monkeypatch.setattr("bedside.security.key_file.rsa.generate_private_key", slowly)
    assert load_or_create_key(path) == theirs


def test_secret_is_made_once_and_for_its_owner_alone(tmp_path: Path) -> None:
    """Like the key; a site's own may be used, if it is long enough and nobody else's."""
    path = tmp_path / "state" / "audit.key"
    secret = load_or_create_secret(path, "audit.key_file")
    assert len(secret) == 64
    assert path.stat().st_mode & 0o777 == 0o600
    assert load_or_create_secret(path, "audit.key_file") == secret
    path.write_bytes(b"short")
    for problem in ("fewer than 32", "others could have read"):
        with pytest.raises(ConfigurationError, match=problem) as caught:
            load_or_create_secret(path, "audit.key_file")
        assert caught.value.field == "audit.key_file"
        path.chmod(0o644)
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load_or_create_secret(path / "below", "audit.key_file")
