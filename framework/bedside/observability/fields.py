"""The fields a log event may carry. What is not in here does not leave the process.

Every field has a type; a value of another type is dropped. Identifiers (``KEYWORD``) are also bound to an alphabet:
``DOE^JOHN``, an e-mail address or a sentence is no identifier, so that a patient's name in the wrong variable stays
inside. Names on the left are those of the code, ``ecs`` those of the output (Elastic Common Schema 9.4; ``inference.*``
is ours).
"""

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any

ECS_VERSION = "9.4.0"

KEYWORD_CHARACTERS = 256
TEXT_CHARACTERS = 4096
STAGES = (
    "receive",
    "authenticate",
    "resolve",
    "decode",
    "validate",
    "queue",
    "run",
    "preprocess",
    "inference",
    "postprocess",
    "encode",
)
"""Stages that may be timed: those of the spine (docs/architecture.md) and, inside ``run``, those of the bundle."""

_KEYWORD = re.compile(rf"[A-Za-z0-9_.:/+<>-]{{1,{KEYWORD_CHARACTERS}}}")


def _keyword(value: Any) -> str | None:
    return value if isinstance(value, str) and _KEYWORD.fullmatch(value) else None


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    text = value[:TEXT_CHARACTERS]
    # Line breaks and escape sequences would forge lines or colours on a terminal (CWE-117).
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def _lines(value: Any) -> str | None:
    if not isinstance(value, tuple | list):
        return None
    return "\n".join(line for item in value if (line := _text(item)) is not None)[:TEXT_CHARACTERS]


def _long(value: Any) -> int | None:
    # orjson takes 64 bits; a boolean is no number here although Python says so.
    return value if type(value) is int and -(2**63) <= value < 2**63 else None


def _double(value: Any) -> float | None:
    if type(value) is float and math.isfinite(value):
        return value
    number = _long(value)
    return None if number is None else float(number)


def _boolean(value: Any) -> bool | None:
    return value if type(value) is bool else None


class Kind(Enum):
    """Types of fields, named as Elasticsearch names them."""

    KEYWORD = "keyword"
    TEXT = "text"
    LINES = "lines"
    LONG = "long"
    DOUBLE = "double"
    BOOLEAN = "boolean"


CLEAN: dict[Kind, Callable[[Any], Any]] = {
    Kind.KEYWORD: _keyword,
    Kind.TEXT: _text,
    Kind.LINES: _lines,
    Kind.LONG: _long,
    Kind.DOUBLE: _double,
    Kind.BOOLEAN: _boolean,
}
"""Return the value as it may be written, or None where it may not."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field: name in the code, name in ECS, type, unit ("" where there is none), what it says."""

    name: str
    ecs: str
    kind: Kind
    unit: str
    description: str


def _stage_field(stage: str) -> Field:
    return Field(
        f"{stage}_ms", f"inference.stage.{stage}_ms", Kind.DOUBLE, "milliseconds", f"Time spent in stage '{stage}'."
    )


_FIELDS = (
    # who speaks
    Field("logger_name", "log.logger", Kind.KEYWORD, "", "Module, or library, that the event comes from."),
    Field("origin_file", "log.origin.file.name", Kind.KEYWORD, "", "Source file of a library's record."),
    Field("origin_line", "log.origin.file.line", Kind.LONG, "", "Line in it."),
    Field("text", "event.reason", Kind.TEXT, "", "Template of a library's harmless message, never filled in."),
    # the call
    Field("request_id", "http.request.id", Kind.KEYWORD, "", "Id of the request, also in the answer's header."),
    Field("trace_id", "trace.id", Kind.KEYWORD, "", "W3C trace id."),
    Field("outcome", "event.outcome", Kind.KEYWORD, "", "success or failure."),
    Field("duration_ns", "event.duration", Kind.LONG, "nanoseconds", "From the request's arrival to its answer."),
    Field("transport", "network.protocol", Kind.KEYWORD, "", "rest, grpc, dicom, …"),
    Field("operation", "inference.operation", Kind.KEYWORD, "", "predict or infer."),
    Field("user_hash", "user.hash", Kind.KEYWORD, "", "Keyed hash of the token's iss and sub."),
    Field("input_bytes", "http.request.body.bytes", Kind.LONG, "bytes", "Input as it came."),
    Field("output_bytes", "http.response.body.bytes", Kind.LONG, "bytes", "Answer as it went."),
    Field("rows", "inference.batch_size", Kind.LONG, "", "Rows of one request."),
    # the job
    Field("job", "inference.job.id", Kind.KEYWORD, "", "Id of the job; request id of its calls."),
    Field("job_state", "inference.job.state", Kind.KEYWORD, "", "State that the attempt left it in, or lease_lost."),
    Field("attempt", "inference.job.attempt", Kind.LONG, "", "Number of the attempt."),
    # the model
    Field("model", "inference.bundle.name", Kind.KEYWORD, "", "Name of the served bundle."),
    Field("version", "inference.bundle.version", Kind.KEYWORD, "", "Version of it."),
    Field("digest", "inference.bundle.digest", Kind.KEYWORD, "", "Digest over its tree."),
    Field("trust", "inference.bundle.trust", Kind.KEYWORD, "", "data_only, pinned, signed or unsigned_code."),
    Field("findings", "inference.admission.findings", Kind.LONG, "", "Number of findings of any severity."),
    Field("mode", "inference.admission.mode", Kind.KEYWORD, "", "enforce or warn."),
    Field(
        "rules", "inference.admission.rules", Kind.KEYWORD, "", "Names of rules that refuse it, with + between them."
    ),
    Field("device", "inference.device", Kind.KEYWORD, "", "Torch device that it runs on."),
    Field(
        "shims", "inference.bundle.shims", Kind.KEYWORD, "", "Compatibility shims that it needed, with + between them."
    ),
    Field("load_ms", "inference.load_ms", Kind.DOUBLE, "milliseconds", "Building it and its first forward pass."),
    Field("passed", "inference.golden.passed", Kind.LONG, "", "Golden cases answered as expected."),
    Field("failed", "inference.golden.failed", Kind.LONG, "", "Golden cases answered otherwise."),
    Field("skipped", "inference.golden.skipped", Kind.LONG, "", "Golden cases whose input is not at hand."),
    Field("source", "inference.source", Kind.LONG, "", "Number of the source on the command line, from 1."),
    Field(
        "sandbox", "inference.sandbox", Kind.KEYWORD, "", "Layers that confine the process, + between them, or none."
    ),
    Field("exit_code", "process.exit_code", Kind.LONG, "", "Exit code of the model's process, negative for signals."),
    *map(_stage_field, STAGES),
    # what went wrong
    Field("error_type", "error.type", Kind.KEYWORD, "", "Class of the error, never its text."),
    Field("error_code", "error.code", Kind.KEYWORD, "", "The same as a slug, as in problem documents."),
    Field("error_cause", "inference.error.cause", Kind.KEYWORD, "", "Class of the exception behind it."),
    Field("frames", "error.stack_trace", Kind.LINES, "", "'file:line function' frames, never the exception's text."),
    # the server
    Field("models", "inference.models", Kind.LONG, "", "Number of models."),
    Field("host", "server.address", Kind.KEYWORD, "", "Address listened on."),
    Field("port", "server.port", Kind.LONG, "", "Port listened on."),
    Field("seconds", "inference.seconds", Kind.DOUBLE, "seconds", "How long the named thing took or is old."),
    Field("keys", "inference.issuer.keys", Kind.LONG, "", "Usable signature keys of the issuer."),
    Field("generation", "inference.issuer.generation", Kind.LONG, "", "Counts changes of the issuer's keys."),
    Field("reason", "inference.reason", Kind.KEYWORD, "", "Slug of our own that says why."),
)

FIELDS: dict[str, Field] = {field.name: field for field in _FIELDS}
"""All fields by their name in the code."""
