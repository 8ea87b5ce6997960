"""Looks at a bundle's configuration without running any of it.

MONAI evaluates every ``$`` expression and calls every ``_target_`` as Python, so a configuration is a program.
:func:`pure_configuration` answers one question about it: is it made of known components and plain arithmetic only?

Everything is allowed by name. Refusing by name was tried and is hopeless: ``monai.data.dataset.optional_import``,
``torch.importlib`` and a generator's ``gi_frame`` all lead to ``os.system``. What is not recognised costs a bundle
nothing but a process of its own.
"""

import ast
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from bedside.bundle.folder import BundleFolder

_COMPONENTS = (
    r"monai\.(transforms|data|inferers|engines|handlers|losses|metrics|networks\.(nets|blocks|layers))\.[A-Z]\w*"
)
ALLOWED_TARGET = re.compile(rf"[A-Z]\w*|{_COMPONENTS}|torch\.(nn|optim)\.[A-Z]\w*")
"""A bare name is one of MONAI's classes; a bare function could be ``monai.utils.run_cmd``."""

# Classes of MONAI that evaluate, start, fetch or write something.
_REFUSED_CLASS = re.compile(
    r"Config\w*|\w*Workflow|\w*Bundle\w*|\w*Runner\w*|\w*Algo\w*|\w*Gen|DataAnalyzer|ComponentLocator|\w*Resolver"
    r"|\w*Client\w*|MLFlow\w*|TensorBoard\w*|CheckpointSaver|Trt\w*|\w*Profiler\w*|(Persistent|LMDB|GDS|CacheNTrans)Dataset"
    r"|(Decathlon|MedNIST|Tcia)Dataset|\w*Mapping\w*|NumpyReader|DataStats\w*|PatchInferer|Flex\w*|Hyena\w*|TorchVision\w*|Perceptual\w*"
)
# Arguments that MONAI takes for the dotted name of whatever Python can import (``pydoc.locate``), and calls.
_LOOKED_UP = frozenset({"reader", "writer"})
_LOOKS_UP = re.compile(r"(Load|Save)Image\w*")

ALLOWED_IMPORTS = frozenset({"torch", "monai", "numpy", "math", "glob", "itertools", "os"})
"""``os`` may be imported, as many bundles do, but not used: it is no allowed name."""

ALLOWED_NAMES = frozenset(
    {"float", "int", "bool", "str", "len", "range", "min", "max", "sum", "abs", "list", "dict", "tuple", "set", "zip"}
    | {
        "enumerate",
        "round",
        "sorted",
        "reversed",
        "any",
        "all",
        "next",
        "iter",
        "True",
        "False",
        "None",
        "__local_refs",
    }
)

_TORCH = (
    "device|dtype|tensor|as_tensor|from_numpy|nan_to_num|softmax|sigmoid|argmax|cat|stack|where|clamp|log|log1p|exp|sqrt"
    "|zeros|ones|zeros_like|ones_like|mean|sum|abs|isnan|flip|u?int(8|16|32|64)|b?float(16|32|64)|long|float|half|bool"
    r"|cuda\.is_available|nn\.functional\.(softmax|sigmoid|relu)|nn\.[A-Z]\w*"
)
_NUMPY = "array|asarray|nan_to_num|where|clip|u?int(8|16|32|64)?|float(16|32|64)|bool_|pi|inf|nan"
ALLOWED_MEMBERS = {
    "torch": re.compile(_TORCH),
    "np": re.compile(_NUMPY),
    "numpy": re.compile(_NUMPY),
    "math": re.compile(r"[a-z]\w*"),
    "glob": re.compile("i?glob"),
    "itertools": re.compile(r"[a-z]\w*"),
    "monai": re.compile(
        _COMPONENTS.removeprefix(r"monai\.")
        + r"|handlers\.(utils\.)?from_engine|utils\.(set_determinism|CommonKeys\.\w+)"
    ),
}
"""What an expression may name in each module; methods of values are another matter, see ``_REFUSED_METHODS``."""

# Methods that write a file, unpickle, or read attributes by a name that only appears at run time; frames of generators.
_REFUSED_METHODS = re.compile(
    "format|format_map|load|loads|save|dump|dumps|tofile|export|share_memory_|multiprocessing_context|reducer|os|sys|io"
    "|pickle|subprocess|write|open|unlink|rename|rmdir|mkdir|(gi|cr|ag|tb|f|co)_.*|_.*"
)

_REFERENCE = re.compile(r"@\w*(::\w*)*")  # ReferenceResolver.id_matcher
_RELATIVE = re.compile(r"[@%](#|::)")  # MONAI writes the enclosing keys' text in its place, whatever that is
_LOCAL_MACRO = re.compile(r"%[\w#:]*")  # "%file.json#id" would read a file that nobody has looked at
_IMPORT = re.compile(r"import (?P<module>\w+?)((?<=numpy) as np)?")


def pure_configuration(folder: BundleFolder) -> bool:
    """Tell whether a bundle is configuration only: no code of its own, known components, harmless expressions."""
    if (folder.root / "scripts").exists():
        return False
    # MONAI makes metadata.json a part of the configuration, as "_meta_".
    paths = (*folder.config_files, folder.root / "configs" / "metadata.json")
    try:
        return all(_harmless(_read(path)) for path in paths)
    except (ValueError, SyntaxError, OSError, yaml.YAMLError, RecursionError):
        return False


def _read(path: Path) -> Any:
    text = path.read_text(encoding="utf-8")
    return json.loads(text) if path.suffix == ".json" else yaml.safe_load(text)


def _harmless(config: Any) -> bool:
    return all(_harmless_leaf(key, value) for key, value in _leaves(config))


def _leaves(config: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(config, dict):
        if not isinstance(config.get("_target_", ""), str):
            yield "_target_", None
        yield from ((key, name) for name in config if key in _LOOKED_UP and "_target_" not in config)
        for name, value in config.items():
            yield from _leaves(value, str(name))
    elif isinstance(config, list):
        for value in config:
            yield from _leaves(value, key)
    else:
        yield key, config


def _harmless_leaf(key: str, value: Any) -> bool:
    if key == "_target_":
        return isinstance(value, str) and _harmless_target(value)
    if key == "_mode_":
        return bool(value == "default")  # "debug" starts pdb, "callable" hands out what was meant to be called
    if key == "log_stats":
        return value is False  # else a step that fails writes its input to standard output, the server's log
    if not isinstance(value, str):
        return True
    return _harmless_text(value) and (key not in _LOOKED_UP or _harmless_reader(value))


def _harmless_reader(value: str) -> bool:
    if not value.startswith("$"):
        return bool(re.fullmatch(r"[A-Z]\w*", value))
    node = ast.parse(value[1:].strip(), mode="eval").body
    module, member = _dotted(node.func if isinstance(node, ast.Call) else node)
    return module == "monai" and member.startswith("data.")


def _harmless_target(value: str) -> bool:
    return bool(ALLOWED_TARGET.fullmatch(value)) and not _REFUSED_CLASS.fullmatch(value.rpartition(".")[2])


def _harmless_text(value: str) -> bool:
    if value.startswith("%"):
        return bool(_LOCAL_MACRO.fullmatch(value))
    if not value.startswith("$"):
        return True
    expression = value[1:].strip()
    if expression.startswith("import "):
        found = _IMPORT.fullmatch(expression)
        return bool(found and found["module"] in ALLOWED_IMPORTS)
    if _RELATIVE.search(expression):
        return False
    # The same text that MONAI will evaluate (ReferenceResolver.update_refs_pattern), so that both read it alike.
    replaced = _REFERENCE.sub(lambda found: f"__local_refs['{found[0][1:]}']", expression.replace("#", "::"))
    try:
        tree = ast.parse(replaced, mode="eval")
    except (SyntaxError, ValueError):
        return False
    return _harmless_expression(tree)


def _harmless_expression(tree: ast.AST) -> bool:
    own = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)}
    own |= {n.id for n in ast.walk(tree) if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}
    if any((name.startswith("_") and name != "_") or name in ALLOWED_MEMBERS for name in own):
        return False
    return _harmless_node(tree, ALLOWED_NAMES | own)


def _harmless_node(node: ast.AST, names: frozenset[str]) -> bool:
    if isinstance(node, ast.Name):
        return node.id in names
    if isinstance(node, ast.Attribute):
        module, member = _dotted(node)
        if module in ALLOWED_MEMBERS:
            return _harmless_member(module, member)
        if _REFUSED_METHODS.fullmatch(node.attr):
            return False
    return all(_harmless_node(child, names) for child in ast.iter_child_nodes(node))


def _harmless_member(module: str, member: str) -> bool:
    # A constant of an allowed member (torch.Tensor.shape) is no member of its own: only whole names are recognised.
    last = member.rpartition(".")[2]
    refused = _REFUSED_CLASS.fullmatch(last) or _LOOKS_UP.fullmatch(last)
    return bool(ALLOWED_MEMBERS[module].fullmatch(member)) and not refused


def _dotted(node: ast.expr) -> tuple[str, str]:
    """Return a chain of plain attributes as its first name and the rest; empty where it is no such chain."""
    steps: list[str] = []
    while isinstance(node, ast.Attribute):
        steps.append(node.attr)
        node = node.value
    return (node.id, ".".join(reversed(steps))) if isinstance(node, ast.Name) else ("", "")
