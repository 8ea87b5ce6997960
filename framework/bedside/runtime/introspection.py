"""What a built bundle's own parts tell about the request: keys, readers, channels, prompts, missing values."""

import pydoc
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from monai.data import PILReader
from monai.transforms import EnsureChannelFirstd, LoadImage, LoadImaged, MapTransform
from monai.utils import CommonKeys

from bedside.bundle.contract import InputFact
from bedside.bundle.metadata import Metadata
from bedside.runtime.building import BuiltBundle
from bedside.runtime.code_keys import KeyUse, keys_used
from bedside.runtime.configuration import look_up
from bedside.runtime.results import is_array
from bedside.runtime.saving import transforms_of

_LIBRARY = ("monai.transforms.", "torchvision.", "builtins")
_NUMBERS = {"tuples", "record", "latent", "noise"}


def bundle_inputs(built: BuiltBundle, metadata: Metadata) -> tuple[InputFact, ...]:
    """Return what a request must and may bring to a built bundle, in the order in which it is read."""
    if built.source is None:
        return ()
    transforms = list(transforms_of(built.preprocessing))
    if not transforms:
        return _without_preparation(built, metadata)
    if not any(_takes_dictionary(transform) for transform in transforms):
        return (_bare(transforms, metadata),)
    facts = {fact.name: _read_as(fact, metadata) for fact in input_facts(built.preprocessing)}
    if "WSI" in str(look_up(built.configuration.content, f"{built.source.dataset}::_target_")):
        facts = {name: replace(fact, reader="WSIReader") for name, fact in facts.items()}
    for name in _prompts(built):
        if name not in facts and not name.endswith(("_meta_dict", "_transforms")):
            facts[name] = InputFact(name, "value", optional=True, example=built.source.shown.get(name))
    _add_labels(facts, built, transforms)
    return tuple(facts.values())


def stand_ins(facts: Sequence[InputFact]) -> dict[str, Any]:
    """Return what the engine puts in place of labels that no caller has: another image's name, or class 0.

    The result does not depend on them; MONAI's savers and metrics want them there.
    """
    image = next((fact.name for fact in facts if fact.kind == "image" and not fact.optional), 0)
    return {
        fact.name: image if fact.kind == "image" else 0
        for fact in facts
        if fact.name == CommonKeys.LABEL and fact.optional
    }


def is_bare(built: BuiltBundle) -> bool:
    """Tell whether the bundle's items are no dictionaries, but a path or an array."""
    transforms = list(transforms_of(built.preprocessing))
    return built.source is not None and not any(_takes_dictionary(transform) for transform in transforms)


def input_facts(preprocessing: Any) -> tuple[InputFact, ...]:
    """Return the keys that an item must bring, in the order in which they are read.

    A key is required when a transform reads it and none before has made it. Keys of transforms that allow missing
    ones are not.
    """
    transforms = list(transforms_of(preprocessing))
    facts: dict[str, InputFact] = {}
    made: set[str] = set()
    for transform in transforms:
        use = _use(transform)
        for key in (*_keys(transform), *sorted(use.needed)):
            if key not in made and key not in facts and not getattr(transform, "allow_missing_keys", False):
                facts[key] = _fact(key, transform, transforms)
        made |= set(_makes(transform)) | use.written
    return tuple(facts.values())


def _keys(transform: Any) -> tuple[str, ...]:
    # A transform of a bundle's own may be a MapTransform and never call its constructor.
    return tuple(str(key) for key in getattr(transform, "keys", ())) if isinstance(transform, MapTransform) else ()


def _makes(transform: Any) -> Iterator[str]:
    """Yield the keys that a transform adds: CopyItemsd has ``names``, ConcatItemsd ``name``, Lambdad ``overwrite``."""
    for attribute in ("names", "name", "overwrite"):
        value = getattr(transform, attribute, None)
        yield from (item for item in (value if isinstance(value, list | tuple) else (value,)) if isinstance(item, str))


def _use(transform: Any) -> KeyUse:
    """Return the keys that the code of a transform uses; MONAI's general ones say it in their attributes."""
    if type(transform).__module__.startswith(_LIBRARY):
        return KeyUse()
    use = keys_used(type(transform).__call__, transform)
    use.needed = {key for key in use.needed if not key.endswith("_meta_dict")} - set(_keys(transform))
    return use


def _fact(key: str, transform: Any, transforms: Sequence[Any]) -> InputFact:
    if not isinstance(transform, LoadImaged):
        return InputFact(name=key, kind="record")
    return _image(
        key,
        transform._loader,  # noqa: SLF001 - LoadImaged offers no other way to its readers
        adds_channel=any(isinstance(t, EnsureChannelFirstd) and key in _keys(t) for t in transforms),
    )


def _image(name: str, loader: Any, *, adds_channel: bool) -> InputFact:
    return InputFact(
        name=name,
        kind="image",
        reader=None if loader.auto_select else type(loader.readers[-1]).__name__,
        converts=any(isinstance(r, PILReader) and r.converter is not None for r in loader.readers),
        adds_channel=loader.ensure_channel_first or adds_channel,
    )


def _takes_dictionary(transform: Any) -> bool:
    return isinstance(transform, MapTransform) or type(transform).__name__.endswith(("d", "Dict", "Dictionary"))


def _bare(transforms: Sequence[Any], metadata: Metadata) -> InputFact:
    name = next(iter(metadata.inputs), str(CommonKeys.IMAGE))
    loader = next((transform for transform in transforms if isinstance(transform, LoadImage)), None)
    if loader is None:
        return InputFact(name, "image", adds_channel=False)
    return _image(name, loader, adds_channel=any(type(t).__name__ == "EnsureChannelFirst" for t in transforms))


def _without_preparation(built: BuiltBundle, metadata: Metadata) -> tuple[InputFact, ...]:
    """Return the one array that goes to the network as it is, shaped as the bundle's own."""
    name = next(iter(metadata.inputs), "input")
    tensor = metadata.inputs.get(name)
    example = built.example
    if is_array(example):
        return (InputFact(name, "tensor", shape=tuple(example.shape), dtype=str(example.dtype).rpartition(".")[2]),)
    shape = tuple(int(length) for length in tensor.spatial_shape if str(length).isdecimal()) if tensor else ()
    return (InputFact(name, "tensor", shape=shape, dtype="float32"),)


def _read_as(fact: InputFact, metadata: Metadata) -> InputFact:
    """Correct a fact by what the metadata says of it: code of the bundle's own reads files, too."""
    tensor = metadata.inputs.get(fact.name)
    if fact.kind == "record" and fact.name == CommonKeys.IMAGE and (tensor is None or tensor.type not in _NUMBERS):
        return InputFact(fact.name, "image", adds_channel=False)
    if fact.kind == "record" and tensor is None and fact.name not in metadata.inputs and metadata.inputs:
        return InputFact(fact.name, "value")
    return fact


def _prompts(built: BuiltBundle) -> list[str]:
    """Return the keys that the bundle's code may use: clicks, points, classes to look for."""
    found: list[str] = []
    written: set[str] = set()
    for transform in transforms_of(built.preprocessing):
        use = _use(transform)
        found += sorted(use.optional - written)
        written |= use.written
    found += sorted(_engine_use(built).optional)
    return list(dict.fromkeys(found))


def _engine_use(built: BuiltBundle) -> KeyUse:
    target = look_up(built.configuration.content, f"{built.engine_id}::_target_")
    engine = pydoc.locate(target) if isinstance(target, str) and "." in target else None
    if engine is None or engine.__module__.startswith("monai.engines"):
        return KeyUse()
    return keys_used(engine._iteration, None, argument=1)  # type: ignore[attr-defined]  # noqa: SLF001


def _add_labels(facts: dict[str, InputFact], built: BuiltBundle, transforms: Sequence[Any]) -> None:
    """Make a label optional that decides nothing, and add one that only the postprocessing wants."""
    label = str(CommonKeys.LABEL)
    if label in facts and not any(label in _use(transform).needed for transform in transforms):
        if len(facts) > 1:
            facts[label] = replace(facts[label], optional=True)
    elif label not in facts:
        after = transforms_of(built.configuration.resolve_or_none(f"{built.engine_id}::postprocessing"))
        if any(label in _keys(transform) for transform in after):
            facts[label] = InputFact(label, "value", optional=True)


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
