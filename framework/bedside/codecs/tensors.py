"""The tensors of one Open Inference Protocol request, put together into items of the contract."""

from collections.abc import Mapping, Sequence

from bedside.bundle.contract import InputSpec
from bedside.codecs.tensor_image import DecodePart, decode_image_tensor
from bedside.codecs.tensor_record import decode_record_tensors
from bedside.errors import MalformedPayload, MissingInput, UnknownInput, WrongShape, echo
from bedside.settings import LimitSettings
from bedside.types import DecodedInput, RawTensor


def decode_request(
    tensors: Sequence[RawTensor], specs: Sequence[InputSpec], limits: LimitSettings, decode_part: DecodePart
) -> list[tuple[DecodedInput, ...]]:
    """Return one tuple of inputs per row, in the contract's order.

    An image request is one row; a request of records may have up to ``limits.rows``.

    Raises:
        UnknownInput, MissingInput: by name.
        MalformedPayload: a name comes twice.
        WrongShape: several rows beside an image.
        RequestError: whatever decoding a tensor raises, naming it.
    """
    by_name = _by_name(tensors, specs)
    columns = [_decode(by_name, spec, limits, decode_part) for spec in specs]
    rows = max((len(column) for column in columns), default=0)
    for spec, column in zip(specs, columns, strict=True):
        if len(column) != rows:
            raise WrongShape(
                f"'{spec.name}' must have {rows} rows as the other inputs; {len(column)} came", field=spec.name
            )
    return list(zip(*columns, strict=True))


def _decode(
    by_name: Mapping[str, RawTensor], spec: InputSpec, limits: LimitSettings, decode_part: DecodePart
) -> Sequence[DecodedInput]:
    if spec.kind == "record":
        return decode_record_tensors(by_name, spec, limits.rows)
    tensor = by_name.get(spec.name)
    if tensor is None:
        raise MissingInput(f"input '{spec.name}' is missing", field=spec.name)
    return [decode_image_tensor(tensor, spec, decode_part, limits.decompressed_bytes)]


def _by_name(tensors: Sequence[RawTensor], specs: Sequence[InputSpec]) -> dict[str, RawTensor]:
    known = {spec.name for spec in specs}
    for spec in specs:
        known.update(feature.name for feature in spec.features)
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
