"""What an environment runs, and the Kustomize components written from it."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from bedside.delivery.pins import BUNDLE, PINS, Pins, read_pins, rendered, write_pins
from bedside.errors import ConfigurationError

ONE, TWO = "sha256:" + "1" * 64, "sha256:" + "2" * 64
IMAGE = f"registry.hospital.example:5000/bedside/bedside@{ONE}"
CT = f"ghcr.io/bedside/bundles/ct@{TWO}"


def pod(text: str) -> Any:
    """Return the pod specification that a component patches in."""
    component = yaml.safe_load(text)
    return yaml.safe_load(component["patches"][0]["patch"])["spec"]["template"]["spec"]


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    """The file is the state; nothing else is needed."""
    pins = Pins(IMAGE, {"ct": CT})
    write_pins(tmp_path, pins)
    assert read_pins(tmp_path) == pins


def test_the_first_bundle_takes_its_placeholders_place() -> None:
    """A digest of zeros, which a new repository has, is nowhere: no pod would start with it."""
    nowhere = "ghcr.io/bedside/bundles/mr@sha256:" + "0" * 64
    assert Pins(IMAGE, {"mr": nowhere}).with_bundle("ct", CT).bundles == {"ct": CT}


def test_a_bump_of_one_bundle_is_a_change_of_one_line(tmp_path: Path) -> None:
    """People review the difference, and a revert of it is the roll-back."""
    before, after = (rendered(Pins(IMAGE, {"ct": CT, "mr": CT}).with_bundle("mr", ref))[PINS] for ref in (CT, IMAGE))
    differing = [pair for pair in zip(before.splitlines(), after.splitlines(), strict=True) if pair[0] != pair[1]]
    assert len(differing) == 1


def test_writing_the_same_changes_no_file(tmp_path: Path) -> None:
    """A retried pipeline makes no empty commit."""
    assert len(write_pins(tmp_path, Pins(IMAGE, {"ct": CT}))) == 4
    assert write_pins(tmp_path, Pins(IMAGE, {"ct": CT})) == []


@pytest.mark.parametrize(
    "reference",
    [
        "ghcr.io/bedside/ct:latest",
        "ghcr.io/bedside/ct",
        f"ct@{ONE}",
        f"ghcr.io/x@{ONE}0",
        f"ghcr.io/X@{ONE}",
        "",
        "a b",
    ],
)
def test_only_digests_are_pinned(reference: str) -> None:
    """A tag can be moved after everybody has agreed."""
    with pytest.raises(ConfigurationError, match="by digest"):
        Pins(IMAGE).with_bundle("ct", reference)
    with pytest.raises(ConfigurationError, match="by digest"):
        Pins(IMAGE).with_image(reference)


@pytest.mark.parametrize("name", ["../ct", "a b", "", ".ct", "ct/1"])
def test_names_of_bundles_are_addresses(name: str) -> None:
    """A name becomes a path in the pod."""
    with pytest.raises(ConfigurationError, match="name"):
        Pins(IMAGE, {name: CT})


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"image": "x"}', f'{{"image": "{IMAGE}", "bundles": []}}'])
def test_a_broken_file_is_told(tmp_path: Path, content: str) -> None:
    """It is an error of the configuration, not a stack trace."""
    (tmp_path / PINS).write_text(content)
    with pytest.raises(ConfigurationError):
        read_pins(tmp_path)


def test_an_unknown_environment_is_told(tmp_path: Path) -> None:
    """A mistyped name must not make a new environment."""
    with pytest.raises(ConfigurationError, match="no such environment"):
        read_pins(tmp_path / "prodution")


def test_withdrawing_twice_is_no_error() -> None:
    """A retried pipeline goes through."""
    assert Pins(IMAGE, {"ct": CT}).without_bundle("ct").without_bundle("ct").bundles == {}


def test_image_volumes_mount_each_bundle_under_its_name() -> None:
    """The folder's name is the model's address."""
    found = pod(rendered(Pins(IMAGE, {"ct_lung": CT}))["image-volume/kustomization.yaml"])
    assert found["volumes"] == [{"name": "bundle-ct-lung", "image": {"reference": CT, "pullPolicy": "IfNotPresent"}}]
    (mount,) = found["containers"][0]["volumeMounts"]
    assert (mount["mountPath"], mount["subPath"]) == ("/bundles/ct_lung", "ct_lung")


def test_older_clusters_pull_with_the_same_digests() -> None:
    """Init containers run the pinned image and pull the pinned bundle."""
    (pull,) = pod(rendered(Pins(IMAGE, {"ct": CT}))["init-pull/kustomization.yaml"])["initContainers"]
    assert pull["image"] == IMAGE
    assert pull["args"] == ["bundle", "pull", f"oci://{CT}", "--output", "/bundles"]
    assert pull["securityContext"]["readOnlyRootFilesystem"] is True


def test_the_image_is_replaced_by_name_and_digest() -> None:
    """An air-gapped site has its own registry, with a port."""
    component = yaml.safe_load(rendered(Pins(IMAGE))["image/kustomization.yaml"])
    assert component["images"][0]["newName"] == "registry.hospital.example:5000/bedside/bedside"
    assert component["images"][0]["digest"] == ONE


@given(st.sets(st.from_regex(BUNDLE, fullmatch=True), max_size=6))
def test_volume_names_are_labels_and_all_different(names: set[str]) -> None:
    """Whatever a bundle is called, Kubernetes takes its volume (RFC 1123 label, at most 63 letters)."""
    found = pod(rendered(Pins(IMAGE, dict.fromkeys(names, CT)))["image-volume/kustomization.yaml"])
    labels = [volume["name"] for volume in found["volumes"]]
    assert len(set(labels)) == len(names)
    for label in labels:
        assert re.fullmatch(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", label)


def test_pins_are_sorted_whoever_wrote_them(tmp_path: Path) -> None:
    """Two people's bumps do not reorder each other's lines."""
    left, right = Pins(IMAGE, {"b": CT, "a": CT}), Pins(IMAGE, {"a": CT, "b": CT})
    assert rendered(left) == rendered(right)
    assert list(json.loads(rendered(left)[PINS])["bundles"]) == ["a", "b"]
