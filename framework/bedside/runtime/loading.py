"""From a folder to a warm engine and the facts for its contract: build, look, run once."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from bedside.bundle.contract import InputFact, OutputFact, derive_inputs
from bedside.bundle.folder import BundleFolder, tree_digest
from bedside.bundle.sample import sample_inputs
from bedside.errors import BedsideError, LoadFailed
from bedside.runtime.building import build, resolve_device
from bedside.runtime.engine import BundleEngine
from bedside.runtime.facts import LoadedFacts
from bedside.runtime.introspection import input_facts, nullable_features
from bedside.runtime.record_pass import Item
from bedside.runtime.staging import Staging
from bedside.settings import RuntimeSettings
from bedside.types import (
    DecodedArray,
    DecodedImage,
    DecodedInput,
    DecodedRecord,
    DecodedValue,
    OutputArray,
    ValidatedInputs,
)

_MISSING_MODULE = re.compile(r"No module named '(?P<package>\w+)")


def load(
    folder: BundleFolder, settings: RuntimeSettings, staging: Staging, output_dir: Path
) -> tuple[BundleEngine, LoadedFacts]:
    """Build a bundle and make one real forward pass on a synthetic input of the network's own size.

    Raises:
        LoadFailed: it could not be built, or the pass failed; the detail says why. No patient is involved yet, so the
            text of the original exception is part of it.
    """
    if tree_digest(folder.root) != folder.digest:
        # What was admitted is what is loaded, also when a process is started again days later.
        raise LoadFailed("its files have changed since it was admitted")
    torch.set_num_threads(settings.threads)
    try:
        device = resolve_device(settings.device)
        built = build(folder, device, output_dir)
        inputs = input_facts(built.preprocessing)
        engine = BundleEngine(built)
        return _warm(engine, inputs, folder, staging, str(device))
    except BedsideError as error:
        cause = error.__cause__
        raise LoadFailed(f"{error.detail} ({_short(cause)})" if cause else error.detail, field=error.field) from error
    except Exception as error:
        missing = _MISSING_MODULE.search(str(error))  # MONAI wraps ModuleNotFoundError in errors of its own
        if missing:
            package = missing["package"]
            raise LoadFailed(f"the bundle needs the package '{package}': pip install {package}") from error
        raise LoadFailed(f"the bundle could not be built: {_short(error)}") from error


def item_of(inputs: ValidatedInputs, paths: Mapping[str, str | list[str]]) -> Item:
    """Return the item dictionary that the bundle's preprocessing expects."""
    values: Item = dict(paths)
    for item in inputs.items:
        if isinstance(item, DecodedRecord | DecodedArray):
            values[item.name] = item.values
        elif isinstance(item, DecodedValue):
            values[item.name] = item.value
    return values


def _warm(
    engine: BundleEngine, inputs: tuple[InputFact, ...], folder: BundleFolder, staging: Staging, device: str
) -> tuple[BundleEngine, LoadedFacts]:
    specs = derive_inputs(folder.metadata, inputs)
    sample = ValidatedInputs(sample_inputs(specs, folder.metadata))
    staged = staging.put(sample)
    try:
        prediction = engine.warm_up(item_of(sample, staged.paths))
    finally:
        staged.remove()
    inputs = tuple(_with_channels(engine, fact, folder, staging) for fact in inputs)
    record = next((item for item in sample.items if isinstance(item, DecodedRecord)), None)
    if record is not None and len(sample.items) == 1:
        engine.use_record_pass([{record.name: values} for values in _variations(record.values)])
        nullable = nullable_features(lambda values: engine.run({record.name: values}).arrays, record.values)
        inputs = (replace(inputs[0], nullable=nullable),)
    outputs = (
        *(_output_fact(array, sample.items) for array in prediction.arrays),
        *(OutputFact(name, kind="value") for name in prediction.values),
        *(OutputFact(f"file_{i}", kind="file", suffix=file.suffix) for i, file in enumerate(prediction.files)),
    )
    return engine, LoadedFacts(inputs, outputs, device)


def _variations(values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return the record and others like it, some with a missing value, to compare two ways of running them."""
    generator = np.random.default_rng(0)
    others = [values * generator.uniform(0.3, 3, values.shape).astype(np.float32) for _ in range(15)]
    for number, other in enumerate(others[::3]):
        other[number % len(other)] = np.nan
    return [values, *others]


def _with_channels(engine: BundleEngine, fact: InputFact, folder: BundleFolder, staging: Staging) -> InputFact:
    """Try which channel counts the preprocessing brings to what the network takes (grey, alpha, colour …)."""
    (spec,) = derive_inputs(folder.metadata, [fact])
    tensor = folder.metadata.inputs.get(fact.name) or next(iter(folder.metadata.inputs.values()), None)
    if not fact.reads_file or spec.spatial_dims is None or tensor is None or not tensor.num_channels:
        return fact
    accepted = []
    for count in sorted({1, 2, 3, 4, tensor.num_channels}):
        sample = ValidatedInputs(sample_inputs([replace(spec, channels=(count,))], folder.metadata))
        staged = staging.put(sample)
        shape = engine.prepared_shape(item_of(sample, staged.paths), fact.name)
        staged.remove()
        if shape is not None and len(shape) == spec.spatial_dims + 1 and shape[0] == tensor.num_channels:
            accepted.append(count)
    return replace(fact, channels=tuple(accepted))


def _output_fact(output: OutputArray, inputs: tuple[DecodedInput, ...]) -> OutputFact:
    like = next((item.name for item in inputs if isinstance(item, DecodedImage) and _on_grid(output, item)), None)
    return OutputFact(output.name, str(output.array.dtype), output.array.shape, output.affine is not None, like)


def _on_grid(output: OutputArray, image: DecodedImage) -> bool:
    dims = image.spatial_dims
    if output.array.shape[:dims] != image.shape[:dims]:
        return False
    if output.affine is None or image.affine is None:
        return output.affine is image.affine is None
    return bool(np.allclose(output.affine, image.affine, atol=1e-4))


def _short(error: BaseException) -> str:
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[-1][:300]}" if lines else type(error).__name__
