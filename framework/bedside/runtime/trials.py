"""Ways in which an input may have to look, to be tried on a bundle in order until one of them runs.

``metadata.json`` describes the network's tensors, not the request: a network over planes may want a volume of them,
four channels may be four files, five channels a colour picture and two maps of clicks. What a bundle cannot be asked,
it is shown: made-up inputs, from the likeliest to the least.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from monai.utils import CommonKeys

from bedside.bundle.contract import InputFact
from bedside.bundle.metadata import Metadata

_VOLUME = 3
_FRAMES = 8
_MIDDLE = 64


def trials(facts: Sequence[InputFact], metadata: Metadata) -> Iterator[tuple[InputFact, ...]]:
    """Yield the inputs as they may be meant, the likeliest first."""
    dims = _dims(metadata)
    for images in _image_ways(facts, metadata, dims):
        yield images
        for fact in images:
            if _may_be_clicks(fact):
                yield _with_click(images, fact.name, dims)


def _image_ways(facts: Sequence[InputFact], metadata: Metadata, dims: int) -> Iterator[tuple[InputFact, ...]]:
    given = tuple(facts)
    network = {fact.name for fact in given if fact.kind == "image"}
    network = network & set(metadata.inputs) or network  # a mask beside the image keeps its own form
    channels = max((tensor.num_channels or 1 for tensor in metadata.inputs.values()), default=1)
    ways: list[dict[str, object]] = [{}]
    if channels > 1 and dims == _VOLUME and not any(fact.adds_channel for fact in given):
        ways.insert(0, {"files": channels})  # stacked by the reader: an axis of channels that nothing else makes
    if channels > 1:
        ways += [{"channels": (3,)}, {"channels": (1,)}, {"files": channels, "channels": (1,)}]
    if dims < _VOLUME:
        ways += [{"spatial_dims": _VOLUME, "channels": (1,)}, {"channels": (_FRAMES,)}]
    ways.append({"reader": "WSIReader", "channels": (3,)})
    for way in ways if network else [{}]:
        yield tuple(replace(fact, **way) if fact.name in network else fact for fact in given)  # type: ignore[arg-type]


def _may_be_clicks(fact: InputFact) -> bool:
    return fact.kind == "value" and fact.optional and fact.example is None and fact.name != CommonKeys.LABEL


def _with_click(facts: Sequence[InputFact], name: str, dims: int) -> tuple[InputFact, ...]:
    """Show a point in the middle, as ``[[x, y]]``; a bundle that runs with it and not without needs it."""
    click = [[_MIDDLE] * dims]
    return tuple(replace(fact, example=click, optional=False) if fact.name == name else fact for fact in facts)


def _dims(metadata: Metadata) -> int:
    return max((len(tensor.spatial_shape) for tensor in metadata.inputs.values()), default=3)
