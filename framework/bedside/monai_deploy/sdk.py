"""Makes MONAI Deploy's SDK importable where there is no GPU; imported before it.

Holoscan links to CUDA's runtime library even where nothing uses it. PyPI has it alone (``nvidia-cuda-runtime``, which
the extra ``map`` brings), in a folder that the loader does not search: once it is loaded, its name is enough.
"""

import ctypes
import sys
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

_CUDA_RUNTIME = "libcudart.so.13"


def prepare() -> None:
    """Load CUDA's runtime where PyPI's is installed; another one is the loader's business."""
    # bedside.runtime keeps MONAI from importing the SDK by itself.
    if sys.modules.get("monai.deploy", sys) is None:
        del sys.modules["monai.deploy"]
    with suppress(ModuleNotFoundError):
        found = find_spec("nvidia.cu13")
        for folder in found.submodule_search_locations or () if found is not None else ():
            with suppress(OSError):
                ctypes.CDLL(str(Path(folder, "lib", _CUDA_RUNTIME)), ctypes.RTLD_GLOBAL)


prepare()
