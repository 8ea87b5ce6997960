"""A warm bundle: one item in, its results out, by the bundle's own steps.

Two ways through the same steps. :class:`EvaluatorPass` calls the bundle's own engine for one iteration, so whatever a
bundle's evaluator does (its own ``_iteration``, prompts, patches) happens. :class:`RecordPass` leaves the engine's
event machinery out, which costs more than a tabular network does; it is taken only for records, only where the
evaluator is MONAI's own, and only after it has given the same bits as the evaluator on the warm-up item.
"""

import shutil
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol

import numpy as np
import torch
from monai.data import MetaTensor, list_data_collate, set_track_meta
from monai.engines import SupervisedEvaluator
from monai.transforms import Compose
from monai.utils import CommonKeys

from bedside.errors import InputNotProcessable, ModelFailure, RunFailed
from bedside.runtime.building import BuiltBundle
from bedside.runtime.saving import Kept, keep_in_memory
from bedside.types import OutputArray, OutputFile, Prediction

MAX_OUTPUT_FILE_BYTES = 1 << 30

Item = dict[str, Any]


class _Pass(Protocol):
    def __call__(self, item: Item) -> tuple[Mapping[str, Any], dict[str, float]]:
        """Return the results by name and the seconds by stage."""
        ...


class BundleEngine:
    """Runs one bundle, one item at a time; not thread-safe."""

    def __init__(self, built: BuiltBundle) -> None:
        self._built = built
        self._kept: Kept = keep_in_memory(_postprocessing(built.evaluator))
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
            raise RunFailed(**_told(error)) from error
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
        usual, self._pass = self._pass, RecordPass(self._built, items[0])
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
            raise RunFailed(**_told(error)) from error
        finally:
            # An engine keeps its last batch: somebody's images, and memory.
            evaluator.state.batch = evaluator.state.output = None
        return results, {"preprocess": ready - begin, "inference": perf_counter() - ready}


class RecordPass:
    """The same steps for one record, called directly.

    Args:
        built: the bundle.
        sample: one record, to record the network with.
    """

    def __init__(self, built: BuiltBundle, sample: Item) -> None:
        evaluator = built.evaluator
        self._device = built.device
        self._prepare, self._inferer = evaluator.prepare_batch, evaluator.inferer
        self._before = _chain(built.preprocessing)
        self._after = _chain(_postprocessing(evaluator))
        self._network = recorded(evaluator.network, self._inputs(self._before(dict(sample))))

    def __call__(self, item: Item) -> tuple[Mapping[str, Any], dict[str, float]]:
        """Preprocess, infer, postprocess one record."""
        begin = perf_counter()
        try:
            data = self._before(item)
        except Exception as error:
            raise InputNotProcessable(**_told(error)) from error
        try:
            with torch.inference_mode():
                data[CommonKeys.PRED] = self._inferer(self._inputs(data), self._network)[0]
                result = self._after(data)
        except Exception as error:
            raise RunFailed(**_told(error)) from error
        return {"pred": result[CommonKeys.PRED]}, {"inference": perf_counter() - begin}

    def _inputs(self, data: Item) -> Any:
        return self._prepare({key: _batched(value) for key, value in data.items()}, self._device, False)[0]


def recorded(network: torch.nn.Module, inputs: Any) -> Any:
    """Return a network as a recorded graph, or as it is where a recording could be wrong.

    Calling the modules of a small network one by one costs three times its arithmetic. A network that branches on its
    data cannot be recorded: torch warns, and here the warning is the refusal.
    """
    try:
        with warnings.catch_warnings(), torch.no_grad():
            warnings.simplefilter("ignore")
            warnings.simplefilter("error", torch.jit.TracerWarning)  # type: ignore[attr-defined]
            graph = torch.jit.freeze(torch.jit.trace(network, inputs))  # type: ignore[no-untyped-call]
        for _ in range(3):  # its first runs optimise it
            graph(inputs)
    except Exception:  # noqa: BLE001 - whatever cannot be recorded runs as it is
        return network
    return graph


def _chain(transform: Any) -> Any:
    """Return plain ``Compose`` objects as one call: their own machinery costs more than most steps."""
    steps = tuple(_steps(transform))

    def apply(data: Any) -> Any:
        for step in steps:
            data = step(data)
        return data

    return apply


def _steps(transform: Any) -> Iterator[Any]:
    if type(transform) is Compose and not transform.lazy:  # its subclasses choose among their transforms
        for inner in transform.transforms:
            yield from _steps(inner)
    elif transform is not None:
        yield transform


def preprocess(built: BuiltBundle, item: Item) -> dict[str, Any]:
    """Apply the bundle's own preprocessing to one item.

    Raises:
        InputNotProcessable: it raised, or gave no dictionary.
    """
    try:
        data = built.preprocessing(item)
    except Exception as error:
        raise InputNotProcessable(**_told(error)) from error
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


def _postprocessing(evaluator: Any) -> Any:
    """Return the transform that the evaluator applies to results; only its handler's closure holds it."""
    for handlers in evaluator._event_handlers.values():  # noqa: SLF001
        for handler, _, _ in handlers:
            if getattr(handler, "__name__", "") == "_run_postprocessing":
                function = getattr(handler, "__wrapped__", handler)
                return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))[
                    "posttrans"
                ].cell_contents
    return None


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


def _batched(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.unsqueeze(0)
    return torch.as_tensor(value).unsqueeze(0) if isinstance(value, np.ndarray) else value


def _same(left: Sequence[OutputArray] | None, right: Sequence[OutputArray] | None) -> bool:
    if left is None or right is None:
        return left is right
    return [item.name for item in left] == [item.name for item in right] and all(
        a.array.dtype == b.array.dtype and np.array_equal(a.array, b.array, equal_nan=True)
        for a, b in zip(left, right, strict=True)
    )


def _told(error: BaseException) -> dict[str, str]:
    """Return the class and the place of the first error: MONAI wraps each one in "applying transform"."""
    while error.__cause__ is not None:
        error = error.__cause__
    return {"cause": type(error).__name__, "where": _frames(error)}


def _frames(error: BaseException) -> str:
    """Return where it happened, without the exception's text, which may quote the input."""
    frames = []
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        frames.append(f"{Path(code.co_filename).name}:{trace.tb_lineno} {code.co_name}")
        trace = trace.tb_next
    return " < ".join(reversed(frames[-4:]))
