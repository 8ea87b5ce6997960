"""nginx in front of the processes of one machine: TLS, weights, copies for the gate, a second try elsewhere."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bedside.delivery.gate import Live
from bedside.delivery.processes import runs, started
from bedside.environment import of_a_server
from bedside.errors import BedsideError, ConfigurationError

_CONFIGURATION = """\
# Written by `bedside ship`; do not edit.
%(user)spid nginx.pid;
error_log error.log;
worker_processes 1;
events { worker_connections 1024; }
http {
  # Neither query nor header: both may hold what does not belong in a log.
  log_format call escape=json '{"upstream":"$upstream_addr","status":"$upstream_status",'
    '"seconds":"$upstream_response_time","answered":$status}';
  access_log off;
  client_body_temp_path temporary/body;
  proxy_temp_path temporary/proxy;
  fastcgi_temp_path temporary/fastcgi;
  uwsgi_temp_path temporary/uwsgi;
  scgi_temp_path temporary/scgi;
  # Whoever has no token either may fill the temporary folder, with so much a connection.
  client_max_body_size %(body_bytes)d;
  server_tokens off;
  upstream bedside {
%(upstreams)s
    keepalive 16;
  }
  server {
    listen %(listen)s ssl;
    ssl_certificate %(certificate)s;
    ssl_certificate_key %(key)s;
    ssl_protocols TLSv1.2 TLSv1.3;
    proxy_http_version 1.1;
    proxy_set_header Connection "";
    proxy_set_header Host $http_host;
    proxy_set_header X-Forwarded-Proto https;
    proxy_read_timeout 600s;
    location / { proxy_pass http://bedside; proxy_buffering off; }
    location ~ ^/v[12]/models/[^/]+(/versions/[^/]+)?/(predict|infer)$ {
      access_log access.log call;
      proxy_pass http://bedside;
      # A prediction changes nothing, so it may be asked for twice.
      proxy_next_upstream error timeout http_500 http_502 http_503 http_504 non_idempotent;
      proxy_next_upstream_tries 2;
      mirror /mirror;
    }
    location = /mirror {
      internal;
      log_not_found off;
      error_log /dev/null;
      proxy_pass http://127.0.0.1:%(mirror)d$request_uri;
      proxy_connect_timeout 1s;
      proxy_read_timeout 1s;
    }
  }
}
"""

_CLIENT_GONE = 499
_LAST_CALLS_SECONDS = 30.0
PRIVATE = 0o077
"""Mask of what is made in a site's folder: nobody else needs to read it."""


class GatewayFailed(BedsideError):
    """Read `gateway/error.log` of the site."""


def nginx() -> str:
    """Return the program. Raises ConfigurationError where it is not installed."""
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    if program is None:
        raise ConfigurationError("nginx is needed: apt-get install nginx-light", field="site")
    return program


@dataclass(frozen=True, slots=True)
class Gateway:
    """One nginx, in a folder of its own.

    Attributes:
        folder: configuration, logs and process number; ``certificate.pem`` and ``key.pem`` lie above it.
        listen: ``HOST:PORT`` of HTTPS.
        mirror: port on this machine that gets a copy of each call for a prediction, while something listens there.
    """

    folder: Path
    listen: str
    mirror: int

    def route(self, weights: Mapping[int, int], body_bytes: int) -> None:
        """Send calls to ports of this machine by weight, and return once no call takes the old way any more.

        Args:
            weights: by port; one with 0 gets nothing.
            body_bytes: largest body that is taken; more is answered with 413.

        Raises:
            ConfigurationError: nginx is not installed.
            GatewayFailed: it refuses its configuration.
        """
        for folder in (self.folder, self.folder / "temporary"):
            folder.mkdir(mode=0o700, exist_ok=True)
            folder.chmod(0o700)
        (self.folder / "nginx.conf").write_text(self.configuration(weights, body_bytes), encoding="utf-8")
        before = self._workers()
        self._nginx(*(["-s", "reload"] if before else []))
        _wait_for_the_end_of(before)

    def configuration(self, weights: Mapping[int, int], body_bytes: int) -> str:
        """Return nginx' configuration."""
        # One failure takes nobody out: which of them gets calls is for the gate to say.
        lines = [f"    server 127.0.0.1:{port} weight={w} max_fails=0;" for port, w in weights.items() if w]
        # Root's nginx would run as nobody, who may not write bodies below a folder of root's.
        values: dict[str, object] = {
            "user": "user root root;\n" if os.geteuid() == 0 else "",
            "upstreams": "\n".join(lines),
            "listen": self.listen,
            "certificate": self.folder.parent.absolute() / "certificate.pem",
            "key": self.folder.parent.absolute() / "key.pem",
            "mirror": self.mirror,
            "body_bytes": body_bytes,
        }
        return _CONFIGURATION % values

    def stop(self) -> None:
        """End it; calls that it has are answered."""
        before = self._workers()
        if before:
            self._nginx("-s", "quit")
            _wait_for_the_end_of(before)

    def calls(self, candidate: int, offset: int) -> tuple[list[Live], int]:
        """Return calls that have ended, from a place in the log on, and the place to go on from.

        A call that was tried twice counts for both: a failure of the candidate that nobody noticed is one all the same.
        """
        size = self.logged_bytes()
        if not size:
            return [], 0
        with self._log.open("rb") as stream:
            stream.seek(offset if offset <= size else 0)  # a shorter one is a new one
            lines = stream.read().splitlines(keepends=True)
        whole = [line for line in lines if line.endswith(b"\n")]  # the last may be in the writing
        found = [live for line in whole for live in _attempts(json.loads(line), candidate)]
        return found, (offset if offset <= size else 0) + sum(map(len, whole))

    def logged_bytes(self) -> int:
        """Return the place in the log from which on calls are new."""
        return self._log.stat().st_size if self._log.exists() else 0

    def rotate(self) -> None:
        """Begin a new log of calls with the next ``route``, and keep the one before as ``access.log.1``."""
        with suppress(FileNotFoundError):
            self._log.replace(self.folder / "access.log.1")

    @property
    def _log(self) -> Path:
        return self.folder / "access.log"

    def _nginx(self, *arguments: str) -> None:
        folder = self.folder.absolute()
        command = [nginx(), "-p", f"{folder}/", "-c", "nginx.conf", "-e", "error.log", *arguments]
        done = subprocess.run(  # noqa: S603 - arguments are ours
            command, capture_output=True, text=True, check=False, env=of_a_server(), umask=PRIVATE
        )
        if done.returncode:
            raise GatewayFailed(done.stderr.strip().splitlines()[-1] if done.stderr else "")

    def _workers(self) -> dict[int, int]:
        """Return the processes that take calls, with their starts; none where nginx does not run."""
        try:
            master = int((self.folder / "nginx.pid").read_text())
            children = Path(f"/proc/{master}/task/{master}/children").read_text(encoding="ascii")
        except (OSError, ValueError):
            return {}
        return {int(child): started(int(child)) for child in children.split()}


def _attempts(line: Mapping[str, Any], candidate: int) -> list[Live]:
    """Return the servers that one call was given to, as nginx lists them: ``a, b`` where it was tried twice.

    A refusal tells nothing: by quick 401s, whoever has no token could else have a candidate pass, or seem slow.
    """
    if line["answered"] == _CLIENT_GONE:
        return []
    parts: Sequence[Sequence[str]] = [line[name].split(", ") for name in ("upstream", "status", "seconds")]
    return [
        Live(upstream == f"127.0.0.1:{candidate}", status.isdecimal() and int(status) < 500, float(seconds))
        for upstream, status, seconds in zip(*parts, strict=True)
        if seconds not in {"", "-"} and not status.startswith("4")
    ]


def _wait_for_the_end_of(processes: Mapping[int, int]) -> None:
    """Wait for workers that finish their calls; a very long one is left alone after a while."""
    deadline = time.monotonic() + _LAST_CALLS_SECONDS
    for process, start in processes.items():
        while runs(process, start) and time.monotonic() < deadline:
            time.sleep(0.02)
