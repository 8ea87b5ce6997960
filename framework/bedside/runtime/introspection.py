"""What a built bundle's own preprocessing tells about the request: keys, readers, channels, missing values."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from monai.data import PILReader
from monai.transforms import EnsureChannelFirstd, LoadImaged, MapTransform

from bedside.bundle.contract import InputFact
from bedside.runtime.saving import transforms_of


def input_facts(preprocessing: Any) -> tuple[InputFact, ...]:
    """Return the keys that an item must bring, in the order in which they are read.

    A key is required when a transform reads it and none before has made it. Keys of transforms that allow missing
    ones are not.
    """
    transforms = list(transforms_of(preprocessing))
    facts: dict[str, InputFact] = {}
    made: set[str] = set()
    for transform in transforms:
        for key in _keys(transform):
            if key not in made and key not in facts and not getattr(transform, "allow_missing_keys", False):
                facts[key] = _fact(key, transform, transforms)
        made |= set(_makes(transform))
    return tuple(facts.values())


def _keys(transform: Any) -> tuple[str, ...]:
    return tuple(str(key) for key in transform.keys) if isinstance(transform, MapTransform) else ()


def _makes(transform: Any) -> Iterator[str]:
    """Yield the keys that a transform adds: CopyItemsd has ``names``, ConcatItemsd ``name``, Lambdad ``overwrite``."""
    for attribute in ("names", "name", "overwrite"):
        value = getattr(transform, attribute, None)
        yield from (item for item in (value if isinstance(value, list | tuple) else (value,)) if isinstance(item, str))


def _fact(key: str, transform: Any, transforms: Sequence[Any]) -> InputFact:
    if not isinstance(transform, LoadImaged):
        return InputFact(name=key, kind="record")
    loader = transform._loader  # noqa: SLF001 - LoadImaged offers no other way to its readers
    reader = None if loader.auto_select else type(loader.readers[-1]).__name__
    return InputFact(
        name=key,
        kind="image",
        reader=reader,
        converts=any(isinstance(r, PILReader) and r.converter is not None for r in loader.readers),
        adds_channel=loader.ensure_channel_first
        or any(isinstance(t, EnsureChannelFirstd) and key in _keys(t) for t in transforms),
    )


def nullable_features(run: Callable[[Any], Any], values: np.ndarray[Any, Any]) -> tuple[bool, ...]:
    """Try each number of a record as missing (NaN); True where the result stays finite.

    Args:
        run: takes a float32 vector and returns the result's arrays.
        values: a complete record, float32, shape (features,).
    """
    return tuple(_finite(run, _without(values, index)) for index in range(len(values)))


def _without(values: np.ndarray[Any, Any], index: int) -> np.ndarray[Any, Any]:
    changed = values.copy()
    changed[index] = np.nan
    return changed


def _finite(run: Callable[[Any], Any], values: np.ndarray[Any, Any]) -> bool:
    try:
        return all(bool(np.isfinite(item.array).all()) for item in run(values))
    except Exception:  # noqa: BLE001 - a bundle may refuse a missing value in any way it likes
        return False
