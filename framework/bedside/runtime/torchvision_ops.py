"""Makes torchvision importable beside a torch that its compiled part was not built for.

The registries carry torchvision for CUDA; beside a CPU torch its compiled part does not load, and the import fails at
the first operator that it wants to describe (``operator torchvision::nms does not exist``). The models need none of
these operators. Declared without an implementation, they let the import pass, and raise where somebody calls one.
"""

import importlib
import importlib.util
import sys

import torch

_OPERATORS = ("nms", "qnms")
_SCHEMA = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_libraries: list[torch.library.Library] = []  # an operator lives as long as the library that declared it


def make_importable() -> bool:
    """Import torchvision where it is installed, declaring its operators if it needs that; return whether it did."""
    if importlib.util.find_spec("torchvision") is None:
        return False
    try:
        importlib.import_module("torchvision")
    except RuntimeError as error:
        if "torchvision::" not in str(error):
            raise
    else:
        return False
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # half imported
    library = torch.library.Library("torchvision", "DEF")  # type: ignore[no-untyped-call]
    for operator in _OPERATORS:
        library.define(operator + _SCHEMA)  # type: ignore[no-untyped-call]
    _libraries.append(library)
    importlib.import_module("torchvision")
    return True
