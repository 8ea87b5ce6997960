"""Which keys of an item a piece of code reads and writes, from its syntax.

MONAI's own transforms say so in ``keys``. Others take clicks, prompts or a second image by a name in their code
(``data.get("label_prompt")``, ``d[self.source]``), which nothing but the code tells.
"""

import ast
import inspect
import textwrap
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(slots=True)
class KeyUse:
    """Keys that code needs, may use, and writes."""

    needed: set[str] = field(default_factory=set)
    optional: set[str] = field(default_factory=set)
    written: set[str] = field(default_factory=set)


def keys_used(function: Callable[..., Any], owner: Any, argument: int = 0) -> KeyUse:
    """Return the keys that ``function`` uses of its argument, a dictionary.

    Args:
        function: a method of ``owner``, not bound.
        owner: the object whose attributes name keys (``self.source``).
        argument: number of the dictionary's parameter, after ``self``.
    """
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function))).body[0]
    except (OSError, TypeError, SyntaxError, IndexError):
        return KeyUse()
    if not isinstance(tree, ast.FunctionDef) or len(tree.args.args) < argument + 2:
        return KeyUse()
    names = {tree.args.args[argument + 1].arg}
    names |= set(_copies(tree, names))
    return _uses(tree, names, _Names(owner, getattr(function, "__globals__", {}), tree))


def _copies(tree: ast.AST, names: set[str]) -> Iterator[str]:
    """Yield the names of copies: ``d = dict(data)``, ``d: Dict = dict(data)``, ``d = data.copy()``, ``d = data``."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            mentioned = {name.id for name in ast.walk(node.value) if isinstance(name, ast.Name)}
            made = isinstance(node.value, ast.Name | ast.Call) and mentioned - {"dict", "copy", "deepcopy"} <= names
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            if made and mentioned & names and _is_copy(node.value):
                yield from (target.id for target in targets if isinstance(target, ast.Name))


def _is_copy(value: ast.expr) -> bool:
    if isinstance(value, ast.Name):
        return True
    called = value.func if isinstance(value, ast.Call) else None
    name = called.id if isinstance(called, ast.Name) else called.attr if isinstance(called, ast.Attribute) else ""
    return name in {"dict", "copy", "deepcopy"}


def _uses(tree: ast.AST, names: set[str], keys: "_Names") -> KeyUse:
    use = KeyUse()
    for node in ast.walk(tree):
        if isinstance(node, ast.Subscript) and _is_one_of(node.value, names):
            (use.written if isinstance(node.ctx, ast.Store) else use.needed).update(keys.of(node.slice))
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.args:
            if node.func.attr in {"get", "pop"} and _is_one_of(node.func.value, names):
                use.optional.update(keys.of(node.args[0]))
        elif _asks_for_key(node, names):
            use.optional.update(keys.of(node.left))  # type: ignore[attr-defined]
    use.needed -= use.optional
    return use


def _asks_for_key(node: ast.AST, names: set[str]) -> bool:
    """Tell whether a node is ``key in data``."""
    return (
        isinstance(node, ast.Compare)
        and isinstance(node.ops[0], ast.In | ast.NotIn)
        and _is_one_of(node.comparators[0], names)
    )


def _is_one_of(node: ast.expr, names: set[str]) -> bool:
    return isinstance(node, ast.Name) and node.id in names


class _Names:
    """What expressions for keys stand for: constants, attributes, names from the module, loops over attributes."""

    def __init__(self, owner: Any, globals_: Mapping[str, Any], tree: ast.AST) -> None:
        self._owner = owner
        self._globals = globals_
        self._loops = {
            node.target.id: node.iter
            for node in ast.walk(tree)
            if isinstance(node, ast.For) and isinstance(node.target, ast.Name)
        }

    def of(self, node: ast.expr) -> set[str]:
        """Return the keys that an expression can be."""
        if isinstance(node, ast.Name) and node.id in self._loops:
            return {key for key in _texts(self._value(self._loops[node.id])) if key}
        value = self._value(node)
        return {str(value)} if isinstance(value, str) and value else set()

    def _value(self, node: ast.expr) -> Any:
        if isinstance(node, ast.Constant):
            return node.value
        if isinstance(node, ast.Name):
            return self._owner if node.id == "self" else self._globals.get(node.id)
        if isinstance(node, ast.Attribute):
            return getattr(self._value(node.value), node.attr, None)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "keys":
            return self._value(node.func.value)
        return None


def _texts(value: Any) -> list[str]:
    return [item for item in value if isinstance(item, str)] if isinstance(value, list | tuple | dict) else []
