"""What a run left, as arrays, JSON values and files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data import MetaTensor
from monai.utils import CommonKeys, MetaKeys

from bedside.types import Json, OutputArray, OutputFile

MAX_OUTPUT_FILE_BYTES = 1 << 30
MAX_VALUE_ELEMENTS = 1 << 20
_INPUTS = {CommonKeys.IMAGE, CommonKeys.LABEL}
_ABOUT_FILES = ("_meta_dict", "_transforms")


def results_of(output: Any) -> dict[str, Any]:
    """Return an engine's output by name, without what came in: a dictionary, a list of one, or the result itself."""
    item = output[0] if isinstance(output, list) and output else output
    if item is None or (isinstance(item, list) and not item):
        return {}
    if not isinstance(item, Mapping):
        return {"pred": item}
    return {str(key): value for key, value in item.items() if value is not None and _is_result(str(key))}


def _is_result(key: str) -> bool:
    return key not in _INPUTS and not key.endswith(_ABOUT_FILES)


def is_array(value: Any) -> bool:
    """Tell whether a result is numbers in rows."""
    return isinstance(value, torch.Tensor | np.ndarray)


def array_of(name: str, value: Any) -> OutputArray:
    """Return a tensor or array as a result: with its geometry where it has one, then channels last, as savers write.

    MONAI's images are channel-first (``EnsureChannelFirst``), and one that no ``SaveImage`` has turned round still is.

    Raises:
        TypeError: its elements are Python objects.
    """
    affine = None
    channel_first = False
    if isinstance(value, MetaTensor):
        affine = value.affine.cpu().numpy().astype(np.float64) if value.affine.shape == (4, 4) else None
        channel_first = value.ndim == _spatial_rank(value) + 1
        value = value.as_tensor()
    array = value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else np.asarray(value)
    if array.dtype.hasobject:
        raise TypeError("objects are no numbers")
    if channel_first:
        array = array[0] if array.shape[0] == 1 else np.ascontiguousarray(np.moveaxis(array, 0, -1))
    return OutputArray(name, array, affine if array.ndim >= 2 else None)


def _spatial_rank(value: MetaTensor) -> int:
    """Return the spatial axes of the image that a tensor came from; what no reader made has three."""
    shape = value.meta.get(MetaKeys.SPATIAL_SHAPE)
    return 3 if shape is None else len(shape)


def values_of(results: Mapping[str, Any]) -> dict[str, Json]:
    """Return the results that JSON can say and that are no arrays: boxes with labels and scores, texts, lists."""
    found = {name: _json(value) for name, value in results.items() if not is_array(value)}
    return {name: value for name, value in found.items() if value is not None}


def _json(value: Any) -> Json:
    """Return a value as JSON; None for what JSON cannot say."""
    if isinstance(value, str | bool | int | float):
        return value
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu().numpy()
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist() if value.size <= MAX_VALUE_ELEMENTS and not value.dtype.hasobject else None
    if isinstance(value, Mapping):
        pairs = {str(key): _json(inner) for key, inner in value.items()}
        return {key: inner for key, inner in pairs.items() if inner is not None} or None
    if isinstance(value, list | tuple):
        items = [_json(inner) for inner in value]
        return None if any(item is None for item in items) else items
    return None


def collect_files(output_dir: Path) -> tuple[OutputFile, ...]:
    """Take the files that a bundle wrote by design out of its output folder; the folders stay, as it made them."""
    files = []
    for path in sorted(output_dir.rglob("*")):
        if path.is_symlink():
            path.unlink()
        elif path.is_file():
            if path.stat().st_size <= MAX_OUTPUT_FILE_BYTES:
                files.append(_output_file(path))
            path.unlink()
    return tuple(files)


def _output_file(path: Path) -> OutputFile:
    suffix = "".join(path.suffixes[-2:])
    return OutputFile(suffix, path.read_bytes(), path.name.removesuffix(suffix))
