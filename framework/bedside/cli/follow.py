"""A job followed to its end by its server-sent events; server and network may fail meanwhile."""

import json
import time
from collections.abc import Callable, Iterator
from time import perf_counter
from typing import Any

import httpx

_ENDED = ("succeeded", "dead", "cancelled")
_PAUSE_SECONDS = 1.0


def follow(client: httpx.Client, location: str, tell: Callable[[dict[str, Any]], None], seconds: float) -> Any:
    """Return the job at ``location`` once it has ended; ``tell`` is given it each time that it has changed.

    Raises:
        TimeoutError: it has not ended in time; it goes on at the server.
        httpx.HTTPStatusError: the server will not tell of it.
    """
    end = perf_counter() + seconds
    while perf_counter() < end:
        try:
            for job in _events(client, location):
                tell(job)
                if job["state"] in _ENDED:
                    return job
                if perf_counter() >= end:
                    break
        except httpx.TransportError:
            pass  # the server is away; jobs outlive it
        time.sleep(_PAUSE_SECONDS)  # it stops, and another answers in its place
    raise TimeoutError


def _events(client: httpx.Client, location: str) -> Iterator[dict[str, Any]]:
    with client.stream("GET", f"{location}/events") as response:
        if response.status_code >= httpx.codes.INTERNAL_SERVER_ERROR:
            return
        response.raise_for_status()
        for line in response.iter_lines():
            if line.startswith("data: "):
                yield json.loads(line.removeprefix("data: "))
