"""An answer in one write says what uvicorn's two messages would have said."""

import asyncio
import logging
import weakref
from typing import Any, cast

import pytest
from uvicorn import Config
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
from uvicorn.server import ServerState

from bedside.transports.rest.connection import JOINED_BYTES, Connection, WholeAnswer
from bedside.transports.rest.reply import WHOLE, Reply, Scope, send_whole

REPLY = Reply(200, "application/json", b'{"prediction": "present"}', ((b"warning", b"not a medical device"),))


class Wire(asyncio.Transport):
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.writes: list[bytes] = []
        self.closed = False

    def write(self, data: Any) -> None:
        """Keep it."""
        self.writes.append(bytes(data))

    def close(self) -> None:
        """Note it."""
        self.closed = True

    def is_closing(self) -> bool:
        """Tell."""
        return self.closed

    def get_write_buffer_size(self) -> int:
        """Nothing waits here."""
        return 0

    def pause_reading(self) -> None:
        """Nothing is read here."""

    def resume_reading(self) -> None:
        """Nothing is read here."""


class Exchange:
    """One request's cycle on a wire of its own."""

    def __init__(self, *, keep_alive: bool = True) -> None:
        self.wire = Wire()
        self.completed = 0
        scope: Any = {"type": "http", "method": "POST"}
        logger = logging.getLogger("uvicorn")
        self.cycle = RequestResponseCycle(
            scope=scope,
            transport=self.wire,
            flow=FlowControl(self.wire),
            logger=logger,
            access_logger=logger,
            access_log=False,
            default_headers=[(b"date", b"Sat, 21 Nov 2026 08:00:00 GMT")],
            message_event=asyncio.Event(),
            expect_100_continue=False,
            keep_alive=keep_alive,
            on_response=self._complete,
        )
        self.scope: Scope = {WHOLE: WholeAnswer(self.cycle)}

    def _complete(self) -> None:
        self.completed += 1

    async def send(self, message: Any) -> None:
        """Send as ASGI has it."""
        await self.cycle.send(message)

    def parsed(self) -> tuple[bytes, list[bytes], bytes]:
        """Return status line, sorted header fields and body of what went over the wire."""
        head, _, body = b"".join(self.wire.writes).partition(b"\r\n\r\n")
        status, *fields = head.split(b"\r\n")
        return status, sorted(fields), body


@pytest.fixture
async def exchange() -> Exchange:
    """Return a request on a connection that is kept alive."""
    return Exchange()


@pytest.mark.parametrize("keep_alive", [True, False])
@pytest.mark.parametrize("close", [True, False])
async def test_both_ways_say_the_same(*, keep_alive: bool, close: bool) -> None:
    """Status line, fields, body and the end of the connection; one write instead of two."""
    whole, plain = Exchange(keep_alive=keep_alive), Exchange(keep_alive=keep_alive)
    await send_whole(whole.scope, whole.send, REPLY, "id", close=close)
    await send_whole({}, plain.send, REPLY, "id", close=close)
    assert whole.parsed() == plain.parsed()
    assert (len(whole.wire.writes), len(plain.wire.writes)) == (1, 2)
    assert whole.wire.closed == plain.wire.closed == (close or not keep_alive)
    for name in ("response_started", "response_complete", "keep_alive"):
        assert getattr(whole.cycle, name) == getattr(plain.cycle, name)
    assert whole.completed == plain.completed == 1
    assert whole.cycle.message_event.is_set()


async def test_an_answered_request_is_gone_at_once(exchange: Exchange) -> None:
    """With the token in its header fields; in a cycle of references it would wait for the garbage collector."""
    gone = weakref.ref(exchange.cycle)
    exchange.cycle.scope = exchange.scope  # type: ignore[assignment]
    await send_whole(exchange.scope, exchange.send, REPLY, "id")
    exchange.cycle.on_response = lambda: None  # the exchange's own
    vars(exchange).clear()
    assert gone() is None


async def test_an_empty_body(exchange: Exchange) -> None:
    """The head goes out although nothing follows."""
    await send_whole(exchange.scope, exchange.send, Reply(400, "text/plain", b""), "id")
    status, fields, body = exchange.parsed()
    assert (status, body) == (b"HTTP/1.1 400 Bad Request", b"")
    assert b"content-length: 0" in fields


async def test_no_content_goes_the_usual_way(exchange: Exchange) -> None:
    """204 has no Content-Length (RFC 9110 §8.6)."""
    await send_whole(exchange.scope, exchange.send, Reply(204, "", b""), "id")
    assert not any(field.startswith(b"content-length") for field in exchange.parsed()[1])


async def test_a_long_body_is_not_copied(exchange: Exchange) -> None:
    """A volume goes out from where it lies."""
    body = b"x" * (JOINED_BYTES + 1)
    await send_whole(exchange.scope, exchange.send, Reply(200, "application/gzip", body), "id")
    assert [len(data) for data in exchange.wire.writes[1:]] == [len(body)]
    assert exchange.parsed()[2] == body


async def test_nothing_is_sent_to_a_caller_who_has_gone(exchange: Exchange) -> None:
    """As uvicorn does."""
    exchange.cycle.disconnected = True
    await send_whole(exchange.scope, exchange.send, REPLY, "id")
    assert exchange.wire.writes == []


async def test_a_request_is_answered_once(exchange: Exchange) -> None:
    """A second answer would be taken for that of the next request."""
    await send_whole(exchange.scope, exchange.send, REPLY, "id")
    with pytest.raises(RuntimeError):
        await send_whole(exchange.scope, exchange.send, REPLY, "id")
    assert len(exchange.wire.writes) == 1


async def test_a_caller_who_reads_slowly_is_waited_for(exchange: Exchange) -> None:
    """Answers do not pile up in memory."""
    exchange.cycle.flow.pause_writing()
    sending = asyncio.create_task(send_whole(exchange.scope, exchange.send, REPLY, "id"))
    await asyncio.sleep(0)
    assert exchange.wire.writes == []
    exchange.cycle.flow.resume_writing()
    await sending
    assert len(exchange.wire.writes) == 1


@pytest.mark.parametrize("value", [b"a\r\nset-cookie: b", b"a\nb", b"a\x00"])
async def test_a_field_cannot_end_the_head(exchange: Exchange, value: bytes) -> None:
    """A control character in a field would let its author write the rest of the answer (CWE-113)."""
    reply = Reply(200, "text/plain", b"", ((b"content-disposition", value),))
    with pytest.raises(ValueError, match="control character"):
        await send_whole(exchange.scope, exchange.send, reply, "id")
    assert exchange.wire.writes == []


KEPT_SECONDS = 75


class Clock:
    """What a connection needs of a loop: time that is set, and timers that are kept."""

    def __init__(self) -> None:
        self.now = 0.0
        self.timers: list[asyncio.TimerHandle] = []

    def time(self) -> float:
        """Return what was set."""
        return self.now

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        """Keep a timer."""
        self.timers.append(asyncio.TimerHandle(self.now + delay, callback, args, cast("Any", self), context))
        return self.timers[-1]

    def get_debug(self) -> bool:
        """Tell handles so."""
        return False

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        self.timers.remove(handle)

    def advance(self, seconds: float) -> None:
        """Let time go by, and timers fire."""
        self.now += seconds
        for timer in [timer for timer in self.timers if timer.when() <= self.now]:
            self.timers.remove(timer)
            timer._run()


class Line:
    """A connection on a clock of its own, which has answered one request."""

    def __init__(self) -> None:
        async def app(_scope: Any, _receive: Any, _send: Any) -> None:
            """Answer nothing; what is answered is told below."""

        config = Config(app, timeout_keep_alive=KEPT_SECONDS, log_config=None, ws="none")
        config.load()
        self.clock, self.wire = Clock(), Wire()
        self.connection = Connection(config, ServerState(), {}, self.clock, reader_seconds=60.0)
        self.connection._start_asgi_task = lambda *_: None  # type: ignore[method-assign]
        self.connection.connection_made(self.wire)
        self.ask()
        self.answer()

    def ask(self, data: bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n") -> None:
        """Send a request, or a part of one."""
        self.connection.data_received(data)

    def answer(self) -> None:
        """Answer it."""
        self.connection.cycle.response_complete = True
        self.connection.on_response_complete()


async def test_an_idle_connection_is_closed_in_time() -> None:
    """So long after its last answer, and not before, whenever the first one was."""
    line = Line()
    line.clock.advance(50)
    line.ask()
    line.answer()
    line.clock.advance(50)
    assert not line.wire.closed
    line.clock.advance(24)
    assert not line.wire.closed
    line.clock.advance(1)
    assert line.wire.closed


async def test_requests_share_one_timer() -> None:
    """A timer per request would cost what checking its token costs."""
    line = Line()
    for _ in range(5):
        line.ask()
        line.answer()
    assert len(line.clock.timers) == 1


@pytest.mark.parametrize("data", [b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HT"], ids=["request", "part"])
async def test_a_connection_in_use_is_not_idle(data: bytes) -> None:
    """What is being answered, or has begun to come, has bounds of its own; then the timer runs again."""
    line = Line()
    line.clock.advance(KEPT_SECONDS - 1)
    line.ask(data)
    line.clock.advance(2)
    assert not line.wire.closed
    line.ask(b"TP/1.1\r\nHost: a\r\n\r\n" if data.endswith(b"HT") else b"")
    line.answer()
    line.clock.advance(KEPT_SECONDS)
    assert line.wire.closed


async def test_a_connection_that_is_lost_leaves_no_timer() -> None:
    """Nor itself in memory."""
    line = Line()
    line.connection.connection_lost(ConnectionResetError())
    assert line.clock.timers == []


@pytest.mark.parametrize(
    "head",
    [b"GET / HTTP/1.1\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n"],
    ids=["no_host", "two_hosts"],
)
async def test_a_request_has_one_host(head: bytes) -> None:
    """RFC 9112 §3.2: two readers of it would choose differently, and nothing behind it is read."""
    line = Line()
    answered = line.connection.cycle
    line.ask(head + b"Content-Length: 2\r\n\r\n{}")
    assert line.wire.writes[-1].startswith(b"HTTP/1.1 400 ")
    assert line.wire.closed
    assert line.connection.cycle is answered


async def test_an_older_request_may_have_no_host() -> None:
    """HTTP/1.0 knows none."""
    line = Line()
    answered = line.connection.cycle
    line.ask(b"GET / HTTP/1.0\r\n\r\n")
    assert line.connection.cycle is not answered
    assert not line.wire.closed
