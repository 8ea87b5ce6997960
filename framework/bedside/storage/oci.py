"""An OCI registry as a source and as a target: ``oci://HOST/REPOSITORY:TAG`` or ``…@sha256:…``.

The library is ``oras`` (extra ``oci``), for the ways in which registries want to be logged in to: it reads Docker's
configuration and its credential helpers. docs/decisions/0088.
"""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bedside.errors import ConfigurationError, NotAdmitted, SourceUnavailable
from bedside.loopback import is_loopback
from bedside.settings import AdmissionSettings, RegistrySettings
from bedside.storage.archives import only_bundle
from bedside.storage.artifact import (
    CONFIG_TYPE,
    LAYER_TYPE,
    MANIFEST_BYTES,
    MANIFEST_TYPE,
    Artifact,
    Layer,
    check_blob,
    digest_of,
    read_manifest,
    unpack_layer,
)
from bedside.storage.cache import BundleCache
from bedside.storage.progress import Announce, Progress

_SCHEME = "oci://"
_CHUNK_BYTES = 1 << 20


class Registry:
    """One repository of one registry.

    Raises:
        ConfigurationError: the reference is none, or the library is not installed.
    """

    def __init__(self, reference: str, settings: RegistrySettings) -> None:
        oras = _library()
        try:
            self._container = oras.container.Container(reference.removeprefix(_SCHEME))
        except ValueError:
            raise ConfigurationError("a reference is oci://HOST/REPOSITORY:TAG", field="bundle") from None
        host = str(self._container.registry).partition(":")[0]
        self._client = oras.client(insecure=is_loopback(host) or settings.allow_http)
        _bound(self._client.session, settings.fetch_timeout_seconds)
        self._base = f"{self._client.prefix}://{self._container.registry}/v2/{self._container.api_prefix}"

    @property
    def pinned(self) -> str:
        """Return the digest that the reference names, empty where it names a tag."""
        return self._container.digest or ""

    def manifest(self) -> bytes:
        """Return the manifest that the reference means. Raises SourceUnavailable, NotAdmitted."""
        with _told():
            self._client.auth.load_configs(self._container)
            url = f"{self._base}/manifests/{self.pinned or self._container.tag}"
            answer = self._client.do_request(url, "GET", headers={"Accept": MANIFEST_TYPE}, stream=True)
            _check(answer)
            raw = b"".join(_bounded(answer, MANIFEST_BYTES))
        if self.pinned and digest_of(raw) != self.pinned:
            raise NotAdmitted("not admitted: the manifest is not the one that was asked for")
        return raw

    def download(self, layer: Layer, target: Path, progress: Progress) -> None:
        """Fetch a blob; goes on where an attempt before this one was cut short. Raises SourceUnavailable."""
        have = target.stat().st_size if target.is_file() else 0
        if have >= layer.size:  # whole, or wrong: its digest will tell
            return
        progress.add(have)
        with _told():
            headers = {"Range": f"bytes={have}-"} if have else {}
            answer = self._client.do_request(f"{self._base}/blobs/{layer.digest}", "GET", headers=headers, stream=True)
            _check(answer)
            # A registry that knows no ranges sends all of it again (RFC 9110 §14.2).
            with target.open("ab" if answer.status_code == 206 else "wb") as copy:
                for chunk in _bounded(answer, layer.size):
                    progress.add(copy.write(chunk))

    def push(self, artifact: Artifact) -> None:
        """Upload config, layer and manifest; what the registry has already is not sent. Raises SourceUnavailable."""
        with _told():
            self._client.auth.load_configs(self._container)
            config = artifact.layer.with_name("config.json")
            config.write_bytes(artifact.config)
            for path, media_type in ((config, CONFIG_TYPE), (artifact.layer, LAYER_TYPE)):
                self._push_blob(path, media_type)
            url = f"{self._base}/manifests/{self._container.tag}"
            headers = {"Content-Type": MANIFEST_TYPE}
            _check(self._client.do_request(url, "PUT", headers=headers, data=artifact.manifest))

    def _push_blob(self, path: Path, media_type: str) -> None:
        with path.open("rb") as stream:
            digest = f"sha256:{hashlib.file_digest(stream, 'sha256').hexdigest()}"
        size = path.stat().st_size
        described = {"mediaType": media_type, "digest": digest, "size": size}
        # In chunks: in one piece, the library would read the whole layer into memory.
        _check(self._client.upload_blob(str(path), self._container, described, do_chunked=size > _CHUNK_BYTES))


class OciSource:
    """Implements ``interfaces.BundleSource``; what a tag means is asked at each look."""

    def __init__(
        self,
        reference: str,
        cache: BundleCache,
        limits: AdmissionSettings,
        settings: RegistrySettings,
        announce: Announce,
    ) -> None:
        self.location = reference
        self._registry = Registry(reference, settings)
        self._cache, self._limits, self._announce = cache, limits, announce

    def fetch(self) -> Sequence[Path]:
        """Return the bundle's root, in the cache.

        Raises:
            SourceUnavailable: the registry does not answer, or not with the artifact.
            NotAdmitted: a digest does not hold, or it is no bundle.
        """
        raw = self._registry.manifest()
        layer = read_manifest(raw, self._limits)
        content = self._cache.get(f"oci-{digest_of(raw).partition(':')[2]}", lambda into: self._fill(into, layer))
        return [only_bundle(content)]

    def _fill(self, content: Path, layer: Layer) -> None:
        blob = content.with_name("layer")
        self._registry.download(layer, blob, Progress(self._announce, self.location, layer.size))
        try:
            check_blob(blob, layer)
            unpack_layer(blob, content, layer, self._limits)
        finally:
            blob.unlink()  # whole or wrong, nobody needs it again


class _Library:
    """What is used of ``oras``."""

    def __init__(self) -> None:
        import oras.container  # noqa: PLC0415 - an optional library, beside its only use
        import oras.provider  # noqa: PLC0415

        class Client(oras.provider.Registry):  # type: ignore[misc]
            """Asks once: the library's own five attempts would keep a server from starting for two minutes."""

            def do_request(self, *arguments: Any, **options: Any) -> Any:
                return super().do_request.__wrapped__(self, *arguments, **options)

        self.container = oras.container
        self.client = Client


def _library() -> _Library:
    try:
        return _Library()
    except ImportError:
        raise ConfigurationError("oci:// needs a library: pip install 'bedside[oci]'", field="bundle") from None


def _bound(session: Any, seconds: float) -> None:
    """Give every request of a session a time-out; the library sets none."""
    from requests.adapters import HTTPAdapter  # noqa: PLC0415 - comes with oras

    class Bounded(HTTPAdapter):  # type: ignore[misc]
        def send(self, *arguments: Any, **options: Any) -> Any:
            return super().send(*arguments, **{**options, "timeout": options.get("timeout") or seconds})

    for scheme in ("http://", "https://"):
        session.mount(scheme, Bounded())


def _bounded(answer: Any, most: int) -> Iterator[bytes]:
    count = 0
    for chunk in answer.iter_content(_CHUNK_BYTES):
        count += len(chunk)
        if count > most:
            raise NotAdmitted("not admitted: the registry sent more than was announced, or than may be")
        yield chunk


def _check(answer: Any) -> None:
    if answer.status_code >= 400:
        raise SourceUnavailable(f"the registry answered {answer.status_code}")


@contextmanager
def _told() -> Iterator[None]:
    """Tell what the library raises in our words: its own repeat addresses."""
    try:
        yield
    except (OSError, ValueError) as error:  # requests' exceptions are OSError, refused log-ins ValueError
        raise SourceUnavailable(f"the registry does not answer ({type(error).__name__})") from None
    except Exception as error:
        if not type(error).__module__.startswith("oras"):
            raise
        raise SourceUnavailable(f"the registry cannot be logged in to ({type(error).__name__})") from None
