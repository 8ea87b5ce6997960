"""What a bundle that did not load may have got wrong: names that lead nowhere, with their places and likely spellings.

Looked for after a failure only. What no run needs may name what it likes, and MONAI tells of a wrong name neither where
it stands nor, at times, that it was the name.
"""

import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from itertools import islice
from typing import Any

import torch
from monai.bundle import ComponentLocator, ConfigParser, ReferenceResolver

from bedside.bundle.contract import InputFact
from bedside.bundle.folder import BundleFolder
from bedside.bundle.metadata import Metadata
from bedside.runtime.configuration import components
from bedside.runtime.shims import apply_shims
from bedside.types import DecodedArray, DecodedImage, DecodedInput, DecodedRecord

_MOST = 3
_GIVEN = ("bundle_root", "_meta_")  # ids that are there in any configuration
_TRANSFORM = re.compile(r"applying transform <(?:[\w.]+\.)?(\w+)")


def wrong_names(folder: BundleFolder) -> str:
    """Return a sentence for each of the first names in a bundle's configuration that lead nowhere, or nothing."""
    try:
        parser = ConfigParser()
        parser.read_config([str(path) for path in folder.config_files])
        parser.resolve_macro_and_relative_ids()
        config = parser.get()
        apply_shims(config, folder.root, torch.device("cpu"))  # what one of them mends was not the trouble
        return "; ".join(islice((*_references(config), *_targets(config)), _MOST))
    except Exception:  # noqa: BLE001 - the failure that led here is the one to be told
        return ""


def failing_transform(error: BaseException | None) -> str:
    """Return the name of the transform in which an error began; empty where it was none."""
    name = ""
    while error is not None:
        found = _TRANSFORM.search(str(error))
        name = found[1] if found else name
        error = error.__cause__
    return name


def made_up(items: Iterable[DecodedInput]) -> str:
    """Describe an input that was made from the metadata: ``a made-up 'image' (32 x 32 x 32, channels: 1)``."""
    return ", ".join(f"a made-up '{item.name}' ({_size(item)})" for item in items) or "no input"


def other_inputs(facts: Iterable[InputFact], metadata: Metadata) -> str:
    """Tell which inputs the preprocessing reads that metadata.json describes under another name, or not at all."""
    read = sorted({fact.name for fact in facts if not fact.optional} - {*metadata.inputs})
    if not read or not metadata.inputs:
        return ""
    return f"its preprocessing reads {_quoted(read)}, and network_data_format.inputs has {_quoted(metadata.inputs)}"


def _size(item: DecodedInput) -> str:
    if isinstance(item, DecodedRecord):
        return f"features: {len(item.values)}"
    if isinstance(item, DecodedImage):
        return f"{' x '.join(map(str, item.shape[: item.spatial_dims]))}, channels: {item.channels}"
    return f"shape {list(item.values.shape)}" if isinstance(item, DecodedArray) else "a value"


def _references(config: Mapping[str, Any]) -> Iterator[str]:
    for place, text in _texts(config, ""):
        for name in ReferenceResolver.match_refs_pattern(text):
            if not name.startswith(_GIVEN) and not _is_there(config, name):
                yield f"{place} refers to '@{name}', which is nowhere{_meant(name, config)}"


def _targets(config: Mapping[str, Any]) -> Iterator[str]:
    locator = ComponentLocator()
    locator.get_component_module_name("Compose")  # fills its table
    for place, part in components(config):
        target = str(part["_target_"])
        module, _, name = target.rpartition(".")
        known = dir(sys.modules[module]) if module in sys.modules else [] if module else list(_table(locator))
        if known and name not in known and not target.startswith("$"):
            yield f"{place}: {module or 'MONAI'} has no '{name}'{_meant(name, known)}"


def _table(locator: ComponentLocator) -> Mapping[str, Any]:
    return locator._components_table or {}  # noqa: SLF001 - it looks names up, and lists none


def _texts(config: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(config, str):
        yield place, config
    elif isinstance(config, dict | list):
        for key, value in config.items() if isinstance(config, dict) else enumerate(config):
            yield from _texts(value, f"{place}::{key}" if place else str(key))


def _is_there(config: Any, name: str) -> bool:
    for step in name.split("::"):
        if isinstance(config, dict) and step in config:
            config = config[step]
        elif isinstance(config, list) and step.isdecimal() and int(step) < len(config):
            config = config[int(step)]
        else:
            return False
    return True


def _meant(name: str, known: Iterable[str]) -> str:
    close = get_close_matches(name, [other for other in known if isinstance(other, str)], n=1)
    return f" (did you mean '{close[0]}'?)" if close else ""


def _quoted(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names)
