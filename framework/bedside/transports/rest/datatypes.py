"""Tensor data types of the Open Inference Protocol ("Tensor Data Types")."""

from collections.abc import Mapping

DATATYPES: tuple[str, ...] = (
    *("BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64"),
    *("FP16", "FP32", "FP64", "BYTES"),
)

OF_NUMPY: Mapping[str, str] = {
    "bool": "BOOL",
    **{f"uint{bits}": f"UINT{bits}" for bits in (8, 16, 32, 64)},
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"FP{bits}" for bits in (16, 32, 64)},
}

ITEM_BYTES: Mapping[str, int] = {
    **dict.fromkeys(("BOOL", "UINT8", "INT8"), 1),
    **dict.fromkeys(("UINT16", "INT16", "FP16"), 2),
    **dict.fromkeys(("UINT32", "INT32", "FP32"), 4),
    **dict.fromkeys(("UINT64", "INT64", "FP64"), 8),
}

_WHOLE: frozenset[type] = frozenset((int,))
# null in a floating-point tensor is a missing value; whether it may be missing is the contract's to say.
_REAL: frozenset[type] = frozenset((int, float, type(None)))

JSON_TYPES: Mapping[str, frozenset[type]] = {
    "BOOL": frozenset((bool,)),
    "BYTES": frozenset((str,)),
    **{name: _WHOLE for name in DATATYPES if "INT" in name},
    **dict.fromkeys(("FP16", "FP32", "FP64"), _REAL),
}
"""Python types of JSON values by datatype; ``bool`` is no number here, and ``1.0`` no integer."""
