"""Jobs over HTTP: ``POST /v1/models/{m}/jobs`` takes what ``predict`` takes; ``/v1/jobs/{id}`` follows it.

Inputs are decoded and checked against the contract before the job is taken: what can never succeed is refused at once.
"""

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.responses import StreamingResponse

from bedside.codecs.dicom import RELATED
from bedside.dataplane.inference import DataPlane
from bedside.dicom_settings import DicomSettings
from bedside.errors import BadParameter, MissingToken
from bedside.interfaces import ServedModel
from bedside.jobs.desk import JobDesk
from bedside.jobs.records import Job
from bedside.jobs.states import JobState
from bedside.transports.references import archive_of, is_reference
from bedside.transports.rest.deliveries import add_deliveries, in_range
from bedside.transports.rest.exchange import Exchange
from bedside.transports.rest.guard import Guard
from bedside.transports.rest.job_events import JobEvents
from bedside.transports.rest.json_response import json_response
from bedside.transports.rest.parts import Parts
from bedside.transports.rest.predict import Predict
from bedside.transports.rest.reply import Reply
from bedside.types import Principal, RawInput

_TAG = "Jobs"


class SubmitJob:
    """The operation ``jobs`` of the edge."""

    def __init__(
        self, dataplane: DataPlane, predict: Predict, desk: JobDesk, wake: Callable[[], None], settings: DicomSettings
    ) -> None:
        self._settings = settings
        self._dataplane = dataplane
        self._predict = predict
        self._desk = desk
        self._wake = wake

    async def __call__(self, exchange: Exchange, served: ServedModel) -> Reply:
        """Check the inputs and take the job; see ``exchange.Operation``."""
        principal = exchange.call.principal
        if principal is None:
            raise MissingToken
        media_type = self._predict.negotiate(exchange, served)
        inputs = await self._predict.read(exchange, served)
        if any(map(is_reference, inputs)):  # what is only referred to is looked at by whoever reads it
            self._dataplane.note(exchange.call, inputs)
        else:
            await self._dataplane.decode(exchange.call, served, inputs)
        media_type, destinations = self._answer_to(exchange, served, inputs, media_type)
        which = (served.name, served.version, served.digest)
        trace = self._dataplane.span(exchange.call)
        job, created = await asyncio.to_thread(
            self._desk.submit, principal, which, inputs, media_type, destinations, trace
        )
        exchange.call.job = job.id
        if created:
            self._wake()
        location = f"/v1/jobs/{job.id}".encode()
        return Reply(202, "application/json", orjson.dumps(describe(job)), ((b"location", location),))

    def _answer_to(
        self, exchange: Exchange, served: ServedModel, inputs: Sequence[RawInput], media_type: str
    ) -> tuple[str, tuple[str, ...]]:
        """Return the media type and where it goes: DICOM objects of an archive's study go back to an archive."""
        archive = archive_of(inputs)
        if archive is None:
            return media_type, ()
        if exchange.head.accept == "*/*" and RELATED in self._dataplane.available(served):
            media_type = RELATED
        chosen = self._settings.sources[archive].results_to
        results_to = self._settings.results_to if chosen is None else chosen
        return media_type, results_to if media_type == RELATED else ()


def describe(job: Job) -> dict[str, Any]:
    """Return a job as callers see it."""
    document: dict[str, Any] = {
        "id": job.id,
        "state": str(job.state),
        "model": job.model,
        "version": job.version,
        "attempt": job.attempt,
        "created": _moment(job.created),
        "started": _moment(job.started),
        "finished": _moment(job.finished),
        "deadline": _moment(job.deadline),
    }
    if job.state is JobState.RUNNING:
        document["progress"] = {"done": job.done, "total": job.total} if job.total else None
    if job.error_code:
        document["error"] = {"code": job.error_code, "detail": job.error_detail}
    if job.state is JobState.SUCCEEDED:
        document["result"] = {"href": f"/v1/jobs/{job.id}/result", "media_type": job.result_type}
    return document


def add_jobs(app: FastAPI, parts: Parts, guard: Guard) -> None:
    """Add the routes of ``/v1/jobs``."""
    desk = parts.jobs
    if desk is None:
        return
    _add_listing(app, desk, guard)
    most, together = parts.settings.jobs.event_streams, max(1, parts.settings.limits.connections // 2)
    streams = JobEvents(desk.some, describe, most, together, lambda: parts.lifecycle.closing, parts.clock)
    _add_following(app, desk, guard, streams)
    _add_changes(app, desk, guard, parts.tell_redrive)
    add_deliveries(app, parts, guard)


def _add_listing(app: FastAPI, desk: JobDesk, guard: Guard) -> None:
    @app.get("/v1/jobs", tags=[_TAG], summary="List jobs")
    async def jobs(request: Request, state: str = "", limit: int = 100) -> Response:
        """Return the caller's jobs, the newest first; with the scope ``bedside.admin``, everybody's."""
        principal = await guard.caller(request)
        states = () if not state else (_state(state),)
        found = await asyncio.to_thread(
            desk.find, principal, admin=guard.is_admin(principal), states=states, limit=in_range(limit)
        )
        return json_response([describe(job) for job in found])


def _add_following(app: FastAPI, desk: JobDesk, guard: Guard, streams: JobEvents) -> None:
    @app.get("/v1/jobs/{job_id}", tags=[_TAG], summary="A job")
    async def job(request: Request, job_id: str) -> Response:
        """Return the job's state, and where its result is."""
        _, found = await _mine(request, guard, desk, job_id)
        return json_response(describe(found))

    @app.get("/v1/jobs/{job_id}/events", tags=[_TAG], summary="Follow a job")
    async def events(request: Request, job_id: str) -> Response:
        """Stream the job's changes as server-sent events: ``queued``, ``running``, ``progress``, and its end."""
        principal, found = await _mine(request, guard, desk, job_id)
        return streams.follow(found, principal.owner, principal.expires_at)

    @app.get("/v1/jobs/{job_id}/result", tags=[_TAG], summary="A job's result")
    async def result(request: Request, job_id: str) -> Response:
        """Return what ``predict`` would have answered; 409 while there is none."""
        # Whoever runs the server sees that a job is there; its result is its owner's alone.
        found = await asyncio.to_thread(desk.get, job_id, await guard.caller(request))
        media_type, size, chunks = await asyncio.to_thread(desk.result, found)
        return StreamingResponse(chunks, headers={"content-type": media_type, "content-length": str(size)})


def _add_changes(app: FastAPI, desk: JobDesk, guard: Guard, tell_redrive: Callable[[Principal, str], None]) -> None:
    @app.delete("/v1/jobs/{job_id}", tags=[_TAG], summary="Cancel a job")
    async def cancel(request: Request, job_id: str) -> Response:
        """Give the job up: at once where it waits, else its worker is stopped and the device freed."""
        _, found = await _mine(request, guard, desk, job_id)
        return json_response(describe(await asyncio.to_thread(desk.cancel, found)))

    @app.post("/v1/jobs/{job_id}/redrive", tags=[_TAG], summary="Try a dead job again")
    async def redrive(request: Request, job_id: str) -> Response:
        """Queue a dead job again with all its attempts; 409 where it is not dead."""
        principal, found = await _mine(request, guard, desk, job_id)
        driven = await asyncio.to_thread(desk.redrive, found)
        tell_redrive(principal, driven.id)
        return json_response(describe(driven))


async def _mine(request: Request, guard: Guard, desk: JobDesk, job_id: str) -> tuple[Principal, Job]:
    """Return who asks, found once, and a job that is theirs; an administrator's is every one."""
    principal = await guard.caller(request)
    return principal, await asyncio.to_thread(desk.get, job_id, principal, admin=guard.is_admin(principal))


def _state(name: str) -> JobState:
    try:
        return JobState(name)
    except ValueError:
        raise BadParameter(f"must be one of {', '.join(JobState)}", field="state") from None


def _moment(seconds: float | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
