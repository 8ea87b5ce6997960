"""The lean ways of running one record, for tabular models whose network costs less than the machinery around it.

:class:`RecordGraph` is everything a bundle does with a record (preprocessing, inferer, network, postprocessing) as one
recorded graph. :class:`RecordSteps` calls the same steps one after the other, with only the network recorded; it
serves bundles whose steps cannot be recorded. The engine takes either only after it has given the same bits as the
bundle's own evaluator (``BundleEngine.use_record_pass``).
"""

import warnings
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Any

import numpy as np
import torch
from monai.transforms import Compose
from monai.utils import CommonKeys
from torch.fx.experimental.proxy_tensor import make_fx
from torch.overrides import TorchFunctionMode

from bedside.errors import InputNotProcessable, RunFailed
from bedside.runtime.building import BuiltBundle
from bedside.runtime.causes import told
from bedside.runtime.saving import postprocessing_of
from bedside.runtime.tracking import untracked
from bedside.types import OutputArray, Prediction

Item = dict[str, Any]


class RecordSteps:
    """The bundle's steps for one record, called directly.

    Args:
        built: the bundle.
        sample: one record, to record the network with.
    """

    def __init__(self, built: BuiltBundle, sample: Item) -> None:
        evaluator = built.evaluator
        self._device = built.device
        self._prepare, self._inferer = evaluator.prepare_batch, evaluator.inferer
        self.before = _chain(built.preprocessing)
        self._after = _chain(postprocessing_of(evaluator))
        with untracked():
            self._network = recorded(evaluator.network, self._inputs(self.before(dict(sample))))

    def __call__(self, item: Item) -> tuple[Mapping[str, Any], dict[str, float]]:
        """Preprocess, infer, postprocess one record."""
        begin = perf_counter()
        with untracked():
            try:
                data = self.before(item)
            except Exception as error:
                raise InputNotProcessable(**told(error)) from error
            try:
                with torch.inference_mode():
                    result = self.after(data, self._network)
            except Exception as error:
                raise RunFailed(**told(error)) from error
        return {CommonKeys.PRED: result}, {"inference": perf_counter() - begin}

    def after(self, data: Any, network: Any) -> Any:
        """Apply inferer, network and postprocessing."""
        data[CommonKeys.PRED] = self._inferer(self._inputs(data), network)[0]
        return self._after(data)[CommonKeys.PRED]

    def _inputs(self, data: Item) -> Any:
        return self._prepare({key: _batched(value) for key, value in data.items()}, self._device, False)[0]


class RecordGraph:
    """All of :class:`RecordSteps` as one graph.

    Raises (on construction):
        Exception: of any kind, where the steps cannot be recorded faithfully: they leave torch for NumPy or Python,
            or branch on the record's values.
    """

    def __init__(self, built: BuiltBundle, sample: Item) -> None:
        ((self._name, vector),) = sample.items()
        steps = RecordSteps(built, sample)

        def whole(values: torch.Tensor) -> Any:
            return steps.after(steps.before({self._name: values}), built.evaluator.network)

        values = torch.from_numpy(vector.copy())
        with untracked(), torch.no_grad(), StaysInTorch():
            flat = make_fx(whole)(values).eval()
        self._run = _planned(_traced(flat, values), values)

    def __call__(self, item: Item) -> Prediction:
        """Run one record; it leaves nothing beside its answer."""
        begin = perf_counter()
        try:
            values = torch.from_numpy(item[self._name])
        except Exception as error:
            raise InputNotProcessable(**told(error)) from error
        try:
            result = self._run(values).numpy()  # without inference_mode, which costs 2 µs: no gradients are left in it
        except Exception as error:
            raise RunFailed(**told(error)) from error
        return Prediction((OutputArray(CommonKeys.PRED, result),), (), {"inference": perf_counter() - begin})


class StaysInTorch(TorchFunctionMode):
    """Refuses what takes values out of torch: a recording would keep the sample's values for ever after."""

    _LEAVING = frozenset({"numpy", "__array__", "tolist", "item", "__bool__", "__float__", "__int__", "__index__"})

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: D105
        if getattr(func, "__name__", "") in self._LEAVING:
            raise TypeError(f"{func.__name__} leaves torch: the step cannot be recorded")
        return func(*args, **(kwargs or {}))


def recorded(network: torch.nn.Module, inputs: Any) -> Callable[[Any], Any]:
    """Return a network as a recorded graph, or as it is where a recording could be wrong.

    Calling the modules of a small network one by one costs three times its arithmetic.
    """
    try:
        return _traced(network, inputs)
    except Exception:  # noqa: BLE001 - whatever cannot be recorded runs as it is
        return network


def _traced(module: torch.nn.Module, inputs: Any) -> torch.jit.ScriptModule:
    """Return the graph of a module, warm. A module that branches on data makes torch warn: here that is an error."""
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        graph = torch.jit.freeze(torch.jit.trace(module, inputs))  # type: ignore[no-untyped-call]
    for _ in range(3):  # its first runs optimise it
        graph(inputs)
    return graph  # type: ignore[no-any-return]


def _planned(graph: torch.jit.ScriptModule, values: torch.Tensor) -> Callable[[torch.Tensor], torch.Tensor]:
    """Return a recorded graph with its operators and memory planned ahead (torch's Static Runtime), where torch can.

    The interpreter looks each operator up and allocates each tensor anew, which is half of what a record costs.
    """
    try:
        planned = torch._C._jit_to_static_module(graph._c)  # noqa: SLF001
        for _ in range(3):  # its first runs learn the sizes
            planned(values)
    except Exception:  # noqa: BLE001 - not every torch has it, nor every graph a plan
        return graph.forward  # a module's own call looks for hooks; it has none
    return planned  # type: ignore[no-any-return]


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


def _batched(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.unsqueeze(0)
    return torch.as_tensor(value).unsqueeze(0) if isinstance(value, np.ndarray) else value
