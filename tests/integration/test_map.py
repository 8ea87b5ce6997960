"""MONAI Application Packages as real images: built by buildah, run as another host would, without network or server."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from tests.acceptance.test_dicom import made
from tests.unit.codecs.dicom.cases import MAKE, without_times
from tests.waiting import wait_until

from bedside.bundle.folder import open_bundle
from bedside.monai_deploy.model import LocalModel, read_folder
from bedside.monai_deploy.package import BASE_IMAGE, Kind, export
from bedside.settings import LimitSettings, Settings

ROOT = Path(__file__).resolve().parents[2]
APPS = ROOT / "apps"
BASE = os.environ.get("BEDSIDE_MAP_BASE", BASE_IMAGE)
INSTALL = f"EXTRAS=signing,oci,dicom,map IMAGE={BASE} deploy/docker/build.sh cpu (apt-get install buildah podman runc)"
# Those of deploy/k8s/base/deployment.yaml; limits, because a container may not raise those of the machine.
CONFINED = (
    *("--network", "none", "--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL"),  # noqa: S108 - the container's
    *("--security-opt", "no-new-privileges", "--ulimit", "nofile=16384:16384", "--ulimit", "nproc=4096:4096"),
)
PODMAN = ("podman", "--runtime", "runc", "--cgroup-manager", "cgroupfs", "--events-backend", "file")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def call(*command: str) -> str:
    """Run a command; return what it printed."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{' '.join(command)}\n{done.stdout[-2000:]}{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return an image of this tree: Bedside's own for all that it installs, with the framework of here in its place.

    An image is minutes of work and may be of any commit; a package that an older one answers proves nothing of this.
    """
    if not all(map(shutil.which, ("buildah", "podman", "runc"))):
        pytest.skip(INSTALL)
    if subprocess.run(("buildah", "inspect", "--type", "image", BASE), capture_output=True, check=False).returncode:
        pytest.skip(INSTALL)
    context, name = tmp_path_factory.mktemp("base"), f"localhost/test-map-{os.getpid()}:base"
    shutil.copytree(ROOT / "framework" / "bedside", context / "bedside", ignore=shutil.ignore_patterns("__pycache__"))
    replace = "import bedside, os, shutil; here = os.path.dirname(bedside.__file__); shutil.rmtree(here); "
    replace += "shutil.move('/tmp/bedside', here)"
    (context / "Dockerfile").write_text(
        f'FROM {BASE}\nUSER 0\nCOPY bedside /tmp/bedside\nRUN python3 -c "{replace}"\nUSER 10001:10001\n'
    )
    call("buildah", "build", "--isolation", "chroot", "--network", "host", "--pull-never", "--tag", name, str(context))
    yield name
    call("buildah", "rmi", name)


@pytest.fixture
def build(base: str, tmp_path: Path) -> Iterator[Callable[[str, Kind], str]]:
    """Return a function that builds a bundle's package and returns the image's name."""
    built: list[str] = []

    def make(bundle: str, kind: Kind) -> str:
        context, name = export(APPS / bundle, tmp_path / kind, kind=kind), f"localhost/test-map-{os.getpid()}:{kind}"
        call("buildah", "build", "--isolation", "chroot", "--network", "host", "--pull-never", "--build-arg",
             f"BASE_IMAGE={base}", "--tag", name, str(context))  # fmt: skip
        built.append(name)
        return name

    yield make
    for name in built:
        call("buildah", "rmi", name)


@pytest.fixture
def study(tmp_path: Path) -> Path:
    """Return the folder of a made-up MR series."""
    folder = tmp_path / "in"
    folder.mkdir()
    for number, data in enumerate(made(MAKE)):
        (folder / f"{number}.dcm").write_bytes(data)
    return folder


def opened(folder: Path) -> Path:
    """Return a folder that the container's user may write."""
    folder.mkdir()
    folder.chmod(0o777)
    return folder


def test_a_package_answers_as_the_service(
    build: Callable[[str, Kind], str], study: Path, tmp_path: Path, settings: Settings
) -> None:
    """No network, nothing to write but /tmp and the output folder, no capability: the same objects but for the time."""
    image, output = build("hippocampus_mr", "application"), opened(tmp_path / "out")
    volumes = ("-v", f"{study}:/var/holoscan/input:ro", "-v", f"{output}:/var/holoscan/output")
    call(*PODMAN, "run", "--rm", *CONFINED, *volumes, image)
    with LocalModel(APPS / "hippocampus_mr", settings) as model:
        expected = model.answer(read_folder(study, LimitSettings()))
    assert {path.name for path in output.iterdir()} == {result.name for result in expected}
    for result in expected:
        assert without_times((output / result.name).read_bytes()) == without_times(result.data)


def test_a_package_describes_itself(build: Callable[[str, Kind], str], tmp_path: Path) -> None:
    """`show` prints the manifests, `extract` gives the bundle back; labels are those of the specification."""
    image, target = build("hippocampus_mr", "application"), opened(tmp_path / "exported")
    shown = json.loads(call(*PODMAN, "run", "--rm", *CONFINED, image, "show", "app"))
    assert shown == json.loads((tmp_path / "application/rootfs/etc/holoscan/app.json").read_bytes())
    call(*PODMAN, "run", "--rm", *CONFINED, "-v", f"{target}:/var/run/holoscan/export", image, "extract")
    bundle = open_bundle(APPS / "hippocampus_mr")
    assert open_bundle(target / "models" / "hippocampus_mr").digest == bundle.digest
    labels = json.loads(call("buildah", "inspect", "--type", "image", image))["OCIv1"]["config"]["Labels"]
    assert labels["org.opencontainers.image.title"] == "hippocampus_mr"
    assert labels["org.opencontainers.image.version"] == shown["version"] == bundle.metadata.version
    environment = call(*PODMAN, "run", "--rm", *CONFINED, image, "env").splitlines()
    assert {f"{name}={value}" for name, value in shown["environment"].items()} <= set(environment)


def test_a_package_without_input_says_so(build: Callable[[str, Kind], str]) -> None:
    """It ends with status 1 and one sentence."""
    image = build("hippocampus_mr", "application")
    done = subprocess.run([*PODMAN, "run", "--rm", *CONFINED, image], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "the input folder holds no file" in done.stderr.splitlines()[-1]


def test_the_same_image_is_a_service(build: Callable[[str, Kind], str]) -> None:
    """Of type `service`, it runs until it is stopped and its readiness probe is answered."""
    image, name = build("hippocampus_mr", "service"), f"test-map-{os.getpid()}"
    probe = json.loads(call(*PODMAN, "run", "--rm", *CONFINED, image, "show", "app"))["readiness"]
    call(*PODMAN, "run", "--detach", "--no-healthcheck", "--name", name, *CONFINED, "--env", "BEDSIDE_ENV=test", image)
    try:
        url = f"http://127.0.0.1:{probe['port']}{probe['path']}"

        def ready() -> bool:
            state = call(*PODMAN, "inspect", "--format", "{{.State.Running}}", name).strip()
            assert state == "true", call(*PODMAN, "logs", name)
            health = [*PODMAN, "exec", name, "bedside", "health", "--url", url]
            return subprocess.run(health, check=False).returncode == 0

        wait_until(ready, "the container is ready")
        call(*PODMAN, "stop", "--time", "60", name)
        assert call(*PODMAN, "inspect", "--format", "{{.State.ExitCode}}", name).strip() == "0"
    finally:
        call(*PODMAN, "rm", "--force", name)
