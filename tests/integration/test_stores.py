"""Bundles from a real bucket (SeaweedFS) and a real registry (Docker's), also where a fetch is cut short."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from bedside.bundle.folder import open_bundle
from bedside.bundle.packing import pack
from bedside.bundle.vetting.signatures import SIGNATURE
from bedside.cli import app
from bedside.errors import ConfigurationError, NotAdmitted, SourceUnavailable
from bedside.settings import AdmissionSettings, RegistrySettings, Settings
from bedside.storage.s3 import S3Source
from bedside.storage.sources import open_source


@pytest.fixture
def configured(tmp_path: Path) -> Settings:
    """Return settings with a cache of the test's own."""
    return Settings(registry=RegistrySettings(cache_dir=tmp_path / "cache", fetch_timeout_seconds=10))


@pytest.fixture
def heart(bundles: Path, tmp_path: Path) -> Path:
    """Return a bundle."""
    return Path(shutil.copytree(bundles / "record_classification", tmp_path / "heart"))


def upload(client: Any, root: Path, prefix: str) -> None:
    """Put a folder into the bucket."""
    for path in root.rglob("*"):
        if path.is_file():
            client.upload_file(str(path), "models", f"{prefix}/{path.relative_to(root).as_posix()}")


def test_versions_come_from_a_bucket(bucket: Any, heart: Path, configured: Settings) -> None:
    """As from a folder: same names, versions and digests; what is not below the prefix is not there."""
    upload(bucket, heart, "site/heart/1.2.0")
    upload(bucket, heart, "site-old/heart")
    source = open_source("s3://models/site", configured)
    (root,) = source.fetch()
    bundle = open_bundle(root)
    assert (bundle.name, bundle.metadata.version, bundle.digest) == ("heart", "1.2.0", open_bundle(heart).digest)
    assert list(source.fetch()) == [root]
    metadata = heart / "configs" / "metadata.json"
    metadata.write_text(json.dumps({**json.loads(metadata.read_text()), "version": "1.3.0"}))
    upload(bucket, heart, "site/heart/1.3.0")
    assert [open_bundle(root).metadata.version for root in source.fetch()] == ["1.2.0", "1.3.0"]


def test_one_bundle_or_one_archive_comes_from_a_bucket(bucket: Any, heart: Path, configured: Settings) -> None:
    """The prefix is the bundle itself, or the archive's key."""
    upload(bucket, heart, "heart")
    (root,) = open_source("s3://models/heart", configured).fetch()
    assert open_bundle(root).name == "heart"
    pack(heart, heart.parent / "heart.tar.gz")
    bucket.upload_file(str(heart.parent / "heart.tar.gz"), "models", "archives/heart.tar.gz")
    (unpacked,) = open_source("s3://models/archives/heart.tar.gz", configured).fetch()
    assert open_bundle(unpacked).digest == open_bundle(root).digest


def test_a_fetch_that_is_cut_short_is_not_used_and_goes_on(
    bucket: Any, heart: Path, configured: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What had arrived is not fetched again."""
    upload(bucket, heart, "heart")
    real = S3Source._download
    fetched: list[str] = []

    def download(source: S3Source, found: Any, target: Path, progress: Any) -> None:
        if len(fetched) == 2:
            raise SourceUnavailable("cut")
        existed = target.exists()
        real(source, found, target, progress)
        fetched.extend([] if existed else [found.path])

    monkeypatch.setattr(S3Source, "_download", download)
    with pytest.raises(SourceUnavailable):
        open_source("s3://models/heart", configured).fetch()
    first = list(fetched)
    fetched[:] = []
    monkeypatch.setattr(S3Source, "_download", real)
    (root,) = open_source("s3://models/heart", configured).fetch()
    assert open_bundle(root).digest == open_bundle(heart).digest
    assert len(first) == 2


def test_a_bucket_that_cannot_be_read_is_told_without_its_secrets(
    bucket: Any, heart: Path, configured: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Wrong secret, no such bucket, nothing there, nobody there, in the clear to elsewhere."""
    with pytest.raises(ConfigurationError, match="no MONAI bundle"):
        open_source("s3://models/nothing", configured).fetch()
    with pytest.raises(SourceUnavailable, match="NoSuchBucket"):
        open_source("s3://absent/x", configured).fetch()
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    with pytest.raises(SourceUnavailable) as caught:
        open_source("s3://models/heart", configured).fetch()
    assert "wrong" not in caught.value.detail
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://store.invalid:1")
    with pytest.raises(ConfigurationError, match="allow_http"):
        open_source("s3://models/heart", configured).fetch()


def test_keys_that_are_no_paths_and_too_much_are_refused(bucket: Any, heart: Path, configured: Settings) -> None:
    """Before anything is fetched."""
    upload(bucket, heart, "heart")
    small = configured.model_copy(update={"admission": AdmissionSettings(files=2)})
    with pytest.raises(NotAdmitted, match=r"admission\.files"):
        open_source("s3://models/heart", small).fetch()
    small = configured.model_copy(update={"admission": AdmissionSettings(total_bytes=100)})
    with pytest.raises(NotAdmitted, match=r"admission\.total_bytes"):
        open_source("s3://models/heart", small).fetch()
    bucket.put_object(Bucket="models", Key="heart/C:x", Body=b"")
    with pytest.raises(NotAdmitted, match="plain path"):
        open_source("s3://models/heart", configured).fetch()


def bedside(*arguments: str, cache: Path) -> str:
    """Run a command; return what it printed."""
    environment = {"XDG_CACHE_HOME": str(cache), "BEDSIDE_REGISTRY__CACHE_DIR": str(cache)}
    result = CliRunner(env=environment).invoke(app, ["bundle", *arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout.strip()


def test_a_bundle_goes_to_a_registry_and_back(registry: str, heart: Path, tmp_path: Path, configured: Settings) -> None:
    """Signature and digest included; by tag, and by the digest that push prints."""
    (heart / SIGNATURE).write_text("{}")
    (heart / "models" / "large.bin").write_bytes(os.urandom(3 << 20))
    reference = f"oci://{registry}/site/heart"
    digest = bedside("push", str(heart), f"{reference}:1.2.0", cache=tmp_path / "c")
    assert bedside("push", str(heart), f"{reference}:1.2.0", cache=tmp_path / "c") == digest
    told = bedside("pull", f"{reference}@{digest}", "-o", str(tmp_path / "out"), cache=tmp_path / "c")
    assert told.startswith(open_bundle(heart).digest)
    assert (tmp_path / "out" / "heart" / SIGNATURE).read_text() == "{}"
    assert open_bundle(tmp_path / "out" / "heart").digest == open_bundle(heart).digest
    source = open_source(f"{reference}:1.2.0", configured)
    (root,) = source.fetch()
    assert open_bundle(root).name == "heart"
    (heart / "LICENSE").write_text("changed")
    bedside("push", str(heart), f"{reference}:1.2.0", cache=tmp_path / "c")
    (newer,) = source.fetch()
    assert newer != root
    assert open_bundle(newer).digest == open_bundle(heart).digest


def test_a_download_goes_on_where_it_stopped(registry: str, heart: Path, tmp_path: Path, configured: Settings) -> None:
    """By a range request; what had arrived is checked with the rest."""
    (heart / "models" / "large.bin").write_bytes(os.urandom(3 << 20))
    reference = f"oci://{registry}/resume:1"
    digest = bedside("push", str(heart), reference, cache=tmp_path / "c").partition(":")[2]
    bedside("push", str(heart), str(tmp_path / "layout"), cache=tmp_path / "c")
    manifest = json.loads((tmp_path / "layout" / "blobs" / "sha256" / digest).read_bytes())
    blob = tmp_path / "layout" / "blobs" / "sha256" / manifest["layers"][0]["digest"].partition(":")[2]
    incoming = configured.registry.cache_dir / f"oci-{digest}.incoming"
    incoming.mkdir(parents=True)
    (incoming / "layer").write_bytes(blob.read_bytes()[:1_000_000])
    (root,) = open_source(reference, configured).fetch()
    assert open_bundle(root).digest == open_bundle(heart).digest
    shutil.rmtree(configured.registry.cache_dir)
    incoming.mkdir(parents=True)
    (incoming / "layer").write_bytes(b"x" * 1_000_000)
    with pytest.raises(NotAdmitted, match="not the one"):
        open_source(reference, configured).fetch()
    (root,) = open_source(reference, configured).fetch()
    assert open_bundle(root).digest == open_bundle(heart).digest


def test_a_registry_that_has_it_not_is_told(registry: str, configured: Settings) -> None:
    """No such tag, no such registry."""
    with pytest.raises(SourceUnavailable, match="404"):
        open_source(f"oci://{registry}/absent:1", configured).fetch()
    with pytest.raises(SourceUnavailable, match="does not answer"):
        open_source("oci://127.0.0.1:1/absent:1", configured).fetch()
