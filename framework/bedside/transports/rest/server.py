"""Runs the application: uvicorn with uvloop and httptools, TLS, and an orderly end.

On SIGTERM or SIGINT: (1) readiness fails; (2) for ``readiness_delay_seconds`` everything is still served; (3) the
socket is closed and new requests on open connections get 503; (4) accepted work has ``drain_seconds`` to finish, the
shut-down hook included; (5) the process ends with status 0. A second signal ends it at once.
"""

import asyncio
import os
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import uvicorn
import uvloop

from bedside.dataplane.lifecycle import Lifecycle
from bedside.errors import ConfigurationError
from bedside.settings import Settings
from bedside.transports.rest.connection import RESERVED_CONNECTIONS, Connection
from bedside.transports.rest.reply import ASGIApp

SIGNALS = (signal.SIGTERM, signal.SIGINT)

OnListening = Callable[[str], None]


def serve(
    app: ASGIApp, settings: Settings, lifecycle: Lifecycle, *, on_listening: OnListening = lambda _url: None
) -> None:
    """Serve until a signal comes.

    Args:
        app: from ``create_app``.
        settings: of the whole server.
        lifecycle: the one that ``app`` was made with.
        on_listening: told the URL once the socket listens, with the port that was taken for port 0.

    Raises:
        ConfigurationError: the address cannot be had, or certificate and key cannot be used.
        Exception: whatever the start-up hook raised.
    """
    config = _config(app, settings)
    listener = _bind(settings)
    server = Server(config, settings, lifecycle, on_listening)
    with listener, asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(server.serve(sockets=[listener]))
    if lifecycle.failure is not None:
        raise lifecycle.failure


class Loop(uvloop.Loop):
    """uvloop's, with a bound on agreeing on TLS: uvicorn passes none on, and uvloop's is a minute.

    Until then a connection is none of those that are counted, and who says nothing takes the server's open files.
    """

    async def create_server(self, *args: Any, **options: Any) -> asyncio.Server:
        """Listen; see ``asyncio.loop.create_server``."""
        if options.get("ssl") is not None:
            options["ssl_handshake_timeout"] = Connection.head_seconds
        return await super().create_server(*args, **options)  # type: ignore[return-value]  # the stubs of asyncio's


class Server(uvicorn.Server):
    """uvicorn's server with our own way of ending."""

    def __init__(
        self, config: uvicorn.Config, settings: Settings, lifecycle: Lifecycle, on_listening: OnListening
    ) -> None:
        super().__init__(config)
        self._settings = settings
        self._lifecycle = lifecycle
        self._on_listening = on_listening
        self._ending = False

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take the signals over; uvicorn would raise them again at the end, and the status would not be 0."""
        loop = asyncio.get_running_loop()
        before = {number: signal.getsignal(number) for number in SIGNALS}
        for number in SIGNALS:
            loop.add_signal_handler(number, self.end, number)
        try:
            yield
        finally:
            for number, handler in before.items():
                loop.remove_signal_handler(number)
                signal.signal(number, handler)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Listen, then say so."""
        await super().startup(sockets)
        scheme = "https" if self.config.is_ssl else "http"
        for listener in sockets or ():
            host, port = listener.getsockname()[:2]
            self._on_listening(f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}")

    async def on_tick(self, counter: int) -> bool:
        """End when the start-up hook failed."""
        return await super().on_tick(counter) or self._lifecycle.failure is not None

    def end(self, number: int) -> None:
        """Begin the orderly end; the second time, end at once."""
        if self._ending:
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            return
        self._ending = True
        self._lifecycle.drain()
        delay = self._settings.server.readiness_delay_seconds
        asyncio.get_running_loop().call_later(delay, self._close)

    def _close(self) -> None:
        self._lifecycle.close(self._settings.server.drain_seconds)
        self.should_exit = True


def _config(app: ASGIApp, settings: Settings) -> uvicorn.Config:
    server, limits = settings.server, settings.limits
    config = uvicorn.Config(
        app,
        loop="uvloop",
        http=partial(Connection, reader_seconds=limits.reader_seconds),  # type: ignore[arg-type]  # called, no more
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=server.keep_alive_seconds,
        limit_concurrency=limits.connections + RESERVED_CONNECTIONS,
        timeout_graceful_shutdown=server.drain_seconds,  # type: ignore[arg-type]  # asyncio takes fractions
        ssl_certfile=server.tls_certificate,
        ssl_keyfile=server.tls_key,
    )
    try:
        config.load()
    except (OSError, ssl.SSLError) as error:
        raise ConfigurationError(
            f"certificate and key cannot be used: {type(error).__name__}", field="server.tls_certificate"
        ) from error
    if config.ssl is not None:
        # RFC 9325 §3.1.1: nothing older than TLS 1.2. Said here, whatever OpenSSL's own default is.
        config.ssl.minimum_version = ssl.TLSVersion.TLSv1_2
    return config


def _bind(settings: Settings) -> socket.socket:
    host, port = settings.server.host, settings.server.port
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        why = f"cannot listen on {host}:{port}: {error.strerror}; --port takes another, 0 a free one"
        raise ConfigurationError(why, field="server.port") from error
    return listener
