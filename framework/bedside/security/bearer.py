"""The credentials of a request: ``Authorization: Bearer <token>``, an HTTP header field or gRPC metadata."""

from bedside.errors import InvalidToken
from bedside.types import UnverifiedToken


def bearer_token(value: bytes | None) -> UnverifiedToken | None:
    """Return the bearer token (RFC 6750 §2.1) of the field's value, None where no credentials were sent.

    Raises:
        InvalidToken: credentials of another scheme, or of a form that no token has.
    """
    if value is None:
        return None
    scheme, _, token = value.partition(b" ")
    # RFC 9110 §11.1: the scheme is case-insensitive.
    if scheme.lower() != b"bearer":
        raise InvalidToken("Authorization must be 'Bearer <token>'")
    try:
        return UnverifiedToken(token.strip().decode("ascii"))
    except UnicodeDecodeError:
        raise InvalidToken("a token has ASCII characters only") from None
