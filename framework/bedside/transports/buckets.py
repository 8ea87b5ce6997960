"""Objects of a bucket that the site allows: one of them, or all that lie below a name, as one study.

Keys are never repeated, in no message and no log: they often hold a patient's name.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from bedside.bundle.contract import InputSpec
from bedside.bundle.media_types import media_type_of_suffix
from bedside.bundle.study import is_litter
from bedside.codecs.encode import join_study
from bedside.errors import ArchiveUnavailable, ConfigurationError, PayloadTooLarge, ReferenceNotFound, TooManyInstances
from bedside.loopback import is_loopback
from bedside.reference_settings import ReferenceBucket, ReferenceSettings
from bedside.settings import LimitSettings
from bedside.storage.s3 import error_code, s3_client, told
from bedside.transports.references import BucketReference, steps_of
from bedside.transports.room import Hold
from bedside.types import RawPart

_CHUNK_BYTES = 1 << 20
_AT_ONCE = 8  # objects; a study of many small ones would wait for each answer in turn
_GONE = frozenset({"NoSuchKey", "404", "NotFound"})


@dataclass(frozen=True, slots=True, repr=False)
class _Object:
    key: str
    size: int
    etag: str


class Bucket:
    """Implements ``references.Fetch`` for objects below one prefix.

    Args:
        settings: bucket and prefix, how they are reached.
        limits: ``body_bytes`` and ``dicom_instances`` bound what is read.
        retries: attempts.

    Raises:
        ConfigurationError: the library is missing, or patients' data would go over a network in the clear.
    """

    def __init__(self, settings: ReferenceBucket, limits: LimitSettings, retries: ReferenceSettings) -> None:
        address = urlsplit(settings.url)
        self._bucket, self._prefix = address.netloc, address.path.strip("/")
        self._limits = limits
        self._client = s3_client(
            settings.timeout_seconds,
            "references.buckets",
            attempts=retries.attempts,
            profile=settings.profile,
            endpoint=settings.endpoint,
        )
        where = urlsplit(self._client.meta.endpoint_url)
        if where.scheme == "http" and not settings.allow_http and not is_loopback(where.hostname):
            raise ConfigurationError(
                "http:// is for this machine only; set allow_http where patients' data may go in the clear",
                field="references.buckets",
            )

    async def __call__(self, reference: BucketReference, spec: InputSpec, hold: Hold) -> RawPart:  # noqa: ARG002 - Fetch's
        """Return an object, or all objects below a name as one study.

        Raises:
            BadParameter, ReferenceNotFound, PayloadTooLarge: the store has answered.
            ArchiveUnavailable: it has not, or what was listed has changed since.
        """
        return await hold.in_thread(self._read, steps_of(reference.path), hold)

    def offer(self, step: str, size: int, seconds: int) -> str:
        """Return the address that takes ``size`` bytes, no more and no fewer, for the object ``step`` below the prefix.

        Signed here, without the store; whoever knows it may use it for ``seconds``.

        Raises:
            ArchiveUnavailable: there are no credentials.
        """
        put = {"Bucket": self._bucket, "Key": self._key([step]), "ContentLength": size}
        with told(ArchiveUnavailable):
            return str(self._client.generate_presigned_url("put_object", put, seconds, "PUT"))

    def _key(self, steps: list[str]) -> str:
        return "/".join([*([self._prefix] if self._prefix else []), *steps])

    def _read(self, steps: list[str], hold: Hold) -> RawPart:
        key = self._key(steps)
        with told(ArchiveUnavailable):
            try:
                return RawPart(None, media_type_of_suffix(Path(steps[-1]).suffix), self._get({"Key": key}, None, hold))
            except Exception as error:
                if error_code(error) not in _GONE:
                    raise
            return self._study(f"{key}/", hold)

    def _study(self, prefix: str, hold: Hold) -> RawPart:
        found: list[_Object] = []
        room = self._limits.body_bytes
        for one in self._listed(prefix):
            room -= one.size
            if len(found) == self._limits.dicom_instances:
                raise TooManyInstances(field="source.path")
            if room < 0:
                raise PayloadTooLarge(field="source.path")
            found.append(one)
        if not found:
            raise ReferenceNotFound(field="source.path")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            # Only if it is still the object that was listed: half of a study and half of its successor are neither.
            reads = [{"Key": one.key, "IfMatch": one.etag} for one in found]
            bodies = pool.map(lambda read, one: self._get(read, one.size, hold), reads, found)
            return join_study(list(bodies))

    def _listed(self, prefix: str) -> Iterator[_Object]:
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=prefix)
        for page in pages:
            for found in page.get("Contents", ()):
                key = str(found["Key"])
                # What ends in a slash is what a console makes for an empty folder.
                if not key.endswith("/") and not is_litter(PurePosixPath(key)):
                    yield _Object(key, int(found["Size"]), str(found["ETag"]))

    def _get(self, read: dict[str, str], size: int | None, hold: Hold) -> bytes:
        room = self._limits.body_bytes if size is None else size
        data = bytearray()
        hold.take(0)  # does anybody still wait?
        with closing(self._client.get_object(Bucket=self._bucket, **read)["Body"]) as body:
            for chunk in body.iter_chunks(_CHUNK_BYTES):
                if len(data) + len(chunk) > room:
                    raise PayloadTooLarge(field="source.path")
                hold.take(len(chunk))
                data += chunk
        if size is not None and len(data) != size:
            raise ArchiveUnavailable("an object came with another size than was listed")
        return bytes(data)
