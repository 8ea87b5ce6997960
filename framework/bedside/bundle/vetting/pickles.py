"""Judges pickles by their opcodes (``pickletools``); unpickles nothing.

The names and opcodes are those of ``torch.load(weights_only=True)`` (torch/_weights_only_unpickler.py, 2.13): what it
would refuse is refused here before torch is there. A test compares both lists.
"""

import pickletools
from _compat_pickle import IMPORT_MAPPING, NAME_MAPPING
from collections.abc import Iterator
from typing import IO

from bedside.bundle.vetting.findings import Refused, shown
from bedside.bundle.vetting.site_policy import SitePolicy, allows

_TYPES = "BFloat16 Bool Byte Char ComplexDouble ComplexFloat Double Float Half Int Long Short"
_QUANTIZED = "QInt32 QInt8 QUInt2x4 QUInt4x2 QUInt8"
_TENSORS = "BFloat16 Bool Byte Char Double Float Half Int Long Short"
_SPARSE = "BFloat16 Byte Char Double Float Half Int Long Short"
_MEMBERS = (
    "bfloat16 bits16 bits1x8 bits2x4 bits4x2 bits8 bool complex128 complex32 complex64 float16 float32 float4_e2m1fn_x2"
    " float64 float8_e4m3fn float8_e4m3fnuz float8_e5m2 float8_e5m2fnuz float8_e8m0fnu int1 int16 int2 int3 int32 int4"
    " int5 int6 int64 int7 int8 uint1 uint16 uint2 uint3 uint32 uint4 uint5 uint6 uint64 uint7 uint8 qint32 qint8"
    " quint2x4 quint4x2 quint8 per_channel_affine per_channel_affine_float_qparams per_channel_symmetric"
    " per_tensor_affine per_tensor_symmetric Size Tensor device"
)
_REBUILD = (
    "tensor tensor_v2 tensor_v3 parameter parameter_with_state qtensor sparse_tensor meta_tensor_no_storage"
    " nested_tensor wrapper_subclass device_tensor_from_numpy device_tensor_from_cpu_tensor"
)
_OPCODES = (
    "PROTO STOP GLOBAL NEWOBJ REDUCE BUILD APPEND APPENDS SETITEM SETITEMS MARK TUPLE TUPLE1 TUPLE2 TUPLE3 NONE"
    " NEWFALSE NEWTRUE EMPTY_TUPLE EMPTY_LIST EMPTY_DICT EMPTY_SET BINPERSID BININT BININT1 BININT2 BINFLOAT BINGET"
    " LONG_BINGET BINPUT LONG_BINPUT BINUNICODE SHORT_BINSTRING LONG1"
)

ALLOWED_GLOBALS = frozenset(
    {"collections.OrderedDict", "collections.Counter", "_codecs.encode", "builtins.bytearray", "builtins.set"}
    | {"builtins.complex", "torch.nn.parameter.Parameter", "torch.serialization._get_layout"}
    | {"torch.storage.TypedStorage", "torch.storage.UntypedStorage", "torch._tensor._rebuild_from_type_v2"}
    | {f"torch.{name}" for name in _MEMBERS.split()}
    | {f"torch.{name}Storage" for name in f"{_TYPES} {_QUANTIZED}".split()}
    | {f"torch.cuda.{name}Storage" for name in _TYPES.split()}
    | {f"torch.{place}{name}Tensor" for place in ("", "cuda.") for name in _TENSORS.split()}
    | {f"torch.{place}{name}Tensor" for place in ("sparse.", "cuda.sparse.") for name in _SPARSE.split()}
    | {f"torch._utils._rebuild_{name}" for name in _REBUILD.split()}
)
"""Names that torch.load(weights_only=True) builds."""

NUMPY_GLOBALS = frozenset(
    {f"numpy.{core}.multiarray.{name}" for core in ("core", "_core") for name in ("scalar", "_reconstruct")}
    | {"numpy.dtype", "numpy.ndarray"}
)
"""Harmless names that weights_only refuses unless it is told otherwise."""

ALLOWED_OPCODES = frozenset(_OPCODES.split())
"""Opcodes that torch.load(weights_only=True) knows."""

TORCHSCRIPT_OPCODES = ALLOWED_OPCODES | {"POP", "BINSTRING", "LONG4", "BINBYTES", "SHORT_BINBYTES", "BINUNICODE8"}
"""Those that TorchScript's own reader and writer (torch/csrc/jit/serialization) use; no Python reads these."""


def judge_pickle(stream: IO[bytes], policy: SitePolicy, *, torchscript: bool = False) -> set[str]:
    """Read one pickle up to its STOP; return the names of NumPy in it.

    Raises:
        Refused: an opcode or a name that weights have no use for, or bytes that are no pickle.
    """
    names: set[str] = set()
    for name in _names(stream, TORCHSCRIPT_OPCODES if torchscript else ALLOWED_OPCODES):
        if name in NUMPY_GLOBALS:
            names.add(name)
        elif name not in ALLOWED_GLOBALS and not allows(policy.globals, name) and not (torchscript and _script(name)):
            raise Refused("pickle_global", f"the pickle would call {shown(name)} while it is read")
    return names


def _script(name: str) -> bool:
    # Classes of the archive's own code/, and the tags of TorchScript's reader; C++ classes are not among them.
    return (name.startswith("__torch__.") and not name.startswith("__torch__.torch.classes.")) or name.startswith(
        "torch.jit._pickle."
    )


def _names(stream: IO[bytes], opcodes: frozenset[str]) -> Iterator[str]:
    for opcode, argument in _opcodes(stream):
        if opcode not in opcodes:
            raise Refused("pickle_opcode", f"the pickle holds the opcode {opcode}, which weights never need")
        if opcode == "GLOBAL":
            yield _python3(str(argument))


def _opcodes(stream: IO[bytes]) -> Iterator[tuple[str, object]]:
    try:
        for opcode, argument, _ in pickletools.genops(stream):
            yield opcode.name, argument
    except (ValueError, LookupError, OverflowError, EOFError, MemoryError, ArithmeticError) as error:
        raise Refused("pickle_unreadable", f"is no pickle from end to end ({type(error).__name__})") from None


def _python3(argument: str) -> str:
    """Return ``module.name`` as torch reads it: names of Python 2 are translated."""
    module, _, name = argument.partition(" ")
    if (module, name) in NAME_MAPPING:
        module, name = NAME_MAPPING[module, name]
    else:
        module = IMPORT_MAPPING.get(module, module)
    return f"{module}.{name}"
