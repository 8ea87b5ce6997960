"""The REST application: the edge in front, FastAPI behind it for everything that is not called in a hurry."""

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from bedside.errors import BadParameter, BedsideError
from bedside.transports.intake import StudyIntake
from bedside.transports.rest.edge import Edge
from bedside.transports.rest.exchange import Operation
from bedside.transports.rest.front import Front
from bedside.transports.rest.guard import Guard
from bedside.transports.rest.health import add_health
from bedside.transports.rest.infer import Infer
from bedside.transports.rest.jobs import SubmitJob, add_jobs
from bedside.transports.rest.json_response import as_response
from bedside.transports.rest.models import add_models
from bedside.transports.rest.openapi import add_openapi
from bedside.transports.rest.pages import add_pages
from bedside.transports.rest.parts import Parts
from bedside.transports.rest.predict import Predict
from bedside.transports.rest.problems import error_reply, http_problem, options_reply
from bedside.transports.rest.protocol import add_protocol
from bedside.transports.rest.reference import add_reference
from bedside.transports.rest.reply import ASGIApp
from bedside.transports.rest.stow import StoreStudies
from bedside.transports.rest.truth import add_truth
from bedside.transports.rest.uploads import add_uploads


def create_app(parts: Parts) -> ASGIApp:
    """Return the whole REST transport as one ASGI application.

    It also speaks the ASGI lifespan protocol: start-up runs in the background, so that a server listens (``/livez``
    200, ``/readyz`` 503) while models load.
    """
    guard = Guard(parts)
    app = FastAPI(
        title="Bedside",
        version=parts.version,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        # A redirect would be made of the caller's Host header, for whoever has not even a token.
        redirect_slashes=False,
        # FastAPI's own spans and records hold URLs and texts of exceptions; an environment variable may ask for them.
        telemetry={
            "tracing": False,
            "metrics": False,
            "logs": False,
            "operation_spans": False,
            "auto_configure": False,
        },
    )
    _add_errors(app)
    add_health(app, parts, guard)
    add_protocol(app, parts, guard)
    add_models(app, parts, guard)
    add_jobs(app, parts, guard)
    add_uploads(app, parts, guard)
    add_truth(app, parts, guard)
    add_reference(app, parts, guard)
    add_pages(app, parts, guard)
    add_openapi(app, parts, guard)
    front = Front(app, parts.lifecycle, parts.auditor)
    return Edge(parts.dataplane, _operations(parts), front, parts.lifecycle, parts.settings.limits)


def _operations(parts: Parts) -> dict[str, Operation]:
    limits = parts.settings.limits
    predict = Predict(parts.dataplane, limits, parts.references, uploads=parts.uploads is not None)
    operations: dict[str, Operation] = {"predict": predict, "infer": Infer(parts.dataplane, limits)}
    if parts.jobs is not None:
        operations["jobs"] = SubmitJob(parts.dataplane, predict, parts.jobs, parts.wake_jobs, parts.settings.dicom)
        intake = StudyIntake(parts.dataplane, parts.jobs, parts.wake_jobs, parts.settings.dicom)
        operations["studies"] = StoreStudies(intake, limits)
    return operations


def _add_errors(app: FastAPI) -> None:
    async def bedside_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, BedsideError)  # noqa: S101 - registered for nothing else
        request.state.error = error  # for the audit trail
        return as_response(error_reply(error, request.state.request_id, request.url.path))

    async def http_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)  # noqa: S101 - registered for nothing else
        return _http_problem(request, error)

    async def parameter_error(request: Request, error: Exception) -> Response:
        assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for nothing else
        # FastAPI's own answer repeats what was sent.
        field = str(error.errors()[0]["loc"][-1])
        refused = BadParameter("is not of the type that the interface describes", field=field)
        request.state.error = refused
        return as_response(error_reply(refused, request.state.request_id, request.url.path))

    app.add_exception_handler(BedsideError, bedside_error)
    app.add_exception_handler(RequestValidationError, parameter_error)
    app.add_exception_handler(HTTPException, http_error)


def _http_problem(request: Request, error: HTTPException) -> Response:
    methods = {method.strip() for method in (error.headers or {}).get("Allow", "").split(",")} - {""}
    if "GET" in methods:
        methods.add("HEAD")
    allow = ", ".join(sorted(methods | {"OPTIONS"})) if methods else ""
    if request.method == "OPTIONS" and allow:
        return as_response(options_reply(allow))
    return as_response(http_problem(error.status_code, request.state.request_id, request.url.path, allow))
