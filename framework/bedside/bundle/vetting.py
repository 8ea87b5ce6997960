"""Looks at a bundle's configuration without running any of it.

MONAI evaluates every ``$`` expression and calls every ``_target_`` as Python, so a configuration is a program.
:func:`pure_configuration` answers one question about it: is it made of known components and plain arithmetic only?
"""

import ast
import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from bedside.bundle.folder import BundleFolder

ALLOWED_TARGETS = ("monai.", "torch.nn.", "torch.optim.")
"""Prefixes of ``_target_``; a bare name is one of MONAI's own components."""

ALLOWED_IMPORTS = frozenset({"torch", "monai", "numpy", "math", "glob", "itertools"})
ALLOWED_NAMES = frozenset(
    {
        "torch",
        "monai",
        "np",
        "numpy",
        "math",
        "glob",
        "float",
        "int",
        "bool",
        "str",
        "len",
        "range",
        "min",
        "max",
        "sum",
        "abs",
    }
    | {
        "list",
        "dict",
        "tuple",
        "set",
        "zip",
        "enumerate",
        "round",
        "sorted",
        "any",
        "all",
        "next",
        "True",
        "False",
        "None",
    }
)
# Attributes of allowed modules that read, write, import or start something.
REFUSED_ATTRIBUTES = frozenset(
    {"load", "save", "hub", "jit", "package", "utils", "os", "sys", "io", "subprocess", "multiprocessing", "ops"}
    | {"distributed", "bundle", "apps", "fromfile", "tofile", "memmap", "savetxt", "loadtxt", "genfromtxt", "savez"}
    | {"ctypeslib", "f2py", "testing", "classes", "library", "compile", "run_cmd", "path", "config"}
)

_REFERENCE = re.compile(r"[@%][\w#:.]+")
_IMPORT = re.compile(r"import (?P<module>\w+)( as \w+)?")
_BARE_TARGET = re.compile(r"[A-Z]\w*")  # a class of MONAI's; bare functions of monai.utils include run_cmd


def pure_configuration(folder: BundleFolder) -> bool:
    """Tell whether a bundle is configuration only: no code of its own, known components, harmless expressions."""
    if (folder.root / "scripts").exists():
        return False
    try:
        return all(_harmless(_read(path)) for path in folder.config_files)
    except (ValueError, OSError, yaml.YAMLError, RecursionError):
        return False


def _read(path: Any) -> Any:
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)


def _harmless(config: Any) -> bool:
    return all(
        _harmless_target(value) if key == "_target_" else _harmless_text(value) for key, value in _leaves(config)
    )


def _leaves(config: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(config, dict):
        for name, value in config.items():
            yield from _leaves(value, str(name))
    elif isinstance(config, list):
        for value in config:
            yield from _leaves(value)
    else:
        yield key, config


def _harmless_target(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    return bool(_BARE_TARGET.fullmatch(value)) or (
        value.startswith(ALLOWED_TARGETS) and not REFUSED_ATTRIBUTES & set(value.split("."))
    )


def _harmless_text(value: Any) -> bool:
    if not isinstance(value, str) or not value.startswith("$"):
        return True
    expression = value[1:].strip()
    if expression.startswith("import "):
        found = _IMPORT.fullmatch(expression)
        return bool(found and found["module"] in ALLOWED_IMPORTS)
    try:
        tree = ast.parse(_REFERENCE.sub("None", expression), mode="eval")
    except (SyntaxError, ValueError):
        return False
    return _harmless_expression(tree)


def _harmless_expression(tree: ast.AST) -> bool:
    arguments = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    targets = {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id not in ALLOWED_NAMES | arguments | targets:
            return False
        if isinstance(node, ast.Attribute) and (node.attr.startswith("_") or node.attr in REFUSED_ATTRIBUTES):
            return False
    return True
