"""The load client: HTTP/1.1 over kept-alive connections, one thread, epoll, nothing in between.

Two ways to load a server. *Open loop*: requests leave at a constant rate, whatever the server does; each latency counts
from the moment at which its request was *meant* to leave, so a server that stalls is charged for everybody who waited
(no coordinated omission). *Saturation*: every connection sends its next request as soon as it has its answer.

Every answer is compared, byte for byte, with the one expected for its request; an answer that is missing, late
beyond ``GRACE_SECONDS``, has another status or belongs to another request is an error, and none is forgotten.

It runs as a process of its own (``python -m benchmarks.client [CORE] < job.pickle > result.json``), so that it can be
kept on another core than the server, and its own CPU time can be told from the server's.
"""

import ctypes
import json
import os
import pickle
import select
import socket
import struct
import sys
from array import array
from collections import deque
from dataclasses import asdict, dataclass
from itertools import cycle
from time import perf_counter, process_time, sleep
from typing import Literal

GRACE_SECONDS = 20.0
"""How long answers may still come after the last request; then they count as lost."""

NAP_SECONDS = 0.001
"""At saturation, how long answers are let gather before they are looked at. Otherwise each answer wakes this process,
and waking a process on another virtual core costs the *server* 20 to 30 µs in its send(); remote clients cost none."""

_HEAD_END = b"\r\n\r\n"
_READ_BYTES = 1 << 18
_CLOCK_MONOTONIC = 1
_TFD_NONBLOCK = os.O_NONBLOCK

Mode = Literal["open", "saturate", "collect"]


@dataclass(frozen=True, slots=True)
class Job:
    """What to do to one server.

    Attributes:
        port: on 127.0.0.1; there is no way to name another host.
        requests: whole HTTP requests, sent in turn.
        expected: the body of each one's answer; empty in mode ``collect``, which finds them out.
        mode: ``open``, ``saturate``, or ``collect``: each request once, one after the other, bodies returned.
        connections: most connections at one time.
        seconds: length of the measurement.
        rate: requests per second, for ``open``.
        warm_up_seconds: the same load before it, not counted.
    """

    port: int
    requests: tuple[bytes, ...]
    expected: tuple[bytes, ...]
    mode: Mode
    connections: int = 1
    seconds: float = 1.0
    rate: float = 0.0
    warm_up_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Load:
    """What came of it. Times in seconds; ``latencies`` holds no warm-up.

    Attributes:
        started: ``CLOCK_MONOTONIC`` at the start of what is counted, and ``ended`` at its end.
        answered: right answers.
        answered_in_all: the same with those of the warm-up.
        errors: wrong or missing answers, by kind.
        late_sends: how long after their moment requests left although a connection was free (p99): the client's fault.
        cpu: CPU time of this client, warm-up included.
    """

    started: float
    ended: float
    sent: int
    answered: int
    answered_in_all: int
    errors: dict[str, int]
    p50: float
    p99: float
    longest: float
    late_sends: float
    cpu: float


class _Connection:
    """One kept-alive connection; it has at most one request under way."""

    __slots__ = ("buffer", "index", "meant", "need", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.settimeout(None)  # with one, every call costs another poll(); epoll says when there is something
        self.buffer = b""
        self.need = 0
        self.index = -1
        self.meant = 0.0

    def send(self, request: bytes, index: int, meant: float) -> None:
        """Send a request; a body larger than the socket's buffer blocks, which only large files do."""
        self.index, self.meant = index, meant
        self.buffer, self.need = b"", 0
        self.socket.sendall(request)

    def receive(self) -> tuple[int, bytes] | None:
        """Return status and body once they are whole, None before. Raises ConnectionError, ValueError."""
        data = self.socket.recv(_READ_BYTES)
        if not data:
            raise ConnectionError
        self.buffer = self.buffer + data if self.buffer else data
        if not self.need:
            end = self.buffer.find(_HEAD_END)
            if end < 0:
                return None
            self.need = end + 4 + _content_length(self.buffer[:end])
        if len(self.buffer) < self.need:
            return None
        head = self.buffer.find(_HEAD_END) + 4
        return int(self.buffer[9:12]), self.buffer[head : self.need]


def _content_length(head: bytes) -> int:
    lower = head.lower()
    at = lower.find(b"\r\ncontent-length:")
    if at < 0:
        raise ValueError("no Content-Length: this client reads no chunked answers")
    return int(lower[at + 17 :].partition(b"\r\n")[0])


class Client:
    """Drives one job."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._poll = select.epoll()
        self._by_fd = {
            connection.socket.fileno(): connection
            for connection in (_Connection(job.port) for _ in range(job.connections))
        }
        for fd in self._by_fd:
            self._poll.register(fd, select.EPOLLIN)
        self._turn = cycle(range(len(job.requests)))
        self._latencies = array("d")
        self._late = array("d")
        self._errors: dict[str, int] = {}
        self._sent = self._answered = self._answered_in_all = 0
        self._count_from = 0.0

    def run(self) -> Load:
        """Apply the load and return what came of it."""
        begin = perf_counter()
        self._count_from = begin + self._job.warm_up_seconds
        end = self._count_from + self._job.seconds
        if self._job.mode == "open":
            self._open(begin, end)
        else:
            self._saturate(end)
        return self._result(end)

    def collect(self) -> list[bytes]:
        """Return the body that answers each request.

        Raises:
            RuntimeError: an answer is no 200.
        """
        connection = next(iter(self._by_fd.values()))
        bodies = []
        for request in self._job.requests:
            connection.send(request, 0, 0.0)
            connection.socket.settimeout(GRACE_SECONDS)
            answer = connection.receive()
            while answer is None:
                answer = connection.receive()
            if answer[0] != 200:
                raise RuntimeError(f"status {answer[0]}: {answer[1][:500]!r}")
            bodies.append(answer[1])
        return bodies

    def _saturate(self, end: float) -> None:
        pending = 0
        now = perf_counter()
        for connection in self._by_fd.values():
            pending += self._send(connection, now)
        while pending:
            sleep(NAP_SECONDS)
            events = self._poll.poll(GRACE_SECONDS)
            if not events:
                self._error("lost", pending)
                return
            for fd, _ in events:
                connection = self._by_fd[fd]
                if not self._take(connection):
                    continue
                pending -= 1
                now = perf_counter()
                if now < end:
                    pending += self._send(connection, now)

    def _open(self, begin: float, end: float) -> None:
        schedule = _Schedule(begin, 1.0 / self._job.rate, int((end - begin) * self._job.rate))
        idle = deque(self._by_fd.values())
        pending = 0
        timer = _timer(schedule.interval)
        self._poll.register(timer, select.EPOLLIN)
        while (pending or schedule.left) and perf_counter() < end + GRACE_SECONDS:
            for fd, _ in self._poll.poll(GRACE_SECONDS):
                if fd == timer:
                    os.read(timer, 8)
                elif self._take(self._by_fd[fd]):
                    pending -= 1
                    idle.append(self._by_fd[fd])
            pending += self._send_due(schedule, idle)
        os.close(timer)
        if pending or schedule.left:
            self._error("lost", pending + schedule.left)

    def _send_due(self, schedule: "_Schedule", idle: deque[_Connection]) -> int:
        """Send what is due, as far as connections are free; return how many requests left."""
        sent = 0
        now = perf_counter()
        while schedule.left and schedule.due <= now:
            if not idle:
                schedule.blocked = True
                return sent
            meant = schedule.due
            # While all connections are busy, what leaves late is the server's doing, else ours.
            if not schedule.blocked and meant >= self._count_from:
                self._late.append(now - meant)
            sent += self._send(idle.popleft(), meant)
            schedule.launched += 1
        schedule.blocked = False
        return sent

    def _send(self, connection: _Connection, meant: float) -> int:
        index = next(self._turn)
        if meant >= self._count_from:
            self._sent += 1
        try:
            connection.send(self._job.requests[index], index, meant)
        except OSError:
            self._error("connection")
            return 0
        return 1

    def _take(self, connection: _Connection) -> bool:
        """Read; return True where the connection is free again."""
        try:
            answer = connection.receive()
        except (OSError, ValueError):
            self._error("connection")
            self._replace(connection)
            return True
        if answer is None:
            return False
        status, body = answer
        if status != 200:
            self._error(f"status {status}")
        elif body != self._job.expected[connection.index]:
            self._error("wrong answer")
        else:
            self._answered_in_all += 1
            if connection.meant >= self._count_from:
                self._answered += 1
                self._latencies.append(perf_counter() - connection.meant)
        return True

    def _replace(self, connection: _Connection) -> None:
        old = connection.socket
        self._poll.unregister(old.fileno())
        del self._by_fd[old.fileno()]
        old.close()
        connection.socket = _Connection(self._job.port).socket
        self._by_fd[connection.socket.fileno()] = connection
        self._poll.register(connection.socket.fileno(), select.EPOLLIN)

    def _error(self, kind: str, count: int = 1) -> None:
        self._errors[kind] = self._errors.get(kind, 0) + count

    def _result(self, end: float) -> Load:
        ordered = sorted(self._latencies)
        return Load(
            started=self._count_from,
            ended=max(end, perf_counter()) if self._job.mode == "saturate" else end,
            sent=self._sent,
            answered=self._answered,
            answered_in_all=self._answered_in_all,
            errors=self._errors,
            p50=quantile(ordered, 0.5),
            p99=quantile(ordered, 0.99),
            longest=ordered[-1] if ordered else float("nan"),
            late_sends=quantile(sorted(self._late), 0.99),
            cpu=process_time(),
        )


class _Schedule:
    """When requests are meant to leave: every ``interval`` seconds, whatever happens."""

    __slots__ = ("begin", "blocked", "interval", "launched", "total")

    def __init__(self, begin: float, interval: float, total: int) -> None:
        self.begin = begin
        self.interval = interval
        self.total = total
        self.launched = 0
        self.blocked = False

    @property
    def due(self) -> float:
        """Return when the next one is meant to leave."""
        return self.begin + self.launched * self.interval

    @property
    def left(self) -> int:
        """Return how many have not left yet."""
        return self.total - self.launched


def quantile(ordered: "array[float] | list[float]", share: float) -> float:
    """Return a quantile of sorted values (nearest rank), NaN where there are none."""
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))] if ordered else float("nan")


def _timer(interval: float) -> int:
    """Return a descriptor that becomes readable every ``interval`` seconds; epoll's own time-outs are whole ms."""
    libc = ctypes.CDLL(None, use_errno=True)
    timer = int(libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK))
    seconds, rest = divmod(interval, 1.0)
    period = struct.pack("4q", *(int(seconds), int(rest * 1e9)) * 2)
    if timer < 0 or libc.timerfd_settime(timer, 0, period, None) != 0:
        raise OSError(ctypes.get_errno(), "no timer")
    return timer


def main() -> None:
    """Run the job on standard input, on the core that is named, if any; write the result to standard output."""
    if sys.argv[1:]:
        os.sched_setaffinity(0, [int(sys.argv[1])])
    job = pickle.load(sys.stdin.buffer)  # noqa: S301 - from the runner that started this process
    client = Client(job)
    if job.mode == "collect":
        pickle.dump(client.collect(), sys.stdout.buffer)
    else:
        sys.stdout.write(json.dumps(asdict(client.run())))


if __name__ == "__main__":
    main()
