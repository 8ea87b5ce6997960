"""A warm bundle: one item in, its results out, by the bundle's own steps (``passes``).

Their machinery costs more than a tabular network does, so records have leaner ways (``record_pass``), taken only where
the evaluator is MONAI's own and only after they have given the same bits as the evaluator on a set of records.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from monai.engines import SupervisedEvaluator

from bedside.errors import InputNotProcessable, ModelFailure, RunFailed
from bedside.runtime.batch_pass import BatchPass, CannotShare
from bedside.runtime.building import BuiltBundle
from bedside.runtime.causes import told
from bedside.runtime.passes import EvaluatorPass, Pass, RunPass, preprocess
from bedside.runtime.peak import forget_peak, status_bytes
from bedside.runtime.record_pass import Item, RecordGraph, RecordSteps
from bedside.runtime.results import array_of, collect_files, is_array, values_of
from bedside.types import OutputArray, Prediction


class BundleEngine:
    """Runs one bundle, an item or a batch at a time; not thread-safe.

    Args:
        built: the bundle.
    """

    def __init__(self, built: BuiltBundle) -> None:
        self._built = built
        self._pass: Pass | RecordGraph = RunPass(built) if built.evaluator is None else EvaluatorPass(built)
        self._together: BatchPass | None = None
        self._writes_files = True  # until the first run has shown that it does not
        self.bare = ""
        self.stand_ins: Mapping[str, Any] = {}
        self.first_seconds = 0.0
        self.first_peak = 0

    @property
    def lean(self) -> bool:
        """Tell whether records take a lean way."""
        return isinstance(self._pass, RecordGraph | RecordSteps)

    def run(self, item: Item) -> Prediction:
        """Run one item: paths of image files, vectors and values, by input name.

        Raises:
            InputNotProcessable: the bundle's preprocessing raised.
            RunFailed: its inferer or postprocessing raised.
        """
        way = self._pass
        if isinstance(way, RecordGraph):
            return way(item)
        try:
            results, seconds = way(self._complete(item))
        finally:
            kept = self._built.kept.take()
        try:
            files = collect_files(self._built.output_dir) if self._writes_files else ()
            return self._prediction(results, kept, files, seconds)
        except Exception as error:
            raise RunFailed(**told(error)) from error

    def run_batch(self, items: Sequence[Item]) -> list[Prediction | ModelFailure]:
        """Run items, together where :meth:`share` was called; return what came of each.

        Where a batch fails its halves are run, and so on: only the item that is to blame is failed.
        """
        if self._together is None or len(items) < 2:
            return [self._alone(item) for item in items]
        try:
            return self._shared(items)
        except Exception:  # noqa: BLE001 - whatever it was, it is told to the item that has it alone too
            half = len(items) // 2
            return self.run_batch(items[:half]) + self.run_batch(items[half:])

    def share(self) -> None:
        """Have batches run together from now on. Raises CannotShare."""
        if self._built.evaluator is None:
            raise CannotShare("several_iterations")
        if self._writes_files or self._built.data_dir is not None:
            raise CannotShare("files")
        if self.lean:
            raise CannotShare("lean_records")
        self._together = BatchPass(self._built)

    def run_together(self, items: Sequence[Item]) -> list[Prediction]:
        """Run items together, to see how they fare. Raises CannotShare, also where one of them fails."""
        try:
            outcomes = self._shared(items)
        except CannotShare:
            raise
        except Exception as error:
            raise CannotShare("fails_together") from error
        if any(isinstance(outcome, ModelFailure) for outcome in outcomes):
            raise CannotShare("not_prepared")
        return [outcome for outcome in outcomes if isinstance(outcome, Prediction)]

    def run_alone(self) -> None:
        """Take :meth:`share` back."""
        self._together = None

    def _alone(self, item: Item) -> Prediction | ModelFailure:
        try:
            return self.run(item)
        except ModelFailure as failure:
            return failure

    def _shared(self, items: Sequence[Item]) -> list[Prediction | ModelFailure]:
        outcomes = self._together([self._complete(item) for item in items]) if self._together else []
        return [
            outcome if isinstance(outcome, ModelFailure) else self._prediction(outcome[0], outcome[1], (), outcome[2])
            for outcome in outcomes
        ]

    def _complete(self, item: Item) -> Any:
        """Return the item as the bundle's dataset would give it: a bare value, or with what nobody need send."""
        item = self._in_data_dir(item)
        if self.bare:
            return item[self.bare]
        absent = {name: value for name, value in self.stand_ins.items() if name not in item}
        return {**{name: item.get(value, value) for name, value in absent.items()}, **item} if absent else item

    def _in_data_dir(self, item: Item) -> Item:
        """Let files stand directly in the folder where the bundle says that its data are: it names results by it."""
        folder = self._built.data_dir
        if folder is None:
            return item
        for link in folder.iterdir():
            link.unlink()
        return {name: _linked(value, folder) for name, value in item.items()}

    def _prediction(
        self, results: Mapping[str, Any], kept: list[OutputArray], files: Sequence[Any], seconds: dict[str, float]
    ) -> Prediction:
        """Put the answer together: what the bundle saves is its answer, else what its engine left."""
        kept = [item for item in kept if item.name not in self.stand_ins]
        whole = self._built.source is not None and self._built.source.plain and self._built.kept.postprocessed
        if kept or (files and not whole):
            results = {}  # before the handler that wrote the file, or of a part of the item
        arrays = kept or [array_of(name, value) for name, value in results.items() if is_array(value)]
        values = values_of(results)
        if not (arrays or files or values):
            raise TypeError("the bundle left no result")
        return Prediction(tuple(arrays), tuple(files), seconds, values)

    def warm_up(self, item: Item) -> Prediction:
        """Make the first run, which also shows whether the bundle writes files, and what time and memory it takes."""
        forget_peak()
        begin = perf_counter()
        prediction = self.run(item)
        self.first_seconds = perf_counter() - begin
        with suppress(OSError):  # a kernel that does not tell
            self.first_peak = status_bytes("VmHWM")
        self._writes_files = bool(prediction.files)
        return prediction

    def prepared_shape(self, item: Item, name: str) -> tuple[int, ...] | None:
        """Return the shape that preprocessing gives the input ``name``; None where it refuses the item."""
        try:
            data = preprocess(self._built, self._complete(item))
        except InputNotProcessable:
            return None
        value = data if self.bare else data.get(name)
        return tuple(value.shape) if value is not None and is_array(value) else None

    def use_record_pass(self, items: Sequence[Item]) -> bool:
        """Take the lean way for records if it gives the same bits on all ``items``; tell whether it does."""
        if type(self._built.evaluator) is not SupervisedEvaluator or self._built.evaluator.amp:
            return False
        expected = [self._outcome(item) for item in items]
        usual = self._pass
        # A recording repeats what torch does and nothing else: files that a step writes would be missing.
        for way in (RecordSteps,) if self._writes_files else (RecordGraph, RecordSteps):
            try:
                self._pass = way(self._built, items[0])
            except Exception:  # noqa: BLE001, S112 - a bundle may refuse to be recorded in any way it likes
                continue
            outcomes = [self._outcome(item) for item in items]  # all, then compared: none may lie in another's memory
            if all(map(_same, expected, outcomes)):
                return True
        self._pass = usual
        return False

    def _outcome(self, item: Item) -> Sequence[OutputArray] | None:
        try:
            return self.run(dict(item)).arrays
        except ModelFailure:
            return None


def _linked(value: Any, folder: Path) -> Any:
    if isinstance(value, list):
        return [_linked(one, folder) for one in value]
    if not isinstance(value, str) or not Path(value).is_file():
        return value
    link = folder / Path(value).name
    link.symlink_to(value)
    return str(link)


def _same(left: Sequence[OutputArray] | None, right: Sequence[OutputArray] | None) -> bool:
    if left is None or right is None:
        return left is right
    return [item.name for item in left] == [item.name for item in right] and all(
        a.array.dtype == b.array.dtype and np.array_equal(a.array, b.array, equal_nan=True)
        for a, b in zip(left, right, strict=True)
    )
