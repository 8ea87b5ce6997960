"""The catalogue: every log event, and every field that one may carry. docs/logging.md is written from it.

An event's name is static; what varies goes into fields. A field that is not in the catalogue is dropped before a line
is written, so that a value nobody thought of cannot get out. No field may hold what a caller sent: names, values, file
names and raw paths identify people.

Names are ECS 9 where ECS has one, ``inference.*`` and ``bedside.*`` otherwise.
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Literal

FieldType = Literal["keyword", "long", "double", "boolean"]

MAX_TEXT = 1024
"""Longest text of a field, in characters (Elasticsearch's ``ignore_above`` for keywords)."""


class Event(StrEnum):
    """Names of the events (``message`` and ``event.action``)."""

    SERVER_STARTED = "server_started"
    SERVER_STOPPING = "server_stopping"
    SERVER_STOPPED = "server_stopped"
    MODEL_LOADING = "model_loading"
    MODEL_READY = "model_ready"
    MODEL_LOAD_FAILED = "model_load_failed"
    MODEL_UNLOADED = "model_unloaded"
    MODEL_PROCESS_ENDED = "model_process_ended"
    INFERENCE_COMPLETED = "inference_completed"
    UNEXPECTED_ERROR = "unexpected_error"
    ISSUER_KEYS_REFRESHED = "issuer_keys_refreshed"
    ISSUER_KEYS_STALE = "issuer_keys_stale"
    LIBRARY_MESSAGE = "library_message"


DESCRIPTIONS: dict[Event, str] = {
    Event.SERVER_STARTED: "the server listens; models may still be loading",
    Event.SERVER_STOPPING: "SIGTERM or SIGINT came; readiness fails from here on",
    Event.SERVER_STOPPED: "accepted work has finished or the drain deadline has passed",
    Event.MODEL_LOADING: "a bundle is being built",
    Event.MODEL_READY: "a bundle has made a forward pass and answers",
    Event.MODEL_LOAD_FAILED: "a bundle could not be built; `error.message` says why (no request is involved)",
    Event.MODEL_UNLOADED: "a model was unloaded on request",
    Event.MODEL_PROCESS_ENDED: "a model's process ended by itself and is being started again",
    Event.INFERENCE_COMPLETED: "one call has ended, well or not: exactly one event per call",
    Event.UNEXPECTED_ERROR: "a defect in Bedside or a library; the caller got 500 and the request id",
    Event.ISSUER_KEYS_REFRESHED: "the issuer's signing keys were fetched and differ from those known",
    Event.ISSUER_KEYS_STALE: "the issuer did not answer; the known keys are used for a bounded time",
    Event.LIBRARY_MESSAGE: "a library logged something; its text is dropped, as it may quote the input",
}


@dataclass(frozen=True, slots=True)
class Field:
    """One field: its type, its unit where it has one, what it means."""

    type: FieldType
    description: str
    unit: str = ""


FIELDS: dict[str, Field] = {
    "event.outcome": Field("keyword", "`success` or `failure`"),
    "event.duration": Field("long", "time from the request's headers to the answer", "ns"),
    "http.request.id": Field("keyword", "id of the request, as in its answer's `X-Request-ID`"),
    "http.request.body.bytes": Field("long", "size of the inputs", "byte"),
    "http.response.body.bytes": Field("long", "size of the answer", "byte"),
    "user.hash": Field("keyword", "first 16 hex digits of SHA-256 over issuer and subject of the token"),
    "error.type": Field("keyword", "class of the error"),
    "error.message": Field("keyword", "advice of an error that no request is involved in"),
    "error.stack_trace": Field("keyword", "file, line and function of the innermost frames; no text, no values"),
    "log.logger": Field("keyword", "name of the library's logger"),
    "server.address": Field("keyword", "address that the server listens on"),
    "inference.transport": Field("keyword", "`rest`"),
    "inference.operation": Field("keyword", "`predict` or `infer`"),
    "inference.bundle.name": Field("keyword", "name of the model, set once it has been resolved"),
    "inference.bundle.version": Field("keyword", "version of the bundle"),
    "inference.bundle.digest": Field("keyword", "SHA-256 over the bundle's tree"),
    "inference.device": Field("keyword", "torch device"),
    "inference.rows": Field("long", "items in the call"),
    "inference.load.seconds": Field("double", "time to build a bundle and make the first forward pass", "s"),
    "inference.stage.authenticate_ms": Field("double", "stage 2", "ms"),
    "inference.stage.decode_ms": Field("double", "stages 4 and 5", "ms"),
    "inference.stage.queue_ms": Field("double", "stage 6, a part of `run`", "ms"),
    "inference.stage.run_ms": Field("double", "stages 6 and 7", "ms"),
    "inference.stage.preprocess_ms": Field("double", "the bundle's preprocessing, a part of `run`", "ms"),
    "inference.stage.inference_ms": Field("double", "inferer and postprocessing, a part of `run`", "ms"),
    "inference.stage.encode_ms": Field("double", "stage 8", "ms"),
    "process.exit_code": Field("long", "exit status of a model's process; minus the signal that ended it"),
    "bedside.dropped_fields": Field("long", "fields that are not in this catalogue and were left out"),
}
