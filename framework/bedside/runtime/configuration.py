"""A bundle's configuration as a graph: what refers to what, and what has to be built again for the next item.

``ConfigParser`` builds each part once and keeps it. That is right for a network and its weights, and wrong for whatever
was made from the last request's data: a dataset that lists its patches when it is built, an iterator that has ended, an
engine that counts its images. So what depends on the items is forgotten, and built again, and nothing else.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Any

import torch
from monai.bundle import ConfigParser

ITEMS = "bedside_items"
"""The id under which a configuration finds the items of a request. They are never parsed: they come from callers."""

_REFERENCE = re.compile(r"\$?@([\w:#]+)")
_LOADS = re.compile(r"\bload\w*\(")


class Configuration:
    """The parsed configuration of one bundle.

    Args:
        parser: with this server's overrides in place.
        run_id: the id of the expression that runs the bundle.
    """

    def __init__(self, parser: ConfigParser, run_id: str) -> None:
        self._parser = parser
        self.run_id = run_id
        self._references: dict[str, frozenset[str]] = {}
        self._parse({})

    @property
    def content(self) -> dict[str, Any]:
        """Return the configuration before anything is built."""
        content: dict[str, Any] = self._parser.get()
        return content

    def resolve(self, place: str) -> Any:
        """Build what stands at ``place``, and whatever it refers to, unless it has been built."""
        return self._parser.get_parsed_content(place)

    def resolve_or_none(self, place: str) -> Any:
        """Build what stands at ``place``; None where nothing does."""
        return None if look_up(self.content, place) is None else self.resolve(place)

    def steps(self, place: str) -> list[str]:
        """Return the places of a list of expressions, or the place itself where one expression stands there."""
        value = self.content.get(place)
        if value is None:
            return []
        return [f"{place}::{index}" for index in range(len(value))] if isinstance(value, list) else [place]

    def renew(self, items: Sequence[Any], *, draw_again: bool = False) -> None:
        """Take new items, and forget what was built from the last ones.

        Args:
            items: the data of one request.
            draw_again: forget everything that holds no weights, too: noise, file names that hold the time of day.
        """
        self.forget(draw_again=draw_again)
        self._parse({**self._built, ITEMS: list(items)})

    def forget(self, *, draw_again: bool = False) -> None:
        """Forget the items and what was built from them."""
        for place in self._stale(draw_again=draw_again):
            del self._built[place]
        self._built.pop(ITEMS, None)

    @property
    def _built(self) -> dict[str, Any]:
        built: dict[str, Any] = self._parser.ref_resolver.resolved_content
        return built

    def _parse(self, built: dict[str, Any]) -> None:
        # Building a part writes the parts it refers to into its own text: to build it again takes the text from before.
        kept = dict(built)
        self._parser.parse(reset=True)
        self._built.update(kept)

    def _stale(self, *, draw_again: bool) -> list[str]:
        changed = {ITEMS, self.run_id}
        stale = {place for place in self._built if self._depends(place, changed, set())}
        if draw_again:
            heavy = {place for place in self._built if self._holds_weights(place)}
            stale |= {
                place
                for place in self._built
                if not place.startswith("import") and not self._depends(place, heavy, set())
            }
        return sorted(stale & set(self._built))

    def _holds_weights(self, place: str) -> bool:
        text = self._text(place)
        return isinstance(self._built[place], torch.nn.Module) or (isinstance(text, str) and bool(_LOADS.search(text)))

    def _depends(self, place: str, on: set[str], seen: set[str]) -> bool:
        if any(place == one or place.startswith(f"{one}::") for one in on):
            return True
        if place in seen:
            return False
        seen.add(place)
        return any(self._depends(reference, on, seen) for reference in self._refers_to(place))

    def _refers_to(self, place: str) -> frozenset[str]:
        if place not in self._references:
            found = self._parser.ref_resolver.find_refs_in_config(self._text(place), place)
            self._references[place] = frozenset(found)
        return self._references[place]

    def _text(self, place: str) -> Any:
        return look_up(self.content, place)


def look_up(config: Any, place: str) -> Any:
    """Return what stands at ``place`` (``a::b::0`` or ``a#b#0``); None where nothing does."""
    for step in place.replace("#", "::").split("::"):
        if isinstance(config, dict):
            config = config.get(step)
        elif isinstance(config, list) and step.isdecimal() and int(step) < len(config):
            config = config[int(step)]
        else:
            return None
    return config


def follow(config: Any, place: str) -> tuple[str, Any]:
    """Follow ``@references`` from ``place`` to what they lead to; return its place and it."""
    for _ in range(16):
        value = look_up(config, place)
        reference = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
        if reference is None:
            break
        place = reference[1].replace("#", "::")
    return place, look_up(config, place)


def target_of(part: Any) -> str:
    """Return the class name of a component, or an empty text where ``part`` is none."""
    return str(part.get("_target_", "")).rpartition(".")[2] if isinstance(part, dict) else ""


def components(config: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every component (a dictionary with a ``_target_``) and its place, outer ones first."""
    if isinstance(config, dict) and "_target_" in config:
        yield place, config
    entries = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, value in list(entries):
        yield from components(value, f"{place}::{key}" if place else str(key))


def texts(config: Any) -> Iterator[str]:
    """Yield every text of a configuration: names of classes, references, expressions."""
    if isinstance(config, str):
        yield config
    elif isinstance(config, dict | list):
        for value in config.values() if isinstance(config, dict) else config:
            yield from texts(value)
