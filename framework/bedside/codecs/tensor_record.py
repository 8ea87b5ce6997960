"""Records as Open Inference Protocol tensors: a tensor per feature, or one packed tensor.

* per feature: shape [rows] or [rows, 1]; any numeric datatype, or BYTES with ``?`` or nothing where it is missing.
* packed, named as the input: shape [rows, features], the features in the contract's order.

NaN in a floating-point tensor says "missing" where the feature may be missing, and is refused elsewhere.
"""

from collections.abc import Mapping, Sequence
from operator import eq
from typing import Any

from bedside.bundle.contract import InputSpec
from bedside.bundle.remembered import Remembered
from bedside.codecs.elements import element_count, read_bytes, read_numbers
from bedside.codecs.record import decode_values
from bedside.errors import MalformedPayload, MissingInput, PayloadTooLarge, WrongShape
from bedside.types import DecodedRecord, RawTensor

_INT64 = 2**63


def decode_record_tensors(tensors: Mapping[str, RawTensor], spec: InputSpec, rows_limit: int) -> list[DecodedRecord]:
    """Decode the tensors that belong to one record input, one record per row.

    Args:
        tensors: by name; those of other inputs are passed over.
        spec: the record input.
        rows_limit: most rows that one request may have.

    Raises:
        MissingInput: none of its tensors came.
        MalformedPayload: packed and single features at the same time.
        WrongShape: a width that is not the contract's, or tensors with different numbers of rows.
        PayloadTooLarge: too many rows.
        MissingFeature, WrongDatatype, NonFiniteValue: naming the feature.
    """
    names = _names_of(spec)
    columns = {name: tensors[name] for name in names if name in tensors}
    packed = tensors.get(spec.name) if spec.name not in columns else None
    if packed is not None and columns:
        raise MalformedPayload(f"send '{spec.name}' packed, or its features one by one, not both", field=spec.name)
    if packed is None and not columns:
        raise MissingInput(f"input '{spec.name}' is missing: send its {len(names)} features", field=spec.name)
    records = _unpack(packed, names, rows_limit) if packed else _collect(columns, rows_limit)
    return [decode_values(_with_gaps(record, spec), spec) for record in records]


def _unpack(tensor: RawTensor, names: Sequence[str], rows_limit: int) -> list[dict[str, Any]]:
    if len(tensor.shape) != 2 or tensor.shape[1] != len(names):
        raise WrongShape(
            f"'{tensor.name}' must have the shape [rows, {len(names)}]; {list(tensor.shape)} came", field=tensor.name
        )
    _require_rows(tensor, rows_limit)
    numbers, width = _numbers(tensor), len(names)
    return [dict(zip(names, numbers[at : at + width], strict=True)) for at in range(0, len(numbers), width)]


def _collect(columns: Mapping[str, RawTensor], rows_limit: int) -> list[dict[str, Any]]:
    rows = next(iter(columns.values())).shape[:1]
    values: list[list[Any]] = []
    for name, tensor in columns.items():
        shape = tensor.shape
        if not (len(shape) == 1 or (len(shape) == 2 and shape[1] == 1)):
            raise WrongShape(f"'{name}' must have the shape [rows] or [rows, 1]; {list(shape)} came", field=name)
        if shape[:1] != rows:
            raise WrongShape(
                f"'{name}' must have {rows[0]} rows as the features before it; {shape[0]} came", field=name
            )
        _require_rows(tensor, rows_limit)
        values.append(_column(tensor))
    return [dict(zip(columns, row, strict=True)) for row in zip(*values, strict=True)]


def _column(tensor: RawTensor) -> list[Any]:
    if tensor.datatype == "BYTES":
        return [element.decode("latin-1") if isinstance(element, bytes) else element for element in read_bytes(tensor)]
    return _numbers(tensor)


def _numbers(tensor: RawTensor) -> list[Any]:
    """Return the elements, row-major; see ``read_numbers``."""
    data = tensor.data
    if type(data) is list and _is_exact(data, tensor.datatype) and len(data) == element_count(tensor):
        return data  # as most requests have it; NumPy would give the same back, at ten times the cost
    numbers: list[Any] = read_numbers(tensor).ravel().tolist()
    return numbers


def _is_exact(data: list[Any], datatype: str) -> bool:
    """Tell whether these are plain numbers of the datatype; FP32 is not rounded here, as all become float32 later."""
    kinds = set(map(type, data))
    if kinds == {float}:
        return datatype in {"FP32", "FP64"}
    return kinds == {int} and datatype == "INT64" and min(data) >= -_INT64 and max(data) < _INT64


def _require_rows(tensor: RawTensor, rows_limit: int) -> None:
    if tensor.shape[0] > rows_limit:
        raise PayloadTooLarge(
            f"'{tensor.name}' has {tensor.shape[0]} rows, the limit is {rows_limit}", field=tensor.name
        )


def _with_gaps(record: dict[str, Any], spec: InputSpec) -> dict[str, Any]:
    values = record.values()
    if all(map(eq, values, values)):
        return record
    for name in _nullable(spec):
        value = record.get(name)
        if value != value:  # noqa: PLR0124 - only NaN differs from itself
            record[name] = None
    return record


def _list_names(spec: InputSpec) -> tuple[str, ...]:
    return tuple(feature.name for feature in spec.features)


_names_of = Remembered(_list_names)


def _list_nullable(spec: InputSpec) -> list[str]:
    return [feature.name for feature in spec.features if feature.nullable]


_nullable = Remembered(_list_nullable)
