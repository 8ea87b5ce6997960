"""Request ids: the caller's only where it cannot be a patient's, else our own."""

import os
import re
from itertools import count

_SAFE = re.compile(
    rb"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"  # UUID (RFC 9562 §4)
    rb"|[0-9a-fA-F]{32}"  # trace id (W3C Trace Context §3.2.2.3)
    rb"|[0-7][0-9A-HJKMNP-TV-Z]{25}"  # ULID
)

_prefix = os.urandom(8).hex()
_numbers = count(int.from_bytes(os.urandom(4), "big"))


def is_request_id(text: str) -> bool:
    """Tell whether a text may be one: it identifies a request, and nobody's patient."""
    return text.isascii() and _SAFE.fullmatch(text.encode()) is not None


def new_request_id() -> str:
    """Return 32 hex digits, unique: a random prefix of this process and a counter (a tenth of uuid4's cost)."""
    return f"{_prefix}{next(_numbers):016x}"


def request_id_from(sent: bytes | None) -> str:
    """Return the caller's ``X-Request-ID`` where it is a UUID, 32 hex digits or a ULID, else a new one.

    Anything else may be an accession number or a name, and the id goes into every log line.
    """
    if sent is not None and _SAFE.fullmatch(sent):
        return sent.decode("ascii")
    return new_request_id()
