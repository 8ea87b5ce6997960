"""Ways in which a bundle can be bad, each made of a good one: what a rehearsal pushes to see it stopped."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

BUNDLE = "heart_disease"
Change = Callable[[Path], None]


def good(root: Path) -> None:
    """Retrain a little: other weights, hardly other answers."""
    _disturb(root, 1e-5)


def new(root: Path) -> None:
    """Bring a bundle of another name."""
    shutil.copytree(root.with_name(BUNDLE), root)


def wrong_weights(root: Path) -> None:
    """Ship weights that have learnt nothing, and no golden case that could tell."""
    _disturb(root, 10.0)
    (root / "golden" / "cases.json").unlink()


def accuracy_drop(root: Path) -> None:
    """Ship weights that have got worse; the golden cases know."""
    _disturb(root, 0.3)


def slow(root: Path) -> None:
    """Take at least twice as long, with the same answers."""
    size = 600
    work = f"(x.sum() + torch.ones({size}, {size})).matmul(torch.ones({size}, {size})).sum()"
    _postprocess(root, f"$lambda x: torch.softmax(x, dim=-1) + 0 * {work}")


def pickle_payload(root: Path) -> None:
    """Hide a program in the weights."""

    class Payload:
        def __reduce__(self) -> tuple[Callable[..., Any], tuple[str]]:
            return eval, ("__import__('os').getpid()",)  # harmless, and refused all the same

    (root / "models" / "model.pt").write_bytes(pickle.dumps(Payload(), protocol=2))


def lying_metadata(root: Path) -> None:
    """Promise a class that the network never gives; the answers stay those that golden cases and production know."""
    path = root / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    output = metadata["network_data_format"]["outputs"]["pred"]
    output.update(num_channels=3, channel_def={**output["channel_def"], "2": "unclear"})
    path.write_text(json.dumps(metadata, indent=2))


def memory_hog(root: Path) -> None:
    """Ask for a hundred gigabytes at each call, in a process of its own."""
    (root / "bedside.toml").unlink()
    _postprocess(root, "$lambda x: torch.softmax(x, dim=-1) + 0 * (x.sum() + torch.ones(160000, 160000)).sum()")


def crash_at_load(root: Path) -> None:
    """Let the weights fit another network."""
    path = root / "configs" / "inference.json"
    path.write_text(path.read_text().replace('"in_channels": 13', '"in_channels": 12'))


def tamper(root: Path) -> None:
    """Change the weights after they were signed (done to what is published, not to what is committed)."""
    _disturb(root, 0.3)


TAMPERED = "tampered after signing"
KILLED = "killed once it has traffic"
FAULTS: dict[str, Change] = {
    "wrong weights, no golden cases": wrong_weights,
    "accuracy drop": accuracy_drop,
    "slow, 2 times or more": slow,
    "pickle payload": pickle_payload,
    TAMPERED: good,
    "metadata that name a class too many": lying_metadata,
    "memory hog": memory_hog,
    "crash at load": crash_at_load,
    KILLED: good,
}


def next_version(root: Path, version: str) -> None:
    """Give the bundle another version."""
    path = root / "configs" / "metadata.json"
    metadata = json.loads(path.read_text())
    metadata["version"] = version
    metadata["changelog"][version] = "rehearsal"
    path.write_text(json.dumps(metadata, indent=2))


def _disturb(root: Path, scale: float) -> None:
    path = root / "models" / "model.pt"
    weights = torch.load(path, weights_only=True)
    generator = torch.Generator().manual_seed(1)
    torch.save({name: t + scale * torch.randn(t.shape, generator=generator) for name, t in weights.items()}, path)


def _postprocess(root: Path, expression: str) -> None:
    path = root / "configs" / "inference.json"
    document = json.loads(path.read_text())
    document["postprocessing"]["transforms"][0]["func"] = expression
    path.write_text(json.dumps(document, indent=4))
