"""What `bedside map export` writes: the manifests of the specification, the same files for the same bundle."""

import json
import os
import shutil
import stat
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from bedside.bundle.folder import open_bundle
from bedside.cli import app
from bedside.errors import ConfigurationError, InvalidBundle
from bedside.monai_deploy.package import ENVIRONMENT, SDK_VERSION, export

REPOSITORY = Path(__file__).resolve().parents[3]
HIPPOCAMPUS = REPOSITORY / "apps" / "hippocampus_mr"


def command(*arguments: object) -> Result:
    """Run the command line."""
    return CliRunner().invoke(app, ["map", "export", *map(str, arguments)])


def manifest(context: Path, name: str) -> dict[str, Any]:
    """Return a manifest of a build context."""
    document: dict[str, Any] = json.loads((context / "rootfs/etc/holoscan" / name).read_bytes())
    return document


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return mode and content of every file, and the mode of every folder."""
    return {
        path.relative_to(folder).as_posix(): (
            stat.S_IMODE(path.stat().st_mode),
            path.read_bytes() if path.is_file() else b"",
        )
        for path in folder.rglob("*")
    }


@pytest.fixture
def context(tmp_path: Path) -> Path:
    """Return the build context of the hippocampus application."""
    return export(HIPPOCAMPUS, tmp_path / "map")


def test_the_application_manifest_has_what_the_specification_requires(context: Path) -> None:
    """MAP 1.0, "Table of Application Manifest Fields"; required are command, input and output with their formats."""
    written = manifest(context, "app.json")
    assert written["type"] == "application"
    assert written["command"] == "python3 /opt/holoscan/app/app.py"
    assert written["input"]["path"] == "input/"
    assert {"file", "application/dicom"} <= set(written["input"]["formats"])
    assert written["output"] == {"path": "output/", "format": "file", "formats": ["file"]}
    assert written["workingDirectory"] == "/var/holoscan/"
    assert written["version"] == open_bundle(HIPPOCAMPUS).metadata.version
    assert (written["apiVersion"], written["timeout"]) == ("1.0.0", 0)
    assert not {"readiness", "liveness"} & set(written)


def test_the_environment_is_that_of_the_specification(context: Path) -> None:
    """MAP 1.0, "Table of Environment Variables"; image and manifest say the same."""
    expected = {
        "HOLOSCAN_INPUT_PATH": "/var/holoscan/input/",
        "HOLOSCAN_OUTPUT_PATH": "/var/holoscan/output/",
        "HOLOSCAN_WORKDIR": "/var/holoscan/",
        "HOLOSCAN_MODEL_PATH": "/opt/holoscan/models/",
        "HOLOSCAN_CONFIG_PATH": "/var/holoscan/app.yaml",
        "HOLOSCAN_APP_MANIFEST_PATH": "/etc/holoscan/app.json",
        "HOLOSCAN_PKG_MANIFEST_PATH": "/etc/holoscan/pkg.json",
        "HOLOSCAN_DOCS": "/opt/holoscan/docs/",
        "HOLOSCAN_LOGS": "/var/holoscan/logs/",
    }
    environment = manifest(context, "app.json")["environment"]
    assert expected.items() <= environment.items()
    lines = (context / "Dockerfile").read_text().splitlines()
    assert {f"ENV {name}={value}" for name, value in environment.items()} <= set(lines)
    assert environment == ENVIRONMENT


def test_the_package_manifest_describes_layout_and_resources(context: Path) -> None:
    """MAP 1.0, "Table of Package Manifest Fields"."""
    assert manifest(context, "pkg.json") == {
        "apiVersion": "1.0.0",
        "applicationRoot": "/opt/holoscan/app/",
        "modelRoot": "/opt/holoscan/models/",
        "models": [{"name": "hippocampus_mr", "path": "hippocampus_mr"}],
        "resources": {"cpu": 1, "gpu": 0, "memory": "4Gi", "sharedMemory": "512Mi"},
        "version": open_bundle(HIPPOCAMPUS).metadata.version,
    }


def test_a_service_is_described_with_its_probes(tmp_path: Path) -> None:
    """The same image, described as what runs until it is ended; only app.json and the health check differ."""
    application = tree(export(HIPPOCAMPUS, tmp_path / "application"))
    service = tree(export(HIPPOCAMPUS, tmp_path / "service", kind="service"))
    assert {name for name in service if service[name] != application[name]} == {
        "Dockerfile",
        "rootfs/etc/holoscan/app.json",
    }
    written = manifest(tmp_path / "service", "app.json")
    assert (written["type"], written["command"]) == ("service", "bedside serve /opt/holoscan/models/")
    assert written["input"]["formats"][0] == written["output"]["format"] == "network"
    for probe, path in (("readiness", "/readyz"), ("liveness", "/livez")):
        assert (written[probe]["type"], written[probe]["port"], written[probe]["path"]) == ("http-get", 8000, path)


def test_the_bundle_lies_in_it_digest_for_digest(context: Path) -> None:
    """So results of the package have the UIDs of the service's; its own application is the bundle's."""
    packed = open_bundle(context / "rootfs/opt/holoscan/models/hippocampus_mr")
    assert packed.digest == open_bundle(HIPPOCAMPUS).digest
    assert f'bedside.bundle.digest="{packed.digest}"' in (context / "Dockerfile").read_text()
    assert (context / "rootfs/opt/holoscan/app/app.py").read_bytes() == (HIPPOCAMPUS / "app.py").read_bytes()
    assert {path.name for path in (context / "rootfs/opt/holoscan/docs").iterdir()} >= {"LICENSE", "README.md"}


def test_a_bundle_without_an_application_gets_one(tmp_path: Path) -> None:
    """Beside the bundle, which stays as it was."""
    chest = REPOSITORY / "apps" / "chest_xray_pneumonia"
    context = export(chest, tmp_path / "map")
    assert "bedside.monai_deploy.operators" in (context / "rootfs/opt/holoscan/app/app.py").read_text()
    assert open_bundle(context / "rootfs/opt/holoscan/models" / chest.name).digest == open_bundle(chest).digest
    assert "image/png" in manifest(context, "app.json")["input"]["formats"]


def test_the_same_bundle_gives_the_same_files(context: Path, tmp_path: Path) -> None:
    """Wherever it lies, whatever a run left in it, in another process with another umask and locale."""
    copy = Path(shutil.copytree(HIPPOCAMPUS, tmp_path / "elsewhere" / "hippocampus_mr"))
    for path in copy.rglob("*"):
        os.utime(path, (1, 1))
    (copy / "__pycache__").mkdir()
    (copy / "__pycache__" / "app.pyc").write_bytes(b"left behind")
    program = "import os, sys; os.umask(0o077); from pathlib import Path;"
    program += "from bedside.monai_deploy.package import export; export(*map(Path, sys.argv[1:]))"
    environment = {**os.environ, "LC_ALL": "C", "TZ": "Asia/Tokyo", "PYTHONHASHSEED": "7"}
    subprocess.run([sys.executable, "-c", program, str(copy), str(tmp_path / "again")], check=True, env=environment)
    assert tree(tmp_path / "again") == tree(context)


def test_a_description_cannot_leave_its_label(tmp_path: Path, bundles: Path) -> None:
    """Metadata are somebody else's: quotes, variables and line breaks stay text."""
    root = Path(shutil.copytree(bundles / "volume_segmentation", tmp_path / "ct"))
    metadata = json.loads((root / "configs/metadata.json").read_bytes())
    metadata["description"] = 'a "quoted" $PATH \\\nRUN evil'
    (root / "configs/metadata.json").write_text(json.dumps(metadata))
    dockerfile = (export(root, tmp_path / "map") / "Dockerfile").read_text()
    assert r'description="a \"quoted\" \$PATH \\ RUN evil"' in dockerfile
    assert not [line for line in dockerfile.splitlines() if line.startswith("RUN evil")]


def test_the_manifests_name_the_sdk_that_the_extra_installs() -> None:
    """``sdkVersion`` is no guess: pyproject's extra and the tests' environment have the same."""
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert f"monai-deploy-app-sdk=={SDK_VERSION}" in extras["map"]
    assert f"monai-deploy-app-sdk=={SDK_VERSION}" in (REPOSITORY / "scripts/install_test_servers.sh").read_text()


def test_the_command_writes_a_context(tmp_path: Path) -> None:
    """It prints the folder; its options reach the manifests."""
    result = command(HIPPOCAMPUS, "-o", tmp_path / "map", "--type", "service", "--memory", "2048Mi")
    assert result.exit_code == 0, result.output
    assert str(tmp_path / "map") in result.output.replace("\n", "")
    assert manifest(tmp_path / "map", "app.json")["type"] == "service"
    assert manifest(tmp_path / "map", "pkg.json")["resources"]["memory"] == "2048Mi"


def test_a_folder_with_something_in_it_is_left_alone(tmp_path: Path) -> None:
    """Old files would become part of the package."""
    (tmp_path / "old.txt").write_text("old")
    with pytest.raises(ConfigurationError) as refused:
        export(HIPPOCAMPUS, tmp_path)
    assert refused.value.field == "output"
    assert [path.name for path in tmp_path.iterdir()] == ["old.txt"]


def test_a_package_is_not_written_into_its_bundle(tmp_path: Path, bundles: Path) -> None:
    """It would hold itself, under a digest of what the bundle was before."""
    root = Path(shutil.copytree(bundles / "volume_segmentation", tmp_path / "ct"))
    with pytest.raises(ConfigurationError) as refused:
        export(root, root / "map")
    assert refused.value.field == "output"
    assert not (root / "map").exists()


@pytest.mark.parametrize("memory", ["4 Gi", "0Gi", "1.5Gi", "4GB", "-1Mi", ""])
def test_an_amount_of_memory_is_that_of_the_specification(tmp_path: Path, memory: str) -> None:
    """Whole numbers of Mi or Gi."""
    with pytest.raises(ConfigurationError) as refused:
        export(HIPPOCAMPUS, tmp_path / "map", memory=memory)
    assert refused.value.field == "memory"
    assert not (tmp_path / "map").exists()


@pytest.mark.parametrize("version", ["1.0", "v1.0.0", "01.0.0", "1.0.0.0"])
def test_a_version_must_be_semantic(tmp_path: Path, bundles: Path, version: str) -> None:
    """A host compares them (MAP 1.0, "Image Annotations")."""
    root = Path(shutil.copytree(bundles / "volume_segmentation", tmp_path / "ct"))
    metadata = json.loads((root / "configs/metadata.json").read_bytes())
    (root / "configs/metadata.json").write_text(json.dumps({**metadata, "version": version}))
    with pytest.raises(InvalidBundle) as refused:
        export(root, tmp_path / "map")
    assert refused.value.field == "metadata.json#version"


def test_a_folder_that_is_no_bundle_is_refused(tmp_path: Path) -> None:
    """Before anything is written."""
    (tmp_path / "nothing").mkdir()
    with pytest.raises(InvalidBundle):
        export(tmp_path / "nothing", tmp_path / "map")
    assert not (tmp_path / "map").exists()
