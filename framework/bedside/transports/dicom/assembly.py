"""Complete studies of the inbox become jobs.

A job is handed in before the inbox forgets the study. Where that is interrupted, the study is handed in again, and is
the same job: nothing is lost, and nothing is done twice.
"""

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from bedside.dicom_settings import DicomRoute, DicomSettings
from bedside.errors import BedsideError, NoRoute, Unavailable
from bedside.interfaces import ServedModel
from bedside.observability.accounting import slug
from bedside.observability.events import Event
from bedside.observability.frames import safe_frames
from bedside.observability.logging import get_logger
from bedside.observability.tracing import SpanKind, Tracer
from bedside.transports.dicom.inbox import Inbox, ReceivedStudy
from bedside.transports.dicom.routing import routed
from bedside.transports.intake import StudyIntake, packed
from bedside.types import Principal

if TYPE_CHECKING:
    from bedside.codecs.dicom.incoming import ReceivedInstance

ISSUER = "dicom"
"""Issuer of a principal that is an AE title: no token's, which are URLs."""

_MOST_SECONDS = 1.0

HOLD_SECONDS = 60.0
"""After so long, a study that could not become a job is looked at again: its model may have come meanwhile."""

Resolve = Callable[[str, str | None], ServedModel]
"""Returns a ready model; raises ModelNotFound, ModelNotReady."""

_log = get_logger("bedside.dicom")


@dataclass(frozen=True, slots=True)
class _Held:
    """Why and until when a study waits, and how many instances it had; with more of them it is looked at at once."""

    count: int
    until: float
    code: str
    waits: bool


def principal_of(calling_ae_title: str) -> Principal:
    """Return who a sender is to the job store. Its studies' jobs are seen by administrators alone."""
    return Principal(calling_ae_title, ISSUER, frozenset(), 0.0)


class Assembler:
    """Looks at the inbox, and hands in what is complete.

    Args:
        inbox: where studies are.
        intake: where they go.
        resolve: finds models.
        settings: routes and the time after which a study is complete.
        retention_seconds: age at which what cannot become a job is shredded.
        clock: seconds from any moment on.
        tracer: takes a span of each study that is handed in, which begins its trace.
    """

    def __init__(
        self,
        inbox: Inbox,
        intake: StudyIntake,
        resolve: Resolve,
        settings: DicomSettings,
        retention_seconds: float,
        clock: Callable[[], float] = time.monotonic,
        tracer: Tracer | None = None,
    ) -> None:
        self._inbox = inbox
        self._intake = intake
        self._resolve = resolve
        self._settings = settings
        self._retention_seconds = retention_seconds
        self._clock = clock
        self._tracer = tracer or Tracer()
        self._held: dict[str, _Held] = {}

    async def run(self) -> None:
        """Hand in until cancelled.

        Not at once: while the server was away nothing could come, and a sender that it cut off gets the time to go on.
        """
        await asyncio.sleep(self._settings.stable_seconds)
        while True:
            try:
                await self.hand_in()
            except Exception as error:  # noqa: BLE001 - a disk that is away must not end the loop
                _log.error(Event.INBOX_FAILED, error_type=type(error).__name__, frames=safe_frames(error))
            await asyncio.sleep(min(_MOST_SECONDS, self._settings.stable_seconds / 2))

    async def hand_in(self) -> None:
        """Hand in every complete study that may become a job."""
        for study in await asyncio.to_thread(self._inbox.complete, self._settings.stable_seconds):
            count = await asyncio.to_thread(self._inbox.count, study)
            held = self._held.get(study)
            if held is None or held.count != count or held.until <= self._clock():
                await self._try(study, count)
        await asyncio.to_thread(self._purge)

    async def _try(self, study: str, count: int) -> None:
        """Hand a study in, or hold it: one that fails stands in no other's way."""
        try:
            await self._study(study)
        except BedsideError as error:
            code, waits = slug(type(error).__name__), isinstance(error, Unavailable)
            seconds = float(error.retry_after_seconds) if isinstance(error, Unavailable) else HOLD_SECONDS
        except Exception as error:  # noqa: BLE001 - a database that is away, or a defect; its text may quote the study
            _log.error(Event.INBOX_FAILED, error_type=type(error).__name__, frames=safe_frames(error))
            code, waits, seconds = slug(type(error).__name__), True, HOLD_SECONDS
        else:
            self._held.pop(study, None)
            return
        if study not in self._held or self._held[study].code != code:
            _log.warning(Event.STUDY_HELD, error_code=code)
        self._held[study] = _Held(count, self._clock() + seconds, code, waits=waits)

    async def _study(self, study: str) -> None:
        found = await asyncio.to_thread(self._inbox.read, study)
        if study not in await asyncio.to_thread(self._inbox.complete, self._settings.stable_seconds):
            return  # something came while it was read
        matching = list(routed(found, self._settings.routes))
        if not matching:
            raise NoRoute
        for route, instances in matching:
            await self._take(found, route, instances)
        await asyncio.to_thread(self._inbox.forget, study, found.names)

    async def _take(self, study: ReceivedStudy, route: DicomRoute, instances: "list[ReceivedInstance]") -> None:
        served = self._resolve(route.model, route.version)
        self._intake.require_dicom(served)
        part = await asyncio.to_thread(packed, instances)
        about = {"transport": "dicom", "model": served.name, "version": served.version, "digest": served.digest}
        with self._tracer.span(f"study {served.name}", None, SpanKind.CONSUMER, **about) as span:
            who = principal_of(study.calling_ae_title)
            job = await self._intake.take(who, served, part, route.results_to, span)
        _log.info(Event.STUDY_TAKEN, job=job.id, model=job.model)

    def _purge(self) -> None:
        for study in self._inbox.complete(self._retention_seconds):
            if study in self._held and not self._held[study].waits:
                self._inbox.drop(study)
                del self._held[study]
        self._inbox.tidy()
