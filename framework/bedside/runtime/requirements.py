"""What a bundle needs that is not here: found by reading its configuration and code, before anything is built.

Building a bundle may take a minute before the import that fails. Reading takes a few milliseconds, and names the
package.
"""

import ast
import importlib.util
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

from bedside.errors import LoadFailed
from bedside.runtime.configuration import components, target_of, texts

_DISTRIBUTIONS = {
    "cv2": "opencv-python-headless",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "PIL": "pillow",
    "yaml": "pyyaml",
    "cucim": "cucim-cu12",
    "segment_anything": "segment-anything",
    "SimpleITK": "simpleitk",
    "generative": "monai-generative",
    "openslide": "openslide-python openslide-bin",
    "mpl_toolkits": "matplotlib",
    "ignite": "pytorch-ignite",
    "attr": "attrs",
    "dateutil": "python-dateutil",
    "pynvml": "nvidia-ml-py",
}
"""Packages that are installed under another name than they are imported by."""

_COMPONENTS = {
    "SwinUNETR": "einops",
    "UNETR": "einops",
    "ViT": "einops",
    "ViTAutoEnc": "einops",
    "TorchVisionFCModel": "torchvision",
    "TorchVisionFullyConvModel": "torchvision",
    "CellSamWrapper": "segment_anything",
    "KeepLargestConnectedComponentd": "skimage",
    "KeepLargestConnectedComponent": "skimage",
    "RemoveSmallObjectsd": "skimage",
    "HoVerNetInstanceMapPostProcessingd": "skimage",
    "HoVerNetNuclearTypePostProcessingd": "skimage",
    "HoVerNetPostProcessing": "skimage",
    "MaskedPatchWSIDataset": "skimage",
    "FillHolesd": "scipy",
}
"""MONAI's components that need a package which MONAI does not."""

_READERS = {"itkreader": "itk", "nibabelreader": "nibabel", "pilreader": "PIL", "pydicomreader": "pydicom"}
_READERS |= {"nrrdreader": "nrrd", "cucim": "cucim", "openslide": "openslide", "tifffile": "tifffile"}
_IMPORT = re.compile(r"^\$\s*(?:from|import)\s")
_OWN_CODE = re.compile(r"^\$?\s*([A-Za-z_]\w*(?:\.\w+)+)")


def require_packages(config: Mapping[str, Any], root: Path) -> None:
    """Raise LoadFailed with the install line where a package is missing that the bundle imports."""
    needed = {*_from_expressions(config), *_from_components(config), *_from_code(config, root)}
    missing = sorted(name for name in needed if not _is_here(name, root))
    if missing:
        names = ", ".join(f"'{name}'" for name in missing)
        noun = "package" if len(missing) == 1 else "packages"
        raise LoadFailed(f"the bundle needs the {noun} {names}: {install_line(*missing)}")


def require_device(config: Mapping[str, Any], device: torch.device) -> None:
    """Raise LoadFailed where the bundle asks for what only CUDA can do."""
    for place, part in components(config):
        if device.type != "cuda" and part.get("use_flash_attention") is True:
            raise LoadFailed(
                f"the bundle needs CUDA: {place.replace('::', '.')} uses flash attention, which a CPU cannot run",
                field=place.replace("::", "#"),
            )


def install_line(*packages: str) -> str:
    """Return the command that installs packages, given the names that they are imported by."""
    return f"pip install {' '.join(_DISTRIBUTIONS.get(name, name) for name in packages)}"


def other_versions(packages: Mapping[str, str]) -> str:
    """Tell which packages are here in another version than a bundle was made with; a patch is not another one."""
    found = []
    for name, version in packages.items():
        with suppress(metadata.PackageNotFoundError):
            here = metadata.version(name)
            if here.split(".")[:2] != version.split(".")[:2]:
                found.append(f"{name} {version} ({here} here)")
    return ", ".join(found)


def _from_expressions(config: Mapping[str, Any]) -> Iterator[str]:
    for key in ("imports", "import"):
        for text in texts(config.get(key)):
            if _IMPORT.match(text):
                yield from (name.partition(".")[0] for name in _statement(text[1:].strip()))


def _from_components(config: Mapping[str, Any]) -> Iterator[str]:
    for _, part in components(config):
        if target_of(part) in _COMPONENTS:
            yield _COMPONENTS[target_of(part)]
        reader = part.get("reader")
        if isinstance(reader, str) and part.get("_disabled_") is not True:
            name = _READERS.get(reader.lower().rpartition(".")[2])
            if name:
                yield name


def _from_code(config: Mapping[str, Any], root: Path) -> Iterator[str]:
    """Yield what the bundle's own modules import, those that the configuration leads to and those that they import."""
    waiting = [*_own_modules(config, root)]
    seen: set[Path] = set()
    while waiting:
        path = waiting.pop()
        if path in seen:
            continue
        seen.add(path)
        for module in _imports(path, root):
            own = list(_files_of(module, root))
            waiting += own
            if not own:
                yield module.partition(".")[0]


def _own_modules(config: Mapping[str, Any], root: Path) -> Iterator[Path]:
    for text in texts(dict(config)):
        found = _OWN_CODE.match(text)
        if found:
            yield from _files_of(found[1], root)
        if _IMPORT.match(text):
            for name in _statement(text[1:].strip()):
                yield from _files_of(name, root)


def _files_of(module: str, root: Path) -> Iterator[Path]:
    """Yield the files that importing ``module`` runs, where the bundle has it: packages on the way, and itself."""
    place = root
    for step in module.split("."):
        place /= step
        for path in (place / "__init__.py", place.with_suffix(".py")):
            if path.is_file():
                yield path


def _imports(path: Path, root: Path) -> list[str]:
    try:
        tree = ast.parse(path.read_text(errors="replace"))
    except (SyntaxError, ValueError):
        return []  # importing it will say so
    package = ".".join(path.parent.relative_to(root).parts)
    return list(_modules(tree, package))


def _modules(node: ast.AST, package: str) -> Iterator[str]:
    """Yield the modules imported when a module is run: not in functions, not where a failure is foreseen."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom):
            yield from _imported_from(child, package)
        elif not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.Try | ast.If):
            yield from _modules(child, package)


def _imported_from(node: ast.ImportFrom, package: str) -> Iterator[str]:
    parts = package.split(".") if package else []
    base = parts[: len(parts) - node.level + 1] if node.level else []
    module = ".".join([*base, *([node.module] if node.module else [])])
    if node.level == 0:
        yield module
    yield from (f"{module}.{alias.name}" for alias in node.names if node.level or module)


def _statement(text: str) -> Iterator[str]:
    try:
        yield from _modules(ast.parse(text), "")
    except SyntaxError:
        return  # MONAI will say so


def _is_here(name: str, root: Path) -> bool:
    if name in sys.modules or name in sys.stdlib_module_names or any(_files_of(name, root)) or (root / name).is_dir():
        return True
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False
