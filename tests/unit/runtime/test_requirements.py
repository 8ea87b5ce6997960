"""What is missing is found by reading, and named with the line that installs it."""

from pathlib import Path
from typing import Any

import pytest
import torch

from bedside.errors import LoadFailed
from bedside.runtime.requirements import install_line, require_device, require_packages


def write(root: Path, **modules: str) -> Path:
    """Write a package ``scripts`` with these modules."""
    (root / "scripts").mkdir()
    (root / "scripts" / "__init__.py").write_text(modules.pop("init", ""))
    for name, text in modules.items():
        (root / "scripts" / f"{name}.py").write_text(text)
    return root


@pytest.mark.parametrize(
    ("config", "package"),
    [
        ({"imports": ["$import absent_one"]}, "absent_one"),
        ({"import": ["$from absent_one.inner import thing"]}, "absent_one"),
        ({"network": {"_target_": "scripts.net.Net"}}, "absent_two"),
        ({"imports": ["$from scripts import helper"]}, "absent_three"),
        ({"network": "$scripts.net.make(@x)"}, "absent_two"),
    ],
)
def test_a_package_that_is_not_here_is_named(config: dict[str, Any], package: str, tmp_path: Path) -> None:
    """In imports of the configuration, and in modules that it leads to."""
    root = write(
        tmp_path, net="import absent_two.part\n", helper="from .deeper import x\n", deeper="import absent_three"
    )
    with pytest.raises(LoadFailed, match=rf"'{package}': pip install {package}$"):
        require_packages(config, root)


def test_what_inference_does_not_import_is_not_needed(tmp_path: Path) -> None:
    """Training code, imports in functions, and imports whose failure is foreseen."""
    code = (
        "import json\ntry:\n    import absent_one\nexcept ImportError:\n    pass\ndef later():\n    import absent_two\n"
    )
    root = write(tmp_path, net=code, train="import absent_three\n")
    require_packages({"imports": ["$import scripts"], "network": {"_target_": "scripts.net.Net"}}, root)


def test_every_package_is_in_one_line(tmp_path: Path) -> None:
    """One attempt tells all that is missing."""
    config = {"imports": ["$import absent_one", "$import absent_two"]}
    with pytest.raises(LoadFailed, match="packages 'absent_one', 'absent_two': pip install absent_one absent_two"):
        require_packages(config, tmp_path)


def test_packages_are_installed_under_other_names_than_they_are_imported_by() -> None:
    """The line works when pasted."""
    assert install_line("skimage", "cv2", "einops") == "pip install scikit-image opencv-python-headless einops"


def test_code_that_does_not_parse_is_left_to_its_import(tmp_path: Path) -> None:
    """Python's own message is the better one."""
    root = write(tmp_path, net="def broken(:\n")
    require_packages({"network": {"_target_": "scripts.net.Net"}, "imports": ["$import ("]}, root)


def test_cuda_is_asked_for_where_only_cuda_helps() -> None:
    """The field is the part's place in the configuration."""
    config = {"network": {"_target_": "Net", "use_flash_attention": True}}
    require_device(config, torch.device("cuda"))
    with pytest.raises(LoadFailed, match="needs CUDA") as caught:
        require_device(config, torch.device("cpu"))
    assert caught.value.field == "network"
