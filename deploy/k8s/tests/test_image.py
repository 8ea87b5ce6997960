"""The image and the pod agree."""

import re
from typing import Any

import pytest
from validation.manifests import ROOT, containers, overlay
from validation.rules import DIGEST, UID

DOCKER = ROOT.parent / "docker"
CONTAINERFILE = (DOCKER / "Containerfile").read_text()
FINAL = CONTAINERFILE.rsplit("\nFROM ", 1)[1]


@pytest.fixture(scope="module")
def container() -> dict[str, Any]:
    """Return the server's container on premises."""
    return next(container for _, container in containers(overlay("onprem")))


def instruction(name: str) -> str:
    """Return the arguments of an instruction of the final stage."""
    found = re.search(rf"^{name} (.+)$", FINAL, re.MULTILINE)
    assert found is not None, name
    return found[1]


def test_the_image_runs_as_the_pod_does() -> None:
    """In numbers, so that runAsNonRoot can be checked without asking the image."""
    assert instruction("USER") == f"{UID}:{UID}"


def test_the_image_opens_the_ports_of_the_pod(container: dict[str, Any]) -> None:
    """HTTP and gRPC."""
    assert instruction("EXPOSE").split() == [str(port["containerPort"]) for port in container["ports"]]


def test_the_image_has_a_health_check_of_its_own() -> None:
    """For engines without probes."""
    assert instruction("HEALTHCHECK").endswith('CMD ["bedside", "health"]')


def test_the_pod_says_the_arguments_that_the_image_takes(container: dict[str, Any]) -> None:
    """The entry point stays the image's."""
    assert instruction("ENTRYPOINT") == '["bedside"]'
    assert "command" not in container


def test_the_base_is_pinned_by_digest() -> None:
    """Both stages take it from the one variable."""
    versions: dict[str, str] = dict(
        re.findall(r"^([A-Z_]+)=(.*)$", (DOCKER / "versions.env").read_text(), re.MULTILINE)
    )
    assert DIGEST.fullmatch(versions["PYTHON_IMAGE"])
    assert re.findall(r"^FROM (\S+)", CONTAINERFILE, re.MULTILINE) == ["${PYTHON_IMAGE}", "${PYTHON_IMAGE}"]


def test_no_step_of_the_final_stage_installs_anything() -> None:
    """What is in the image comes from the base or from the build stage."""
    assert not re.search(r"\b(pip|apt-get|apk|curl|wget) (install|add|-)", FINAL)
    assert instruction("COPY") == "--from=build /opt/bedside /opt/bedside"


def test_nothing_is_compiled_when_the_image_starts() -> None:
    """Neither packages nor Python's library: layers round times, and what counts as old is compiled anew each time."""
    stages = CONTAINERFILE.split("\nFROM ")[1:]
    assert ["--invalidation-mode unchecked-hash" in stage for stage in stages] == [True, True]


def test_the_image_is_tried_under_the_restrictions_of_the_pod() -> None:
    """What deploy/docker/try.sh leaves out has not been tried."""
    script = (DOCKER / "try.sh").read_text()
    for option in (f"--user {UID}:{UID}", "--read-only", "--cap-drop ALL", "--security-opt no-new-privileges"):
        assert option in script
