"""From a folder to a warm engine and the facts for its contract: build, look, run once."""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from time import perf_counter

import numpy as np
import torch
from numpy.typing import NDArray

from bedside.bundle.contract import InputFact, OutputFact, derive_inputs, require_one_per_class
from bedside.bundle.folder import BundleFolder, tree_digest
from bedside.bundle.sample import sample_inputs
from bedside.errors import BedsideError, LoadFailed, ModelFailure
from bedside.interfaces import NotInline
from bedside.runtime.acceleration_trial import this_machine, try_acceleration
from bedside.runtime.building import BuiltBundle, build, resolve_device
from bedside.runtime.causes import first_cause, text_of
from bedside.runtime.diagnosis import failing_transform, made_up, other_inputs, wrong_names
from bedside.runtime.engine import BundleEngine
from bedside.runtime.facts import Acceleration, LoadedFacts
from bedside.runtime.introspection import bundle_inputs, is_bare, nullable_features, stand_ins
from bedside.runtime.record_pass import Item
from bedside.runtime.requirements import install_line, other_versions
from bedside.runtime.sampling import ONE_STEP, one_step
from bedside.runtime.staging import Staging
from bedside.runtime.trials import trials
from bedside.runtime.weights import applied, require_weights
from bedside.settings import RuntimeSettings
from bedside.types import (
    DecodedArray,
    DecodedImage,
    DecodedInput,
    DecodedRecord,
    DecodedValue,
    OutputArray,
    Prediction,
    ValidatedInputs,
)

_SLOW_SECONDS = 10.0
_MISSING_MODULE = re.compile(r"No module named '(?P<package>\w+)|[Rr]equired package `(?P<optional>\w+)")


FirstRun = Callable[[BundleEngine, ValidatedInputs], None]
"""Told of an engine and the made-up input that it has run, before more time is spent on it."""


def load(
    folder: BundleFolder,
    settings: RuntimeSettings,
    staging: Staging,
    output_dir: Path,
    on_first_run: FirstRun = lambda _engine, _sample: None,
) -> tuple[BundleEngine, LoadedFacts]:
    """Build a bundle and make one real forward pass on a synthetic input of the network's own size.

    Raises:
        NotInline: ``on_first_run`` raised it.
        LoadFailed: it could not be built, the pass failed, or gave other classes than metadata.json names; the detail
            says why. No patient is involved yet, so the text of the original exception is part of it.
    """
    if tree_digest(folder.root) != folder.digest:
        # What was admitted is what is loaded, also when a process is started again days later.
        raise LoadFailed("its files have changed since it was admitted")
    torch.set_num_threads(settings.threads)
    try:
        device = resolve_device(settings.device)
        built = build(folder, device, output_dir)
        engine, sample, facts = _warm(built, folder, staging, on_first_run)
        return engine, replace(facts, acceleration=_accelerated(engine, built, folder, settings, sample, staging))
    except NotInline:
        raise
    except Exception as error:
        raise _load_failed(error, folder) from error


def _load_failed(error: Exception, folder: BundleFolder) -> LoadFailed:
    package = _missing_package(error)
    if package:
        return LoadFailed(f"the bundle needs the package '{package}': {install_line(package)}")
    cause = first_cause(error)
    detail, field = ("the bundle could not be built", None)
    if isinstance(error, BedsideError):
        detail, field = error.detail, error.field
        if cause is error:
            return LoadFailed("; ".join(filter(None, (detail, wrong_names(folder)))), field=field)
    began = ": ".join(filter(None, (detail, failing_transform(error), text_of(cause))))
    hints = (began, *getattr(error, "__notes__", ()), wrong_names(folder) or _made_with(folder))
    return LoadFailed("; ".join(filter(None, hints)), field=field)


def _made_with(folder: BundleFolder) -> str:
    others = other_versions(folder.metadata.required_packages)
    return f"it was made with {others}" if others else ""


def _missing_package(error: BaseException | None) -> str:
    """Return the package that an import missed: MONAI wraps ModuleNotFoundError in errors of its own."""
    while error is not None:
        missing = _MISSING_MODULE.search(str(error))
        if missing:
            return missing["package"] or missing["optional"]
        error = error.__cause__
    return ""


@contextmanager
def staged(sample: ValidatedInputs, staging: Staging) -> Iterator[Item]:
    """Yield the item of a made-up input; its files are there within the block."""
    files = staging.put(sample)
    try:
        yield item_of(sample, files.paths)
    finally:
        files.remove()


def item_of(inputs: ValidatedInputs, paths: Mapping[str, str | list[str]]) -> Item:
    """Return the item dictionary that the bundle's preprocessing expects."""
    values: Item = dict(paths)
    for item in inputs.items:
        if isinstance(item, DecodedRecord | DecodedArray):
            values[item.name] = item.values
        elif isinstance(item, DecodedValue):
            values[item.name] = item.value
    return values


def _accelerated(
    engine: BundleEngine,
    built: BuiltBundle,
    folder: BundleFolder,
    settings: RuntimeSettings,
    sample: ValidatedInputs,
    staging: Staging,
) -> Acceleration:
    if engine.lean:
        return Acceleration(why="lean_records", machine=this_machine(built.device))
    with staged(sample, staging) as item:
        return try_acceleration(built, folder, settings.acceleration, partial(engine.run, item))


def _warm(
    built: BuiltBundle, folder: BundleFolder, staging: Staging, on_first_run: FirstRun
) -> tuple[BundleEngine, ValidatedInputs, LoadedFacts]:
    engine = BundleEngine(built)
    facts = bundle_inputs(built, folder.metadata)
    engine.bare = facts[0].name if facts and is_bare(built) else ""
    inputs, sample, prediction = _first_run(built, engine, facts, folder, staging)
    on_first_run(engine, sample)
    require_weights()
    inputs = tuple(_with_channels(engine, fact, inputs, folder, staging) for fact in inputs)
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
    require_one_per_class(folder.metadata, outputs, prediction.arrays)
    return engine, sample, LoadedFacts(inputs, outputs, str(built.device), shims=(*built.shims, *sorted(applied)))


def _first_run(
    built: BuiltBundle, engine: BundleEngine, facts: tuple[InputFact, ...], folder: BundleFolder, staging: Staging
) -> tuple[tuple[InputFact, ...], ValidatedInputs, Prediction]:
    """Run made-up inputs, in the ways in which they may be meant, until one of them runs, or fails late.

    Raises:
        LoadFailed: none did; the failure is that of the likeliest.
    """
    first: LoadFailed | None = None
    for inputs in trials(facts, folder.metadata):
        begin = perf_counter()
        engine.stand_ins = stand_ins(inputs)
        sample = sample_inputs(derive_inputs(folder.metadata, inputs), folder.metadata)
        try:
            with staged(sample, staging) as item, _answers(built) as answers:
                run = engine.warm_up if inputs else partial(_warm_sampler, engine)
                return inputs, sample, run(item)
        except ModelFailure as failure:
            if _missing_package(failure):
                raise
            first = first or _first_run_failed(failure, sample, facts, folder)
            if answers and perf_counter() - begin > _SLOW_SECONDS:
                break  # its network took this form; what fails behind it fails of all, each as slowly (decision 39)
    raise first or LoadFailed("there is no way to make an input for it")


def _first_run_failed(
    failure: ModelFailure, sample: ValidatedInputs, facts: tuple[InputFact, ...], folder: BundleFolder
) -> LoadFailed:
    failed = LoadFailed(f"its first run, on {made_up(sample.items)}, failed")
    failed.add_note(other_inputs(facts, folder.metadata))
    failed.__cause__ = failure
    return failed


@contextmanager
def _answers(built: BuiltBundle) -> Iterator[list[object]]:
    """Yield a list that has one entry for each answer of the evaluator's network within the block."""
    answers: list[object] = []
    if built.evaluator is None:
        yield answers
        return
    handle = built.evaluator.network.register_forward_hook(lambda *_: answers.append(None))
    try:
        yield answers
    finally:
        handle.remove()


def _warm_sampler(engine: BundleEngine, item: Item) -> Prediction:
    """Make the first run of a bundle that takes no input: in one step, unless its code needs more than one."""
    with suppress(ModelFailure), one_step() as shortened:
        prediction = engine.warm_up(item)
        if shortened:
            applied.add(ONE_STEP)
        return prediction
    return engine.warm_up(item)


def _variations(values: NDArray[np.float32]) -> list[NDArray[np.float32]]:
    """Return the record and others like it, some with a missing value, to compare two ways of running them."""
    generator = np.random.default_rng(0)
    others = [values * generator.uniform(0.3, 3, values.shape).astype(np.float32) for _ in range(15)]
    for number, other in enumerate(others[::3]):
        other[number % len(other)] = np.nan
    return [values, *others]


def _with_channels(
    engine: BundleEngine, fact: InputFact, facts: Sequence[InputFact], folder: BundleFolder, staging: Staging
) -> InputFact:
    """Try which channel counts the preprocessing brings to what the network takes (grey, alpha, colour …)."""
    (spec,) = derive_inputs(folder.metadata, [fact])
    tensor = folder.metadata.inputs.get(fact.name) or next(iter(folder.metadata.inputs.values()), None)
    if not fact.reads_file or fact.files != 1 or spec.spatial_dims is None or tensor is None or not tensor.num_channels:
        return fact
    if len(facts) > 1 or fact.channels or fact.spatial_dims:
        shown = fact.channels[0] if fact.channels else None
        return fact if fact.adds_channel else replace(fact, channels=(), sample_channels=shown)
    accepted = []
    for count in sorted({1, 2, 3, 4, tensor.num_channels}):
        with staged(sample_inputs([replace(spec, channels=(count,))], folder.metadata), staging) as item:
            shape = engine.prepared_shape(item, fact.name)
        if shape is not None and len(shape) == spec.spatial_dims + 1 and shape[0] == tensor.num_channels:
            accepted.append(count)
    return replace(fact, channels=tuple(accepted))


def _output_fact(output: OutputArray, inputs: tuple[DecodedInput, ...]) -> OutputFact:
    like = next((item.name for item in inputs if isinstance(item, DecodedImage) and _on_grid(output, item)), None)
    return OutputFact(output.name, str(output.dtype), output.stored.shape, output.affine is not None, like)


def _on_grid(output: OutputArray, image: DecodedImage) -> bool:
    dims = image.spatial_dims
    if output.stored.shape[:dims] != image.shape[:dims]:
        return False
    if output.affine is None or image.affine is None:
        return output.affine is image.affine is None
    return bool(np.allclose(output.affine, image.affine, atol=1e-4))
