"""What the client's answers and errors mean for the lines."""

import gzip
import tracemalloc
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
import pytest
from tests.dripping import BODY, HANDSHAKE, HEADER, dripping
from tests.loopback import Handler, http_server

from bedside.log_settings import ElasticSettings
from bedside.observability.shipping.bulk import MOST_BYTES, BulkClient
from bedside.observability.shipping.spool import SpooledLine
from bedside.observability.shipping.verdicts import NotDelivered

BATCH = [SpooledLine(number, f"x-{number}", b'{"n":%d}' % number) for number in range(1, 4)]


class Server:
    """Answers every request with one status and body, and keeps what it was asked."""

    url = ""

    def __init__(self) -> None:
        self.status, self.body = 200, b"{}"
        self.headers: dict[str, str] = {}
        self.requests: list[tuple[str, dict[str, str], bytes]] = []

    def answer(self, *items: tuple[int, str | None]) -> None:
        """Answer a bulk request with a status and error for each line."""
        told = [{"create": {"status": s} | ({"error": {"type": e}} if e else {})} for s, e in items]
        self.status, self.body = 200, orjson.dumps({"items": told})


FIELDS = {
    "X-Elastic-Product": "Elasticsearch",
    "Content-Type": "application/vnd.elasticsearch+json;compatible-with=9",
}


@contextmanager
def serving() -> Iterator[Server]:
    """Run one."""
    server = Server()

    class Elastic(Handler):
        def answer(self) -> None:
            server.requests.append((self.path, self.fields, self.content()))
            self.reply(server.status, server.body, FIELDS | server.headers)

    with http_server(Elastic) as server.url:
        yield server


@pytest.fixture
def server() -> Iterator[Server]:
    """Run one that answers as it is told."""
    with serving() as running:
        yield running


@pytest.fixture
def client(server: Server) -> Iterator[Callable[..., BulkClient]]:
    """Return a function that makes a client of it."""
    made = []

    def make(**changes: object) -> BulkClient:
        made.append(BulkClient(ElasticSettings(urls=(server.url,), **changes), "logs-bedside.inference-test"))
        return made[-1]

    yield make
    for one in made:
        one.close()


def test_lines_are_created_as_they_are(server: Server, client: Callable[..., BulkClient]) -> None:
    """Under their own ids, byte for byte, in the data stream; only what is looked at is asked for."""
    server.answer((201, None), (201, None), (201, None))
    assert client().send(BATCH).settled == 3
    ((path, _, body),) = server.requests
    assert path.startswith("/logs-bedside.inference-test/_bulk?filter_path=")
    assert body == b"".join(b'{"create":{"_id":"x-%d"}}\n{"n":%d}\n' % (n, n) for n in (1, 2, 3))


def test_the_key_is_read_for_each_request(server: Server, client: Callable[..., BulkClient], tmp_path: Path) -> None:
    """A key that was changed is used at once; one that cannot be read is a failure like any other."""
    server.answer((201, None), (201, None), (201, None))
    key = tmp_path / "key"
    key.write_text("first\n")
    sending = client(api_key_file=key)
    sending.send(BATCH)
    key.write_text("second\n")
    sending.send(BATCH)
    assert [headers["authorization"] for _, headers, _ in server.requests] == ["ApiKey first", "ApiKey second"]
    key.unlink()
    with pytest.raises(NotDelivered) as caught:
        sending.send(BATCH)
    assert caught.value.error_type == "FileNotFoundError"


def test_what_was_there_already_is_settled(server: Server, client: Callable[..., BulkClient]) -> None:
    """409: an earlier attempt brought it, and its answer was lost."""
    server.answer((409, "version_conflict_engine_exception"), (201, None), (200, None))
    verdict = client().send(BATCH)
    assert (verdict.settled, verdict.refused, verdict.status) == (3, (), None)


@pytest.mark.parametrize("status", [401, 403, 404, 408, 429, 500, 503])
def test_what_may_be_mended_is_tried_again(server: Server, client: Callable[..., BulkClient], status: int) -> None:
    """From the first such line on: overload, a role that lacks a right, a template that is missing."""
    server.answer((201, None), (status, "x"), (201, None))
    verdict = client().send(BATCH)
    assert (verdict.settled, verdict.refused, verdict.status) == (1, (), status)


@pytest.mark.parametrize("status", [400, 413])
def test_a_line_that_is_wrong_is_refused(server: Server, client: Callable[..., BulkClient], status: int) -> None:
    """With the server's word for it, never its sentence, which quotes values."""
    server.answer((201, None), (status, "document_parsing_exception"), (201, None))
    verdict = client().send(BATCH)
    assert (verdict.settled, verdict.status) == (3, None)
    assert [(one.line.number, one.status, one.error_type) for one in verdict.refused] == [
        (2, status, "document_parsing_exception")
    ]


@pytest.mark.parametrize(
    ("status", "name", "too_much"),
    [
        (400, "BadRequestError", False),
        (401, "AuthenticationException", False),
        (413, "ApiError", True),
        (429, "ApiError", False),
        (503, "ApiError", False),
    ],
)
def test_a_request_that_fails_is_told_by_class_and_status(
    server: Server, client: Callable[..., BulkClient], status: int, name: str, *, too_much: bool
) -> None:
    """Never by text: the server's may quote the request."""
    server.status, server.body = status, b'{"error":{"type":"x","reason":"DOE^JOHN"}}'
    with pytest.raises(NotDelivered) as caught:
        client().send(BATCH)
    assert (caught.value.error_type, caught.value.status, caught.value.too_much) == (name, status, too_much)
    assert "DOE" not in repr(caught.value)


NO_ANSWERS = (b"{}", b"not json", b'{"items":[{}]}', b'{"items":[{"create":{"status":201}}]}', b"[]")


@pytest.mark.parametrize("body", NO_ANSWERS)
def test_an_answer_that_is_none_settles_nothing(server: Server, client: Callable[..., BulkClient], body: bytes) -> None:
    """A proxy's page with status 200 must not cost lines."""
    server.status, server.body = 200, body
    with pytest.raises(NotDelivered):
        client().send(BATCH)


@pytest.mark.parametrize(("scheme", "first"), [("http", HEADER), ("http", BODY), ("https", HANDSHAKE)])
def test_a_server_that_drips_takes_no_longer_than_its_time(scheme: str, first: bytes) -> None:
    """Whatever drips: TLS, header fields, the answer. The lines go on waiting."""
    with dripping(first) as address:
        client = BulkClient(ElasticSettings(urls=(f"{scheme}://{address}",), timeout_seconds=0.3), "logs")
        for _ in range(2):
            with pytest.raises(NotDelivered):
                client.send(BATCH)
        client.close()


@pytest.mark.parametrize("packed", [False, True])
def test_an_answer_without_end_is_not_kept(server: Server, client: Callable[..., BulkClient], *, packed: bool) -> None:
    """Nor unpacked: it settles nothing, and the next one is read as ever."""
    endless = b'{"items":[' + b" " * 2 * MOST_BYTES
    server.headers = {"Content-Encoding": "gzip"} if packed else {}
    server.body = gzip.compress(endless) if packed else endless
    sender = client()
    tracemalloc.start()
    with pytest.raises(NotDelivered):
        sender.send(BATCH)
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most < 3 * MOST_BYTES
    server.headers = {}
    server.answer((201, None), (201, None), (201, None))
    assert sender.send(BATCH).settled == 3
