"""One job along the spine: the stages of a request, without the wire."""

import time
from collections.abc import Callable, Sequence

from bedside.dataplane.call import Call
from bedside.dataplane.inference import DataPlane
from bedside.errors import BedsideError, DeadlineExceeded, ModelNotReady
from bedside.jobs.records import Job
from bedside.settings import JobSettings
from bedside.types import EncodedAnswer, RawInput


class SpineWork:
    """Implements ``lane.Work``.

    Args:
        dataplane: the spine.
        settings: the time that an attempt may take.
        clock: seconds since the epoch.
    """

    def __init__(self, dataplane: DataPlane, settings: JobSettings, clock: Callable[[], float] = time.time) -> None:
        self._dataplane = dataplane
        self._settings = settings
        self._clock = clock

    async def __call__(
        self,
        job: Job,
        inputs: Sequence[RawInput],
        progress: Callable[[int, int], None],  # noqa: ARG002 - not told yet
    ) -> EncodedAnswer:
        """Run a job whose owner was let in when it was handed in; see ``DataPlane`` for what it raises."""
        call = Call(job.id, "jobs", "predict")
        call.limit_seconds = min(self._settings.run_seconds, job.deadline - self._clock())
        try:
            if call.limit_seconds <= 0:
                raise DeadlineExceeded
            # (3) resolve
            served = self._dataplane.find(call, job.model, job.version)
            if served.digest != job.digest:
                raise ModelNotReady("the bundle that this job was taken for has been replaced")
            # (4) to (7), (8)
            rows = await self._dataplane.infer(call, served, inputs)
            return await self._dataplane.encode(call, served, rows[0], job.media_type)
        except BedsideError as error:
            call.error = error
            raise
        finally:
            # (9) account, in every case, once
            self._dataplane.account(call)
