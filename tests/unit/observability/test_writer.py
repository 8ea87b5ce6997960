"""Lines on their way to a stream that may be slow, full or gone."""

import io
import os
import threading

import pytest
from tests.waiting import PATIENCE_SECONDS

from bedside.observability import writer as writer_module
from bedside.observability.writer import BufferedWriter


class Stream:
    """Takes as much as it is told to, then fails as it is told to."""

    def __init__(self, room: int = 10**6, error: Exception | None = None) -> None:
        self.room = room
        self.error = error
        self.data = b""
        self.written = threading.Event()

    def write(self, data: bytes | memoryview, /) -> int | None:
        """Take what there is room for."""
        if not self.room:
            if self.error is None:
                return None
            raise self.error
        taken = bytes(data[: self.room])
        self.room -= len(taken)
        self.data += taken
        self.written.set()
        return len(taken)

    def flush(self) -> None:
        """Nothing is kept."""


def writer_to(stream: Stream | io.BytesIO, lines: int = 100, seconds: float = 1000.0) -> BufferedWriter:
    """Return a writer that writes at a number of lines, and by time only where told."""
    return BufferedWriter(stream, buffer_lines=lines, buffer_seconds=seconds)


@pytest.fixture
def stream() -> Stream:
    """Return a stream with room for everything."""
    return Stream()


def test_lines_are_written_together(stream: Stream) -> None:
    """At the number of lines, in order."""
    writer = writer_to(stream, lines=3)
    writer.write(b"1\n")
    writer.write(b"2\n")
    assert stream.data == b""
    writer.write(b"3\n")
    assert stream.written.wait(PATIENCE_SECONDS)
    assert stream.data == b"1\n2\n3\n"
    writer.close()


@pytest.mark.parametrize(("lines", "urgent"), [(0, False), (100, True)], ids=["no buffer", "urgent"])
def test_line_is_written_without_waiting_for_others(stream: Stream, lines: int, *, urgent: bool) -> None:
    """buffer_lines 0, or a warning: with what came before it."""
    writer = writer_to(stream, lines=lines)
    writer.write(b"1\n", urgent=urgent)
    assert stream.written.wait(PATIENCE_SECONDS)
    assert stream.data == b"1\n"
    writer.close()


def test_lines_are_written_after_a_while(stream: Stream) -> None:
    """Also the first of the next batch."""
    writer = writer_to(stream, seconds=0.001)
    for line in (b"1\n", b"2\n"):
        stream.written.clear()
        writer.write(line)
        assert stream.written.wait(PATIENCE_SECONDS)
    assert stream.data == b"1\n2\n"
    writer.close()


def test_close_writes_what_is_kept_and_later_lines_at_once(stream: Stream) -> None:
    """The shut-down's own last words are not lost; closing twice does no harm."""
    writer = writer_to(stream)
    writer.write(b"1\n")
    writer.close()
    writer.write(b"2\n")
    writer.close()
    assert stream.data == b"1\n2\n"


@pytest.mark.parametrize("error", [None, BrokenPipeError(), OSError(28, "full"), ValueError("closed")])
def test_stream_that_fails_costs_lines_and_nothing_else(error: Exception | None) -> None:
    """A pipe whose reader has gone or does not read, a full disk, a closed file."""
    writer = writer_to(Stream(0, error), lines=2)
    for _ in range(4):
        writer.write(b"line\n")
    writer.close()
    assert writer.lost_lines == 4


def test_line_that_was_cut_off_does_not_take_the_next_one_with_it() -> None:
    """The next line begins on a line of its own, and only what did not arrive whole counts as lost."""
    stream = Stream(room=8, error=OSError())
    writer = writer_to(stream, lines=2)
    writer.write(b"one\n")
    writer.write(b"two, cut off\n")
    writer.flush()
    assert writer.lost_lines == 1
    stream.room = 100
    writer.write(b"three\n")
    writer.close()
    assert stream.data == b"one\ntwo,\nthree\n"
    assert writer.lost_lines == 1


def test_stream_that_takes_little_gets_the_rest_again() -> None:
    """Raw files may take less than they are given."""

    class Sipping(io.BytesIO):
        """Takes little at a time."""

        def write(self, data: object, /) -> int:
            """Take three bytes."""
            return super().write(bytes(data)[:3])  # type: ignore[call-overload]

    stream = Sipping()
    writer = writer_to(stream)
    writer.write(b"a long line\n")
    writer.close()
    assert stream.getvalue() == b"a long line\n"


def test_line_written_while_writing_is_kept() -> None:
    """A finaliser that fails inside the writer is logged through the same writer."""

    class Reentrant(Stream):
        """Is written to while it is flushed."""

        def flush(self) -> None:
            """Log while it is flushed."""
            if self.data == b"1\n":
                writer.write(b"2\n", urgent=True)

    stream = Reentrant()
    writer = writer_to(stream, lines=0)
    writer.write(b"1\n")
    writer.close()
    assert stream.data == b"1\n2\n"


def test_lines_added_together_wake_the_thread(stream: Stream) -> None:
    """Two threads add, and only then look how many there are: neither sees the first."""
    writer = writer_to(stream, seconds=0.01)
    writer._lines.append(b"one of another thread\n")
    writer.write(b"mine\n")
    assert stream.written.wait(PATIENCE_SECONDS)
    writer.close()


def test_many_threads_lose_nothing(stream: Stream) -> None:
    """Lines are whole and all there, each thread's in its order."""
    writer = writer_to(stream, lines=7, seconds=0.001)

    def write(name: int) -> None:
        for number in range(200):
            writer.write(b"%d %d\n" % (name, number))

    threads = [threading.Thread(target=write, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    writer.close()
    lines = [tuple(map(int, line.split())) for line in stream.data.splitlines()]
    assert sorted(lines) == [(name, number) for name in range(4) for number in range(200)]
    assert [number for name, number in lines if name == 2] == list(range(200))


def test_reader_that_stops_reading_blocks_nobody_and_costs_the_oldest_lines() -> None:
    """A full pipe: lines go on being taken; once it is read again, what was lost is counted and told."""
    reader, descriptor = os.pipe()
    told: list[int] = []
    with open(descriptor, "wb", buffering=0) as pipe:  # noqa: PTH123 - a descriptor
        writer = BufferedWriter(pipe, buffer_lines=1, buffer_seconds=1000, backlog_lines=10, on_loss=told.append)
        long = b"x" * 200_000 + b"\n"  # more than a pipe holds
        writer.write(long)
        while writer._lines:  # until it is in the thread's hand
            assert not writer.flush(0.001)
        for number in range(15):
            writer.write(b"%d\n" % number)
        assert writer.lost_lines == 5
        assert not writer.flush(0.001)
        done = threading.Thread(target=writer.close)
        done.start()
        data = b""
        while not data.endswith(b"14\n"):
            data += os.read(reader, 65536)
        done.join(PATIENCE_SECONDS)
        assert data == long + b"".join(b"%d\n" % number for number in range(5, 15))
        assert told == [5]
    os.close(reader)


def test_close_does_not_wait_for_a_reader_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends within a bound."""
    monkeypatch.setattr(writer_module.BufferedWriter.flush, "__defaults__", (0.01,))
    reader, descriptor = os.pipe()
    with open(descriptor, "wb", buffering=0) as pipe:  # noqa: PTH123 - a descriptor
        writer = writer_to(pipe)  # type: ignore[arg-type]  # a raw file
        writer.write(b"x" * 200_000 + b"\n")
        writer.close()
        writer.write(b"later\n")
        assert writer.lost_lines == 0
        os.close(reader)
        writer.flush(10)
        assert writer.lost_lines == 2


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_forked_child_does_not_write_its_parents_lines(tmp_path: os.PathLike[str]) -> None:
    """They would come twice."""
    path = os.path.join(tmp_path, "log")  # noqa: PTH118 - a descriptor is shared, not a path
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT)
    with open(descriptor, "r+b", buffering=0) as stream:  # noqa: PTH123 - see above
        writer = writer_to(stream)  # type: ignore[arg-type]  # a raw file
        writer.write(b"parent\n")
        child = os.fork()
        if child == 0:
            writer.write(b"child\n")
            writer.close()
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        writer.close()
        stream.seek(0)
        assert sorted(stream.read().splitlines()) == [b"child", b"parent"]
