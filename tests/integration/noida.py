"""noida-db: a server that speaks Elasticsearch's bulk, mapping, template and search APIs, in place of the real one.

It has no data streams, no lifecycle policies and no security, and a search sees nothing before ``_refresh``.
"""

import importlib.util
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from elasticsearch import Elasticsearch, NotFoundError, helpers
from tests.loopback import PLAIN
from tests.waiting import wait_until

from bedside.delivery.processes import free_port

INSTALL = "needs noida-db: scripts/install_test_servers.sh"


def program() -> str | None:
    """Return the server itself: the command of its package is a script that starts it, and outlives it not."""
    found = importlib.util.find_spec("noida_db")
    return None if found is None or found.origin is None else str(Path(found.origin).with_name("noida-db"))


@dataclass
class Noida:
    """A server that can be stopped and started again on the same port, with what it holds."""

    folder: Path
    port: int
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it and wait until it answers."""
        found = program()
        assert found is not None
        command = [found, "start", "--data-dir", str(self.folder), "--only", "elasticsearch"]
        command += ["--elasticsearch-port", str(self.port)]
        with (self.folder / "noida.log").open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        wait_until(lambda: httpx.get(self.url, trust_env=False, verify=PLAIN).status_code == httpx.codes.OK)

    def stop(self) -> None:
        """End it in its orderly way, with no request under way.

        Else it loses what it has confirmed, where Elasticsearch has its translog on the disk before it answers.
        """
        if self.process is not None:
            self.process.terminate()
            self.process.wait()
            self.process = None

    def count(self, index: str) -> int:
        """Return how many documents there are."""
        with Elasticsearch(self.url) as client:
            try:
                client.indices.refresh(index=index)
                return int(client.count(index=index)["count"])
            except NotFoundError:
                return 0

    def documents(self, index: str) -> list[dict[str, Any]]:
        """Return every document, in the order of arrival."""
        with Elasticsearch(self.url) as client:
            try:
                client.indices.refresh(index=index)
            except NotFoundError:
                return []
            return list(helpers.scan(client, index=index, size=5000, preserve_order=True))


@contextmanager
def running(folder: Path) -> Iterator[Noida]:
    """Run one until the block ends; skip where it is not installed."""
    if program() is None:
        pytest.skip(INSTALL)
    folder.mkdir(parents=True, exist_ok=True)
    server = Noida(folder, free_port())
    server.start()
    try:
        yield server
    finally:
        server.stop()
