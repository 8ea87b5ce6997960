"""The compatibility layer: what has changed in libraries since bundles were written, undone where a bundle needs it.

A bundle names the MONAI, NumPy and torch it was made with; what is installed here is newer. Each shim below undoes one
change, by name. It is applied only when the bundle's configuration or code shows that it needs it, in the model's own
process; its name is logged when the model is loaded, and shown by ``bedside bundle inspect``. The table for people is
docs/compatibility.md.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from monai.data.image_writer import ImageWriter
from monai.handlers import ProbMapProducer

from bedside.runtime import weights
from bedside.runtime.configuration import components, target_of, texts

_NUMPY_NAMES: dict[str, Any] = {
    "product": np.prod,
    "cumproduct": np.cumprod,
    "sometrue": np.any,
    "alltrue": np.all,
    "round_": np.round,
    "in1d": lambda *args, **options: np.isin(*args, **options).ravel(),
    "row_stack": np.vstack,
    "float_": np.float64,
    "complex_": np.complex128,
    "unicode_": np.str_,
    "float": float,
    "int": int,
    "bool8": np.bool_,
    "object": object,
    "Inf": np.inf,
    "Infinity": np.inf,
    "NaN": np.nan,
    "NAN": np.nan,
    "PINF": np.inf,
    "NINF": -np.inf,
}
"""Names that NumPy 1.24 and 2.0 to 2.4 took away, and what they stood for."""

_REMOVED_ARGUMENTS = {
    ("SwinUNETR", "img_size"): "",
    ("UNETR", "pos_embed"): "proj_type",
    ("ViT", "pos_embed"): "proj_type",
    ("ViTAutoEnc", "pos_embed"): "proj_type",
}
"""Arguments that MONAI 1.4 and 1.5 took away, with their new name, or none where they had no effect any more."""

_REMOVED_TRANSFORMS: dict[str, dict[str, Any]] = {
    "AddChannel": {"_target_": "EnsureChannelFirst", "channel_dim": "no_channel"},
    "AddChanneld": {"_target_": "EnsureChannelFirstd", "channel_dim": "no_channel"},
    "AsChannelFirst": {"_target_": "EnsureChannelFirst", "channel_dim": -1},
    "AsChannelFirstd": {"_target_": "EnsureChannelFirstd", "channel_dim": -1},
}
"""Transforms that MONAI 1.3 took away, and what its release notes say to use."""

_CUDA_DEVICE = re.compile(r"torch\.device\(\s*(['\"])cuda(:\d+)?\1\s*\)")
_CUDA_TEXT = re.compile(r"cuda(:\d+)?")


@dataclass(frozen=True, slots=True)
class Scene:
    """What a shim may look at, and change: a bundle that has not been built.

    Attributes:
        config: the inference configuration.
        code: the text of every Python file of the bundle.
        device: where the network will be.
    """

    config: dict[str, Any]
    code: str
    device: torch.device

    def mentions(self, pattern: str) -> bool:
        """Tell whether an expression or the bundle's code holds the regular expression."""
        return any(re.search(pattern, text) for text in (*texts(self.config), self.code))


@dataclass(frozen=True, slots=True)
class Shim:
    """One change undone.

    Attributes:
        name: in the log, in ``bedside bundle inspect`` and in docs/compatibility.md.
        apply: undoes the change where the scene needs it; returns whether it did.
    """

    name: str
    apply: Callable[[Scene], bool]


def apply_shims(config: dict[str, Any], root: Path, device: torch.device) -> tuple[str, ...]:
    """Apply what a bundle needs, to its configuration and to the libraries in this process; return the names."""
    scene = Scene(config, _code(root), device)
    return tuple(shim.name for shim in SHIMS if shim.apply(scene))


def _code(root: Path) -> str:
    return "\n".join(path.read_text(errors="replace") for path in sorted(root.rglob("*.py")))


def _numpy_names(scene: Scene) -> bool:
    missing = [
        name
        for name in _NUMPY_NAMES
        if name not in dir(np) and scene.mentions(rf"\b(np|numpy)\.{name}\b(?!\()|\b(np|numpy)\.{name}\(")
    ]
    for name in missing:
        setattr(np, name, _NUMPY_NAMES[name])
    return bool(missing)


def _numpy_scalar(scene: Scene) -> bool:
    """NumPy 2.4 refuses an array of one element where a number belongs; MONAI's probability maps assign such."""
    if not any(target_of(part) == "ProbMapProducer" for _, part in components(scene.config)):
        return False
    original = ProbMapProducer.__call__
    if not hasattr(original, "__wrapped__"):

        @wraps(original)
        def call(self: Any, engine: Any) -> None:
            output = engine.state.output
            if isinstance(output, dict) and np.ndim(output[self.prob_key]) > 1:
                probabilities = np.asarray(output[self.prob_key])
                if probabilities.size == len(probabilities):
                    engine.state.output = {**output, self.prob_key: probabilities.reshape(-1)}
            original(self, engine)

        ProbMapProducer.__call__ = call
    return True


def _arguments(scene: Scene) -> bool:
    changed = False
    for _, part in components(scene.config):
        for (target, argument), renamed in _REMOVED_ARGUMENTS.items():
            if target_of(part) == target and argument in part:
                value = part.pop(argument)
                if renamed:
                    part.setdefault(renamed, value)
                changed = True
    return changed


def _transforms(scene: Scene) -> bool:
    changed = False
    for _, part in components(scene.config):
        replacement = _REMOVED_TRANSFORMS.get(target_of(part))
        if replacement is not None:
            part.update({**replacement, **{key: part[key] for key in replacement.keys() & part.keys() - {"_target_"}}})
            changed = True
    return changed


def _plane_as_nifti(scene: Scene) -> bool:
    """MONAI 1.6 cannot save a plane as NIfTI unless it resamples: the size that it does not change is None."""
    saves = any(target_of(part).startswith("SaveImage") for _, part in components(scene.config))
    original = ImageWriter.__dict__["resample_if_needed"].__func__
    if not saves or hasattr(original, "__wrapped__"):
        return False

    @wraps(original)
    def resample(cls: Any, data_array: Any, *args: Any, output_spatial_shape: Any = None, **options: Any) -> Any:
        try:
            return original(cls, data_array, *args, output_spatial_shape=output_spatial_shape, **options)
        except TypeError:
            if output_spatial_shape is not None:
                raise
            return original(cls, data_array, *args, output_spatial_shape=-1, **options)  # -1: as large as it is

    ImageWriter.resample_if_needed = classmethod(resample)  # type: ignore[arg-type]
    return False  # no change for a bundle that does not meet it, so nothing to tell


def _cuda_device(scene: Scene) -> bool:
    """A device that is written into a configuration is not there on every machine."""
    return scene.device.type != "cuda" and _without_cuda(scene.config, str(scene.device))


def _without_cuda(part: Any, device: str) -> bool:
    changed = False
    for key, value in list(part.items() if isinstance(part, dict) else enumerate(part)):
        if isinstance(value, dict | list):
            changed |= _without_cuda(value, device)
        elif isinstance(value, str):
            replaced = _CUDA_DEVICE.sub(f"torch.device('{device}')", value)
            if key in {"device", "map_location", "sw_device"} and _CUDA_TEXT.fullmatch(value):
                replaced = device
            if replaced != value and "is_available" not in value:
                part[key] = replaced
                changed = True
    return changed


def _no_downloads(scene: Scene) -> bool:
    """Weights that a constructor would download, to be overwritten by the bundle's own a moment later."""
    if not any(part.get("pretrained") is True for _, part in components(scene.config)):
        return False
    weights.skip_downloads()
    return True


SHIMS: Sequence[Shim] = (
    Shim("numpy-removed-names", _numpy_names),
    Shim("numpy-one-element-arrays", _numpy_scalar),
    Shim("monai-removed-arguments", _arguments),
    Shim("monai-removed-transforms", _transforms),
    Shim("monai-plane-as-nifti", _plane_as_nifti),
    Shim("cuda-in-configuration", _cuda_device),
    Shim("pretrained-downloads", _no_downloads),
)
