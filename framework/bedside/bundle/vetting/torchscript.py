"""Looks for TorchScript operators that reach beyond tensors; compiles nothing."""

import ast
from collections.abc import Iterator

from bedside.bundle.vetting.findings import Refused, shown

_NAMESPACES = frozenset({"aten", "prim", "prims", "quantized", "_quantized", "quantization", "mkldnn", "torchvision"})
# aten::save writes a file, aten::from_file maps one, prim::rpc_* calls another machine.
_REFUSED = ("save", "from_file", "rpc_sync", "rpc_async", "rpc_remote", "load", "load_library")


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


def _judge_chain(chain: list[str]) -> None:
    name = shown(".".join(chain))
    if chain[0] == "ops" and (len(chain) < 3 or chain[1] not in _NAMESPACES):
        raise Refused("torchscript", f"calls {name}, an operator of a foreign library")
    if chain[0] in {"ops", "torch"} and chain[-1] in _REFUSED:
        raise Refused("torchscript", f"calls {name}, which reaches files or other machines")
    if chain[:3] == ["__torch__", "torch", "classes"]:
        raise Refused("torchscript", f"uses {name}, a class of a foreign library")


def _chains(tree: ast.AST) -> Iterator[list[str]]:
    for node in ast.walk(tree):
        steps: list[str] = []
        inner: ast.AST = node
        while isinstance(inner, ast.Attribute):
            steps.append(inner.attr)
            inner = inner.value
        if steps and isinstance(inner, ast.Name):
            yield [inner.id, *reversed(steps)]
