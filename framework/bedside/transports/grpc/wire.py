"""The encoded request, taken apart before protobuf reads it (protobuf.dev, "Encoding").

Raw tensors are nearly all of a large message, and its parser would copy them twice. What remains is small, or refused:
two bytes of an empty submessage cost a hundred in memory, so that half a gigabyte of them would end the server.
"""

from bedside.errors import MalformedPayload, PayloadTooLarge

MOST_FIELDS = 4096
"""Fields of one message at its top level: a field for each tensor, parameter and name. Two bytes can be one."""

_RAW_INPUT_CONTENTS = 7 << 3 | 2
_FIXED = {1: 8, 5: 4}
_LONGEST_VARINT = 10


def split_raw(message: bytes, limit: int) -> tuple[bytes, list[bytes]]:
    """Return the message without its ``raw_input_contents``, and these in their order.

    Raises:
        PayloadTooLarge: what remains has more than ``limit`` bytes, or the message has more than MOST_FIELDS fields.
        MalformedPayload: not a message of protobuf.
    """
    raw: list[bytes] = []
    rest: list[bytes] = []
    size, position, fields = 0, 0, 0
    while position < len(message):
        start, fields = position, fields + 1
        if fields > MOST_FIELDS:
            raise PayloadTooLarge(f"the message has more than {MOST_FIELDS} fields", field="message")
        key, begin = _varint(message, position)
        position, begin = _end(message, key, begin)
        if key == _RAW_INPUT_CONTENTS:
            raw.append(message[begin:position])
            size += begin - start
        else:
            rest.append(message[start:position])
            size += position - start
        if size > limit:
            raise PayloadTooLarge(
                f"the message has more than {limit} bytes beside raw_input_contents; send large tensors there",
                field="contents",
            )
    return b"".join(rest), raw


def _end(message: bytes, key: int, position: int) -> tuple[int, int]:
    """Return where a field ends, and where its value begins."""
    kind, begin = key & 7, position
    if kind == 0:
        _, end = _varint(message, position)
    elif kind == 2:
        length, begin = _varint(message, position)
        end = begin + length
    elif kind in _FIXED:
        end = position + _FIXED[kind]
    else:
        raise _malformed()
    if end > len(message):
        raise _malformed()
    return end, begin


def _varint(message: bytes, position: int) -> tuple[int, int]:
    """Return a base-128 number, least significant group first, and where it ends."""
    value = 0
    for index, byte in enumerate(message[position : position + _LONGEST_VARINT]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, position + index + 1
    raise _malformed()


def _malformed() -> MalformedPayload:
    return MalformedPayload("not an encoded ModelInferRequest", field="message")
