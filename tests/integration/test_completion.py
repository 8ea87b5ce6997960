"""Tab in a real bash on a real terminal: the line of docs/cli.md, then commands, options, paths and models."""

import os
import pty
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest
from tests.unit.transports.web_archive import Answer, web_archive

DOCS = Path(__file__).resolve().parents[2] / "docs" / "cli.md"
SECONDS = 120


class Terminal:
    """A bash at a terminal, as somebody sits at it."""

    def __init__(self, folder: Path, **environment: str) -> None:
        commands = folder / "bin"
        commands.mkdir()
        bedside = commands / "bedside"
        bedside.write_text(f"#!{sys.executable}\nfrom bedside.__main__ import main\nmain()\n")
        bedside.chmod(0o755)
        bash = shutil.which("bash") or pytest.skip("needs bash")
        path = f"{commands}:{os.environ['PATH']}"
        plain = {"TERM": "dumb", "PS1": "> ", "INPUTRC": os.devnull, "HISTFILE": os.devnull, "PATH": path}
        self._ours, theirs = pty.openpty()
        self._bash = subprocess.Popen(
            [bash, "--norc", "--noprofile", "-i"],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            cwd=folder,
            env={**os.environ, **plain, **environment},
        )
        os.close(theirs)
        self._shown = ""

    def type(self, keys: str, shown: str) -> str:
        """Press keys, and return what matches the pattern once it is shown."""
        self._shown = ""
        os.write(self._ours, keys.encode())
        deadline = time.monotonic() + SECONDS
        while not (found := re.search(shown, self._shown)):
            if not select.select([self._ours], [], [], max(0.0, deadline - time.monotonic()))[0]:
                pytest.fail(f"{shown!r} was not shown, but {self._shown!r}")
            self._shown += os.read(self._ours, 4096).decode()
        return found[0]

    def close(self) -> None:
        """Go away."""
        self._bash.kill()
        self._bash.wait()
        os.close(self._ours)


@pytest.fixture
def terminal(tmp_path: Path) -> Iterator[Terminal]:
    """Return a terminal where the documented line was pasted, beside a folder of bundles and a server with models."""
    for name in ("heart_disease", "hippocampus_mr"):
        (tmp_path / "bundles" / name).mkdir(parents=True)
    names = ("spleen_ct", "$(reboot)", "x; reboot")
    index = orjson.dumps([{"name": name, "version": "1", "state": "READY"} for name in names])
    with web_archive(lambda _: Answer(body=index)) as server:
        opened = Terminal(tmp_path, BEDSIDE_URL=server.url.removesuffix("/dicom-web/"), BEDSIDE_TOKEN="t")
        try:
            (line,) = re.findall(r"`(eval .*?)`;", DOCS.read_text())
            opened.type(f"{line}; echo pasted=$?\n", r"pasted=0")
            yield opened
        finally:
            opened.close()


def test_tab_completes(terminal: Terminal) -> None:
    """A command, one of its own, a path, an option, a model that the server lists; no name that a shell would run."""
    terminal.type("bedside bun\t", r"bundle ")
    terminal.type("ins\t", r"inspect ")
    terminal.type("bundles/hea\t", r"heart_disease/")
    terminal.type("\x15bedside serve --grpc\t", r"--grpc-port ")
    terminal.type("\x15bedside predict \t", r"spleen_ct ")
