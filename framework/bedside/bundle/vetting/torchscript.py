"""Looks for TorchScript operators that reach beyond tensors; compiles nothing.

Serialized code knows two modules, ``torch`` (the operators of aten) and ``ops``
(torch/csrc/jit/serialization/import_source.cpp), and resolves a method of a tensor, too, as an operator of aten.
"""

import ast
from collections.abc import Iterator

from bedside.bundle.vetting.expressions import dotted
from bedside.bundle.vetting.findings import Refused, shown

_NAMESPACES = frozenset({"aten", "prim", "prims", "quantized", "_quantized", "quantization", "mkldnn", "torchvision"})
# aten::save writes a file, aten::from_file maps one, prim::rpc_* calls another machine.
_REFUSED = frozenset({"save", "from_file", "rpc_sync", "rpc_async", "rpc_remote"})
_MODULES = frozenset({"torch", "ops"})


def judge_torchscript(text: str) -> None:
    """Judge one file of an archive's ``code/``.

    Raises:
        Refused: it names an operator outside the known namespaces, or one that touches files or the network.
    """
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise Refused("torchscript_unreadable", "TorchScript code that cannot be read") from None
    for chain in _chains(tree):
        _judge_chain(chain)
    _refuse_detours(tree)


def _judge_chain(chain: list[str]) -> None:
    name = shown(".".join(chain))
    if chain[0] == "ops" and (len(chain) < 3 or chain[1] not in _NAMESPACES):
        raise Refused("torchscript", f"calls {name}, an operator of a foreign library")
    if chain[:3] == ["__torch__", "torch", "classes"]:
        raise Refused("torchscript", f"uses {name}, a class of a foreign library")


def _refuse_detours(tree: ast.AST) -> None:
    """Refuse the operators however they are named: as a method, by ``getattr``, by a module under a new name."""
    bases = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and node.attr in _REFUSED:
            raise Refused("torchscript", f"calls {node.attr}, which reaches files or other machines")
        if isinstance(node, ast.Constant) and node.value in _REFUSED:
            raise Refused("torchscript", f"names {node.value}, which reaches files or other machines")
        if isinstance(node, ast.Name) and node.id in _MODULES and id(node) not in bases:
            raise Refused("torchscript", f"hands the module {node.id} on")


def _chains(tree: ast.AST) -> Iterator[list[str]]:
    """Yield every chain of attributes at its full length: ``ops.prim.data``, not ``ops.prim``."""
    attributes = [node for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    inner = {id(node.value) for node in attributes}
    for node in attributes:
        first, rest = dotted(node)
        if first and id(node) not in inner:
            yield [first, *rest.split(".")]
