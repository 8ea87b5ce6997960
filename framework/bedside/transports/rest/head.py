"""The header section of a request: all that is looked at before the caller is known."""

from bedside.errors import MalformedPayload
from bedside.security.bearer import bearer_token
from bedside.transports.rest.reply import Header, Scope
from bedside.types import UnverifiedToken

SMALL_REST_BYTES = 65536

_SINGLE = (
    b"authorization",
    b"content-type",
    b"content-encoding",
    b"content-length",
    b"inference-header-content-length",
    b"x-request-id",
)


class Head:
    """Method and header fields of one request, fields looked up once."""

    __slots__ = ("_fields", "_pairs", "method")

    def __init__(self, scope: Scope) -> None:
        pairs: list[Header] = scope["headers"]
        self.method: str = scope["method"]
        self._pairs = pairs
        self._fields = dict(pairs)

    def get(self, name: bytes) -> bytes | None:
        """Return a field's value; ``name`` is in lower case."""
        return self._fields.get(name)

    def only(self, name: bytes) -> bytes | None:
        """Return a field's value, None where it is repeated; ``name`` is in lower case."""
        if len(self._fields) < len(self._pairs) and sum(name == other for other, _ in self._pairs) > 1:
            return None
        return self._fields.get(name)

    def check_single(self) -> None:
        """Refuse a repeated field that must be single (RFC 9110 §5.3): two readers would choose differently.

        Raises:
            MalformedPayload: naming the field.
        """
        if len(self._fields) == len(self._pairs):
            return
        names = [name for name, _ in self._pairs]
        for name in _SINGLE:
            if names.count(name) > 1:
                raise MalformedPayload("this header field must not be repeated", field=name.decode().title())

    @property
    def accept(self) -> str:
        """Return ``Accept``, repeated fields joined (RFC 9110 §5.3); ``*/*`` where there is none (§12.5.1)."""
        if len(self._fields) == len(self._pairs):
            return self._fields.get(b"accept", b"*/*").decode("latin-1")
        return ", ".join(value.decode("latin-1") for name, value in self._pairs if name == b"accept") or "*/*"

    @property
    def content_type(self) -> tuple[str, str]:
        """Return the body's media type in lower case, and the whole field value with its parameters."""
        value = self._fields.get(b"content-type", b"").decode("latin-1")
        return value.partition(";")[0].strip().lower(), value

    @property
    def content_length(self) -> int | None:
        """Return the announced size of the body in bytes, None where it comes in chunks."""
        value = self._fields.get(b"content-length")
        if value is None:
            return None
        if not value.isdigit() or len(value) > 19:
            raise MalformedPayload("not a number of bytes", field="Content-Length")
        return int(value)

    @property
    def expects_body(self) -> bool:
        """Tell whether a body follows (RFC 9112 §6.3)."""
        return b"transfer-encoding" in self._fields or self._fields.get(b"content-length", b"0") != b"0"

    @property
    def rest_is_small(self) -> bool:
        """Tell whether an unread body can be let in and forgotten, so that the connection goes on after an error."""
        length = self._fields.get(b"content-length", b"")
        # With Expect the body may never come (RFC 9110 §10.1.1).
        return b"expect" not in self._fields and length.isdigit() and int(length) <= SMALL_REST_BYTES

    @property
    def token(self) -> UnverifiedToken | None:
        """Return the bearer token (RFC 6750 §2.1), None where no credentials were sent.

        Raises:
            InvalidToken: credentials of another scheme, or of a form that no token has.
        """
        return bearer_token(self._fields.get(b"authorization"))
