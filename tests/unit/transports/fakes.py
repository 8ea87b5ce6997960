"""In-memory collaborators of the REST transport; codecs and encoders are the real ones."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import numpy as np

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec, OutputSpec
from bedside.codecs import Answers, Codecs
from bedside.dataplane.auditing import Auditor
from bedside.dataplane.call import Call
from bedside.dataplane.gate import Gate
from bedside.dataplane.inference import DataPlane
from bedside.dataplane.lifecycle import Lifecycle
from bedside.errors import (
    AuditUnavailable,
    BedsideError,
    InsufficientScope,
    InvalidToken,
    ModelNotFound,
    ModelNotReady,
    ModelVersionNotFound,
)
from bedside.interfaces import ModelStatus
from bedside.observability.audit_lines import Record
from bedside.observability.events import AuditAction
from bedside.observability.schema import AUDIT_RULES
from bedside.observability.traceparent import TraceParent
from bedside.security.quota import CallerQuota
from bedside.settings import Settings
from bedside.transports.rest.app import create_app
from bedside.transports.rest.parts import Parts
from bedside.transports.rest.reply import ASGIApp
from bedside.types import OutputArray, Prediction, Principal, UnverifiedToken, ValidatedInputs

RECORD = Contract(
    model="heart",
    version="1.0.0",
    digest="sha256:" + "0" * 64,
    task="classification",
    description="Made up.",
    inputs=(
        InputSpec(
            name="features",
            kind="record",
            media_types=("application/json",),
            features=(FeatureSpec("age", "years"), FeatureSpec("chol", "mg/dl", nullable=True)),
        ),
    ),
    outputs=(OutputSpec("probabilities", "probabilities", "float32", (2,), {0: "absent", 1: "present"}),),
    metrics={"accuracy": 0.8},
    intended_use="Tests.",
)

IMAGE = Contract(
    model="mask",
    version="2.0.0",
    digest="sha256:" + "1" * 64,
    task="segmentation",
    description="Made up.",
    inputs=(
        InputSpec(
            name="image",
            kind="image",
            media_types=("application/x-nifti", "application/gzip"),
            spatial_dims=3,
            channels=(1,),
            channel_names=("T1",),
        ),
    ),
    outputs=(OutputSpec("mask", "segmentation", "uint8", (-1, -1, -1), {0: "background", 1: "body"}, "image"),),
    metrics={},
)

RECORD_BODY = b'{"age": 63, "chol": 233}'
AUTHORIZED = {"authorization": "Bearer user"}

Run = Callable[[ValidatedInputs, float], Awaitable[Prediction]]


async def record_run(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
    """Return a probability that tells the rows apart: age / 100."""
    present = float(inputs.items[0].values[0]) / 100  # type: ignore[union-attr]
    array = np.array([1 - present, present], np.float32)
    return Prediction((OutputArray("probabilities", array),), seconds={"network": 0.001})


async def image_run(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
    """Return a mask of ones on the image's grid."""
    image = inputs.items[0]
    shape: tuple[int, ...] = image.shape  # type: ignore[union-attr]
    mask = np.ones(shape, np.uint8, order="F")
    return Prediction((OutputArray("mask", mask, np.eye(4)),))


@dataclass
class FakeExecutor:
    """Runs a coroutine function; implements ``interfaces.Executor``."""

    contract: Contract
    run_one: Run
    ready: bool = True
    device: str = "cpu"
    concurrency: int = 1
    runs: int = 0

    async def load(self) -> Contract:
        """Return the contract."""
        return self.contract

    async def run(self, inputs: ValidatedInputs, *, timeout_seconds: float) -> Prediction:
        """Count and run."""
        self.runs += 1
        return await self.run_one(inputs, timeout_seconds)

    async def run_eager(self) -> str:
        """Do nothing."""
        return ""

    async def close(self) -> None:
        """Do nothing."""


@dataclass
class FakeModel:
    """Implements ``interfaces.ServedModel``."""

    contract: Contract
    executor: FakeExecutor
    state: str = "READY"
    reason: str = ""
    holders: int = 0

    def acquire(self) -> None:
        """Count a call in."""
        self.holders += 1

    def release(self) -> None:
        """Count it out."""
        self.holders -= 1

    @property
    def name(self) -> str:
        """Return the model's name."""
        return self.contract.model

    @property
    def version(self) -> str:
        """Return the version."""
        return self.contract.version

    @property
    def digest(self) -> str:
        """Return the digest."""
        return self.contract.digest


@dataclass
class FakeRepository:
    """Implements ``interfaces.ModelRepository``; one version per model."""

    models: dict[str, FakeModel]
    load_error: Exception | None = None
    asked: list[str | None] = field(default_factory=list)

    def find(self, name: str) -> FakeModel:
        """Return a model in whatever state."""
        if name not in self.models:
            raise ModelNotFound(field="model")
        return self.models[name]

    def resolve(self, name: str, version: str | None) -> FakeModel:
        """Return a ready model."""
        model = self.find(name)
        if version not in (None, model.version):
            raise ModelVersionNotFound(field="version")
        if model.state != "READY":
            raise ModelNotReady
        return model

    def index(self) -> Sequence[ModelStatus]:
        """Return every model's state."""
        return [ModelStatus(m.name, m.version, m.state, m.reason, m.digest, default=True) for m in self.models.values()]

    def text(self, name: str, version: str | None, which: str) -> str:
        """Return a model card for one model, and no licence."""
        model = self.resolve(name, version)
        return "# Heart\n" if (model.name, which) == ("heart", "card") else ""

    @property
    def ready(self) -> bool:
        """Tell whether all are ready."""
        return all(model.state == "READY" for model in self.models.values())

    async def load(self, name: str, version: str | None = None) -> None:
        """Load, or raise what the test wants."""
        self.asked.append(version)
        model = self.find(name)
        if self.load_error:
            raise self.load_error
        model.state = "READY"

    async def unload(self, name: str, version: str | None = None) -> None:
        """Unload."""
        self.asked.append(version)
        self.find(name).state = "UNLOADED"


class FakeAuthenticator:
    """Knows the tokens ``user``, ``admin``, ``mask``, ``nobody``; implements ``interfaces.Authenticator``."""

    error: Exception | None = None

    async def authenticate(self, token: UnverifiedToken) -> Principal:
        """Return the principal of a known token."""
        if self.error:
            raise self.error
        if token not in {"user", "admin", "mask", "nobody"}:
            raise InvalidToken
        return Principal(token, "issuer", frozenset(), 2e9)

    async def close(self) -> None:
        """Do nothing."""


def authorise(principal: Principal, model: str) -> None:
    """Let everyone but ``nobody`` use every model."""
    if principal.subject == "nobody":
        raise InsufficientScope(scope=f"bedside.infer:{model}")


def authorise_listing(principal: Principal) -> Callable[[str], bool]:
    """Show ``mask`` the model of that name, ``nobody`` nothing, others everything."""
    authorise(principal, "")
    return lambda name: principal.subject in {"user", "admin", name}


def authorise_admin(principal: Principal) -> None:
    """Let ``admin`` in."""
    if principal.subject != "admin":
        raise InsufficientScope(scope="bedside.admin")


@dataclass
class Calls:
    """Keeps what stage 9 was told; implements ``interfaces.CallSink``."""

    calls: list[Call] = field(default_factory=list)

    def begin(self, call: Any) -> TraceParent | None:
        """Return the caller's span."""
        return call.parent  # type: ignore[no-any-return]

    def account(self, call: Any) -> None:
        """Keep a call."""
        self.calls.append(call)

    @property
    def only(self) -> Call:
        """Return the single call; more than one is a test failure."""
        (call,) = self.calls
        return call


@dataclass
class Trail:
    """Keeps records; implements ``interfaces.AuditSink``."""

    strict: bool = False
    full: bool = False
    kept: list[tuple[AuditAction, str, dict[str, Any]]] = field(default_factory=list)

    def fingerprint(self, parts: Sequence[bytes]) -> str:
        """Return the parts themselves, in hex."""
        return b"|".join(parts).hex()

    def record(self, record: Record) -> None:
        """Keep what has a value; nothing is told that the schema does not know."""
        action, principal, same, varying = record
        facts = {name: value for name, value in {**same, **varying}.items() if value is not None}
        assert AUDIT_RULES[action].required <= facts.keys() <= AUDIT_RULES[action].fields
        self.kept.append((action, "" if principal is None else principal.subject, facts))

    async def commit(self, record: Record) -> None:
        """Keep it, or tell that there is no room."""
        if self.full:
            raise AuditUnavailable
        self.record(record)

    @property
    def told(self) -> list[tuple[str, str, str]]:
        """Return action, caller and error of each record."""
        return [(action.value, who, facts.get("error_code", "")) for action, who, facts in self.kept]


@dataclass
class World:
    """One application with everything behind it."""

    settings: Settings
    repository: FakeRepository
    authenticator: FakeAuthenticator
    sink: Calls
    lifecycle: Lifecycle
    parts: Parts
    app: ASGIApp

    def model(self, name: str) -> FakeModel:
        """Return a model."""
        return self.repository.models[name]

    @asynccontextmanager
    async def client(self, **headers: str) -> AsyncIterator[httpx.AsyncClient]:
        """Return a client in the same process, with a user's token."""
        transport = httpx.ASGITransport(self.app)
        fields = {**AUTHORIZED, **headers}
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=fields) as client:
            yield client


def make_world(
    *, started: bool = True, lifecycle: Lifecycle | None = None, audit: "Trail | None" = None, **settings: Any
) -> World:
    """Put an application together; ``settings`` are the nested dictionaries of :class:`Settings`."""
    configured = Settings(**settings)
    models = {
        "heart": FakeModel(RECORD, FakeExecutor(RECORD, record_run)),
        "mask": FakeModel(IMAGE, FakeExecutor(IMAGE, image_run)),
    }
    repository, authenticator, sink = FakeRepository(models), FakeAuthenticator(), Calls()
    most = configured.limits.caller_per_minute
    callers = CallerQuota(authenticator, most) if most else authenticator
    lifecycle = lifecycle or Lifecycle()
    lifecycle.started = started
    auditor = Auditor(audit, repository)
    plane = DataPlane(
        authenticator=callers,
        authorise=authorise,
        repository=repository,
        codec=Codecs(configured.limits),
        encoder=Answers(),
        sink=sink,
        limits=configured.limits,
        auditor=auditor,
    )
    parts = Parts(
        dataplane=plane,
        repository=repository,
        gate=Gate(callers.authenticate, authorise, authorise_admin, authorise_listing),
        render_metrics=lambda _accept: (b"bedside_up 1\n", "text/plain; version=0.0.4"),
        settings=configured,
        version="0.0.0",
        lifecycle=lifecycle,
        auditor=auditor,
    )
    return World(configured, repository, authenticator, sink, lifecycle, parts, create_app(parts))


def every_error(root: type[BedsideError] = BedsideError) -> Iterator[type[BedsideError]]:
    """Yield the error tree of ``bedside.errors``, the root first."""
    yield root
    for child in root.__subclasses__():
        if child.__module__.startswith("bedside.errors."):
            yield from every_error(child)


class Wire:
    """One request at the ASGI interface: scripted ``receive``, recorded ``send``."""

    def __init__(
        self, path: str, *, method: str = "POST", headers: dict[str, str] | None = None, chunks: Sequence[bytes] = ()
    ) -> None:
        fields = {**AUTHORIZED, **(headers or {})}
        self.scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "http_version": "1.1",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in fields.items()],
        }
        self._chunks = list(chunks)
        self.received = 0
        self.sent: list[dict[str, Any]] = []
        self.gone = asyncio.Event()
        self.stalled = False

    async def receive(self) -> dict[str, Any]:
        """Return the next chunk; then wait until the caller goes away."""
        if self._chunks and not self.stalled:
            self.received += 1
            data = self._chunks.pop(0)
            return {"type": "http.request", "body": data, "more_body": bool(self._chunks)}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        """Record a message."""
        self.sent.append(message)

    async def drive(self, app: ASGIApp) -> "Wire":
        """Run the application on this request."""
        await app(self.scope, self.receive, self.send)
        return self

    @property
    def status(self) -> int:
        """Return the answer's status."""
        status: int = self.sent[0]["status"]
        return status

    @property
    def headers(self) -> dict[str, str]:
        """Return the answer's header fields."""
        return {name.decode(): value.decode("latin-1") for name, value in self.sent[0]["headers"]}

    @property
    def body(self) -> bytes:
        """Return the answer's body."""
        return b"".join(message.get("body", b"") for message in self.sent[1:])
