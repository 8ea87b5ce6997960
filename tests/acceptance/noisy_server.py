"""``bedside`` as it is, with a library that logs, warns of and raises whatever it is given: texts of others hold names.

With ``NOISY_REDACTION=off`` the log lets everything out: a test that finds nothing then has not looked.
"""

import logging
import os
import warnings
from typing import Any

from bedside.__main__ import main
from bedside.codecs import Codecs
from bedside.observability import foreign, rendering

_log = logging.getLogger("some.library")


def _talkative(name: str) -> None:
    decode = getattr(Codecs, name)

    def talking(codecs: Codecs, given: Any, *rest: Any) -> Any:
        _log.warning("reading %r for %r", given, rest)
        warnings.warn(f"odd input {given!r}", stacklevel=1)
        _log.error("failed for %s", given, exc_info=ValueError(f"cannot read {given!r}"))
        return decode(codecs, given, *rest)

    setattr(Codecs, name, talking)


def _let_everything_out() -> None:
    def told(record: logging.LogRecord) -> tuple[str, dict[str, Any]]:
        return "library_message", {"text": record.getMessage(), "origin_file": record.filename}

    foreign._event_of = told
    slots = rendering.EVENTS.slots["library_message"]
    slots["text"] = slots["text"]._replace(clean=str)  # type: ignore[index]


if __name__ == "__main__":
    for method in ("decode_part", "decode_record", "decode_document", "decode_tensors"):
        _talkative(method)
    if os.environ.get("NOISY_REDACTION") == "off":
        _let_everything_out()
    main()
