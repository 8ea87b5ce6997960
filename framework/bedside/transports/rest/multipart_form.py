"""``multipart/form-data`` (RFC 7578): one field per input of the model, parsed as it arrives.

File names are never looked at: they often hold a patient's name.
"""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from multipart import MultipartError, ParserLimitReached, PushMultipartParser, parse_options_header

from bedside.bundle.contract import Contract
from bedside.errors import MalformedPayload, MissingInput, PayloadTooLarge, UnknownInput, echo
from bedside.settings import LimitSettings
from bedside.transports.rest.body import Body
from bedside.types import RawPart

_HEADER_BYTES = 8192
_HEADERS = 16
_BOUNDARY_LENGTH = 70  # RFC 2046 §5.1.1


async def read_form(body: Body, content_type: str, contract: Contract, limits: LimitSettings) -> list[RawPart]:
    """Return the parts of a form whose fields are the model's inputs; one that takes several files is repeated.

    Raises:
        MalformedPayload: not a well-formed form, or a field comes more often than the input has files.
        UnknownInput: a field is no input of the model; it is refused as soon as its header is there.
        MissingInput: there is no field at all, and one must be.
        PayloadTooLarge: the body is larger than ``limits.body_bytes``.
    """
    most = {spec.name: spec.files or limits.files for spec in contract.inputs}
    collector = _Collector(most)
    parser = _parser(content_type, sum(most.values()))
    try:
        async for chunk in body.chunks(limits.body_bytes):
            if chunk:
                for event in parser.parse(chunk):
                    collector.take(event)
        parser.close()
    except ParserLimitReached:
        raise PayloadTooLarge("the form has too many or too long header fields", field="body") from None
    except (MultipartError, LookupError, UnicodeError):
        raise MalformedPayload("not a complete multipart/form-data body", field="body") from None
    if not collector.parts and contract.needs_input:
        raise MissingInput(f"expected a part for each of: {', '.join(most)}", field="body")
    return collector.parts


def _parser(content_type: str, most: int) -> Any:
    _, options = parse_options_header(content_type)
    boundary = options.get("boundary", "")
    if not 1 <= len(boundary) <= _BOUNDARY_LENGTH:
        raise MalformedPayload("multipart/form-data needs a boundary of 1 to 70 characters", field="Content-Type")
    try:
        # Not strict: strict refuses the line break behind the last delimiter where it comes in a chunk of its own.
        return PushMultipartParser(
            boundary.encode("latin-1"),
            max_header_size=_HEADER_BYTES,
            max_header_count=_HEADERS,
            # One more than fits, so that a surplus field is named by us and not by the parser.
            max_segment_count=most + 1,
        )
    except MultipartError:
        raise MalformedPayload("the boundary cannot be used", field="Content-Type") from None


class _Collector:
    """Puts the parser's events together: a segment, its bytes, None at its end."""

    def __init__(self, most: Mapping[str, int]) -> None:
        self._most = most
        self._counts: Counter[str] = Counter()
        self._open: tuple[str, str] | None = None
        self._chunks: list[bytes] = []
        self.parts: list[RawPart] = []

    def take(self, event: Any) -> None:
        if event is None:
            name, media_type = self._open or ("", "")
            self.parts.append(RawPart(name, media_type, b"".join(self._chunks)))
            self._open, self._chunks = None, []
        elif isinstance(event, bytes | bytearray):
            self._chunks.append(bytes(event))
        else:
            self._open = (self._checked(event.name), self._media_type(event))

    def _checked(self, name: str) -> str:
        if name not in self._most:
            expected = ", ".join(self._most) or "none"
            raise UnknownInput(
                f"the form field {echo(name, self._most)} is no input; expected: {expected}", field="part name"
            )
        self._counts[name] += 1
        most = self._most[name]
        if self._counts[name] > most:
            often = "twice" if most == 1 else f"more than {most} times"
            raise MalformedPayload(f"this input comes {often}", field=name)
        return name

    @staticmethod
    def _media_type(segment: Any) -> str:
        # RFC 7578 §4.4 defaults to text/plain, which no input is; a field without a type lets its bytes speak.
        declared: str = segment.header("Content-Type", "") or ""
        return declared.partition(";")[0].strip().lower()
