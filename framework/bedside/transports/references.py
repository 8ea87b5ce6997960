"""Inputs that a request names instead of sending: a study in an archive, a file or an object where the site allows it.

A caller names what the site has configured, never an address: a server that fetches what it is told to would carry its
credentials anywhere (CWE-918). Where an image is expected, JSON is such a name::

    {"source": {"dicomweb": "pacs", "study": "1.2.840…", "series": "1.2.840…"}}
    {"source": {"file": "incoming", "path": "case7/scan.nii.gz"}}
    {"source": {"s3": "research", "path": "case7/scan.nii.gz"}}
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager
from time import perf_counter
from typing import Annotated, Any, ClassVar

import orjson
from pydantic import BaseModel, ConfigDict, StringConstraints, ValidationError

from bedside.bundle.contract import Contract, InputSpec
from bedside.codecs.dicom import DICOM
from bedside.codecs.record import parse_object
from bedside.dataplane.call import Call
from bedside.dicom_settings import Name
from bedside.errors import (
    ArchiveUnavailable,
    BadParameter,
    BedsideError,
    DeadlineExceeded,
    MalformedPayload,
    MissingToken,
    PayloadTooLarge,
    UnsupportedMediaType,
)
from bedside.observability.accounting import slug
from bedside.observability.events import Event
from bedside.observability.logging import get_logger
from bedside.observability.traceparent import CURRENT_SPAN, TraceParent
from bedside.transports.room import Hold, Room
from bedside.types import Principal, RawInput, RawPart

REFERENCE = "application/vnd.bedside.reference+json"
"""Media type of a reference that has been admitted, on its way to where it is read."""

JSON = "application/json"
_MOST_BYTES = 8192

Uid = Annotated[str, StringConstraints(pattern=r"^[0-2](\.(0|[1-9][0-9]*))+$", max_length=64)]  # DICOM PS3.5 §9.1
Path = Annotated[str, StringConstraints(min_length=1, max_length=4096)]

_log = get_logger("bedside.references")


class _Member(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class DicomwebReference(_Member):
    """A study in an archive, or one series of it."""

    kind: ClassVar[str] = "dicomweb"

    dicomweb: Name
    study: Uid
    series: Uid | None = None

    @property
    def source(self) -> str:
        """Return the name of the archive."""
        return self.dicomweb


class FileReference(_Member):
    """A file, or all files, below a folder; ``path`` has ``/`` between its steps."""

    kind: ClassVar[str] = "file"

    file: Name
    path: Path

    @property
    def source(self) -> str:
        """Return the name of the folder."""
        return self.file


class BucketReference(_Member):
    """An object, or all objects below a name, in a bucket; as for files."""

    kind: ClassVar[str] = "s3"

    s3: Name
    path: Path

    @property
    def source(self) -> str:
        """Return the name of the bucket."""
        return self.s3


Reference = DicomwebReference | FileReference | BucketReference
_KINDS: tuple[type[Reference], ...] = (DicomwebReference, BucketReference, FileReference)
_MEMBERS = {member for kind in _KINDS for member in kind.model_fields}

Fetch = Callable[[Any, InputSpec, Hold], Awaitable[RawPart]]
"""Given a reference of its kind, the input that it is for, and what the bytes are taken from: returns them. Raises
BedsideError."""

Sources = Mapping[tuple[type[Reference], str], Fetch]


def parse_reference(data: bytes) -> Reference:
    """Return the reference that a JSON document holds. Its values are never repeated: a UID leads to a patient.

    Raises:
        PayloadTooLarge, MalformedPayload, BadParameter: naming the member.
    """
    if len(data) > _MOST_BYTES:
        raise PayloadTooLarge(f"a reference has at most {_MOST_BYTES} bytes", field="source")
    document = parse_object(data, "source")
    source = document.get("source")
    if set(document) != {"source"} or not isinstance(source, dict):
        raise MalformedPayload('expected {"source": {…}}, as docs/api.md describes references', field="source")
    try:
        return _reference(source)
    except ValidationError as error:
        member = error.errors()[0]["loc"][0]
        known = f".{member}" if member in _MEMBERS else ""
        raise BadParameter("is not what docs/api.md describes of references", field=f"source{known}") from None


def _reference(source: Mapping[str, Any]) -> Reference:
    kind = next((kind for kind in _KINDS if kind.kind in source), FileReference)
    return kind.model_validate(source)


def steps_of(path: str) -> list[str]:
    """Return the steps of a path below a source. Raises BadParameter: it leads elsewhere, or could be read so."""
    steps = path.split("/")
    if any(step in {"", ".", ".."} or "\0" in step or "\\" in step for step in steps):
        raise BadParameter("must be steps below the source, with / between them", field="source.path")
    return steps


class References:
    """What may be referred to, and how it is read.

    Args:
        sources: how each is read, by its kind and name.
        authorise: lets a principal use a source, by name; raises InsufficientScope.
        seconds: that reading the inputs of one call may take.
        most_bytes: of all inputs of one call together, as of a body that holds them.
        room: for those of all calls.
        span: of a call, which archives are told as ``traceparent``.
    """

    def __init__(
        self,
        sources: Sources,
        authorise: Callable[[Principal, str], None],
        seconds: float,
        most_bytes: int,
        room: Room,
        span: Callable[[Call], TraceParent | None] = lambda call: call.parent,
    ) -> None:
        self._sources = sources
        self._authorise = authorise
        self._seconds = seconds
        self._most_bytes = most_bytes
        self._room = room
        self._span = span

    def expected(self, spec: InputSpec | None) -> bool:
        """Tell whether JSON for this input is a reference: no image is JSON."""
        return bool(self._sources) and spec is not None and spec.kind == "image"

    def admit(self, parts: Sequence[RawPart], contract: Contract, principal: Principal | None) -> list[RawInput]:
        """Return the parts; those that are references are allowed, known, and marked.

        Raises:
            MissingToken, InsufficientScope, BadParameter, MalformedPayload, PayloadTooLarge, UnsupportedMediaType.
        """
        return [self._admitted(part, contract, principal) for part in parts]

    def _admitted(self, part: RawPart, contract: Contract, principal: Principal | None) -> RawPart:
        spec = spec_of(part, contract)
        names = part.media_type == JSON and self.expected(spec)
        if not names and part.media_type != REFERENCE:  # what comes marked is judged like any other
            return part
        reference = parse_reference(part.data)
        if principal is None:
            raise MissingToken
        self._authorise(principal, reference.source)  # first, so that nobody else learns which sources there are
        if (type(reference), reference.source) not in self._sources:
            raise BadParameter("names no source of this server", field=f"source.{reference.kind}")
        if spec is None or (isinstance(reference, DicomwebReference) and DICOM not in spec.media_types):
            raise UnsupportedMediaType("this input takes no DICOM images", field=None if spec is None else spec.name)
        return RawPart(part.name, REFERENCE, reference.model_dump_json(exclude_none=True).encode())

    @asynccontextmanager
    async def fetched(
        self, call: Call, contract: Contract, inputs: list[RawInput], seconds: float
    ) -> AsyncIterator[list[RawInput]]:
        """Give the very list, with what was referred to in place of the references; room is held until the block ends.

        Args:
            call: whose stage 1 this is.
            contract: of the model, which chooses among the series of a study.
            inputs: from :meth:`admit`.
            seconds: that the call has left.

        Raises:
            ReferenceNotFound, PayloadTooLarge, DicomRefused: the next attempt would end so, too.
            QueueFull, ArchiveUnavailable, DeadlineExceeded: it need not.
        """
        with ExitStack() as holds:
            if any(map(is_reference, inputs)):
                inputs[:] = await self._read(call, contract, inputs, seconds, holds)
            yield inputs

    async def _read(
        self, call: Call, contract: Contract, inputs: Sequence[RawInput], seconds: float, holds: ExitStack
    ) -> list[RawInput]:
        begin, token = perf_counter(), CURRENT_SPAN.set(self._span(call))
        try:
            async with asyncio.timeout(min(seconds, self._seconds)):
                return await self._all(inputs, contract, holds)
        except TimeoutError:
            late = ArchiveUnavailable("the input did not come within references.seconds")
            raise _told(DeadlineExceeded() if seconds < self._seconds else late) from None
        except BedsideError as error:
            raise _told(error) from None
        finally:
            CURRENT_SPAN.reset(token)
            call.stages["receive"] = perf_counter() - begin

    async def _all(self, inputs: Sequence[RawInput], contract: Contract, holds: ExitStack) -> list[RawInput]:
        found: list[RawInput] = []
        room = self._most_bytes
        for part in inputs:
            if is_reference(part):
                found.append(fetched := await self._fetched(part, contract, holds))
                room -= len(fetched.data)
                if room < 0:  # a few bytes may name the largest file again and again
                    raise PayloadTooLarge("the inputs are larger than the limits allow", field="source")
            else:
                found.append(part)
        return found

    async def _fetched(self, part: Any, contract: Contract, holds: ExitStack) -> RawPart:
        reference = _reference(orjson.loads(part.data))
        source = (type(reference), reference.source)
        spec, read = spec_of(part, contract), self._sources.get(source)
        if spec is None or read is None:  # of a job: another server has taken it
            raise ArchiveUnavailable("this server has no such source")
        hold = holds.enter_context(self._room.hold(source))
        found = await read(reference, spec, hold)
        hold.done()
        return RawPart(part.name, found.media_type, found.data)


NONE = References({}, lambda _principal, _source: None, 0.0, 0, Room(0, 0, 0))
"""Of a server that reads nothing on its own."""


def is_reference(part: RawInput) -> bool:
    """Tell whether an input is an admitted reference."""
    return isinstance(part, RawPart) and part.media_type == REFERENCE


def is_replaceable(part: RawInput) -> bool:
    """Tell whether an input names files or objects, which may be replaced; a UID means one study for ever."""
    return isinstance(part, RawPart) and is_reference(part) and DicomwebReference.kind not in orjson.loads(part.data)


def archive_of(inputs: Sequence[RawInput]) -> str | None:
    """Return the archive that the first reference to a study names; None where there is none."""
    documents = [orjson.loads(part.data) for part in inputs if isinstance(part, RawPart) and is_reference(part)]
    return next((document["dicomweb"] for document in documents if "dicomweb" in document), None)


def spec_of(part: RawPart, contract: Contract) -> InputSpec | None:
    """Return the input that a part is for: a body without a name is the only one."""
    return contract.only if part.name is None else contract.input(part.name)


def _told(error: BedsideError) -> BedsideError:
    _log.warning(Event.REFERENCE_NOT_RETRIEVED, error_code=slug(type(error).__name__))
    return error
