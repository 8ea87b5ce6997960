"""Bundles that crash, hang, cannot be built, or should not meet."""

from collections.abc import Callable
from pathlib import Path

from tests.assets.bundles.layout import LOAD, changed, plane_network
from tests.assets.bundles.usual import record_classification

_MISBEHAVING = '''
import ctypes, os, time
import torch

class Misbehaving(torch.nn.Linear):
    """Does what the first number says: 101 exits, 102 hangs, 103 raises, 104 reads address zero, 105 prints."""

    def forward(self, x):
        wish = round(float(x[0, 0]) * 10) - 100
        if wish == 1:
            os._exit(3)
        if wish == 2:
            time.sleep(3600)
        if wish == 3:
            raise ValueError("DOE^JOHN 1970-01-01")
        if wish == 4:
            ctypes.string_at(0)
        if wish == 5:
            print("DOE^JOHN")
        return super().forward(x)
'''


def misbehaving(root: Path) -> None:
    """A bundle with code of its own that crashes, hangs or raises when the record asks for it."""
    network = {"_target_": "scripts.network.Misbehaving", "in_features": 3, "out_features": 2}
    record_classification(root, scripts=_MISBEHAVING, network=network)


def scripts_adding(amount: float) -> Callable[[Path], None]:
    """Return a maker of a bundle whose ``scripts`` package adds ``amount``: two of them must not meet."""

    def make(root: Path) -> None:
        code = (
            "import torch\nclass Net(torch.nn.Linear):\n    def forward(self, x):\n"
            f"        return super().forward(x) * 0 + torch.tensor([[{amount}, 0.0]])\n"
        )
        network = {"_target_": "scripts.network.Net", "in_features": 3, "out_features": 2}
        record_classification(root, scripts=code, network=network)

    return make


def missing_package(root: Path) -> None:
    """Imports a package that nobody has."""
    record_classification(root, scripts="import surely_not_installed\n", network={"_target_": "scripts.network.Net"})


def missing_weights(root: Path) -> None:
    """Has no ``models/model.pt``."""
    record_classification(root)
    (root / "models" / "model.pt").unlink()


def broken_configuration(root: Path) -> None:
    """``inference.json`` is cut off."""
    record_classification(root)
    path = root / "configs" / "inference.json"
    path.write_text(path.read_text()[:100])


_FRAGILE = """import os, time, torch
class Net(torch.nn.Conv2d):
    def forward(self, x):
        time.sleep(0.005)  # as a device: a call costs, whatever is in it
        for one in x:
            if one.mean() > 250:
                os._exit(3)
            if one.mean() > 240:
                time.sleep(3600)
            if one.mean() > 200:
                raise ValueError("Doe, John")
        return super().forward(x)
"""


def fragile_pictures(root: Path) -> None:
    """Pictures whose cost is per call; a bright one raises, a brighter one hangs, a white one ends the process."""
    plane_network(root, 1, LOAD, _FRAGILE)
    changed(root, lambda config: config["network_def"].update(_target_="scripts.network.Net"))


def pictures_compared(root: Path) -> None:
    """A network that looks at the whole batch, as a batch norm in training does: company changes an answer."""
    code = (
        "import torch\nclass Net(torch.nn.Conv2d):\n    def forward(self, x):\n"
        "        return super().forward(x - x.mean(0, keepdim=True) * 0.01)\n"
    )
    plane_network(root, 1, LOAD, code)
    changed(root, lambda config: config["network_def"].update(_target_="scripts.network.Net"))


def needs_cuda(root: Path) -> None:
    """Attention that only a GPU has."""
    record_classification(root)
    changed(root, lambda config: config["network_def"].update(use_flash_attention=True))
