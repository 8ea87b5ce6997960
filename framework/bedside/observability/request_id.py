"""Request ids: the caller's only where it cannot be a patient's, else our own."""

import os
import re
from collections import deque

_SAFE = re.compile(
    rb"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}"  # UUID (RFC 9562 §4)
    rb"|[0-9a-fA-F]{32}"  # trace id (W3C Trace Context §3.2.2.3)
    rb"|[0-7][0-9A-HJKMNP-TV-Z]{25}"  # ULID
)

_AT_ONCE = 256

_ready: deque[str] = deque()
os.register_at_fork(after_in_child=_ready.clear)


def is_request_id(text: str) -> bool:
    """Tell whether a text may be one: it identifies a request, and nobody's patient."""
    return text.isascii() and _SAFE.fullmatch(text.encode()) is not None


def new_request_id() -> str:
    """Return 32 hex digits that nobody can guess; thread-safe (random bytes are fetched for many: uuid4 costs more).

    A caller who knew the next one could send it first, and the truth of another's answer would be joined with its own.
    """
    try:
        return _ready.pop()
    except IndexError:
        fresh = os.urandom(16 * _AT_ONCE).hex()
        _ready.extend(fresh[start : start + 32] for start in range(32, len(fresh), 32))
        return fresh[:32]


def request_id_from(sent: bytes | None) -> str:
    """Return the caller's ``X-Request-ID`` where it is a UUID, 32 hex digits or a ULID, else a new one.

    Anything else may be an accession number or a name, and the id goes into every log line.
    """
    if sent is not None and _SAFE.fullmatch(sent):
        return sent.decode("ascii")
    return new_request_id()
