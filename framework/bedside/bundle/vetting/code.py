"""Finds a bundle's own code: whatever Python could import from its folder."""

import ast
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from bedside.bundle.vetting.findings import Finding, shown

_CODE_SUFFIXES = frozenset({".py", ".pyw", ".pyc", ".pyo", ".pyd", ".so", ".dll", ".dylib"})
# Scripts that made the golden cases or the pictures, and the MONAI Deploy application: no configuration can name them,
# and no library is called that.
_BESIDE = frozenset({"golden", "docs", "app.py"})
_SOURCE_BYTES = 1 << 20


def is_code(name: str) -> bool:
    """Tell whether a file would be found by an import: the bundle's root is on the path of its process."""
    return PurePosixPath(name.lower()).suffix in _CODE_SUFFIXES


def judge_code(name: str, path: Path) -> Finding:
    """Return what there is to say about one file of code."""
    parts = PurePosixPath(name).parts
    if "__pycache__" in parts:
        return Finding("bytecode", name, "left behind by a run, or made to look so; the model's process never reads it")
    if parts[0] in _BESIDE and name.endswith(".py"):
        return Finding("not_imported", name, "a script beside the bundle, which the configuration cannot reach")
    return Finding("own_code", name, f"code of the bundle's own{_imported(path)}")


def _imported(path: Path) -> str:
    """Return what a reviewer would like to know first."""
    try:
        with path.open("rb") as stream:
            tree = ast.parse(stream.read(_SOURCE_BYTES))
    except (OSError, SyntaxError, ValueError, RecursionError, MemoryError):
        return ", which is no readable Python source"
    modules = sorted(set(_modules(tree)))
    return f"; it imports {shown(', '.join(modules), 200)}" if modules else ""


def _modules(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or ".").partition(".")[0] if not node.level else "."
