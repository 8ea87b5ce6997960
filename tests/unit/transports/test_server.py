"""The server on the wire: raw sockets against a real uvicorn in a process of its own."""

import signal
import socket
import ssl
from collections.abc import Iterator
from pathlib import Path

import pytest
from demo.certificate import make_certificate
from tests.unit.transports.fakes import RECORD_BODY, make_world
from tests.unit.transports.server_process import Line, Running, request, running
from tests.waiting import PATIENCE_SECONDS

from bedside.dataplane.lifecycle import Lifecycle
from bedside.errors import ConfigurationError
from bedside.settings import Settings
from bedside.transports.rest.connection import MOST_PIPELINED
from bedside.transports.rest.server import serve

PREDICT = "/v1/models/heart/predict"
HELD = "/v1/models/held/predict"
BODIES = {"body_bytes": 200_000, "json_bytes": 100_000}


@pytest.fixture(scope="module")
def server() -> Iterator[Running]:
    """One server for everything that does not end it."""
    with running({"limits": BODIES}) as started:
        yield started.ready()


@pytest.fixture(scope="module")
def hasty() -> Iterator[Running]:
    """One that does not wait long for its callers: only those who stall may meet it."""
    with running({"limits": BODIES | {"body_seconds": 0.5}}, head_seconds=1.5) as started:
        yield started


def test_keep_alive(server: Running) -> None:
    """Many requests over one connection."""
    with server.connect() as line:
        for _ in range(3):
            answer = line.ask("POST", PREDICT, RECORD_BODY)
            assert (answer.status, answer.json()["prediction"]) == (200, "present")
        assert "server" not in answer.headers
        assert "date" in answer.headers


def test_a_chunked_body(server: Running) -> None:
    """Transfer-Encoding: chunked (RFC 9112 §7.1)."""
    head = request("POST", PREDICT, transfer_encoding="chunked").replace(b"content-length: 0\r\n", b"")
    with server.connect() as line:
        line.send(head + b"5\r\n" + RECORD_BODY[:5] + b"\r\n")
        line.send(b"%x\r\n" % (len(RECORD_BODY) - 5) + RECORD_BODY[5:] + b"\r\n0\r\n\r\n")
        assert line.answer().status == 200


def test_a_chunked_body_that_never_ends(server: Running) -> None:
    """Counted while it is read; the answer arrives although the caller goes on sending."""
    head = request("POST", PREDICT, transfer_encoding="chunked").replace(b"content-length: 0\r\n", b"")
    with server.connect() as line:
        line.send(head)
        chunk = b"2710\r\n" + b"x" * 10_000 + b"\r\n"
        for _ in range(20):
            line.send(chunk)
        answer = line.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")


def test_a_body_that_is_too_large_is_refused_unread(server: Running) -> None:
    """413 before a byte of it has been sent."""
    with server.connect() as line:
        line.send(request("POST", PREDICT, content_length="300000000"))
        assert line.answer().status == 413


def test_a_caller_who_sends_first_and_reads_later_sees_the_answer(server: Running) -> None:
    """The connection is not reset while the body is still under way (RFC 9112 §9.6)."""
    body = b"x" * 5_000_000
    with server.connect() as line:
        line.send(request("POST", PREDICT, body))
        answer = line.answer()
        assert (answer.status, answer.headers["connection"]) == (413, "close")
        assert line.closed()


@pytest.mark.parametrize("authorization", ["Bearer wrong", "Bearer user"])
def test_the_connection_goes_on_after_an_error(server: Running, authorization: str) -> None:
    """A small body of a refused request is not taken for the next request; pipelined requests are answered in order."""
    bad = request("POST", PREDICT, b"GET /livez HTTP/1.1\r\n\r\n", authorization=authorization)
    with server.connect() as line:
        line.send(bad + request("POST", PREDICT, RECORD_BODY) + bad)
        statuses = [line.answer().status for _ in range(3)]
    assert statuses == [401 if authorization.endswith("wrong") else 400, 200, statuses[0]]


def test_expect_continue(server: Running) -> None:
    """100 (Continue) comes once the caller has been let in."""
    with server.connect() as line:
        line.send(request("POST", PREDICT, expect="100-continue", content_length=str(len(RECORD_BODY))))
        assert line.answer().status == 100
        line.send(RECORD_BODY)
        assert line.answer().status == 200


def test_expect_continue_refused(server: Running) -> None:
    """Without a token there is no 100 (Continue), and the connection ends: the body may never come."""
    with server.connect() as line:
        line.send(request("POST", PREDICT, expect="100-continue", content_length="20", authorization="Bearer wrong"))
        answer = line.answer()
        assert (answer.status, answer.headers["connection"]) == (401, "close")
        assert line.closed()


def test_a_body_that_stalls(hasty: Running) -> None:
    """408 after limits.body_seconds."""
    with hasty.connect() as line:
        line.send(request("POST", PREDICT, content_length="100000") + b"{")
        assert line.answer().status == 408


def test_a_header_section_that_stalls(hasty: Running) -> None:
    """Slow-loris: 408 and the end of the connection."""
    with hasty.connect() as line:
        line.send(b"GET /livez HTTP/1.1\r\nhost: a\r\n")
        assert line.answer().status == 408
        assert line.closed()


def test_a_connection_that_never_speaks(hasty: Running) -> None:
    """It is closed."""
    with hasty.connect() as line:
        assert line.answer().status == 408


def test_a_header_section_that_stalls_on_a_used_connection(hasty: Running) -> None:
    """The clock runs for every request."""
    with hasty.connect() as line:
        assert line.ask("GET", "/livez").status == 200
        line.send(b"GET /livez HTTP/1.1\r\n")
        assert line.answer().status == 408


@pytest.mark.parametrize("endless", [b"x: " + b"y" * 1000 + b"\r\n", b"y" * 1000])
def test_a_header_section_without_end(server: Running, endless: bytes) -> None:
    """431, whether one field is endless or there are endless fields."""
    with server.connect() as line:
        line.send(b"GET /livez HTTP/1.1\r\nhost: a\r\nz: ")
        for _ in range(66):  # the last one crosses the limit
            line.send(endless)
        assert line.answer().status == 431


H2C = {"connection": "Upgrade, HTTP2-Settings", "upgrade": "h2c", "http2_settings": "AAEAAEAAAAIAAAAB"}


@pytest.mark.parametrize("wish", [H2C, {"connection": "upgrade", "upgrade": "websocket"}], ids=["h2c", "websocket"])
def test_a_wish_for_another_protocol_is_left_aside(server: Running, wish: dict[str, str]) -> None:
    """The body is read, however it comes, and the connection goes on (RFC 9110 §7.8): Java asks so by itself."""
    asking = request("POST", PREDICT, RECORD_BODY, **wish)
    with server.connect() as line:
        line.send(asking + request("POST", PREDICT, RECORD_BODY) + asking[:-5])
        assert [line.answer().status for _ in range(2)] == [200, 200]
        line.send(asking[-5:])
        assert line.answer().status == 200
        assert line.ask("GET", "/livez", b"", **wish).status == 200


def test_a_wish_for_another_protocol_and_for_the_end(server: Running) -> None:
    """The end is granted."""
    with server.connect() as line:
        assert line.ask("POST", PREDICT, RECORD_BODY, connection="upgrade, close", upgrade="h2c").status == 200
        assert line.closed()


@pytest.mark.parametrize("wish", [{}, {"connection": "upgrade", "upgrade": "h2c"}], ids=["plain", "upgrade"])
def test_requests_that_wait_on_one_connection_are_bounded(server: Running, wish: dict[str, str]) -> None:
    """Ten thousand fit into one read: they would take memory from everybody, and the stack, before anybody is known."""
    ask = request("GET", "/livez", b"", **wish)
    with server.connect() as line:
        line.send(ask * MOST_PIPELINED)
        assert {line.answer().status for _ in range(MOST_PIPELINED)} == {200}
        line.send(ask * 1000)
        answers = (line.answer() for _ in range(1000))
        with pytest.raises(ConnectionError):
            list(answers)


def test_what_cannot_be_read_is_not_answered_for_another(server: Running) -> None:
    """A 400 that cut in would be taken for the answer of the request that runs, or for a part of it."""
    with server.connect() as line:
        line.send(request("POST", HELD, RECORD_BODY))
        server.told("running")
        line.send(b"\x16\x03\x01 hello\r\n\r\n")
        assert line.closed()
        server.let_go()


def test_a_body_that_cannot_be_read_is_answered(server: Running) -> None:
    """400: what is wrong is a part of the request that waits for its answer."""
    head = request("POST", PREDICT, transfer_encoding="chunked").replace(b"content-length: 0\r\n", b"")
    with server.connect() as line:
        line.send(head + b"zz\r\n")
        assert line.answer().status == 400
        assert line.closed()


def test_connect(server: Running) -> None:
    """This is no proxy."""
    with server.connect() as line:
        line.send(b"CONNECT 169.254.169.254:80 HTTP/1.1\r\nhost: x\r\n\r\n")
        assert line.answer().status == 400
        assert line.closed()


def test_not_http(server: Running) -> None:
    """400 and the end of the connection."""
    with server.connect() as line:
        line.send(b"\x16\x03\x01 hello\r\n\r\n")
        assert line.answer().status == 400
        assert line.closed()


def test_liveness_while_a_model_computes(server: Running) -> None:
    """The event loop turns."""
    with server.connect() as busy, server.connect() as probe:
        busy.send(request("POST", HELD, RECORD_BODY))
        server.told("running")
        assert probe.ask("GET", "/livez").status == 200
        server.let_go()
        assert busy.answer().status == 200


def test_head_has_no_body(server: Running) -> None:
    """HEAD is answered like GET, without the body, and the connection goes on."""
    with server.connect() as line:
        line.send(request("HEAD", "/livez") + request("GET", "/livez"))
        head = line._until(b"\r\n\r\n")
        assert b"200 OK" in head
        assert line.answer().json() == {"live": True}


def test_a_caller_who_leaves(server: Running) -> None:
    """The model's work is stopped, and the server goes on."""
    with server.connect() as line:
        line.send(request("POST", HELD, RECORD_BODY))
        server.told("running")
    server.told("stopped")
    with server.connect() as line:
        assert line.ask("POST", PREDICT, RECORD_BODY).status == 200


def test_alive_and_not_ready_while_models_load() -> None:
    """The socket listens before the models are loaded."""
    with running(loading=True) as server, server.connect() as line:
        assert line.ask("GET", "/livez").status == 200
        assert line.ask("GET", "/readyz").status == 503
        server.let_go()
        server.ready()


def test_a_start_up_that_fails_ends_the_server() -> None:
    """What it raised comes out of serve."""
    with running(broken=True) as server:
        assert server.told("failed") == "RuntimeError: start-up failed"


def test_sigterm_finishes_accepted_work() -> None:
    """Readiness fails first, accepted work is answered, idle connections close, status 0."""
    with running({"server": {"readiness_delay_seconds": 2.0}}) as server, server.connect() as busy:
        server.ready()
        with server.connect() as probe, server.connect() as idle:
            assert idle.ask("GET", "/livez").status == 200
            busy.send(request("POST", HELD, RECORD_BODY))
            server.told("running")
            server.signal(signal.SIGTERM)
            readiness = probe.ask("GET", "/readyz")
            while readiness.status == 200:  # the signal is on its way
                readiness = probe.ask("GET", "/readyz")
            assert (readiness.status, readiness.json()["draining"]) == (503, True)
            assert readiness.headers["connection"] == "close"
            # still served during the delay: balancers go on sending
            answer = idle.ask("POST", PREDICT, RECORD_BODY)
            assert (answer.status, answer.headers["connection"]) == (200, "close")
        server.let_go()
        answer = busy.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert server.told("accounted") == ["NoneType", "NoneType"]
        assert server.exit_status() == 0
        server.refuses()


def test_requests_behind_accepted_work_are_not_begun() -> None:
    """Connection: close says that what was pipelined behind it may be sent elsewhere (RFC 9112 §9.6)."""
    with running() as server, server.connect() as line:
        server.ready()
        line.send(request("POST", HELD, RECORD_BODY) + request("POST", PREDICT, RECORD_BODY))
        server.told("running")
        server.signal(signal.SIGTERM)
        server.refuses()
        server.let_go()
        answer = line.answer()
        assert (answer.status, answer.headers["connection"]) == (200, "close")
        assert line.closed()
        assert server.told("accounted") == ["NoneType"]
        server.told("ended")


def test_work_beyond_the_deadline_is_told() -> None:
    """503 at the drain deadline, not a cut connection."""
    with running({"server": {"drain_seconds": 0.3}}) as server, server.connect() as line:
        server.ready()
        line.send(request("POST", HELD, RECORD_BODY))
        server.told("running")
        server.signal(signal.SIGTERM)
        assert line.answer().status == 503
        assert server.exit_status() == 0


def test_a_second_signal_ends_at_once() -> None:
    """Whoever presses Ctrl-C twice means it."""
    with running() as server, server.connect() as line:
        server.ready()
        line.send(request("POST", HELD, RECORD_BODY))
        server.told("running")
        server.signal(signal.SIGINT)
        server.refuses()  # the first has been heard; two at once would be one
        server.signal(signal.SIGINT)
        assert server.exit_status() == -signal.SIGINT


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A self-signed certificate and its key."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


def test_tls(certificate: tuple[Path, Path]) -> None:
    """HTTPS with certificate and key; nothing older than TLS 1.2."""
    group = {"tls_certificate": str(certificate[0]), "tls_key": str(certificate[1])}
    with running({"server": group}) as server:
        assert server.url.startswith("https://")
        context = ssl.create_default_context(cafile=str(certificate[0]))
        context.check_hostname = False
        raw = socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS)
        with context.wrap_socket(raw) as secured:
            line = Line(secured)
            assert line.ask("GET", "/livez").status == 200
        old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        old.check_hostname, old.verify_mode = False, ssl.CERT_NONE
        with pytest.warns(DeprecationWarning, match="TLSv1_1"):
            old.maximum_version = ssl.TLSVersion.TLSv1_1
        with pytest.raises((ssl.SSLError, OSError)):
            old.wrap_socket(socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS)).close()


def test_a_connection_that_never_agrees_on_tls(certificate: tuple[Path, Path]) -> None:
    """It is closed as one that never speaks, long before uvloop's own minute is over."""
    group = {"tls_certificate": str(certificate[0]), "tls_key": str(certificate[1])}
    with running({"server": group}, head_seconds=1.5) as server, server.connect() as line:
        line.sock.settimeout(30)
        assert line.closed()


def test_a_certificate_that_cannot_be_read(tmp_path: Path) -> None:
    """A configuration error that names the setting, before anything is bound."""
    (tmp_path / "a.pem").write_text("no")
    files = {"tls_certificate": tmp_path / "a.pem", "tls_key": tmp_path / "a.pem"}
    world = make_world(server={"port": 0, **files})
    with pytest.raises(ConfigurationError, match="certificate"):
        serve(world.app, world.settings, world.lifecycle)


def test_an_address_that_is_taken() -> None:
    """A configuration error that names the setting."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        world = make_world(server={"port": taken.getsockname()[1]})
        with pytest.raises(ConfigurationError) as caught:
            serve(world.app, world.settings, world.lifecycle)
        assert caught.value.field == "server.port"


def test_ipv6_and_the_first_signal_in_process() -> None:
    """The URL of an IPv6 address has brackets; serve returns after SIGTERM and leaves the signals as they were."""
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("no IPv6 here")
    urls: list[str] = []
    settings = Settings(server={"port": 0, "host": "::1"})
    lifecycle = Lifecycle()
    world = make_world(server={"port": 0, "host": "::1"}, lifecycle=lifecycle)

    def listening(url: str) -> None:
        urls.append(url)
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    serve(world.app, settings, lifecycle, on_listening=listening)
    assert urls[0].startswith("http://[::1]:")
    assert signal.getsignal(signal.SIGTERM) == before
    assert lifecycle.closing


def test_connections_that_say_nothing_keep_nobody_out() -> None:
    """Opening connections needs no token: beyond the bound, the one that has been silent longest is closed."""
    with running({"limits": {"connections": 8}}) as server:
        server.ready()
        silent = [socket.create_connection(("127.0.0.1", server.port), PATIENCE_SECONDS) for _ in range(60)]
        try:
            for _ in range(3):
                with server.connect() as line:
                    assert line.ask("GET", "/livez").status == 200
                    assert line.ask("POST", PREDICT, RECORD_BODY).status == 200
        finally:
            for connection in silent:
                connection.close()
