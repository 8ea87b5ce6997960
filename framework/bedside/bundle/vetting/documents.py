"""Reads one configuration file within bounds, as data: JSON or plain YAML, nothing that builds objects."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from bedside.bundle.vetting.findings import Refused, shown
from bedside.settings import AdmissionSettings

_STRING = re.compile(r'"(?:[^"\\]|\\.)*"', re.DOTALL)
_BRACKET = re.compile(r"[\[\]{}]")
_PLAIN_TAGS = frozenset(
    f"tag:yaml.org,2002:{name}" for name in ("str", "int", "float", "bool", "null", "seq", "map", "merge", "timestamp")
)
# What json, PyYAML's constructors and the numbers in them raise on made-up input.
_UNREADABLE = (yaml.YAMLError, ValueError, TypeError, LookupError, AttributeError, OverflowError)


def read_document(path: Path, limits: AdmissionSettings, *, unique: bool = True) -> dict[Any, Any]:
    """Return a configuration file as data.

    Args:
        path: ends with ``.json``, or is YAML.
        limits: bytes, depth, values.
        unique: refuse JSON keys that come twice; else the last one counts, as everywhere in Python.

    Raises:
        Refused: too large, nested too deep, broken, ambiguous, or more than data; the rule says which.
    """
    text = _text(path, limits.config_bytes)
    try:
        document = _json(text, limits, unique=unique) if path.suffix.lower() == ".json" else _yaml(text, limits)
    except RecursionError:
        raise Refused("config_too_deep", "nested so deep that it cannot be read") from None
    except _UNREADABLE as error:
        raise Refused("config_unreadable", f"is neither JSON nor plain YAML ({_where(error)})") from None
    if not isinstance(document, dict):
        raise Refused("config_unreadable", "holds no mapping at its root")
    return document


def _where(error: Exception) -> str:
    """Tell where a reader stopped; its own words where they hold nothing of the file's."""
    if isinstance(error, json.JSONDecodeError):
        return f"line {error.lineno}, column {error.colno}: {error.msg}"
    mark = error.problem_mark if isinstance(error, yaml.MarkedYAMLError) else None
    return f"line {mark.line + 1}, column {mark.column + 1}" if mark else type(error).__name__


def _text(path: Path, most: int) -> str:
    try:
        with path.open("rb") as stream:
            data = stream.read(most + 1)
        if len(data) > most:
            raise Refused("config_too_large", f"has more than {most} bytes (admission.config_bytes)")
        return data.decode("utf-8")
    except OSError as error:
        raise Refused("unreadable_file", f"cannot be read ({type(error).__name__})") from None
    except UnicodeDecodeError:
        raise Refused("config_unreadable", "is not UTF-8") from None


def _json(text: str, limits: AdmissionSettings, *, unique: bool) -> Any:
    depth = deepest = 0
    for bracket in _BRACKET.finditer(_STRING.sub("", text)):
        depth += 1 if bracket[0] in "[{" else -1
        deepest = max(deepest, depth)
    if deepest > limits.config_depth:
        raise Refused("config_too_deep", f"is nested {deepest} deep (admission.config_depth)")
    return json.loads(text, object_pairs_hook=_unique if unique else None)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    _refuse_duplicates([key for key, _ in pairs])
    return dict(pairs)


def _refuse_duplicates(keys: list[str]) -> None:
    twice = [key for key, times in Counter(keys).items() if times > 1]
    if twice:
        raise Refused("duplicate_key", f"has the key '{shown(twice[0])}' twice")


def _yaml(text: str, limits: AdmissionSettings) -> Any:
    # Composed first: a graph of nodes, in which an alias is a second edge. Judged, then constructed.
    loader = yaml.SafeLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _Graph(limits).measure(node)
        return loader.construct_document(node)
    finally:
        loader.dispose()


class _Graph:
    """Measures a YAML document as MONAI will walk it: with every alias written out."""

    def __init__(self, limits: AdmissionSettings) -> None:
        self._limits = limits
        self._measures: dict[int, tuple[int, int]] = {}
        self._open: set[int] = set()

    def measure(self, node: yaml.Node) -> tuple[int, int]:
        """Return how many nodes there are from this one down, and on how many levels; raise Refused."""
        if id(node) in self._open:
            raise Refused("config_too_deep", "an alias that holds itself")
        if id(node) not in self._measures:
            self._open.add(id(node))
            self._measures[id(node)] = self._measured(node)
            self._open.discard(id(node))
        return self._measures[id(node)]

    def _measured(self, node: yaml.Node) -> tuple[int, int]:
        if node.tag not in _PLAIN_TAGS:
            raise Refused("yaml_tag", f"the tag {shown(node.tag)} is more than data")
        count, levels = 1, 0
        for child in _children(node):
            below, height = self.measure(child)
            count, levels = count + below, max(levels, height)
            if count > self._limits.config_nodes:
                raise Refused("config_too_large", "has more values than admission.config_nodes, aliases written out")
        if levels >= self._limits.config_depth:
            raise Refused("config_too_deep", f"is nested {levels} deep (admission.config_depth)")
        return count, levels + 1


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        _refuse_duplicates([str(key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)])
        yield from (child for pair in node.value for child in pair)
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value
