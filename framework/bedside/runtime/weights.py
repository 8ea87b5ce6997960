"""Weights: read once, from the bundle, to the device that is there; never from the internet."""

from collections.abc import Callable
from functools import wraps
from pickle import UnpicklingError
from typing import Any

import numpy as np
import torch
from ignite.engine import Events
from monai.handlers import CheckpointLoader

from bedside.errors import LoadFailed

NUMPY_SHIM = "torch-numpy-in-weights"
applied: set[str] = set()
"""Names of shims that loading took, beyond those that the configuration showed to be needed."""


def read_to(device: torch.device) -> None:
    """Have ``torch.load`` in this process read to ``device``, whatever the caller says.

    Weights saved on a GPU fail on a CPU unless told where to go (Model Zoo issues 518, 613), and expressions say it
    to no one, or name a GPU. Since torch 2.6 files are read as weights only, and NumPy arrays in them are refused:
    they are data, not code, and are let in.
    """
    original = getattr(torch.load, "__wrapped__", torch.load)
    applied.clear()

    @wraps(original)
    def load(file: Any, _map_location: Any = None, *args: Any, **options: Any) -> Any:
        options["map_location"] = device
        try:
            content = original(file, *args, **options)
        except UnpicklingError as error:
            if "numpy" not in str(error):
                raise
            with torch.serialization.safe_globals(_numpy_globals()):
                content = original(file, *args, **options)
            applied.add(NUMPY_SHIM)
        _downloads.skipped = False  # what a constructor wanted has been replaced by what the bundle brings
        return content

    torch.load = load  # type: ignore[assignment]


def _numpy_globals() -> list[Any]:
    """Return what NumPy arrays and numbers in a file refer to: constructors of data, which run no code of the file."""
    dtypes = [getattr(np.dtypes, name) for name in dir(np.dtypes) if name.endswith("DType")]
    multiarray = np._core.multiarray  # type: ignore[attr-defined]  # noqa: SLF001 - the name that a pickle holds
    return [np.ndarray, np.dtype, multiarray._reconstruct, multiarray.scalar, *dtypes]  # noqa: SLF001


class LoadOnce:
    """Calls the checkpoint loaders of engines, each once.

    As handlers they fire whenever an engine starts, so every run would read the weights again.
    """

    def __init__(self) -> None:
        self._loaded: set[tuple[str, tuple[int, ...]]] = set()

    def __call__(self, engine: Any) -> None:
        """Load what has not been loaded, and take the loaders off the engine."""
        handlers = engine._event_handlers[Events.STARTED]  # noqa: SLF001 - ignite offers no other way to them
        for handler in [handler for handler, *_ in handlers if isinstance(handler, CheckpointLoader)]:
            key = (str(handler.load_path), tuple(id(part) for part in handler.load_dict.values()))
            if key not in self._loaded:
                handler(engine)
                self._loaded.add(key)
            engine.remove_event_handler(handler, Events.STARTED)


class _Downloads:
    skipped = False


_downloads = _Downloads()


class _NotDownloaded(dict[str, Any]):
    """Stands for weights that were not downloaded."""


def skip_downloads() -> None:
    """Have constructors that want weights from the internet keep the ones they made.

    :func:`require_weights` then makes sure that the bundle has brought its own.
    """
    _downloads.skipped = False

    def skip(*_: Any, **__: Any) -> _NotDownloaded:
        _downloads.skipped = True
        return _NotDownloaded()

    torch.hub.load_state_dict_from_url = skip
    for place in _importers():
        place.load_state_dict_from_url = skip
    torch.nn.Module.load_state_dict = _tolerant(torch.nn.Module.load_state_dict)  # type: ignore[method-assign]


def require_weights() -> None:
    """Raise LoadFailed where a download was skipped and no weights of the bundle have been read since."""
    if _downloads.skipped:
        raise LoadFailed("the bundle wants weights from the internet and brings none of its own")


def _importers() -> list[Any]:
    from monai.networks.nets import densenet, senet  # noqa: PLC0415 - for bundles that need them

    try:
        from torchvision.models import _api  # type: ignore[import-not-found,unused-ignore]  # noqa: PLC0415
    except (ImportError, RuntimeError):
        return [densenet, senet]
    return [densenet, senet, _api]


def _tolerant(original: Callable[..., Any]) -> Callable[..., Any]:
    if hasattr(original, "__wrapped__"):
        return original

    @wraps(original)
    def load_state_dict(self: torch.nn.Module, state_dict: Any, *args: Any, **options: Any) -> Any:
        return None if isinstance(state_dict, _NotDownloaded) else original(self, state_dict, *args, **options)

    return load_state_dict
