"""A warm bundle: one item in, its results out, by the bundle's own steps.

The usual way through the steps is :class:`EvaluatorPass`: the bundle's own engine for one iteration, so whatever a
bundle's evaluator does (its own ``_iteration``, prompts, patches) happens. Its event machinery costs more than a
tabular network does, so records have leaner ways (``record_pass``), taken only where the evaluator is MONAI's own and
only after they have given the same bits as the evaluator on a set of records.
"""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch
from monai.data import MetaTensor, list_data_collate, set_track_meta
from monai.engines import SupervisedEvaluator
from monai.utils import CommonKeys

from bedside.errors import InputNotProcessable, ModelFailure, RunFailed
from bedside.runtime.building import BuiltBundle
from bedside.runtime.causes import told
from bedside.runtime.record_pass import Item, RecordGraph, RecordSteps
from bedside.runtime.saving import Kept, keep_in_memory, postprocessing_of
from bedside.types import OutputArray, OutputFile, Prediction

MAX_OUTPUT_FILE_BYTES = 1 << 30


class _Pass(Protocol):
    def __call__(self, item: Item) -> tuple[Mapping[str, Any], dict[str, float]]:
        """Return the results by name and the seconds by stage."""
        ...


class BundleEngine:
    """Runs one bundle, one item at a time; not thread-safe."""

    def __init__(self, built: BuiltBundle) -> None:
        self._built = built
        self._kept: Kept = keep_in_memory(postprocessing_of(built.evaluator))
        self._pass: _Pass = EvaluatorPass(built)
        self._writes_files = True  # until the first run has shown that it does not

    def run(self, item: Item) -> Prediction:
        """Run one item: paths of image files and float32 vectors, by input name.

        Raises:
            InputNotProcessable: the bundle's preprocessing raised.
            RunFailed: its inferer or postprocessing raised.
        """
        try:
            results, seconds = self._pass(item)
        finally:
            kept = self._kept.take()
        try:
            arrays = kept or [_array(name, value) for name, value in results.items()]
            files = collect_files(self._built.output_dir) if self._writes_files else ()
        except Exception as error:
            raise RunFailed(**told(error)) from error
        return Prediction(tuple(arrays), files, seconds)

    def warm_up(self, item: Item) -> Prediction:
        """Make the first run, which also shows whether the bundle writes files."""
        prediction = self.run(item)
        self._writes_files = bool(prediction.files)
        return prediction

    def prepared_shape(self, item: Item, name: str) -> tuple[int, ...] | None:
        """Return the shape that preprocessing gives the input ``name``; None where it refuses the item."""
        try:
            value = preprocess(self._built, item).get(name)
        except InputNotProcessable:
            return None
        return tuple(value.shape) if value is not None and _is_array(value) else None

    def use_record_pass(self, items: Sequence[Item]) -> bool:
        """Take the lean way for records if it gives the same bits on all ``items``; tell whether it does."""
        if type(self._built.evaluator) is not SupervisedEvaluator or self._built.evaluator.amp:
            return False
        expected = [self._outcome(item) for item in items]
        set_track_meta(False)  # a record has no geometry to track; MetaTensor costs more than the network
        usual = self._pass
        # A recording repeats what torch does and nothing else: files that a step writes would be missing.
        for way in (RecordSteps,) if self._writes_files else (RecordGraph, RecordSteps):
            try:
                self._pass = way(self._built, items[0])
            except Exception:  # noqa: BLE001, S112 - a bundle may refuse to be recorded in any way it likes
                continue
            if all(_same(outcome, self._outcome(item)) for outcome, item in zip(expected, items, strict=True)):
                return True
        self._pass = usual
        set_track_meta(True)
        return False

    def _outcome(self, item: Item) -> Sequence[OutputArray] | None:
        try:
            return self.run(dict(item)).arrays
        except ModelFailure:
            return None


class EvaluatorPass:
    """One iteration of the bundle's own evaluator, without its data loader."""

    def __init__(self, built: BuiltBundle) -> None:
        self._built = built

    def __call__(self, item: Item) -> tuple[Mapping[str, Any], dict[str, float]]:
        """Preprocess, iterate, and return what the engine's state holds."""
        begin = perf_counter()
        data = preprocess(self._built, item)
        ready = perf_counter()
        evaluator = self._built.evaluator
        try:
            evaluator.state.batch = list_data_collate([data])
            evaluator.state.output = evaluator._iteration(evaluator, evaluator.state.batch)  # noqa: SLF001
            results = _results(evaluator.state.output)
        except Exception as error:
            raise RunFailed(**told(error)) from error
        finally:
            # An engine keeps its last batch: somebody's images, and memory.
            evaluator.state.batch = evaluator.state.output = None
        return results, {"preprocess": ready - begin, "inference": perf_counter() - ready}


def preprocess(built: BuiltBundle, item: Item) -> dict[str, Any]:
    """Apply the bundle's own preprocessing to one item.

    Raises:
        InputNotProcessable: it raised, or gave no dictionary.
    """
    try:
        data = built.preprocessing(item)
    except Exception as error:
        raise InputNotProcessable(**told(error)) from error
    if isinstance(data, list) and len(data) == 1:
        data = data[0]
    if not isinstance(data, dict):
        raise InputNotProcessable(cause="TypeError", where="preprocessing gave several samples or no dictionary")
    return data


def collect_files(output_dir: Path) -> tuple[OutputFile, ...]:
    """Take the files that a bundle wrote by design out of its output folder."""
    files = [
        _output_file(path)
        for path in sorted(output_dir.rglob("*"))
        if path.is_file() and not path.is_symlink() and path.stat().st_size <= MAX_OUTPUT_FILE_BYTES
    ]
    if files:
        for child in output_dir.iterdir():
            shutil.rmtree(child) if child.is_dir() else child.unlink()
    return tuple(files)


def _output_file(path: Path) -> OutputFile:
    suffix = "".join(path.suffixes[-2:])
    return OutputFile(suffix, path.read_bytes(), path.name.removesuffix(suffix))


def _results(output: Any) -> dict[str, Any]:
    item = output[0] if isinstance(output, list) else output
    if not isinstance(item, dict):
        return {"pred": item}
    inputs = {CommonKeys.IMAGE, CommonKeys.LABEL}
    found = {str(key): value for key, value in item.items() if key not in inputs and _is_array(value)}
    if not found:
        raise TypeError("the evaluator left no array in its output")
    return found


def _is_array(value: Any) -> bool:
    return isinstance(value, torch.Tensor | np.ndarray)


def _array(name: str, value: Any) -> OutputArray:
    affine = None
    if isinstance(value, MetaTensor):
        affine = value.affine.cpu().numpy().astype(np.float64) if value.affine.shape == (4, 4) else None
        value = value.as_tensor()
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.dtype.hasobject:
        raise TypeError("objects are no numbers")
    return OutputArray(name, array, affine if array.ndim >= 2 else None)


def _same(left: Sequence[OutputArray] | None, right: Sequence[OutputArray] | None) -> bool:
    if left is None or right is None:
        return left is right
    return [item.name for item in left] == [item.name for item in right] and all(
        a.array.dtype == b.array.dtype and np.array_equal(a.array, b.array, equal_nan=True)
        for a, b in zip(left, right, strict=True)
    )
