"""Judges a parsed configuration: components, expressions, MONAI's special keys. Calls and evaluates nothing."""

import ast
import re
from collections.abc import Iterator
from typing import Any, NamedTuple

from bedside.bundle.vetting.allowed import ALLOWED_TARGET, LOOKED_UP, REFUSED_CLASS
from bedside.bundle.vetting.expressions import Offence, dotted, judge_expression
from bedside.bundle.vetting.findings import Finding, pointer, shown
from bedside.bundle.vetting.site_policy import SitePolicy, allows

_LOCAL_MACRO = re.compile(r"%[\w#:]*", re.ASCII)  # "%file.json#id" would read a file that nobody has looked at
_RELATIVE_MACRO = re.compile(r"%(#|::)")
_CLASS_NAME = re.compile(r"[A-Z]\w*", re.ASCII)
_SEPARATOR = re.compile("#|::")
_SPECIAL = {
    # "debug" starts pdb, "callable" hands out what was meant to be called (monai.utils.CompInitMode)
    "_mode_": ("default", "a component is built or it is not; 'debug' would stop the server in a debugger"),
    # a step that fails would write its input to standard output, which is the server's log
    "log_stats": (False, "would write what is in an image to the log"),
}


class Leaf(NamedTuple):
    """A value that holds no others.

    Attributes:
        steps: the keys and indexes that lead to it.
        key: the key whose argument it is: the innermost one that is no index.
    """

    steps: tuple[str, ...]
    key: str
    value: Any


def judge_configuration(config: Any, file: str, policy: SitePolicy) -> Iterator[Finding]:
    """Yield what is wrong with one configuration file."""
    for leaf in _leaves(config, (), ""):
        for offence in _judge_leaf(leaf, policy):
            yield Finding(offence.rule, pointer(file, leaf.steps), offence.explanation)


def _leaves(config: Any, steps: tuple[str, ...], key: str) -> Iterator[Leaf]:
    if isinstance(config, dict):
        if not isinstance(config.get("_target_", ""), str):
            yield Leaf((*steps, "_target_"), "_target_", None)
        if key in LOOKED_UP and "_target_" not in config:
            yield from (Leaf((*steps, str(name)), key, name) for name in config)
        for name, value in config.items():
            yield from _leaves(value, (*steps, str(name)), _argument(str(name), key))
    elif isinstance(config, list | tuple | set):
        for index, value in enumerate(config):
            yield from _leaves(value, (*steps, str(index)), key)
    else:
        yield Leaf(steps, key, config)


def _argument(name: str, outer: str) -> str:
    """Return the key that a name stands for: ``+network#_target_`` is a path (MONAI's ``merge_kv``, ``split_id``)."""
    for step in reversed(_SEPARATOR.split(name.lstrip("+~"))):
        if not step.isdecimal():
            return step
    return outer


def _judge_leaf(leaf: Leaf, policy: SitePolicy) -> Iterator[Offence]:
    if leaf.key == "_target_":
        yield from _judge_target(leaf.value, policy)
        return
    if leaf.key in _SPECIAL:
        expected, explanation = _SPECIAL[leaf.key]
        if leaf.value is not expected and leaf.value != expected:
            yield Offence("special_key", f"{leaf.key}: {explanation}")
        return
    if not isinstance(leaf.value, str):
        return
    yield from _judge_text(leaf, policy)
    if leaf.key in LOOKED_UP and not _harmless_reader(leaf.value) and not allows(policy.targets, leaf.value):
        yield Offence("lookup_by_name", f"MONAI would import and call '{shown(leaf.value)}'")


def _judge_target(value: Any, policy: SitePolicy) -> Iterator[Offence]:
    if not isinstance(value, str):
        yield Offence("target", "_target_ is no text")
    elif allows(policy.targets, value):
        return
    elif not ALLOWED_TARGET.fullmatch(value) or REFUSED_CLASS.fullmatch(value.rpartition(".")[2]):
        yield Offence("target", f"_target_ '{shown(value)}' is no allowed component")


def _judge_text(leaf: Leaf, policy: SitePolicy) -> Iterator[Offence]:
    if leaf.value.startswith("$"):
        yield from judge_expression(leaf.value[1:], policy)
    elif leaf.value.startswith("%") and not _LOCAL_MACRO.fullmatch(leaf.value):
        yield Offence("macro", f"'{shown(leaf.value)}' reads another file, which nobody has judged")
    elif _RELATIVE_MACRO.match(leaf.value) and not all(re.fullmatch(r"\w+", step) for step in leaf.steps):
        # MONAI writes the enclosing keys in front: a key named "/tmp/other.json" would make it a file's macro.
        yield Offence("macro", "a relative macro below a key that is no plain name")


def _harmless_reader(value: str) -> bool:
    if not value.startswith("$"):
        return bool(_CLASS_NAME.fullmatch(value))
    try:
        node = ast.parse(value[1:].strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    module, member = dotted(node.func if isinstance(node, ast.Call) else node)
    return module == "monai" and member.startswith("data.")
