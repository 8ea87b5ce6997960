"""Where a configuration takes its data from, so that a request's item can stand there instead.

The data source differs in every bundle (a folder's files, a JSON or CSV list, a class of the bundle's own, an iterator
over shuffled pairs). What they share is an engine that has a loader that has a dataset, and somewhere below it an
argument that lists the items. That argument is the place; what the bundle would have put there is never evaluated.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from bedside.runtime.configuration import components, follow, look_up, target_of, texts
from bedside.types import Json

PLAIN_DATASETS = (
    "Dataset",
    "CacheDataset",
    "PersistentDataset",
    "CacheNTransDataset",
    "LMDBDataset",
    "SmartCacheDataset",
    "CSVDataset",
)
"""Datasets that apply a transform to each item of a list, and do nothing else."""

_LOADERS = ("val_data_loader", "data_loader", "dataloader", "train_data_loader")
_LISTS = ("data", "src", "image_files", "img", "datalist", "data_list", "files", "samples", "items")
_REFERENCES = re.compile(r"@([\w:#]+)")
_DEPTH = 8


@dataclass(frozen=True, slots=True)
class DataSource:
    """Where items go.

    Attributes:
        places: places in the configuration that take the list of items.
        dataset: place of the dataset.
        transform: place of the transform that prepares an item; empty where there is none.
        plain: True where the dataset applies that transform to an item, and does nothing else.
        shown: keys of the items that the bundle's own expression makes, with the value it shows, else None.
    """

    places: tuple[str, ...]
    dataset: str
    transform: str
    plain: bool
    shown: Mapping[str, Json] = field(default_factory=dict)


def find_data_source(config: Mapping[str, Any], engine: str) -> DataSource | None:
    """Return the data source of the engine whose id is ``engine``; None where it has none that takes a list."""
    dataset = _dataset_of(config, engine)
    if not dataset:
        return None
    part = look_up(config, dataset)
    if target_of(part) in PLAIN_DATASETS:
        return _source(config, dataset, (_list_of(part, dataset),), plain=True)
    if not _is_iterable(part) and _list_of(part, dataset):
        return _source(config, dataset, (_list_of(part, dataset),), plain=False)
    inner = tuple(dict.fromkeys(_datasets_below(config, dataset, _DEPTH)))
    if not inner:
        return None
    # Where a list is a mere reference, what it refers to is the place: others may count its items.
    places = tuple(dict.fromkeys(follow(config, _list_of(look_up(config, place), place))[0] for place in inner))
    return _source(config, inner[0], places, plain=False)


def _dataset_of(config: Mapping[str, Any], engine: str) -> str:
    part = look_up(config, engine)
    for name in _LOADERS:
        if isinstance(part, dict) and name in part:
            loader, found = follow(config, f"{engine}::{name}")
            if isinstance(found, dict) and "dataset" in found:
                return follow(config, f"{loader}::dataset")[0]
    return ""


def _list_of(part: Any, place: str) -> str:
    name = next((name for name in _LISTS if isinstance(part, dict) and name in part), None)
    return f"{place}::{name}" if name else ""


def _is_iterable(part: Any) -> bool:
    # A stream of items, made from datasets further down; it has no list of its own.
    return not isinstance(part, dict) or target_of(part) in {"IterableDataset", "ShuffleBuffer", "ZipDataset"}


def _datasets_below(config: Mapping[str, Any], place: str, depth: int) -> Iterator[str]:
    """Yield the places of plain datasets that the part at ``place`` is made from."""
    part = look_up(config, place)
    for inner, found in components(part, place):
        if target_of(found) in PLAIN_DATASETS:
            yield inner
    if depth:
        for text in texts(part):
            for reference in _REFERENCES.findall(text):
                yield from _datasets_below(config, reference.replace("#", "::"), depth - 1)


def _source(config: Mapping[str, Any], dataset: str, places: tuple[str, ...], *, plain: bool) -> DataSource:
    part = look_up(config, dataset)
    transform = f"{dataset}::transform" if part.get("transform") is not None else ""
    shown = {key: value for place in places for key, value in _shown(config, place, _DEPTH)}
    return DataSource(tuple(filter(None, places)), dataset, transform, plain, shown)


def _shown(config: Mapping[str, Any], place: str, depth: int) -> Iterator[tuple[str, Json]]:
    """Yield the keys of dictionaries in the expressions that make the list: ``[{'image': i, 'points': [[1, 2]]}]``."""
    for text in texts(look_up(config, place)):
        if text.startswith("$"):
            yield from _keys_in(config, text)
        for reference in _REFERENCES.findall(text) if depth else ():
            yield from _shown(config, reference.replace("#", "::"), depth - 1)


def _keys_in(config: Mapping[str, Any], expression: str) -> Iterator[tuple[str, Json]]:
    try:
        tree = ast.parse(_REFERENCES.sub(r"\1", expression[1:].replace("::", "__")).strip(), mode="eval")
    except SyntaxError:
        return
    for node in ast.walk(tree):
        for key, value in zip(node.keys, node.values, strict=True) if isinstance(node, ast.Dict) else ():
            name = _name(config, key)
            if name:
                yield name, _constant(value)


def _name(config: Mapping[str, Any], key: ast.expr | None) -> str:
    if isinstance(key, ast.Constant) and isinstance(key.value, str):
        return key.value
    named = config.get(key.id) if isinstance(key, ast.Name) else None
    return named if isinstance(named, str) and not named.startswith(("$", "@")) else ""


def _constant(value: ast.expr) -> Json:
    try:
        constant: Json = ast.literal_eval(value)
    except ValueError:
        return None
    return None if isinstance(constant, str) else constant  # a text is the path of somebody's file
