"""Calls that a gate makes, and how far two answers to one call agree."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from time import perf_counter
from typing import Any

import httpx

from bedside.bundle.golden import GoldenCase, overlap
from bedside.types import RawRecord

ACCEPT = "application/gzip, application/json;q=0.5"
"""Masks where a model has them, which can be laid over each other; else the document."""

LEAST_DICE = 0.9
_OF_THE_VERSION = frozenset({"model", "version", "accuracy", "notice", "warnings"})
"""Members of an answer that tell of the model and not of the input."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request for a prediction: a path below the server's address, headers and a body."""

    path: str
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Reply:
    """What came back; a ``status`` of 0 means that nothing did."""

    status: int
    seconds: float
    media_type: str = ""
    body: bytes = b""
    digest: str = ""

    @property
    def ok(self) -> bool:
        """Tell whether it is an answer."""
        return self.status == httpx.codes.OK


def call_of(case: GoldenCase, model: str, token: str) -> Call:
    """Return the request that a golden case stands for. Raises PackageMissing, InvalidBundle."""
    parts = case.raw_inputs()
    content: dict[str, Any]
    if isinstance(parts[0], RawRecord):
        content = {"json": dict(parts[0].values)}
    else:
        # The name of the input stands in for a file's.
        content = {"files": [(p.name, (p.name, p.data, p.media_type)) for p in parts if not isinstance(p, RawRecord)]}
    path = f"/v1/models/{model}/predict"
    request = httpx.Request("POST", f"http://server{path}", headers={"authorization": f"Bearer {token}"}, **content)
    kept = {name: value for name, value in request.headers.items() if name in {"authorization", "content-type"}}
    return Call(path, kept, request.read())


async def ask(client: httpx.AsyncClient, call: Call) -> Reply:
    """Make a call of a server; raises nothing, for no answer is an answer here."""
    begin = perf_counter()
    try:
        headers = {**call.headers, "accept": ACCEPT}
        response = await client.post(call.path, content=call.body, headers=headers)
    except httpx.HTTPError:
        return Reply(0, perf_counter() - begin)
    seconds = perf_counter() - begin
    media_type = response.headers.get("content-type", "").partition(";")[0]
    digest = response.headers.get("bedside-model-digest", "")
    return Reply(response.status_code, seconds, media_type, response.content, digest)


def agree(left: Reply, right: Reply, tolerance: float) -> bool:
    """Tell whether two answers say the same.

    Words must be the same, numbers within ``tolerance`` (of the larger one, or of 1 where both are smaller), masks
    overlap by a Dice of 0.9 in every label. Version and accuracy of the model are no part of what is said. What cannot
    be read agrees with nothing.
    """
    if left.media_type != right.media_type:
        return False
    if left.media_type == "application/json":
        try:
            return _same(_said(left.body), _said(right.body), tolerance)
        except (ValueError, RecursionError):
            return False
    if left.media_type == "application/gzip":
        return overlap(left.body, right.body) >= LEAST_DICE
    return left.body == right.body


def _said(body: bytes) -> Any:
    document = json.loads(body)
    if isinstance(document, dict):
        return {name: value for name, value in document.items() if name not in _OF_THE_VERSION}
    return document


def _same(left: Any, right: Any, tolerance: float) -> bool:
    if isinstance(left, dict) and isinstance(right, dict):
        return left.keys() == right.keys() and all(_same(left[name], right[name], tolerance) for name in left)
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(_same, left, right, [tolerance] * len(left)))
    if _is_number(left) and _is_number(right):
        return bool(abs(left - right) <= tolerance * max(1.0, abs(left), abs(right)))
    return bool(left == right)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
