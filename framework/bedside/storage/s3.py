"""A bucket as a source: ``s3://BUCKET/PREFIX`` with bundles, models and versions below it, or one archive.

The library is AWS' own (extra ``s3``), for its chain of credentials: environment, profile, pod identity, instance role.
``AWS_ENDPOINT_URL_S3`` points it at another store that speaks S3. docs/decisions/0087.
"""

import hashlib
import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import urlsplit

from bedside.bundle.folder import NOT_CONTENT
from bedside.bundle.packing import FORMS
from bedside.bundle.vetting.zips import plain_path
from bedside.errors import BedsideError, ConfigurationError, NotAdmitted, SourceUnavailable
from bedside.loopback import is_loopback
from bedside.settings import AdmissionSettings, RegistrySettings
from bedside.storage.archives import only_bundle, unpack_archive
from bedside.storage.cache import BundleCache
from bedside.storage.hosts import require_https
from bedside.storage.progress import Announce, Progress

_CHUNK_BYTES = 1 << 20
_METADATA = "/configs/metadata.json"
_DEPTH = 2  # NAME/VERSION, as in a folder


@dataclass(frozen=True, slots=True)
class _Object:
    """One object below the prefix; ``path`` is its key relative to the prefix, empty for the prefix itself."""

    key: str
    path: str
    size: int
    etag: str


class S3Source:
    """Implements ``interfaces.BundleSource``; each version is fetched once, under the tags of its objects."""

    def __init__(
        self, url: str, cache: BundleCache, limits: AdmissionSettings, settings: RegistrySettings, announce: Announce
    ) -> None:
        parts = urlsplit(url)
        self.location = url
        self._bucket, self._prefix = parts.netloc, parts.path.strip("/")
        if not self._bucket:
            raise ConfigurationError("an address in S3 is s3://BUCKET or s3://BUCKET/PREFIX", field="bundle")
        self._cache, self._limits, self._settings, self._announce = cache, limits, settings, announce
        self._made: Any = None

    def fetch(self) -> Sequence[Path]:
        """Return the bundles' roots, in the cache.

        Raises:
            SourceUnavailable: the bucket cannot be read, or changes while it is.
            NotAdmitted: an object's key is no plain path, or they are too many or too large.
            ConfigurationError: there is no bundle, or the library is not installed.
        """
        with told(SourceUnavailable):
            objects = list(self._list())
            if [found.path for found in objects] == [""]:
                return [self._archive(objects[0])]
            self._check(objects)
            roots = _roots(objects)
            if not roots:
                raise ConfigurationError(f"no MONAI bundle (configs/metadata.json) in {self.location}", field="bundle")
            return [self._bundle(root, objects) for root in roots]

    @property
    def _client(self) -> Any:
        if self._made is None:
            self._made = s3_client(self._settings.fetch_timeout_seconds, "bundle")
            require_https(self._made.meta.endpoint_url, self._settings)
        return self._made

    def _list(self) -> Iterator[_Object]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=self._prefix)
        for page in pages:
            for found in page.get("Contents", ()):
                key = str(found["Key"])
                path = key[len(self._prefix) :]
                if path and self._prefix and not path.startswith("/"):
                    continue  # models-old beside models
                if path.endswith("/") or set(path.split("/")) & set(NOT_CONTENT):
                    continue  # what a console makes for an empty folder, and what is no part of a bundle
                if not path and not key.endswith(FORMS):
                    continue
                yield _Object(key, path.removeprefix("/"), int(found["Size"]), str(found["ETag"]))

    def _check(self, objects: Sequence[_Object]) -> None:
        if len(objects) > self._limits.files:
            raise NotAdmitted(f"more than {self._limits.files} objects (admission.files)")
        if sum(found.size for found in objects) > self._limits.total_bytes:
            raise NotAdmitted(f"more than {self._limits.total_bytes} bytes (admission.total_bytes)")
        if not all(plain_path(found.path) for found in objects):
            raise NotAdmitted("an object's key is no plain path")

    def _bundle(self, root: str, objects: Sequence[_Object]) -> Path:
        within = f"{root}/" if root else ""
        own = [found for found in objects if found.path.startswith(within)]
        # Where the folder would lie: the last two parts tell name and version (bundle.folder.model_name).
        place = Path(*PurePosixPath(self._bucket, self._prefix, root).parts[-2:])
        facts = [(found.path, found.size, found.etag) for found in own]
        key = hashlib.sha256(json.dumps([str(place), facts]).encode()).hexdigest()

        def fill(content: Path) -> None:
            progress = Progress(self._announce, f"{self.location} {root}".rstrip(), sum(found.size for found in own))
            for found in own:
                self._download(found, content / place / found.path[len(within) :], progress)

        return self._cache.get(f"s3-{key}", fill) / place

    def _archive(self, found: _Object) -> Path:
        key = hashlib.sha256(json.dumps([found.key, found.size, found.etag]).encode()).hexdigest()

        def fill(content: Path) -> None:
            archive = content.with_name(PurePosixPath(found.key).name)
            self._download(found, archive, Progress(self._announce, self.location, found.size))
            unpack_archive(archive, content, self._limits)
            archive.unlink()

        return only_bundle(self._cache.get(f"s3-{key}", fill))

    def _download(self, found: _Object, target: Path, progress: Progress) -> None:
        """Fetch one object; one that an attempt before this one has fetched is kept, for the folder is its tag's."""
        if target.is_file() and target.stat().st_size == found.size:
            progress.add(found.size)
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f"{target.name}.part")
        # Only if it is still the object that was listed: half of it and half of its successor would be neither.
        answer = self._client.get_object(Bucket=self._bucket, Key=found.key, IfMatch=found.etag)
        with part.open("wb") as copy:
            for chunk in answer["Body"].iter_chunks(_CHUNK_BYTES):
                progress.add(copy.write(chunk))
        if part.stat().st_size != found.size:
            raise SourceUnavailable("an object came with another size than was listed")
        part.replace(target)


def _roots(objects: Iterable[_Object]) -> list[str]:
    """Return the prefixes of bundles, none of them within another."""
    found = sorted(f"/{one.path}".removesuffix(_METADATA) for one in objects if f"/{one.path}".endswith(_METADATA))
    roots: list[str] = []
    for root in found:
        if root.count("/") <= _DEPTH and not any(root.startswith(f"{other}/") for other in roots):
            roots.append(root)
    return [root.removeprefix("/") for root in roots]


def s3_client(seconds: float, field: str, *, attempts: int | None = None, profile: str = "", endpoint: str = "") -> Any:
    """Return a client of AWS' library.

    Args:
        seconds: longest time without a word from the store.
        field: of the settings, for errors.
        attempts: of each request; None: the library's own number.
        profile: of ``~/.aws/config``; empty: the chain of credentials decides.
        endpoint: address of a store that speaks S3; empty: ``AWS_ENDPOINT_URL_S3``, else AWS.

    Raises:
        ConfigurationError: the library is not installed, or knows no such profile or region.
    """
    try:
        import boto3  # noqa: PLC0415 - an optional library, beside its only use
        from botocore.config import Config  # noqa: PLC0415
    except ImportError:
        raise ConfigurationError("s3:// needs a library: pip install 'bedside[s3]'", field=field) from None
    retries = {"mode": "standard"} | ({} if attempts is None else {"total_max_attempts": attempts})
    # Version 4 also where the library would still sign an address by version 2, which encrypted buckets refuse.
    config = Config(connect_timeout=seconds, read_timeout=seconds, retries=retries, signature_version="s3v4")
    try:
        return _client(boto3.Session(profile_name=profile or None), config, endpoint or None)
    except Exception as error:
        if (code := error_code(error)) is None:
            raise
        raise ConfigurationError(f"the bucket's store cannot be reached as configured ({code})", field=field) from None


def _client(session: Any, config: Any, endpoint: str | None) -> Any:
    client = session.client("s3", config=config, endpoint_url=endpoint)
    if is_loopback(urlsplit(client.meta.endpoint_url).hostname):  # no proxy gets what stays on this machine
        client = session.client("s3", config=config.merge(type(config)(proxies={})), endpoint_url=endpoint)
    # A store that redirects without naming a region is asked for it, redirects, is asked: 80 times over. We ask for no
    # bucket ourselves.
    client.meta.events.register("before-call.s3.HeadBucket", _unasked)
    return client


def _unasked(**_: Any) -> None:
    from botocore.exceptions import ClientError  # noqa: PLC0415

    raise ClientError({"Error": {}, "ResponseMetadata": {"HTTPHeaders": {}}}, "HeadBucket")  # no region, then


def error_code(error: BaseException) -> str | None:
    """Return what an error of AWS' library says, without its text, which repeats keys; None of any other error."""
    if type(error).__module__.partition(".")[0] not in {"botocore", "boto3", "urllib3"}:
        return None
    return str(getattr(error, "response", {}).get("Error", {}).get("Code", type(error).__name__))


@contextmanager
def told(kind: type[BedsideError]) -> Iterator[None]:
    """Tell what the library raises in our words, as ``kind``: its own repeat keys and addresses."""
    try:
        yield
    except Exception as error:
        code = error_code(error)
        if code is None:
            raise
        raise kind(f"the bucket cannot be read ({code})") from None
