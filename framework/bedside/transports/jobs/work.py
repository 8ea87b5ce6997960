"""One job along the spine: the stages of a request, without the wire."""

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from itertools import compress

from bedside.dataplane.call import Call
from bedside.dataplane.inference import DataPlane
from bedside.errors import BedsideError, ClientGone, DeadlineExceeded, ModelNotFound, ModelNotReady, ReferenceChanged
from bedside.interfaces import LISTENER, Progress, ServedModel
from bedside.jobs.records import Job
from bedside.observability.traceparent import trace_parent_from
from bedside.observability.unexpected import report_unexpected
from bedside.settings import JobSettings
from bedside.transports.references import NONE, References, is_replaceable
from bedside.types import EncodedAnswer, RawInput, RawPart


class SpineWork:
    """Implements ``lane.Work``.

    Args:
        dataplane: the spine.
        settings: the time that an attempt may take.
        references: reads the inputs that a job only names.
        remember_reading: keeps the digest of what a job has read; false where an earlier attempt read something else.
    """

    def __init__(
        self,
        dataplane: DataPlane,
        settings: JobSettings,
        references: References = NONE,
        remember_reading: Callable[[Job, str], bool] = lambda _job, _digest: True,
    ) -> None:
        self._dataplane = dataplane
        self._references = references
        self._settings = settings
        self._remember_reading = remember_reading

    async def __call__(self, job: Job, inputs: list[RawInput], progress: Progress) -> EncodedAnswer:
        """Run a job whose owner was let in when it was handed in; see ``DataPlane`` for what it raises.

        Its inputs are emptied once they are decoded.
        """
        parent = trace_parent_from(job.trace_parent.encode())
        call = Call(job.id, "jobs", "predict", owner=job.owner, job=job.id, parent=parent)
        LISTENER.set(progress)  # of this attempt's task, and of what it starts
        call.limit_seconds = min(self._settings.run_seconds, job.deadline - time.time())
        try:
            answer = await self._answer(call, job, inputs)
            await self._dataplane.settle(call)
        except BedsideError as error:
            call.error = error
            raise
        except asyncio.CancelledError:
            call.error = ClientGone("the job was given up, or this server stops")
            raise
        except Exception as error:  # noqa: BLE001 - the last line of defence: its text may quote the input
            call.error = report_unexpected(error, job.id)
            raise call.error from None
        else:
            return answer
        finally:
            # (9) account, in every case, once
            self._dataplane.account(call)

    async def _answer(self, call: Call, job: Job, inputs: list[RawInput]) -> EncodedAnswer:
        seconds = call.limit_seconds or 0.0
        if seconds <= 0:
            raise DeadlineExceeded
        # (3) resolve
        served = self._find(call, job)
        named = list(map(is_replaceable, inputs))
        # (1) receive, for a job that only says where its input is
        async with self._references.fetched(call, served.contract, inputs, seconds) as found:
            if any(named):
                await asyncio.to_thread(self._require_same, job, list(compress(found, named)))
            # (4) decode, (5) validate, (6) queue, (7) run, (8) encode
            return await self._dataplane.answer(call, served, found, job.media_type)

    def _require_same(self, job: Job, parts: Sequence[RawInput]) -> None:
        """Raise ReferenceChanged where an earlier attempt has read other bytes: they may be another patient's."""
        digest = hashlib.sha256(job.id.encode())  # of this job alone: the store must not tell who has the same image
        for part in parts:
            assert isinstance(part, RawPart)  # noqa: S101 - what references lead to
            digest.update(len(part.data).to_bytes(8, "big"))
            digest.update(part.data)
        if not self._remember_reading(job, digest.hexdigest()):
            raise ReferenceChanged(field="source")

    def _find(self, call: Call, job: Job) -> ServedModel:
        # It was ready when the job was claimed. What has gone since is no refusal: another server may still have it.
        try:
            served = self._dataplane.find(call, job.model, job.version)
        except ModelNotFound:
            raise ModelNotReady("the bundle that this job was taken for has gone") from None
        if served.digest != job.digest:
            raise ModelNotReady("the bundle that this job was taken for has been replaced")
        return served
