"""Bounded decompression (RFC 1952): never more bytes in memory than the limit allows.

zlib's ``max_length`` stops inside a member, so a bomb of 1 MiB that would become 1 GiB costs the limit and no more.
The header's ISIZE is not trusted: it is the sender's word, and modulo 2^32 at that.
"""

import zlib

from bedside.errors import DecompressedTooLarge, MalformedPayload

_CHUNK = 1 << 16
_MEMBERS = 1 << 16  # bgzip writes one member per 64 KiB; each costs a copy of what is left of a chunk
_GZIP = 16 + zlib.MAX_WBITS


def gunzip(data: bytes, *, limit: int, field: str) -> bytes:
    """Return the decompressed bytes of a gzip file, at most ``limit`` of them.

    Several members are joined (RFC 1952 §2.2); zero padding after the last one is dropped, as gzip(1) does.

    Raises:
        DecompressedTooLarge: there are more than ``limit`` bytes.
        MalformedPayload: it is cut short, a checksum is wrong, or something else follows it.
    """
    pieces: list[bytes] = []
    total = 0
    members = 0
    stream = zlib.decompressobj(_GZIP)
    view = memoryview(data)
    for start in range(0, len(data), _CHUNK):
        chunk: bytes = bytes(view[start : start + _CHUNK])
        while chunk:
            if stream.eof:
                members += 1
                stream = _next_member(chunk, members, field)
            piece = _inflate(stream, chunk, limit - total + 1, field)
            total += len(piece)
            if total > limit:
                raise DecompressedTooLarge(f"'{field}' has more than {limit} bytes when decompressed", field=field)
            pieces.append(piece)
            chunk = stream.unused_data.lstrip(b"\0") if stream.eof else b""
    if not stream.eof:
        raise MalformedPayload(f"'{field}' is a gzip file that was cut short", field=field)
    return b"".join(pieces)


def _next_member(chunk: bytes, members: int, field: str) -> "zlib._Decompress":
    if not chunk.startswith(b"\x1f") or members > _MEMBERS:
        raise MalformedPayload(f"'{field}' is a gzip file with something else after its end", field=field)
    return zlib.decompressobj(_GZIP)


def _inflate(stream: "zlib._Decompress", chunk: bytes, limit: int, field: str) -> bytes:
    try:
        return stream.decompress(chunk, limit)
    except zlib.error as error:
        raise MalformedPayload(f"'{field}' is a gzip file that is damaged", field=field) from error
