"""The edge: order of the checks, bounds on the body, and accounting exactly once."""

import asyncio
import re
from typing import Any

import orjson
import pytest
from tests.unit.transports.fakes import RECORD_BODY, Wire, World, make_world, record_run
from tests.waiting import until

from bedside.errors import QueueFull
from bedside.observability.request_id import new_request_id
from bedside.transports.rest import edge as edge_module
from bedside.transports.rest import watchdog
from bedside.transports.rest.edge import Target, target_of
from bedside.types import Prediction, ValidatedInputs

PREDICT = "/v1/models/heart/predict"
JSON = {"content-type": "application/json", "content-length": str(len(RECORD_BODY))}


@pytest.fixture
def world() -> World:
    """One application."""
    return make_world()


def problem(wire: Wire) -> Any:
    """Return the answer's document."""
    return orjson.loads(wire.body)


@pytest.mark.parametrize(
    ("path", "target"),
    [
        ("/v1/models/a/predict", Target("predict", "a", None)),
        ("/v1/models/a/versions/1.0/predict", Target("predict", "a", "1.0")),
        ("/v2/models/a/infer", Target("infer", "a", None)),
        ("/v2/models/a/versions/2/infer", Target("infer", "a", "2")),
        ("/v1/models/a%2Fb%20c/predict", Target("predict", "a/b c", None)),
        ("/v1/models/predict/predict", Target("predict", "predict", None)),
        ("/v1/models//predict", None),
        ("/v1/models/a/infer", None),
        ("/v2/models/a/predict", None),
        ("/v1/models/a/versions//predict", None),
        ("/v1/models/a/revisions/1/predict", None),
        ("/v1/modells/a/predict", None),
        ("/v1/models/a/predict/", None),
        ("/v2/models/a", None),
    ],
)
def test_targets(path: str, target: Target | None) -> None:
    """Paths are split before they are decoded, and a model's name is taken literally."""
    assert target_of(path) == target


async def test_a_call_is_answered_and_accounted_for(world: World) -> None:
    """The plain case."""
    wire = await Wire(PREDICT, headers=JSON, chunks=[RECORD_BODY]).drive(world.app)
    assert wire.status == 200
    assert problem(wire)["prediction"] == "present"
    call = world.sink.only
    assert (call.model, call.version, call.operation, call.rows, call.error) == ("heart", "1.0.0", "predict", 1, None)
    assert call.input_bytes == len(RECORD_BODY)
    assert call.output_bytes == len(wire.body)
    assert {"authenticate", "decode", "run", "encode"} <= set(call.stages)


async def test_answers_are_kept_by_nobody(world: World) -> None:
    """Security header fields on the hot path."""
    wire = await Wire(PREDICT, headers=JSON, chunks=[RECORD_BODY]).drive(world.app)
    assert wire.headers["cache-control"] == "no-store"
    assert wire.headers["x-content-type-options"] == "nosniff"
    assert "default-src 'none'" in wire.headers["content-security-policy"]
    assert "access-control-allow-origin" not in wire.headers


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"authorization": ""}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"authorization": "Bearer t\xf6ken"}, 401),
        ({"authorization": "Basic dXNlcjo="}, 401),
        ({"authorization": "Bearer nobody"}, 403),
        ({"content-encoding": "gzip"}, 415),
        ({"content-length": "600000000", "content-type": "application/x-npy"}, 413),
        ({"content-length": "70000000"}, 413),
        ({"content-length": "1x"}, 400),
        ({"accept": "image/png"}, 406),
    ],
    ids=str,
)
async def test_nothing_is_read_of_what_the_header_section_condemns(
    world: World, headers: dict[str, str], status: int
) -> None:
    """Refusals that need no body do not read one."""
    wire = await _never_read(world, {**JSON, **headers})
    assert wire.status == status
    assert world.sink.only.error is not None


async def _never_read(world: World, headers: dict[str, str], path: str = PREDICT) -> Wire:
    wire = Wire(path, headers=headers, chunks=[b"x"])
    wire.stalled = True
    wire.gone.set()
    await wire.drive(world.app)
    assert wire.received == 0
    return wire


async def test_without_a_token_nobody_learns_which_models_exist(world: World) -> None:
    """401 comes before 404, and 403 too."""
    for path in (PREDICT, "/v1/models/none/predict"):
        assert (await _never_read(world, {**JSON, "authorization": ""}, path)).status == 401
        assert (await _never_read(world, {**JSON, "authorization": "Bearer nobody"}, path)).status == 403


async def test_unknown_model_and_version(world: World) -> None:
    """404 with a problem; the made-up name is not repeated."""
    for path in ("/v1/models/DOE^JOHN/predict", "/v1/models/heart/versions/9/predict"):
        wire = await _never_read(world, JSON, path)
        assert wire.status == 404
        assert b"DOE" not in wire.body
    assert world.sink.calls[0].model == ""


async def test_bearer_scheme_has_no_case(world: World) -> None:
    """RFC 9110 §11.1."""
    wire = Wire(PREDICT, headers={**JSON, "authorization": "bEARER user"}, chunks=[RECORD_BODY])
    assert (await wire.drive(world.app)).status == 200


@pytest.mark.parametrize("name", ["authorization", "content-type", "x-request-id"])
async def test_a_repeated_single_field_is_refused(world: World, name: str) -> None:
    """Two tokens, two truths."""
    wire = Wire(PREDICT, headers=JSON, chunks=[RECORD_BODY])
    wire.scope["headers"] += [(name.encode(), b"Bearer admin")] * 2
    await wire.drive(world.app)
    assert wire.status == 400
    assert problem(wire)["field"] == name.title()


async def test_repeated_accept_is_joined(world: World) -> None:
    """Accept is a list and may be split over fields (RFC 9110 §5.3)."""
    wire = Wire(PREDICT, headers=JSON, chunks=[RECORD_BODY])
    wire.scope["headers"] += [(b"accept", b"image/png"), (b"accept", b"application/json")]
    assert (await wire.drive(world.app)).status == 200


async def test_a_repeated_field_of_no_meaning_to_us_is_let_through(world: World) -> None:
    """Cookies and proxies' fields may be repeated; without Accept everything is acceptable."""
    wire = Wire(PREDICT, headers=JSON, chunks=[RECORD_BODY])
    wire.scope["headers"] += [(b"via", b"1.1 a"), (b"via", b"1.1 b")]
    assert (await wire.drive(world.app)).status == 200


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        ("3f2b8c1e-9a4d-4f6b-8c1e-9a4d4f6b8c1e", True),
        ("0af7651916cd43dd8448eb211c80319c", True),
        ("01ARZ3NDEKTSV4RRFFQ69G5FAV", True),
        ("DOE^JOHN^1970", False),
        ("12345678", False),
        ("0af7651916cd43dd8448eb211c80319c\n", False),
        ("81ARZ3NDEKTSV4RRFFQ69G5FAV", False),
    ],
)
async def test_request_ids(world: World, sent: str, kept: bool) -> None:  # noqa: FBT001
    """Only an id that cannot be a patient's is taken over; there is always one in the answer."""
    wire = Wire(PREDICT, headers={**JSON, "x-request-id": sent}, chunks=[RECORD_BODY])
    await wire.drive(world.app)
    answered = wire.headers["x-request-id"]
    assert (answered == sent) == kept
    assert world.sink.only.request_id == answered
    assert kept or re.fullmatch(r"[0-9a-f]{32}", answered)


def test_own_request_ids_differ() -> None:
    """A counter does not repeat."""
    assert len({new_request_id() for _ in range(1000)}) == 1000


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD", "PATCH"])
async def test_other_methods(world: World, method: str) -> None:
    """405 with Allow (RFC 9110 §15.5.6), before any token is looked at; no call took place."""
    wire = await Wire(PREDICT, method=method).drive(world.app)
    assert (wire.status, wire.headers["allow"]) == (405, "OPTIONS, POST")
    assert world.sink.calls == []


async def test_options(world: World) -> None:
    """OPTIONS tells the methods and nothing else: there is no CORS."""
    wire = await Wire(PREDICT, method="OPTIONS", headers={"origin": "http://elsewhere"}).drive(world.app)
    assert (wire.status, wire.headers["allow"]) == (204, "OPTIONS, POST")
    assert "content-length" not in wire.headers


async def test_method_not_allowed_on_v2(world: World) -> None:
    """V2 paths keep V2's shape."""
    wire = await Wire("/v2/models/heart/infer", method="GET").drive(world.app)
    assert list(problem(wire)) == ["error"]


async def test_a_body_in_chunks_is_put_together(world: World) -> None:
    """Chunked transfer."""
    headers = {"content-type": "application/json", "transfer-encoding": "chunked"}
    wire = await Wire(PREDICT, headers=headers, chunks=[RECORD_BODY[:5], b"", RECORD_BODY[5:]]).drive(world.app)
    assert wire.status == 200


async def test_a_chunked_body_is_counted_while_it_is_read() -> None:
    """The limit holds without Content-Length, and what comes after it is not kept."""
    world = make_world(limits={"json_bytes": 10})
    headers = {"content-type": "application/json", "transfer-encoding": "chunked"}
    wire = Wire(PREDICT, headers=headers, chunks=[b"x" * 8, b"y" * 8, b"z" * 8])
    await wire.drive(world.app)
    assert wire.status == 413
    assert wire.headers["connection"] == "close"


async def test_a_caller_who_still_sends_gets_the_whole_answer_first() -> None:
    """The answer is complete before the rest is thrown away and the connection closed."""
    world = make_world(limits={"json_bytes": 10})
    wire = Wire(PREDICT, headers={**JSON, "content-length": "70000"}, chunks=[b"x" * 65536, b"y" * 4464])
    await wire.drive(world.app)
    assert wire.status == 413
    assert [message.get("more_body", False) for message in wire.sent[1:]] == [True, False]
    assert wire.received == 2
    assert len(world.sink.calls) == 1


async def test_lingering_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who neither sends nor goes is cut off."""
    monkeypatch.setattr(edge_module, "LINGER_SECONDS", 0.01)
    world = make_world(limits={"json_bytes": 10})
    wire = Wire(PREDICT, headers={**JSON, "content-length": "70000"}, chunks=[b"x", b"y"])
    wire.stalled = True
    await wire.drive(world.app)
    assert wire.status == 413
    assert wire.sent[-1] == {"type": "http.response.body", "body": b""}


async def test_lingering_is_bounded_in_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A caller who sends for ever is cut off."""
    monkeypatch.setattr(edge_module, "LINGER_BYTES", 100)
    world = make_world(limits={"json_bytes": 10})
    wire = Wire(PREDICT, headers={**JSON, "content-length": "70000"}, chunks=[b"x" * 60] * 1000)
    await wire.drive(world.app)
    assert wire.received == 2


async def test_an_unread_body_that_was_announced_with_expect_closes(world: World) -> None:
    """Without 100 (Continue) the body may not come, and the next request must not be taken for it."""
    wire = await _never_read(world, {**JSON, "authorization": "", "expect": "100-continue"})
    assert wire.headers["connection"] == "close"


async def test_a_body_that_does_not_arrive_times_out() -> None:
    """408 after limits.body_seconds."""
    world = make_world(limits={"body_seconds": 0.02})
    wire = Wire(PREDICT, headers=JSON, chunks=[b"x"])
    wire.stalled = True
    await wire.drive(world.app)
    assert wire.status == 408
    assert type(world.sink.only.error).__name__ == "RequestTimeout"


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Let the watchdogs look often; return when they did."""
    made: list[float] = []
    look = watchdog.Watchdog.look

    def noted(self: watchdog.Watchdog, now: float, body_seconds: float) -> None:
        look(self, now, body_seconds)
        made.append(now)

    monkeypatch.setattr(watchdog, "PATIENCE_SECONDS", 0.005)
    monkeypatch.setattr(watchdog.Watchdog, "look", noted)
    return made


async def test_a_slow_body_within_its_time_is_read(world: World, looks: list[float]) -> None:
    """The watchdog looks more than once before it bites."""
    wire = Wire(PREDICT, headers=JSON, chunks=[RECORD_BODY])
    wire.stalled = True
    plain = wire.receive

    async def slow() -> dict[str, Any]:
        await until(lambda: len(looks) > 2)
        wire.stalled = False
        return await plain()

    await world.app(wire.scope, slow, wire.send)
    assert wire.status == 200


async def test_a_caller_who_goes_while_sending_ends_the_call(world: World) -> None:
    """A disconnect while reading runs nothing, answers nobody and is accounted for."""
    wire = Wire(PREDICT, headers=JSON, chunks=[b"x"])
    wire.stalled = True
    wire.gone.set()
    await wire.drive(world.app)
    assert wire.sent == []
    assert type(world.sink.only.error).__name__ == "ClientGone"
    assert world.model("heart").executor.runs == 0


async def test_a_caller_who_goes_while_the_model_runs_stops_it(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's work is cancelled."""
    monkeypatch.setattr(watchdog, "PATIENCE_SECONDS", 0.01)
    stopped = asyncio.Event()

    async def run(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
        try:
            await asyncio.sleep(60)
        finally:
            stopped.set()
        raise AssertionError

    world.model("heart").executor.run_one = run
    wire = Wire(PREDICT, headers=JSON, chunks=[RECORD_BODY])
    task = asyncio.create_task(wire.drive(world.app))
    await until(lambda: world.model("heart").executor.runs == 1)
    wire.gone.set()
    await task
    assert stopped.is_set()
    assert wire.sent == []
    assert type(world.sink.only.error).__name__ == "ClientGone"


async def test_a_long_run_of_a_patient_caller_is_answered(world: World, looks: list[float]) -> None:
    """Watching does not disturb."""

    async def run(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
        await until(lambda: len(looks) > 2)
        return await record_run(inputs, timeout_seconds)

    world.model("heart").executor.run_one = run
    assert (await Wire(PREDICT, headers=JSON, chunks=[RECORD_BODY]).drive(world.app)).status == 200


async def test_a_server_that_ends_tells_the_caller(world: World) -> None:
    """Cancelled at the drain deadline: 503, not a cut connection."""

    async def run(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
        await asyncio.sleep(60)
        raise AssertionError

    world.model("heart").executor.run_one = run
    wire = Wire(PREDICT, headers=JSON, chunks=[RECORD_BODY])
    task = asyncio.create_task(wire.drive(world.app))
    await until(lambda: world.model("heart").executor.runs == 1)
    task.cancel()
    await task
    assert wire.status == 503
    assert type(world.sink.only.error).__name__ == "Draining"


async def test_unexpected_errors_say_nothing(world: World, caplog: pytest.LogCaptureFixture) -> None:
    """500 with the request id alone; the log is handed the exception."""

    async def run(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
        raise ValueError("DOE^JOHN")

    world.model("heart").executor.run_one = run
    wire = await Wire(PREDICT, headers=JSON, chunks=[RECORD_BODY]).drive(world.app)
    assert wire.status == 500
    assert problem(wire)["request_id"] == wire.headers["x-request-id"]
    assert b"DOE" not in wire.body
    (record,) = caplog.records
    # The handler of observability.logging keeps class and frames of exc_info, and no text.
    assert record.exc_info
    assert record.exc_info[0] is ValueError
    assert record.name == "bedside.transports"
    assert record.__dict__["request_id"] == wire.headers["x-request-id"]
    assert world.sink.only.error is not None


async def test_a_full_queue_says_when_to_come_back(world: World) -> None:
    """503 with Retry-After as the executor reckoned it."""

    async def run(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
        error = QueueFull()
        error.retry_after_seconds = 3
        raise error

    world.model("heart").executor.run_one = run
    wire = await Wire(PREDICT, headers=JSON, chunks=[RECORD_BODY]).drive(world.app)
    assert (wire.status, wire.headers["retry-after"]) == (503, "3")


async def test_more_requests_than_allowed_at_one_time() -> None:
    """limits.connections bounds what runs at one time; nothing is read of the surplus."""
    world = make_world(limits={"connections": 1})
    release = asyncio.Event()

    async def run(inputs: ValidatedInputs, timeout_seconds: float) -> Prediction:
        await release.wait()
        return await record_run(inputs, timeout_seconds)

    world.model("heart").executor.run_one = run
    first = Wire(PREDICT, headers=JSON, chunks=[RECORD_BODY])
    task = asyncio.create_task(first.drive(world.app))
    await until(lambda: world.model("heart").executor.runs == 1)
    assert (await _never_read(world, JSON)).status == 503
    release.set()
    await task
    assert first.status == 200
    assert (await Wire(PREDICT, headers=JSON, chunks=[RECORD_BODY]).drive(world.app)).status == 200
    assert len(world.sink.calls) == 3


async def test_draining_still_serves_and_closes(world: World) -> None:
    """Until the socket is closed balancers go on sending; their connections are shaken off."""
    world.lifecycle.drain()
    wire = await Wire(PREDICT, headers=JSON, chunks=[RECORD_BODY]).drive(world.app)
    assert (wire.status, wire.headers["connection"]) == (200, "close")


async def test_closing_turns_away(world: World) -> None:
    """503, Retry-After, Connection: close."""
    world.lifecycle.close(1)
    wire = await _never_read(world, JSON)
    assert (wire.status, wire.headers["connection"]) == (503, "close")
    assert "retry-after" in wire.headers


async def test_accounting_survives_a_send_that_fails(world: World) -> None:
    """A broken connection does not lose the record of the call."""

    async def broken(_message: Any) -> None:
        raise OSError("broken pipe")

    wire = Wire(PREDICT, headers=JSON, chunks=[RECORD_BODY])
    with pytest.raises(OSError, match="broken pipe"):
        await world.app(wire.scope, wire.receive, broken)
    assert len(world.sink.calls) == 1


async def test_a_server_without_raw_path(world: World) -> None:
    """``raw_path`` is optional in ASGI."""
    wire = Wire(PREDICT, headers=JSON, chunks=[RECORD_BODY])
    del wire.scope["raw_path"]
    assert (await wire.drive(world.app)).status == 200
