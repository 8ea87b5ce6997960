"""Writes random weights of the right shape where a bundle's inference configuration looks for them.

``python random_weights.py FOLDER`` builds the networks of the bundle in FOLDER as its configuration says, and saves
what each of its loaders would read: state dictionaries under the key that the loader takes, and arrays where a
configuration reads an architecture. Nothing is known of any one bundle.
"""

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bedside.runtime.torchvision_ops import make_importable

make_importable()  # before MONAI looks for it

# ruff: noqa: E402 - what is imported from here on imports MONAI
from monai.handlers import CheckpointLoader
from monai.networks.nets import AutoencoderKL, DiffusionModelUNet

from bedside.bundle.folder import open_bundle
from bedside.runtime.building import prepare
from bedside.runtime.configuration import Configuration, components, look_up, target_of


class _Absent(dict[str, Any]):
    """Stands for what a file would hold; remembers what it was used for."""

    def __init__(self, path: Path, keys: tuple[str, ...] = ()) -> None:
        super().__init__()
        self.path, self.keys_to_here = path, keys

    def __getitem__(self, key: str) -> Any:
        if key.startswith(("arch_code", "node_a")):
            return _architecture()[key]
        if key == "scale_factor":
            return torch.tensor(1.0)
        return _Absent(self.path, (*self.keys_to_here, key))

    def __contains__(self, key: object) -> bool:
        return True


def _architecture() -> dict[str, Any]:
    """Return an architecture of MONAI's differentiable search: each resolution goes its own way."""
    blocks, depths = 12, 4
    arch_a = np.zeros((blocks, 3 * depths - 2))
    arch_a[:, ::3] = 1
    return {
        "arch_code_a": arch_a,
        "arch_code_c": np.ones_like(arch_a),
        "node_a": np.ones((blocks + 1, depths)),
    }


_saved: dict[Path, dict[str, Any]] = {}


def _save(path: Path, keys: tuple[str, ...], state: Any) -> None:
    content: Any = state
    if keys:
        content = _saved.setdefault(path, {})
        place = content
        for key in keys[:-1]:
            place = place.setdefault(key, {})
        place[keys[-1]] = state
        content.setdefault("scale_factor", torch.tensor(1.0))
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)


def _record_loads() -> None:
    """Have loading write what it would have read."""

    def load(file: Any, *_: Any, **__: Any) -> Any:
        path = Path(getattr(file, "name", file))
        return _Absent(path)

    original = torch.nn.Module.load_state_dict

    def load_state_dict(self: torch.nn.Module, state: Any, *args: Any, **options: Any) -> Any:
        if isinstance(state, _Absent):
            return _save(state.path, state.keys_to_here, self.state_dict())
        return original(self, state, *args, **options)

    def load_old_state_dict(self: torch.nn.Module, state: Any, **_: Any) -> None:
        load_state_dict(self, state)

    torch.load = load  # type: ignore[assignment]
    torch.nn.Module.load_state_dict = load_state_dict  # type: ignore[assignment,method-assign]
    for network in (AutoencoderKL, DiffusionModelUNet):
        network.load_old_state_dict = load_old_state_dict


def _load_checkpoint(loader: CheckpointLoader) -> None:
    states = {key: part.state_dict() for key, part in loader.load_dict.items()}
    path = Path(loader.load_path)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(next(iter(states.values())) if len(states) == 1 and "model" in states else states, path)


def _resolved(configuration: Configuration, place: str) -> Any:
    """Build a part; make the files, empty, that constructors open before they read them."""
    while True:
        try:
            return configuration.resolve(place)
        except Exception as error:
            cause: BaseException = error
            while cause.__cause__ is not None:
                cause = cause.__cause__
            if not isinstance(cause, FileNotFoundError) or cause.filename is None:
                raise
            Path(cause.filename).parent.mkdir(parents=True, exist_ok=True)
            Path(cause.filename).touch(exist_ok=False)
            configuration.renew([])


def write_weights(root: Path, output_dir: Path) -> None:
    """Write every file of weights that the inference configuration of a bundle reads."""
    plan = prepare(open_bundle(root), torch.device("cpu"), output_dir)
    _record_loads()
    content = plan.parser.get()
    loaders = [place for place, part in components(content) if target_of(part) == "CheckpointLoader"]
    for place in loaders:
        look_up(content, place).pop("_disabled_", None)
    configuration = Configuration(plan.parser, plan.run_id)
    reading = [name for name, text in content.items() if isinstance(text, str) and "torch.load(" in text]
    for name in reading:
        configuration.resolve(name)
    for name, text in content.items():
        if isinstance(text, str) and "load" in text and name not in reading and "load_state_dict" in text:
            configuration.resolve(name)
    for place in loaders:
        _load_checkpoint(_resolved(configuration, place))
    for path in set(_architectures(configuration, reading)):
        torch.save(_architecture(), path)


def _architectures(configuration: Configuration, reading: list[str]) -> list[Path]:
    return [
        value.path
        for name in reading
        if isinstance(value := configuration.resolve(name), _Absent)
        and f"@{name}['arch_code" in str(configuration.content)
    ]


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    folder = Path(sys.argv[1]).resolve()
    os.chdir(folder)
    sys.path.insert(0, str(folder))
    sys.dont_write_bytecode = True
    write_weights(folder, Path(sys.argv[2]))
