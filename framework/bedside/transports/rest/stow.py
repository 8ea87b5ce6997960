"""``POST /dicomweb/models/{m}[/versions/{v}]/studies``: STOW-RS (DICOM PS3.18 §10.5). Each study becomes a job.

Series are checked before the job is taken: what has no exact volume is refused in the answer, with its reason.
"""

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

import orjson
from multipart import parse_options_header

from bedside.codecs.dicom import DICOM, RELATED, files_of, received
from bedside.codecs.negotiate import negotiate
from bedside.errors import (
    BedsideError,
    DicomRefused,
    InputNotProcessable,
    MalformedPayload,
    MissingToken,
    RequestError,
    UnsupportedMediaType,
)
from bedside.interfaces import ServedModel
from bedside.jobs.records import Job
from bedside.settings import LimitSettings
from bedside.transports.intake import StudyIntake, failure_reason, packed
from bedside.transports.rest.exchange import Exchange
from bedside.transports.rest.reply import Header, Reply
from bedside.types import Principal, RawPart

if TYPE_CHECKING:
    from bedside.codecs.dicom.incoming import ReceivedInstance

DICOM_JSON = "application/dicom+json"
_ANSWERS = (DICOM_JSON, "application/json")

_SOP_CLASS, _SOP_INSTANCE, _RETRIEVE_URL = "00081150", "00081155", "00081190"
_FAILURE_REASON, _FAILED, _REFERENCED, _OTHER = "00081197", "00081198", "00081199", "0008119A"


@dataclass(slots=True)
class _Outcome:
    """What has become of the instances of one request."""

    kept: list[Mapping[str, Any]] = field(default_factory=list)
    failed: list[tuple[Mapping[str, Any], BedsideError]] = field(default_factory=list)
    others: list[BedsideError] = field(default_factory=list)
    jobs: list[Job] = field(default_factory=list)

    @property
    def first_error(self) -> BedsideError | None:
        """Return why something failed."""
        return next(iter([*(error for _, error in self.failed), *self.others]), None)


class StoreStudies:
    """The operation ``studies`` of the edge."""

    def __init__(self, intake: StudyIntake, limits: LimitSettings) -> None:
        self._intake = intake
        self._limits = limits

    async def __call__(self, exchange: Exchange, served: ServedModel) -> Reply:
        """Store the instances of one request; see ``exchange.Operation``."""
        principal = exchange.call.principal
        if principal is None:
            raise MissingToken
        media_type = negotiate(exchange.head.accept, _ANSWERS)
        whole = _related(exchange)
        self._intake.require_dicom(served)
        body = RawPart(None, whole, await exchange.body.read(self._limits.body_bytes))
        outcome = _Outcome()
        studies = await asyncio.to_thread(_sorted_out, body, self._limits, outcome)
        del body  # its instances lie in it; it goes with the last of them
        while studies:
            await self._store(exchange, served, principal, studies.pop(0), outcome)
        if not outcome.kept:
            exchange.call.error = outcome.first_error  # for the account: nothing was stored
        return _reply(outcome, media_type)

    async def _store(
        self,
        exchange: Exchange,
        served: ServedModel,
        principal: Principal,
        study: "list[ReceivedInstance]",
        outcome: _Outcome,
    ) -> None:
        part = await asyncio.to_thread(packed, study)
        references = [_reference(instance) for instance in study]
        del study  # and with it, the request's body
        try:
            await self._intake.check(exchange.call, served, part)
        except (RequestError, InputNotProcessable) as error:
            outcome.failed += [(reference, error) for reference in references]
            return
        # Not caught: where the store is away, the whole request is to be repeated; what was taken is taken once.
        outcome.jobs.append(await self._intake.take(principal, served, part, trace=self._intake.span(exchange.call)))
        outcome.kept += references


def _related(exchange: Exchange) -> str:
    """Return Content-Type. Raises UnsupportedMediaType: only ``multipart/related`` of DICOM files is taken (§8.7.3)."""
    media_type, whole = exchange.head.content_type
    _, options = parse_options_header(whole)
    if media_type != RELATED or options.get("type", DICOM).lower() != DICOM:
        raise UnsupportedMediaType(f'send {RELATED}; type="{DICOM}"', field="Content-Type")
    return whole


def _sorted_out(body: RawPart, limits: LimitSettings, outcome: _Outcome) -> "list[list[ReceivedInstance]]":
    """Return the instances by study; what is none goes into the outcome."""
    found: list[ReceivedInstance] = []
    files = files_of(body, limits)
    if not files:
        raise MalformedPayload("the body holds no instances", field="body")
    for data in files:
        try:
            found.append(received(data))
        except DicomRefused as error:
            outcome.others.append(error)
    found.sort(key=lambda instance: instance.study)
    return [list(study) for _, study in groupby(found, key=lambda instance: instance.study)]


def _reply(outcome: _Outcome, media_type: str) -> Reply:
    """Return the Store Instances Response Module (PS3.18 §I.2) with the status of §10.5.3.1."""
    failures = bool(outcome.failed or outcome.others)
    status = 200 if not failures else 202 if outcome.kept else 409
    document = {
        _RETRIEVE_URL: {"vr": "UR"},  # type 2: instances cannot be retrieved from here
        **_sequence(_REFERENCED, ({**reference, _RETRIEVE_URL: {"vr": "UR"}} for reference in outcome.kept)),
        **_sequence(_FAILED, ({**reference, **_reason(error)} for reference, error in outcome.failed)),
        **_sequence(_OTHER, (_reason(error) for error in outcome.others)),
    }
    return Reply(status, media_type, orjson.dumps(document), tuple(_headers(outcome)))


def _headers(outcome: _Outcome) -> Iterable[Header]:
    for job in outcome.jobs:
        # RFC 5989 §4: where to ask how the work goes.
        yield b"link", f'</v1/jobs/{job.id}>; rel="monitor"'.encode()
    if len(outcome.jobs) == 1:
        yield b"location", f"/v1/jobs/{outcome.jobs[0].id}".encode()
    error = outcome.first_error
    if error is not None:
        yield b"warning", _warning(error).encode()


def _warning(error: BedsideError) -> str:
    """Return ``Warning`` (PS3.18 §10.5.3.2): the reason, and what to do. Our own words, none of the caller's."""
    reason = error.reason() if isinstance(error, DicomRefused) else type(error).__name__
    said = f"{reason}: {error.text}".encode("ascii", "replace").decode().replace("\\", "/").replace('"', "'")
    return f'299 bedside "{said}"'


def _sequence(tag: str, items: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a sequence (PS3.18 §F.2.2); one without items is left out, since clients ask whether it is there."""
    found = list(items)
    return {tag: {"vr": "SQ", "Value": found}} if found else {}


def _reference(instance: "ReceivedInstance") -> dict[str, Any]:
    return {
        _SOP_CLASS: {"vr": "UI", "Value": [instance.sop_class]},
        _SOP_INSTANCE: {"vr": "UI", "Value": [instance.uid]},
    }


def _reason(error: BedsideError) -> dict[str, Any]:
    return {_FAILURE_REASON: {"vr": "US", "Value": [failure_reason(error)]}}
