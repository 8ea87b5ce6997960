"""The encoded request, taken apart: the same as protobuf reads, and never more than the limit."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tritonclient.grpc import service_pb2

from bedside.errors import MalformedPayload, PayloadTooLarge
from bedside.transports.grpc.infer_request import infer_request, parse_message
from bedside.transports.grpc.wire import MOST_FIELDS, split_raw

LIMIT = 1 << 16


@given(st.lists(st.binary(max_size=300), max_size=5), st.text(max_size=20), st.lists(st.integers(-(2**63), 2**63 - 1)))
def test_takes_apart_what_protobuf_writes(raw: list[bytes], name: str, shape: list[int]) -> None:
    """The raw tensors come out as they are, in their order, and the rest is the request without them."""
    message = service_pb2.ModelInferRequest(model_name=name, id=name, raw_input_contents=raw)
    message.inputs.add(name=name, shape=shape)

    rest, taken = split_raw(message.SerializeToString(), LIMIT)

    del message.raw_input_contents[:]
    assert taken == raw
    assert service_pb2.ModelInferRequest.FromString(rest) == message


@given(st.binary(max_size=200))
def test_any_bytes_are_parsed_or_refused(data: bytes) -> None:
    """Nothing but the two refusals comes out, whatever the bytes."""
    try:
        infer_request(parse_message(data, 64))
    except (MalformedPayload, PayloadTooLarge) as error:
        assert error.field  # noqa: PT017 - that it raises at all is not what is tested


@given(st.binary(min_size=1, max_size=40), st.integers(0, 39))
def test_a_message_cut_short_is_refused_or_shorter(tail: bytes, cut: int) -> None:
    """The last raw tensor never has bytes that did not come."""
    message = service_pb2.ModelInferRequest(model_name="m", raw_input_contents=[tail]).SerializeToString()
    kept = message[: len(message) - min(cut, len(tail))]

    try:
        _, raw = split_raw(kept, LIMIT)
    except MalformedPayload:
        assert kept != message
    else:
        assert raw == [tail]
        assert kept == message


def test_fields_of_every_wire_type_are_stepped_over() -> None:
    """A field from a later version of the protocol stays with the rest, whatever its type."""
    later = b"\x80\x01\x05" + b"\x81\x01" + bytes(8) + b"\x85\x01" + bytes(4) + b"\x82\x01\x02hi"
    raw = b"\x3a\x01x"

    assert split_raw(later + raw + later, LIMIT) == (later + later, [b"x"])


@pytest.mark.parametrize("data", [b"\x3b", b"\x3a", b"\x3a\x05abc", b"\x80" * 11, b"\x09abc", b"\x08"])
def test_no_message_of_protobuf(data: bytes) -> None:
    """Groups, cut-off fields and numbers without an end."""
    with pytest.raises(MalformedPayload) as caught:
        split_raw(data, LIMIT)
    assert caught.value.field == "message"


@pytest.mark.parametrize("piece", [b"\x2a\x00", b"\x3a\x00"], ids=["empty inputs", "empty raw tensors"])
def test_many_small_fields_are_refused_before_they_cost(piece: bytes) -> None:
    """Two bytes on the wire can be a hundred in memory."""
    with pytest.raises(PayloadTooLarge) as caught:
        split_raw(piece * (MOST_FIELDS + 1), LIMIT)
    assert caught.value.field == "message"
    split_raw(piece * MOST_FIELDS, LIMIT)


def test_what_is_no_raw_tensor_is_bounded() -> None:
    """Lists of numbers cost ten times their size to parse."""
    message = service_pb2.ModelInferRequest(model_name="m" * (LIMIT + 1)).SerializeToString()
    with pytest.raises(PayloadTooLarge) as caught:
        split_raw(message, LIMIT)
    assert caught.value.field == "contents"


def test_raw_tensors_do_not_count_for_the_limit() -> None:
    """The limit is on what is parsed; the whole message has its own."""
    message = service_pb2.ModelInferRequest(model_name="m", raw_input_contents=[bytes(LIMIT * 2)])

    _, raw = split_raw(message.SerializeToString(), 100)

    assert len(raw[0]) == LIMIT * 2
