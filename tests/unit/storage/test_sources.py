"""What the operator may name, and what is refused before anything is fetched or used."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from bedside.bundle.folder import open_bundle
from bedside.bundle.packing import FORMS, pack
from bedside.bundle.vetting.findings import Refused
from bedside.bundle.vetting.signatures import sign_bundle, verified_by
from bedside.errors import ConfigurationError, NotAdmitted, SourceUnavailable
from bedside.settings import AdmissionSettings, RegistrySettings, Settings
from bedside.storage.artifact import LAYER_TYPE, TITLE, digest_of, make_artifact, read_manifest
from bedside.storage.hosts import require_https
from bedside.storage.layout import push_to_layout
from bedside.storage.progress import Progress
from bedside.storage.sources import open_source


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    """Return settings with a cache of the test's own."""
    return Settings(registry=RegistrySettings(cache_dir=tmp_path / "cache"))


@pytest.fixture
def heart(bundles: Path, tmp_path: Path) -> Path:
    """Return a bundle."""
    return Path(shutil.copytree(bundles / "record_classification", tmp_path / "heart"))


@pytest.fixture
def layout(heart: Path, tmp_path: Path) -> Path:
    """Return an image layout that holds it."""
    (tmp_path / "work").mkdir()
    push_to_layout(make_artifact(heart, tmp_path / "work"), tmp_path / "layout", "1.2.0")
    return tmp_path / "layout"


@pytest.mark.parametrize("form", FORMS)
def test_an_archive_is_served_as_its_folder_would_be(heart: Path, configured: Settings, form: str) -> None:
    """Same name, same digest; unpacked once."""
    archive = heart.parent / f"some-archive{form}"
    pack(heart, archive)
    source = open_source(str(archive), configured)
    (root,) = source.fetch()
    assert open_bundle(root).name == "heart"
    assert open_bundle(root).digest == open_bundle(heart).digest
    assert list(source.fetch()) == [root]
    assert source.location == str(archive)


def test_an_archive_without_a_folder_has_its_own_name(heart: Path, configured: Settings) -> None:
    """As a Model Zoo's bundle is sometimes zipped."""
    archive = Path(shutil.make_archive(str(heart.parent / "lung"), "zip", heart))
    (root,) = open_source(str(archive), configured).fetch()
    assert open_bundle(root).name == "lung"


def test_an_archive_that_is_none_is_refused(heart: Path, configured: Settings) -> None:
    """And leaves nothing behind that could be used."""
    archive = heart.parent / "heart.zip"
    archive.write_bytes(b"PK\3\4 no archive")
    source = open_source(str(archive), configured)
    with pytest.raises(NotAdmitted, match="archive_unreadable"):
        source.fetch()
    archive.unlink()
    with pytest.raises(SourceUnavailable):
        source.fetch()


@pytest.mark.parametrize("location", ["nowhere", "ftp://host/x", "notes.txt", "s3://", "oci://"])
def test_what_is_no_source_is_told_at_the_start(tmp_path: Path, configured: Settings, location: str) -> None:
    """A typing error is no reason to serve nothing."""
    (tmp_path / "notes.txt").write_text("")
    with pytest.raises(ConfigurationError):
        open_source(location if "://" in location else str(tmp_path / location), configured)


def test_a_layout_gives_back_what_was_pushed(heart: Path, layout: Path, configured: Settings) -> None:
    """All of its bundles; each checked against the digests on the way."""
    (root,) = open_source(str(layout), configured).fetch()
    assert open_bundle(root).digest == open_bundle(heart).digest
    metadata = heart / "configs" / "metadata.json"
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "version": "1.3.0"}))
    artifact = make_artifact(heart, heart.parent / "work")
    push_to_layout(artifact, layout, "1.3.0")
    push_to_layout(artifact, layout, "1.3.0")
    source = open_source(str(layout), configured)
    assert [open_bundle(root).metadata.version for root in source.fetch()] == ["1.2.0", "1.3.0"]
    assert source.location == str(layout)


def test_a_signature_holds_after_the_way_through_a_layout(heart: Path, tmp_path: Path, configured: Settings) -> None:
    """Signed, pushed, pulled, verified; and no longer once a file of what was pulled has changed."""
    private = ec.generate_private_key(ec.SECP256R1())
    key, public = tmp_path / "key", tmp_path / "key.pub"
    key.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    sign_bundle(heart, key)
    (tmp_path / "work").mkdir()
    push_to_layout(make_artifact(heart, tmp_path / "work"), tmp_path / "layout", "1.2.0")
    (root,) = open_source(str(tmp_path / "layout"), configured).fetch()
    assert root != heart
    assert verified_by(root, [public]) == public
    changed = Path(shutil.copytree(root, tmp_path / "changed"))
    (changed / "models" / "model.pt").write_bytes(b"others")
    with pytest.raises(Refused, match="no configured key"):
        verified_by(changed, [public])


def test_the_same_tree_is_the_same_artifact(heart: Path, tmp_path: Path) -> None:
    """Its digest can be pinned, whoever pushed it."""
    folders = [tmp_path / name for name in ("a", "b")]
    for folder in folders:
        folder.mkdir()
    assert len({make_artifact(heart, folder).digest for folder in folders}) == 1


def test_a_digest_chooses_one(layout: Path, configured: Settings) -> None:
    """Whatever the tags say by now; another one is not there."""
    digest = str(json.loads((layout / "index.json").read_text())["manifests"][0]["digest"])
    (layout / "index.json").write_text('{"schemaVersion": 2, "manifests": []}')
    source = open_source(f"{layout}@{digest}", configured)
    assert source.location.endswith(digest)
    assert len(source.fetch()) == 1
    with pytest.raises(SourceUnavailable):
        open_source(f"{layout}@sha256:{'0' * 64}", configured).fetch()


def blob_of(layout: Path, kind: str) -> Path:
    """Return a blob of the only artifact of a layout."""
    digest = str(json.loads((layout / "index.json").read_text())["manifests"][0]["digest"])
    manifest = layout / "blobs" / "sha256" / digest.partition(":")[2]
    if kind == "manifest":
        return manifest
    layer = str(json.loads(manifest.read_bytes())["layers"][0]["digest"])
    return manifest.with_name(layer.partition(":")[2])


@pytest.mark.parametrize("kind", ["manifest", "layer"])
def test_a_blob_that_was_changed_is_refused(layout: Path, configured: Settings, kind: str) -> None:
    """Before anything of it is used."""
    blob = blob_of(layout, kind)
    data = bytearray(blob.read_bytes())
    data[-1] ^= 1
    blob.write_bytes(data)
    with pytest.raises(NotAdmitted):
        open_source(str(layout), configured).fetch()


@pytest.mark.parametrize(
    ("index", "error"),
    [
        ("{", NotAdmitted),
        ("[]", NotAdmitted),
        ('{"manifests": [1]}', NotAdmitted),
        ('{"manifests": [{"digest": "sha256:../../../etc/passwd"}]}', NotAdmitted),
        ('{"manifests": []}', ConfigurationError),
        ('{"manifests": [{"digest": "sha256:' + "0" * 64 + '"}]}', SourceUnavailable),
    ],
)
def test_an_index_that_is_none_is_refused(
    layout: Path, configured: Settings, index: str, error: type[Exception]
) -> None:
    """No digest of it becomes a path elsewhere."""
    (layout / "index.json").write_text(index)
    with pytest.raises(error):
        open_source(str(layout), configured).fetch()


def test_a_layout_is_not_made_of_another_folder(heart: Path, tmp_path: Path) -> None:
    """What is in it already is somebody's."""
    (tmp_path / "work").mkdir()
    artifact = make_artifact(heart, tmp_path / "work")
    with pytest.raises(ConfigurationError, match="neither empty"):
        push_to_layout(artifact, heart, "1")
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigurationError, match="cannot be written"):
        push_to_layout(artifact, tmp_path / "file", "1")


LAYER: dict[str, Any] = {"mediaType": LAYER_TYPE, "digest": "sha256:" + "0" * 64, "size": 10}


@pytest.mark.parametrize(
    "layers",
    [
        None,
        [],
        [LAYER, LAYER],
        [{**LAYER, "mediaType": "application/octet-stream"}],
        [{**LAYER, "digest": "sha256:../x"}],
        [{**LAYER, "digest": "md5:0"}],
        [{**LAYER, "size": -1}],
        [{**LAYER, "size": 1 << 50}],
        [{**LAYER, "size": "many"}],
        ["layer"],
    ],
)
def test_a_manifest_of_something_else_is_refused(layers: Any) -> None:
    """A bundle is one layer of a known kind, a plain digest, and a size within the limits."""
    with pytest.raises(NotAdmitted):
        read_manifest(json.dumps({"layers": layers}).encode(), AdmissionSettings())


@pytest.mark.parametrize(("title", "name"), [("heart", "heart"), ("../heart", ""), ("a/b", ""), (7, "7")])
def test_a_title_becomes_a_name_only_where_it_is_plain(title: Any, name: str) -> None:
    """It may be a path somewhere else."""
    raw = json.dumps({"layers": [LAYER], "annotations": {TITLE: title}}).encode()
    assert read_manifest(raw, AdmissionSettings()).name == name


def test_an_artifact_with_another_bundle_than_it_says_is_refused(layout: Path, configured: Settings) -> None:
    """The annotation is what somebody looked at."""
    path = blob_of(layout, "manifest")
    manifest = json.loads(path.read_bytes())
    manifest["annotations"]["io.bedside.bundle.digest"] = "sha256:" + "1" * 64
    raw = json.dumps(manifest).encode()
    path.with_name(digest_of(raw).partition(":")[2]).write_bytes(raw)
    (layout / "index.json").write_text(json.dumps({"manifests": [{"digest": digest_of(raw)}]}))
    with pytest.raises(NotAdmitted, match="not the one that the manifest names"):
        open_source(str(layout), configured).fetch()


@pytest.mark.parametrize(
    ("host", "loopback"), [("localhost", True), ("127.0.0.1", True), ("[::1]", True), ("10.0.0.1", False), ("a", False)]
)
def test_only_this_machine_is_spoken_to_in_the_clear(host: str, loopback: bool) -> None:  # noqa: FBT001
    """Unless the operator wants it otherwise."""
    require_https(f"https://{host}/", RegistrySettings())
    require_https(f"http://{host}/", RegistrySettings(allow_http=True))
    if not loopback:
        with pytest.raises(ConfigurationError, match="allow_http"):
            require_https(f"http://{host}/", RegistrySettings())


def test_progress_is_told_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """At the start, and after a pause."""
    now = 0.0
    monkeypatch.setattr("bedside.storage.progress.monotonic", lambda: now)
    told: list[str] = []
    progress = Progress(told.append, "heart", 20_000_000)
    progress.add(1)
    now = 6.0
    progress.add(4_999_999)
    assert told == ["fetching heart: 20.0 MB", "fetching heart: 5.0 MB of 20.0 MB"]
