"""Signatures over a bundle, made and verified by OpenSSF's ``model-signing`` with an elliptic-curve key, offline.

No cryptography of ours: docs/decisions/0064. The library is the extra ``signing``; it is imported only when used.
"""

import base64
import importlib
import json
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bedside.bundle.folder import NOT_CONTENT, content_files
from bedside.bundle.vetting.findings import Refused, shown
from bedside.errors import BundleError, ConfigurationError

SIGNATURE = "model.sig"
"""The signature's file in the bundle's root: a Sigstore bundle in JSON."""

_SIGNATURE_BYTES = 16 << 20


def sign_bundle(root: Path, private_key: Path, password: str | None = None) -> Path:
    """Sign every file of a bundle; returns the signature's path.

    Raises:
        ConfigurationError: ``model-signing`` is not installed, or the key cannot be used.
        BundleError: the bundle cannot be signed.
    """
    signing = _library("signing")
    secret = password.encode() if password is not None else None  # the library says str, and hands it on as bytes
    try:
        signer = signing.Config().use_elliptic_key_signer(private_key=private_key, password=secret)
    except (OSError, ValueError, TypeError) as error:
        raise ConfigurationError(f"the key cannot be used ({type(error).__name__})", field="key") from None
    target = root / SIGNATURE
    try:
        signer.set_hashing_config(_hashing(root)).sign(root, target)
    except (OSError, ValueError) as error:
        raise BundleError(f"the bundle cannot be signed: {shown(error, 200)}") from None
    return target


def verified_by(root: Path, public_keys: Iterable[Path]) -> Path:
    """Return the first of ``public_keys`` that verifies the bundle's signature over its whole content.

    Raises:
        Refused: none does, or the signature leaves files out.
        ConfigurationError: a configured key cannot be read.
    """
    try:
        verifying = _library("verifying")
    except ConfigurationError as error:
        raise Refused("signing_library", error.detail) from None
    try:
        with (root / SIGNATURE).open("rb") as stream:
            signature = stream.read(_SIGNATURE_BYTES)
    except OSError:
        raise Refused("signature", "there is no readable signature (model.sig)") from None
    for key in public_keys:
        if _verifies(verifying, root, signature, key):
            _refuse_gaps(root, signature)
            return key
    raise Refused("signature", "no configured key verifies the signature over these files")


def _verifies(verifying: Any, root: Path, signature: bytes, key: Path) -> bool:
    if not key.is_file():
        raise ConfigurationError("a public key of the admission policy cannot be read", field="public_keys")
    # A copy of the bytes that were read: what is verified is what is looked into afterwards.
    with tempfile.TemporaryDirectory(prefix="bedside-") as folder:
        copy = Path(folder) / SIGNATURE
        copy.write_bytes(signature)
        try:
            config = verifying.Config().use_elliptic_key_verifier(public_key=key)
            config.set_hashing_config(_hashing(root)).verify(root, copy)
        except Exception:  # noqa: BLE001 - hostile bytes; the library raises whatever its parsers do
            return False
    return True


def _refuse_gaps(root: Path, signature: bytes) -> None:
    """Refuse a genuine signature that was made to ignore some files: they could be anything."""
    try:
        payload = json.loads(base64.b64decode(json.loads(signature)["dsseEnvelope"]["payload"]))
        signed = {entry["name"] for entry in payload["predicate"]["resources"]}
    except (ValueError, LookupError, TypeError):
        raise Refused("signature", "the signature is of an unknown form") from None
    content = {path.relative_to(root).as_posix() for path in content_files(root)} - {SIGNATURE}
    if content - signed:
        raise Refused("signature", f"the signature leaves out {shown(min(content - signed))}")


def _hashing(root: Path) -> Any:
    hashing = _library("hashing")
    ignored = [root / SIGNATURE, *(path for name in NOT_CONTENT for path in root.rglob(name))]
    return hashing.Config().set_ignored_paths(paths=ignored, ignore_git_paths=False)


def _library(module: str) -> Any:
    try:
        return importlib.import_module(f"model_signing.{module}")
    except ImportError:
        raise ConfigurationError("signatures need a library: pip install 'bedside[signing]'", field="signing") from None
