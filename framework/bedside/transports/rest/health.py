"""Liveness, readiness and metrics: what an orchestrator and a scraper ask."""

from collections import Counter

from fastapi import FastAPI, Request, Response

from bedside.transports.rest.guard import Guard
from bedside.transports.rest.json_response import json_response
from bedside.transports.rest.parts import Parts


def add_health(app: FastAPI, parts: Parts, guard: Guard) -> None:
    """Add ``/livez``, ``/readyz``, ``/v2/health/*`` and ``/metrics``."""

    @app.get("/livez", tags=["health"], summary="Is the process alive?")
    async def livez() -> Response:
        """Answer 200 as long as the event loop turns, also while a model computes."""
        return json_response({"live": True})

    @app.get("/readyz", tags=["health"], summary="Would every model answer?")
    async def readyz() -> Response:
        """Answer 200 when the models have made a real forward pass (``server.ready_when``) and nothing is ending."""
        # Numbers only: this path is open, and which models a hospital has is not for everybody. The index names them.
        states = Counter(model.state for model in parts.repository.index())
        ready = parts.lifecycle.ready(parts.repository)
        body = {"ready": ready, "draining": parts.lifecycle.draining, "models": dict(states)}
        return json_response(body, 200 if ready else 503)

    @app.get("/v2/health/live", tags=["Open Inference Protocol"], summary="Server live")
    async def server_live() -> Response:
        """Answer as the Open Inference Protocol's "server live"."""
        return json_response({"live": True})

    @app.get("/v2/health/ready", tags=["Open Inference Protocol"], summary="Server ready")
    async def server_ready() -> Response:
        """Answer as the Open Inference Protocol's "server ready"."""
        ready = parts.lifecycle.ready(parts.repository)
        # The specification's table calls the member "live", its implementations "ready".
        return json_response({"live": True, "ready": ready}, 200 if ready else 503)

    @app.get("/metrics", tags=["health"], summary="Prometheus metrics")
    async def metrics(request: Request) -> Response:
        """Answer in the Prometheus or OpenMetrics text format; who may read is ``auth.metrics_access``."""
        await guard.metrics(request)
        body, media_type = parts.render_metrics(request.headers.get("accept", ""))
        return Response(body, headers={"content-type": media_type})
