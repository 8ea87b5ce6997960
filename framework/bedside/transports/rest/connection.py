"""One HTTP/1.1 connection: uvicorn's, with the bounds that it lacks: on a header section, and on reading an answer.

Nobody is authenticated yet while the header section comes, so it may cost next to nothing. An answer that is not read
holds its memory and its connection, after it is closed, too.
"""

import asyncio
import math
import socket
import sys
from typing import Any

from httptools import HttpParserError, HttpParserUpgrade, HttpRequestParser
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from bedside.transports.rest.reply import WHOLE

HEAD_BYTES = 65536
"""Longest request line and header section; a token of ``auth.token_bytes`` fits several times over."""

HEAD_SECONDS = 10.0
"""Time in which the header section must have arrived, from the opening of the connection or its first byte."""

READ_BYTES = 65536
"""What a caller has to take of an answer in ``limits.reader_seconds``, or the rest of it."""

_ACKED = slice(120, 128)  # of linux/tcp.h's struct tcp_info

RESERVED_CONNECTIONS = 32
"""Connections beyond ``limits.connections`` before uvicorn itself refuses requests."""

JOINED_BYTES = 65536
"""Longest body that is copied behind its head, to go out in one system call; a longer one costs more to copy."""

MOST_PIPELINED = 64
"""Requests of one connection that wait for the one before them. A read of 256 KiB holds ten thousand, each of which
costs memory before anybody knows who asks, and as long as answers are not read."""

_UPGRADE_FIELDS = (b"connection", b"upgrade", b"http2-settings")

_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"  # RFC 6585 §5
)
_TOO_LATE = b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"  # RFC 9110 §15.5.9


class WholeAnswer:
    """Writes head and body of an answer at once (``reply.SendsWhole``), with the bookkeeping of uvicorn's cycle.

    uvicorn writes them in two system calls, and examines every header field by itself.
    """

    __slots__ = ("_cycle",)

    def __init__(self, cycle: RequestResponseCycle) -> None:
        self._cycle = cycle

    async def __call__(self, status: int, fields: bytes, body: bytes, *, close: bool) -> None:
        """Send it; wait first where the caller reads more slowly than we write."""
        cycle = self._cycle
        if cycle.flow.write_paused and not cycle.disconnected:
            await cycle.flow.drain()
        if cycle.disconnected:
            return
        if cycle.response_started:
            raise RuntimeError("this request has been answered")
        cycle.keep_alive = cycle.keep_alive and not close
        cycle.response_started = cycle.response_complete = True
        cycle.waiting_for_100_continue = False
        head = [STATUS_LINE[status], *(b"%b: %b\r\n" % field for field in cycle.default_headers), fields]
        head.append(b"\r\n" if cycle.keep_alive else b"connection: close\r\n\r\n")
        if len(body) <= JOINED_BYTES:
            head.append(body)
        cycle.transport.write(b"".join(head))
        if len(body) > JOINED_BYTES:
            cycle.transport.write(body)
        cycle.message_event.set()
        if not cycle.keep_alive:
            cycle.transport.close()
        cycle.on_response()


class Connection(HttpToolsProtocol):
    """A connection whose header sections (slow-loris, endless header fields) and unread answers are bounded.

    Args:
        reader_seconds: ``limits.reader_seconds``.
        args: uvicorn's.
        kwargs: uvicorn's.
    """

    head_seconds = HEAD_SECONDS

    def __init__(self, *args: Any, reader_seconds: float, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._reader_seconds = reader_seconds
        self._reader_timer: asyncio.TimerHandle | None = None
        self._taken = -math.inf
        self._in_head = True
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None
        self._idle_since = 0.0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock: a connection that never speaks is closed, and at once where too many are open."""
        super().connection_made(transport)
        self._idle_since = self.loop.time()
        self._await_head()
        if self.limit_concurrency is not None and len(self.connections) > self.limit_concurrency - RESERVED_CONNECTIONS:
            self._close_oldest_idle()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clocks."""
        self._head_complete()
        self._unset_keepalive_if_required()
        if self._reader_timer is not None:
            self._reader_timer.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        """Start the clock of a caller who does not read as fast as we write."""
        super().pause_writing()
        self._watch_reader()

    def resume_writing(self) -> None:
        """Go on writing; a caller who took so much reads."""
        super().resume_writing()
        self._taken = -math.inf

    def data_received(self, data: bytes) -> None:
        """Parse; a header section that is not complete after this is counted and timed."""
        self._parse(data)
        if self._in_head and not self.transport.is_closing():
            self._head_bytes += len(data)
            if self._head_bytes > HEAD_BYTES:
                self._refuse(_TOO_LARGE)
            elif self._head_timer is None:
                self._await_head()

    def _parse(self, data: bytes) -> None:
        try:
            self.parser.feed_data(data)
        except HttpParserUpgrade as upgrade:
            self._ignore_upgrade(data[upgrade.args[0] :])
        except HttpParserError:
            self._refuse_malformed()

    def _ignore_upgrade(self, rest: bytes) -> None:
        """Read the request as if it had not asked for another protocol (RFC 9110 §7.8), with its body.

        Clients ask for HTTP/2 with a body of HTTP/1.1 behind it (Java's ``HttpClient`` does so by itself); the parser
        has stopped for good behind the header section, so another one reads it without the wish.
        """
        if self.parser.get_method() == b"CONNECT":  # RFC 9110 §9.3.6: of a proxy; what follows is not HTTP
            self._refuse_malformed()
            return
        closes = any(name == b"connection" and b"close" in value.lower() for name, value in self.headers)
        fields = [field for field in self.headers if field[0] not in _UPGRADE_FIELDS]
        fields += [(b"connection", b"close")] if closes else []
        version = self.parser.get_http_version().encode()
        head = b"%b %b HTTP/%b\r\n" % (self.parser.get_method(), self.url, version)
        self.parser = HttpRequestParser(self)
        self._parse(b"".join((head, *(b"%b: %b\r\n" % field for field in fields), b"\r\n", rest)))

    def _refuse_malformed(self) -> None:
        message = "Invalid HTTP request received."
        self.logger.warning(message)
        if self._may_refuse:
            self.send_400_response(message)
        else:
            self._close()

    def on_message_complete(self) -> None:
        """End a request, unless it is to be read again."""
        if not self.parser.should_upgrade():
            super().on_message_complete()

    def on_message_begin(self) -> None:
        """Begin a header section."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0

    def on_headers_complete(self) -> None:
        """End a header section. Raises HttpParserError, which the parser hands on."""
        self._in_head = False
        if self._head_timer is not None:
            self._head_complete()
        if self.parser.should_upgrade():
            return
        if sum([name == b"host" for name, _ in self.headers]) != 1 and self.parser.get_http_version() == "1.1":
            raise HttpParserError("an HTTP/1.1 request has one Host")  # RFC 9112 §3.2: or it is a bad request
        super().on_headers_complete()
        if len(self.pipeline) > MOST_PIPELINED:
            raise HttpParserError("too many requests wait on this connection")
        # The request's task has not begun yet.
        if self.scope["method"] != "HEAD":
            self.scope[WHOLE] = WholeAnswer(self.cycle)  # type: ignore[literal-required]

    def on_response_complete(self) -> None:
        """Begin the next request where one waits; else note since when nothing is asked of this connection."""
        self._idle_since = self.loop.time()
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._watch_reader()
            return
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self.timeout_keep_alive_task is None:
            self._await_next(self.timeout_keep_alive)

    def timeout_keep_alive_handler(self) -> None:
        """Close the connection where it has been idle for so long; look again where it has not.

        uvicorn starts a timer at each answer and stops it at the next request; this one goes on running.
        """
        self.timeout_keep_alive_task = None
        if not self.is_idle or self._head_timer is not None:
            return  # the next answer starts it again
        remaining = self._idle_since + self.timeout_keep_alive - self.loop.time()
        if remaining > 0:
            self._await_next(remaining)
        else:
            self._close()

    def _await_next(self, seconds: float) -> None:
        self.timeout_keep_alive_task = self.loop.call_later(seconds, self.timeout_keep_alive_handler)

    @property
    def is_idle(self) -> bool:
        """Tell whether no request is in progress and the connection is not being closed."""
        return not self.transport.is_closing() and (self.cycle is None or self.cycle.response_complete)

    def _close_oldest_idle(self) -> None:
        # Opening connections needs no token. Whoever opens a thousand and says nothing must not keep others out:
        # the one that has been silent longest goes. An HTTP client expects that of an idle connection (RFC 9112 §9.5).
        idle = [peer for peer in self.connections if peer is not self and isinstance(peer, Connection) and peer.is_idle]
        if idle:
            min(idle, key=lambda peer: peer._idle_since)._close()  # noqa: SLF001 - of this class

    def _close(self) -> None:
        self.transport.close()
        self._watch_reader()

    def _watch_reader(self) -> None:
        """Look again after ``limits.reader_seconds`` whether what waits is taken."""
        if self._reader_timer is None and self._is_waiting:
            self._taken = self._acknowledged()
            self._reader_timer = self.loop.call_later(self._reader_seconds, self._judge_reader)

    def _judge_reader(self) -> None:
        self._reader_timer = None
        if self._is_waiting and self._acknowledged() - self._taken < READ_BYTES:
            self.transport.abort()
        elif self.flow.write_paused or self.transport.is_closing():
            self._watch_reader()

    @property
    def _is_waiting(self) -> bool:
        """Tell whether the caller has not taken all that was written; over TLS it tells so while writing pauses."""
        return self.flow.write_paused or self.transport.get_write_buffer_size() > 0

    def _acknowledged(self) -> float:
        """Return the bytes that the caller's machine has taken (TCP_INFO, tcpi_bytes_acked: Linux 4.1).

        What the event loop has yet to write says nothing over TLS: there it holds the answer in another place. Where
        the system does not tell, nobody is cut off.
        """
        connection = self.transport.get_extra_info("socket")
        if not hasattr(socket, "TCP_INFO") or connection.family not in {socket.AF_INET, socket.AF_INET6}:
            return math.inf
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKED.stop)
        return int.from_bytes(info[_ACKED], sys.byteorder) if len(info) == _ACKED.stop else math.inf

    def _await_head(self) -> None:
        self._head_timer = self.loop.call_later(self.head_seconds, self._refuse, _TOO_LATE)

    def _head_complete(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    @property
    def _may_refuse(self) -> bool:
        """Tell whether an answer would be taken for that of what cannot be read, and cut into no other."""
        cycle = self.cycle
        if cycle is None or cycle.response_complete:
            return True
        return cycle.more_body and not cycle.response_started and not self.pipeline  # it is this request's body

    def _refuse(self, answer: bytes) -> None:
        self._head_complete()
        if not self.transport.is_closing():
            if self._may_refuse:
                self.transport.write(answer)
            self.transport.close()
