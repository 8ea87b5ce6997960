"""A private key or a secret in a file that only its owner can read, made once however many processes start together."""

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from bedside.errors import ConfigurationError

RSA_BITS = 2048
MOST_KEY_BYTES = 16384
SECRET_BYTES = 32


def load_or_create_key(path: Path) -> bytes:
    """Return an RSA private key as PEM (PKCS #8), created where there is none.

    The folder is made with mode 0700, the file with 0600. The file appears whole or not at all (written under another
    name, then linked); of several processes at once, the first wins and the others read its key.

    Raises:
        ConfigurationError: it cannot be read or written, others may read or replace it, or it is no such key.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.is_symlink() and not path.exists():
            _create(path, _new_key())
        pem = _read_private(path)
        _check_key(pem)
    except OSError as error:
        raise _unusable(f"it cannot be read or written ({type(error).__name__})") from None
    return pem


def load_or_create_secret(path: Path, setting: str) -> bytes:
    """Return at least 32 secret bytes, created where there are none, in the way of :func:`load_or_create_key`.

    Raises:
        ConfigurationError: naming ``setting``; as for :func:`load_or_create_key`, or it is too short.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not path.is_symlink() and not path.exists():
            _create(path, secrets.token_hex(SECRET_BYTES).encode() + b"\n")
        secret = _read_private(path).strip()
    except OSError as error:
        raise ConfigurationError(f"cannot be read or written ({type(error).__name__})", field=setting) from None
    except ConfigurationError as error:
        raise ConfigurationError(error.detail, field=setting) from None
    if len(secret) < SECRET_BYTES:
        raise ConfigurationError(f"has fewer than {SECRET_BYTES} bytes", field=setting)
    return secret


def _new_key() -> bytes:
    key = rsa.generate_private_key(public_exponent=65537, key_size=RSA_BITS)
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _create(path: Path, content: bytes) -> None:
    draft = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    # The mode is set at creation: a later chmod would leave a moment in which others can open it.
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileExistsError):  # another process was faster; its key counts
            os.link(draft, path)  # unlike a rename, this never replaces
    finally:
        draft.unlink()


def _read_private(path: Path) -> bytes:
    # Checked on the open file, not on the path: nothing can be swapped in between. Opening a pipe would wait for ever.
    with os.fdopen(os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK), "rb") as file:
        state = os.fstat(file.fileno())
        if not stat.S_ISREG(state.st_mode) or state.st_uid != os.geteuid() or stat.S_IMODE(state.st_mode) & 0o077:
            raise _unusable("others could have read or written it; remove it, a new one is made")
        return file.read(MOST_KEY_BYTES)


def _check_key(pem: bytes) -> None:
    try:
        key = serialization.load_pem_private_key(pem, password=None)
    except (ValueError, TypeError):
        raise _unusable("it is not a private key in PEM") from None
    if not isinstance(key, rsa.RSAPrivateKey) or key.key_size < RSA_BITS:
        raise _unusable(f"it is not an RSA key of at least {RSA_BITS} bits")


def _unusable(why: str) -> ConfigurationError:
    return ConfigurationError(f"the embedded issuer's key in runtime.state_dir: {why}", field="runtime.state_dir")
