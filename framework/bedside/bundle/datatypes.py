"""Tensor data types of the Open Inference Protocol ("Tensor Data Types"), by their NumPy names."""

from collections.abc import Mapping

OF_NUMPY: Mapping[str, str] = {
    "bool": "BOOL",
    **{f"uint{bits}": f"UINT{bits}" for bits in (8, 16, 32, 64)},
    **{f"int{bits}": f"INT{bits}" for bits in (8, 16, 32, 64)},
    **{f"float{bits}": f"FP{bits}" for bits in (16, 32, 64)},
}

NUMERIC: tuple[str, ...] = tuple(name for name in OF_NUMPY.values() if name != "BOOL")
"""What a tensor of numbers may be sent as."""
