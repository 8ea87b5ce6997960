"""Studies become jobs: what STOW-RS and C-STORE have in common.

One study is one job. Its instances are put in the order of their UIDs, so that the same study is the same job however
and in whatever order it came, and sending it twice costs nothing.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import TYPE_CHECKING

from bedside import errors
from bedside.codecs.dicom import RELATED
from bedside.codecs.encode import join_study
from bedside.dataplane.call import Call
from bedside.dataplane.inference import DataPlane
from bedside.dicom_settings import DicomSettings
from bedside.errors import BedsideError, UnsupportedMediaType
from bedside.interfaces import ServedModel
from bedside.jobs.desk import JobDesk
from bedside.jobs.records import Job
from bedside.observability.traceparent import TraceParent
from bedside.types import Principal, RawPart

if TYPE_CHECKING:
    from bedside.codecs.dicom.incoming import ReceivedInstance

FAILURE_REASONS: Mapping[type[BedsideError], int] = {
    BedsideError: 0x0110,  # processing failure (PS3.7 §C.5.6)
    errors.Unavailable: 0xA700,  # out of resources (PS3.4 table B.2-1)
    errors.PayloadTooLarge: 0xA700,
    errors.RequestError: 0xC000,  # cannot understand
    errors.DicomRefused: 0xA900,  # data set does not match what is asked of it
    errors.NotDicom: 0xC000,
    errors.MissingTag: 0x0120,  # missing attribute
    errors.UnsupportedSopClass: 0x0122,  # SOP class not supported
    errors.UnsupportedTransferSyntax: 0xC122,  # referenced transfer syntax not supported (PS3.18 §I.2.2)
    errors.InsufficientScope: 0x0124,  # not authorized
}
"""Failure Reason (0008,1197), which is also the status of C-STORE, by error; the nearest ancestor's holds."""


_CRLF = b"\r\n"
_END_OF_HEADERS = b"\r\n\r\n"  # RFC 2046 §5.1.1


def failure_reason(error: BedsideError) -> int:
    """Return the table's code of an error: its own, else its nearest ancestor's."""
    return next(FAILURE_REASONS[cls] for cls in type(error).__mro__ if cls in FAILURE_REASONS)


def packed(instances: "Sequence[ReceivedInstance]") -> RawPart:
    """Return a study as one input, the same bytes for the same instances; their headers are not read again."""
    ordered = sorted(instances, key=lambda instance: instance.uid)
    whole = join_study(instance.data for instance in ordered)
    lead = whole.data.index(_END_OF_HEADERS) + len(_END_OF_HEADERS)  # as long before each file
    starts = accumulate((len(instance.data) + len(_CRLF) + lead for instance in ordered), initial=lead)
    files = tuple(instance.within(whole.data, at) for instance, at in zip(ordered, starts, strict=False))
    return replace(whole, files=files)


class StudyIntake:
    """Takes studies for models.

    Args:
        dataplane: the spine.
        desk: where jobs are handed in.
        wake: called when one has been.
        settings: where results go.
    """

    def __init__(self, dataplane: DataPlane, desk: JobDesk, wake: Callable[[], None], settings: DicomSettings) -> None:
        self._dataplane = dataplane
        self._desk = desk
        self._wake = wake
        self._settings = settings

    def require_dicom(self, served: ServedModel) -> None:
        """Raise UnsupportedMediaType for a model that has no DICOM answer."""
        if RELATED not in self._dataplane.available(served):
            raise UnsupportedMediaType("this model takes no DICOM series", field="Content-Type")

    async def check(self, call: Call, served: ServedModel, study: RawPart) -> None:
        """Refuse now what could not be run later. Raises RequestError: DicomRefused and its kin."""
        await self._dataplane.decode(call, served, [study])

    def span(self, call: Call) -> TraceParent | None:
        """Return the span of a call, for :meth:`take`."""
        return self._dataplane.span(call)

    async def take(
        self,
        principal: Principal,
        served: ServedModel,
        study: RawPart,
        destinations: Sequence[str] | None = None,
        trace: TraceParent | None = None,
    ) -> Job:
        """Return the job of a study, the one that there is where the same was sent before. Raises SpoolFailed.

        Args:
            principal: whose job it is.
            served: the model.
            study: from :func:`packed`.
            destinations: of the results; None: ``dicom.results_to``.
            trace: span that the job belongs to.
        """
        which = (served.name, served.version, served.digest)
        where = self._settings.results_to if destinations is None else destinations
        job, created = await asyncio.to_thread(self._desk.submit, principal, which, [study], RELATED, where, trace)
        if created:
            self._wake()
        return job
