"""Results on their way to archives, for administrators: ``GET /v1/deliveries``, and again those that were given up."""

import asyncio
from typing import Any

from fastapi import FastAPI, Request, Response

from bedside.errors import BadParameter, JobNotDead, JobNotFound
from bedside.jobs.outbox import Outbox
from bedside.jobs.records import Delivery
from bedside.jobs.states import DeliveryState
from bedside.transports.rest.guard import Guard
from bedside.transports.rest.json_response import json_response
from bedside.transports.rest.parts import Parts

LARGEST_LIST = 1000
_TAG = "Jobs"


def add_deliveries(app: FastAPI, parts: Parts, guard: Guard) -> None:
    """Add the routes of ``/v1/deliveries``."""
    outbox = parts.outbox
    if outbox is None:
        return

    @app.get("/v1/deliveries", tags=[_TAG], summary="List deliveries")
    async def deliveries(request: Request, state: str = "dead", limit: int = 100) -> Response:
        """Return deliveries of results to archives, by default those that were given up; for administrators."""
        await guard.admin(request)
        found = await asyncio.to_thread(outbox.find, _state(state), in_range(limit))
        return json_response([_described(delivery) for delivery in found])

    @app.post("/v1/deliveries/{job_id}/redrive", tags=[_TAG], summary="Deliver a job's result again")
    async def redrive(request: Request, job_id: str) -> Response:
        """Try the dead deliveries of a job's result again, for as long as at first; 409 where none is dead."""
        principal = await guard.admin(request)
        driven = await asyncio.to_thread(_redriven, outbox, job_id, parts)
        parts.tell_redrive(principal, job_id)
        return json_response([_described(delivery) for delivery in driven])


def in_range(limit: int) -> int:
    """Return the length of a list as it was asked for. Raises BadParameter."""
    if not 1 <= limit <= LARGEST_LIST:
        raise BadParameter(f"must be 1 to {LARGEST_LIST}", field="limit")
    return limit


def _redriven(outbox: Outbox, job_id: str, parts: Parts) -> list[Delivery]:
    if not (job_id.isalnum() and outbox.of(job_id)):  # PostgreSQL takes no NUL in a text
        raise JobNotFound
    if not outbox.redrive(job_id, parts.clock()):
        raise JobNotDead("no delivery of the job's result is dead")
    return list(outbox.of(job_id))


def _described(delivery: Delivery) -> dict[str, Any]:
    return {
        "job": delivery.job,
        "destination": delivery.destination,
        "state": str(delivery.state),
        "attempt": delivery.attempt,
        "error": delivery.error_code or None,
    }


def _state(name: str) -> DeliveryState:
    try:
        return DeliveryState(name)
    except ValueError:
        raise BadParameter(f"must be one of {', '.join(DeliveryState)}", field="state") from None
