"""The tensors of one Open Inference Protocol request, put together into items of the contract.

The first axis of what is encoded (BYTES) are the rows of the request, one item each: ``n`` encoded images are ``n``
items, each answered by itself (docs/decisions/0070). Only an input that takes several files per item has them on that
axis instead. A decoded array has no axis to spare, so it is one item.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain

from bedside.bundle.contract import InputSpec
from bedside.bundle.remembered import Remembered
from bedside.codecs.elements import file_bytes, read_bytes, read_numbers
from bedside.codecs.tensor_image import decode_image_tensor
from bedside.codecs.tensor_record import decode_record_tensors
from bedside.errors import (
    BadParameter,
    DecompressedTooLarge,
    MalformedPayload,
    MissingInput,
    PayloadTooLarge,
    UnknownInput,
    WrongDatatype,
    WrongShape,
    echo,
)
from bedside.settings import LimitSettings
from bedside.types import DecodedArray, DecodedImage, DecodedInput, RawPart, RawTensor

DecodePart = Callable[[RawPart, InputSpec], DecodedInput]
Row = tuple[DecodedInput, ...]


def decode_request(
    tensors: Sequence[RawTensor], specs: Sequence[InputSpec], limits: LimitSettings, decode_part: DecodePart
) -> list[Row]:
    """Return one tuple of inputs per row, in the contract's order.

    A request of records may have up to ``limits.rows`` rows, one of encoded images up to ``limits.files``.

    Raises:
        UnknownInput, MissingInput: by name.
        MalformedPayload: a name comes twice.
        WrongShape: inputs with different numbers of rows.
        RequestError: whatever decoding a tensor raises, naming it.
    """
    by_name = _by_name(tensors, specs)
    sent = [spec for spec in specs if not spec.optional or _is_sent(spec, by_name)]
    columns = [_decode(by_name, spec, limits, decode_part) for spec in sent]
    if len(columns) == 1:
        return list(columns[0])
    rows = max((len(column) for column in columns), default=1)
    for spec, column in zip(sent, columns, strict=True):
        if len(column) != rows:
            raise WrongShape(
                f"'{spec.name}' must have {rows} rows as the other inputs; {len(column)} came", field=spec.name
            )
    return [tuple(chain.from_iterable(row)) for row in zip(*columns, strict=True)] or [()]


def _decode(
    by_name: Mapping[str, RawTensor], spec: InputSpec, limits: LimitSettings, decode_part: DecodePart
) -> Sequence[Row]:
    if spec.kind == "record":
        return [(record,) for record in decode_record_tensors(by_name, spec, limits.rows)]
    tensor = by_name.get(spec.name)
    if tensor is None:
        raise MissingInput(f"input '{spec.name}' is missing", field=spec.name)
    if tensor.datatype == "BYTES" and spec.kind != "tensor":
        items = tuple(_decode_elements(tensor, spec, limits, decode_part))
        return [(item,) for item in items] if spec.files == 1 else [items]
    if spec.kind == "value":
        raise WrongDatatype(f"'{spec.name}' must be BYTES that hold JSON text", field=spec.name)
    if spec.kind == "tensor":
        return [(DecodedArray(spec.name, read_numbers(tensor)),)]
    return [(decode_image_tensor(tensor, spec, limits.decompressed_bytes),)]


def _decode_elements(
    tensor: RawTensor, spec: InputSpec, limits: LimitSettings, decode_part: DecodePart
) -> Iterator[DecodedInput]:
    elements = read_bytes(tensor)
    if len(elements) > limits.files:
        raise PayloadTooLarge(
            f"'{spec.name}' has {len(elements)} elements, the limit is {limits.files}", field=spec.name
        )
    media_type, size = _media_type(tensor, spec), 0
    for element in elements:
        item = decode_part(RawPart(spec.name, media_type, _data(element, spec)), spec)
        size += len(item.payload) if isinstance(item, DecodedImage) else 0
        if size > limits.decompressed_bytes:
            raise DecompressedTooLarge(
                f"the files of '{spec.name}' have more than {limits.decompressed_bytes} bytes", field=spec.name
            )
        yield item


def _data(element: bytes | str, spec: InputSpec) -> bytes:
    if spec.kind == "value":  # JSON text is text in either form of the protocol
        return element if isinstance(element, bytes) else element.encode()
    return file_bytes(element, spec.name)


def _media_type(tensor: RawTensor, spec: InputSpec) -> str:
    media_type = tensor.parameters.get("content_type", "")
    if not isinstance(media_type, str):
        raise BadParameter(f"parameter 'content_type' of '{spec.name}' must be a media type", field=spec.name)
    return media_type


def _is_sent(spec: InputSpec, by_name: Mapping[str, RawTensor]) -> bool:
    return spec.name in by_name or any(feature.name in by_name for feature in spec.features)


def _list_names(specs: Sequence[InputSpec]) -> frozenset[str]:
    return frozenset(name for spec in specs for name in (spec.name, *(feature.name for feature in spec.features)))


_known_names = Remembered(_list_names)


def _by_name(tensors: Sequence[RawTensor], specs: Sequence[InputSpec]) -> dict[str, RawTensor]:
    known = _known_names(specs)
    by_name: dict[str, RawTensor] = {}
    for tensor in tensors:
        if tensor.name not in known:
            shown = echo(tensor.name, sorted(known))
            raise UnknownInput(
                f"{shown} is not an input of this model", field=tensor.name if shown != "(not shown)" else None
            )
        if tensor.name in by_name:
            raise MalformedPayload(f"input '{tensor.name}' comes twice", field=tensor.name)
        by_name[tensor.name] = tensor
    return by_name
