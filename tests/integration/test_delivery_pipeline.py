"""The pipeline's stages, as GitHub runs them, in a clone of this repository."""

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import httpx
import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DIGEST = "sha256:" + "1" * 64
OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
REFERENCE = f"ghcr.io/bedside/bundles/heart_disease@{DIGEST}"


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a clone that may be changed."""
    path = tmp_path / "clone"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", REPOSITORY, path], check=True)
    # What is being worked on, and not what was committed last.
    shutil.copytree(REPOSITORY / "deploy", path / "deploy", dirs_exist_ok=True)
    git(path, "config", "user.name", "a")
    git(path, "config", "user.email", "a@example.org")
    git(path, "add", "--all")
    git(path, "commit", "--quiet", "--allow-empty", "--message", "now")
    return path


def git(repository: Path, *arguments: str) -> str:
    """Run git."""
    command = ["git", "-C", str(repository), *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def stage(clone: Path, *arguments: object, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a stage with this Python's `bedside`."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    variables = {**os.environ, "PATH": path, "PYTHONPATH": str(REPOSITORY / "framework"), **environment}
    command = [str(clone / "deploy" / "pipeline.sh"), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env=variables)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    """Return a folder that names one bundle's reference."""
    folder = tmp_path / "published"
    folder.mkdir()
    (folder / "heart_disease").write_text(REFERENCE + "\n")
    return folder


def pins(clone: Path, environment: str) -> dict[str, str]:
    """Return the bundles that an environment runs."""
    content = json.loads((clone / f"deploy/k8s/environments/{environment}/pins.json").read_text())
    return dict(content["bundles"])


def test_what_changed_is_handed_to_the_next_job(clone: Path, tmp_path: Path) -> None:
    """As a line of JSON on standard output, and in the file that GitHub reads."""
    output = tmp_path / "output"
    done = stage(clone, "detect", "0" * 40, "HEAD", GITHUB_OUTPUT=str(output))
    assert done.returncode == 0, done.stderr
    assert output.read_text() == f"changes={done.stdout}"
    assert "heart_disease" in json.loads(done.stdout)["deliver"]


def test_pinning_commits_the_environment_and_nothing_else(clone: Path, published: Path) -> None:
    """A stray file in the working tree does not get into the commit."""
    (clone / "stray.txt").write_text("a")
    done = stage(clone, "pin", "dev", published)
    assert done.returncode == 0, done.stderr
    assert pins(clone, "dev")["heart_disease"] == REFERENCE
    changed = git(clone, "show", "--name-only", "--format=", "HEAD").splitlines()
    assert changed
    assert all(name.startswith("deploy/k8s/environments/dev/") for name in changed)


def test_pinning_again_commits_nothing(clone: Path, published: Path) -> None:
    """A job that is run again goes through."""
    stage(clone, "pin", "dev", published)
    before = git(clone, "rev-parse", "HEAD")
    assert stage(clone, "pin", "dev", published).returncode == 0
    assert git(clone, "rev-parse", "HEAD") == before


def test_a_withdrawn_bundle_is_gone(clone: Path, published: Path, tmp_path: Path) -> None:
    """A deleted folder in apps/ ends here."""
    stage(clone, "pin", "dev", published)
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    assert stage(clone, "pin", "dev", nothing, "heart_disease").returncode == 0
    assert "heart_disease" not in pins(clone, "dev")


def test_production_gets_the_digest_that_dev_ran(clone: Path, published: Path) -> None:
    """And a revert of that commit takes it back."""
    before = pins(clone, "production")
    stage(clone, "pin", "dev", published)
    assert stage(clone, "promote", "dev", "production", "heart_disease").returncode == 0
    assert pins(clone, "production")["heart_disease"] == REFERENCE
    git(clone, "revert", "--no-edit", "HEAD")
    assert pins(clone, "production") == before


def test_what_was_never_tried_is_not_promoted(clone: Path) -> None:
    """The stage fails, and nothing is committed."""
    before = git(clone, "rev-parse", "HEAD")
    assert stage(clone, "promote", "dev", "production", "no_such_bundle").returncode != 0
    assert git(clone, "rev-parse", "HEAD") == before


def test_an_unknown_stage_is_told_what_there_is(clone: Path) -> None:
    """The header of the script is its help."""
    done = stage(clone, "deploy")
    assert done.returncode == 2
    assert "rollout ENVIRONMENT OVERLAY" in done.stderr


def test_the_same_tree_has_the_same_digest(clone: Path, tmp_path: Path) -> None:
    """Whoever publishes it, whenever, from whichever clone; what a run leaves behind is no part of it."""
    references = []
    for number in range(2):
        registry = tmp_path / f"registry{number}"
        registry.mkdir()
        (clone / "apps/heart_disease/__pycache__").mkdir(exist_ok=True)
        (clone / f"apps/heart_disease/__pycache__/{number}.pyc").write_bytes(b"a")
        os.utime(clone / "apps/heart_disease/LICENSE", (number, number))
        done = stage(clone, "publish", "heart_disease", registry)
        assert done.returncode == 0, done.stderr
        references.append(done.stdout.strip())
    assert references[0] == references[1]
    assert references[0].startswith("localhost/bundles/heart_disease@sha256:")


def unpacked(layout: Path, reference: str) -> Path:
    """Unpack what Flux would pull by a reference, beside the layout; return the folder."""
    blobs, folder = layout / "blobs" / "sha256", layout.parent / "pulled"
    (layer,) = json.loads((blobs / reference.rpartition(":")[2]).read_bytes())["layers"]
    with tarfile.open(blobs / layer["digest"].partition(":")[2], "r:gz") as archive:
        archive.extractall(folder, filter="data")
    return folder


def stand_in(tmp_path: Path, name: str) -> dict[str, str]:
    """Return an environment with a program that takes notes of its arguments in NAME.asked."""
    program = tmp_path / "bin" / name
    program.parent.mkdir(exist_ok=True)
    program.write_text(f'#!/bin/sh\necho "$@" >> {tmp_path}/{name}.asked\n')
    program.chmod(0o755)
    return {"PATH": f"{Path(sys.executable).parent}{os.pathsep}{program.parent}{os.pathsep}{os.environ['PATH']}"}


def test_flux_gets_the_pins_that_it_is_given(clone: Path, tmp_path: Path) -> None:
    """They and the overlays are committed first and nothing else is; what an overlay then renders names the digests."""
    layout = tmp_path / "layout"
    image = f"ghcr.io/you/bedside@{DIGEST}"
    site = clone / "deploy/k8s/overlays/onprem/site.env"
    site.write_text(site.read_text().replace("bedside.hospital.example", "inference.clinic.example"))
    (clone / "stray.txt").write_text("a")
    (clone / "deploy/stray.txt").write_text("a")
    done = stage(clone, "manifests", layout, "production", "--image", image, "--bundle", f"heart_disease={REFERENCE}")
    assert done.returncode == 0, done.stderr
    assert git(clone, "log", "-1", "--format=%s") == "Pin in production"
    changed = git(clone, "show", "--name-only", "--format=", "HEAD").splitlines()
    assert all(name.startswith(("deploy/k8s/environments/production/", "deploy/k8s/overlays/")) for name in changed)
    pulled = unpacked(layout, done.stdout.strip())
    pinned = json.loads((pulled / "deploy/k8s/environments/production/pins.json").read_text())
    assert pinned == {"image": image, "bundles": {"heart_disease": REFERENCE}}
    if shutil.which("kubectl") is None:
        pytest.skip("needs kubectl to render what was pulled")
    rendered = subprocess.run(
        ["kubectl", "kustomize", pulled / "deploy/k8s/overlays/onprem"], capture_output=True, text=True, check=True
    ).stdout
    assert re.findall(r"(?:image|reference): (\S+@\S+)", rendered) == [image, REFERENCE]
    assert "hostname: inference.clinic.example" in rendered


def test_manifests_of_what_is_no_digest_are_not_packed(clone: Path, tmp_path: Path) -> None:
    """The stage fails before there is a commit or an artifact."""
    before = git(clone, "rev-parse", "HEAD")
    done = stage(clone, "manifests", tmp_path / "layout", "production", "--bundle", "heart_disease=ghcr.io/you/heart:1")
    assert done.returncode != 0
    assert git(clone, "rev-parse", "HEAD") == before
    assert not (tmp_path / "layout").exists()


def test_a_folder_of_manifests_is_signed_where_it_arrives(clone: Path, tmp_path: Path) -> None:
    """There is no registry yet that would keep a signature; the key may be at hand all the same."""
    done = stage(clone, "manifests", tmp_path / "layout", COSIGN_KEY="key", **stand_in(tmp_path, "cosign"))
    assert done.returncode == 0, done.stderr
    assert not (tmp_path / "cosign.asked").exists()


def test_manifests_in_a_registry_are_signed_by_digest(clone: Path, registry: str, tmp_path: Path) -> None:
    """With the key of the environment, which is on no command line; Flux wants that signature."""
    done = stage(clone, "manifests", f"{registry}/manifests", COSIGN_KEY="key", **stand_in(tmp_path, "cosign"))
    assert done.returncode == 0, done.stderr
    reference = done.stdout.strip()
    assert (tmp_path / "cosign.asked").read_text() == f"sign --yes --key env://COSIGN_KEY {reference}\n"
    version = f"0.1.{git(clone, 'rev-list', '--count', 'HEAD')}"
    answer = httpx.get(f"http://{registry}/v2/manifests/manifests/{version}", headers={"Accept": OCI_MANIFEST})
    assert answer.headers["docker-content-digest"] == reference.partition("@")[2]


def test_a_medium_carries_a_release_into_a_site(clone: Path, registry: str, tmp_path: Path) -> None:
    """All are in its registry where the manifests look for them, by the digests of before; these are signed there."""
    for program in ("skopeo", "kubectl"):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}: scripts/install_test_servers.sh")
    plain = tmp_path / ".config" / "containers" / "registries.conf"
    plain.parent.mkdir(parents=True)
    plain.write_text(f'[[registry]]\nlocation = "{registry}"\ninsecure = true\n')
    environment = {"HOME": str(tmp_path), "COSIGN_KEY": "key", **stand_in(tmp_path, "cosign")}
    # What stands for the image is an artifact like any other: it is copied, not run.
    image = stage(clone, "publish", "heart_disease", f"{registry}/you/images").stdout.strip()
    bundle = stage(clone, "publish", "heart_disease", f"{registry}/you/bundles").stdout.strip()
    (clone / "deploy/k8s/overlays/onprem-airgap/registry.env").write_text(f"registry={registry}/site\n")

    courier(clone, "load", tmp_path / "medium", "--image", image, "--bundle", f"heart_disease={bundle}", **environment)
    courier(clone, "unload", tmp_path / "medium", f"{registry}/site/manifests", **environment)

    (described,) = json.loads((tmp_path / "medium/manifests/index.json").read_text())["manifests"]
    arrived = {"you/images/heart_disease": image, "you/bundles/heart_disease": bundle, "manifests": described["digest"]}
    for name, reference in arrived.items():
        digest = reference.rpartition("@")[2]
        address = f"http://{registry}/v2/site/{name}/manifests/{digest}"
        assert httpx.get(address, headers={"Accept": OCI_MANIFEST}).status_code == httpx.codes.OK, name
    asked = (tmp_path / "cosign.asked").read_text()
    assert asked.split()[-1] == f"{registry}/site/manifests@{described['digest']}"
    assert "--tlog-upload=false" in asked


def courier(clone: Path, *arguments: object, **environment: str) -> None:
    """Run deploy/courier.py."""
    variables = {**os.environ, "PYTHONPATH": str(REPOSITORY / "framework"), **environment}
    command = [sys.executable, str(clone / "deploy" / "courier.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
    assert done.returncode == 0, done.stderr


def test_what_flux_pulls_is_the_commit(clone: Path, tmp_path: Path) -> None:
    """The manifests of every site, by a digest that is the same wherever they are packed, with a version that grows."""
    layout = tmp_path / "layout"
    first, again = (stage(clone, "manifests", layout).stdout.strip() for _ in range(2))
    assert first == again
    assert first.startswith(f"{layout}@sha256:")
    manifest = json.loads((layout / "blobs" / "sha256" / first.partition("sha256:")[2]).read_bytes())
    (layer,) = manifest["layers"]
    assert layer["mediaType"] == "application/vnd.cncf.flux.content.v1.tar+gzip"
    assert git(clone, "rev-parse", "HEAD") in manifest["annotations"]["org.opencontainers.image.revision"]
    with tarfile.open(layout / "blobs" / "sha256" / layer["digest"].partition(":")[2], "r:gz") as archive:
        names = set(archive.getnames())
    assert {"deploy/k8s/overlays/onprem/kustomization.yaml", "deploy/k8s/environments/production/pins.json"} <= names
    assert not any(name.startswith("apps") for name in names)
    (tagged,) = json.loads((layout / "index.json").read_text())["manifests"]
    assert (
        tagged["annotations"]["org.opencontainers.image.ref.name"] == f"0.1.{git(clone, 'rev-list', '--count', 'HEAD')}"
    )


def checked(clone: Path, tmp_path: Path, *, here: bool) -> tuple[int, str, str]:
    """Check a bundle where the pinned image is here or not; return status, summary and what was asked."""
    image = f"ghcr.io/bedside/bedside@{DIGEST}"
    for environment in ("dev", "production"):
        pinned = clone / f"deploy/k8s/environments/{environment}/pins.json"
        pinned.write_text(json.dumps({**json.loads(pinned.read_text()), "image": image}))
    for name in ("podman", "bedside"):
        stand_in(tmp_path, name)
    if not here:
        (tmp_path / "bin" / "podman").write_text("#!/bin/sh\nexit 1\n")
    path = f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}"
    done = stage(clone, "check", "heart_disease", PATH=path, GITHUB_STEP_SUMMARY=str(tmp_path / "summary"))
    asked = tmp_path / ("podman.asked" if here else "bedside.asked")
    return done.returncode, (tmp_path / "summary").read_text(), asked.read_text()


def test_a_bundle_is_checked_in_the_image_that_its_pods_run(clone: Path, tmp_path: Path) -> None:
    """Once, where both environments have pinned the same, without a network; the Bedside of the commit is not asked."""
    status, summary, asked = checked(clone, tmp_path, here=True)
    assert status == 0
    runs = [line for line in asked.splitlines() if line.startswith("run ")]
    for what, line in zip(("vet", "test"), runs, strict=True):
        assert "--network none" in line
        assert line.endswith(f"ghcr.io/bedside/bedside@{DIGEST} bundle {what} /bundles/heart_disease")
    assert summary == f"- heart_disease: checked in the pinned image `ghcr.io/bedside/bedside@{DIGEST}`\n"
    assert not (tmp_path / "bedside.asked").exists()


def test_a_check_without_the_pinned_image_says_so(clone: Path, tmp_path: Path) -> None:
    """With which version it was checked instead stands in the summary."""
    status, summary, asked = checked(clone, tmp_path, here=False)
    assert status == 0
    assert asked.splitlines()[:2] == ["bundle vet apps/heart_disease", "bundle test apps/heart_disease"]
    assert "**not in the pinned image**" in summary
    assert git(clone, "rev-parse", "--short", "HEAD") in summary


def test_a_bundle_that_fails_in_the_pinned_image_is_refused(clone: Path, tmp_path: Path) -> None:
    """The Bedside of the commit is not asked for a second opinion."""
    checked(clone, tmp_path, here=True)
    (tmp_path / "bin" / "podman").write_text('#!/bin/sh\n[ "$1" = image ]\n')
    path = f"{tmp_path}/bin{os.pathsep}{os.environ['PATH']}"
    assert stage(clone, "check", "heart_disease", PATH=path).returncode != 0
    assert not (tmp_path / "bedside.asked").exists()


@pytest.mark.parametrize(("candidate", "status"), [("", 1), ("none", 0)])
def test_a_gate_with_nobody_to_ask_says_that_nothing_was_judged(
    clone: Path, tmp_path: Path, candidate: str, status: int
) -> None:
    """Where it was not said that there is no candidate, the delivery ends there."""
    summary = tmp_path / "summary"
    done = stage(clone, "gate", "heart_disease", candidate, "", GITHUB_STEP_SUMMARY=str(summary))
    assert done.returncode == status, done.stderr
    assert summary.read_text().startswith("## heart_disease: NOT JUDGED\n")
    assert "title=NOT JUDGED" in done.stdout


def test_a_gate_that_could_not_ask_says_that_nothing_was_judged(clone: Path, tmp_path: Path) -> None:
    """A verdict of before is not the verdict."""
    summary, bundle = tmp_path / "summary", "no_such_bundle"
    done = stage(clone, "gate", bundle, "http://127.0.0.1:9", GITHUB_STEP_SUMMARY=str(summary), BEDSIDE_TOKEN="t")
    assert done.returncode not in {0, 3}
    assert "NOT JUDGED" in summary.read_text()
