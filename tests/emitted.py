"""Every line that a server writes is held against the schema, whichever test started it."""

import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator

from bedside.observability.schema import Stream, json_schema

_servers: list[tuple["subprocess.Popen[Any]", Path, bool]] = []


@cache
def _validator(stream: Stream, *, complete: bool) -> Any:
    return Draft202012Validator(json_schema(stream, complete=complete))


def faults(line: bytes, stream: Stream = "events", *, complete: bool = True) -> list[str]:
    """Return what is wrong with a line of the log or the audit trail; nothing where it keeps the schema."""
    errors = _validator(stream, complete=complete).iter_errors(orjson.loads(line))
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in errors]


def check_lines(text: bytes, *, mixed: bool = False) -> None:
    """Hold each whole line of a log against the schema; ``mixed`` logs hold standard error too."""
    for line in text[: text.rfind(b"\n") + 1].splitlines():
        if line.startswith(b"{") or not mixed:
            assert not faults(line), f"{line.decode()}: {faults(line)}"


@pytest.fixture(scope="session", autouse=True)
def _watch_servers() -> Iterator[None]:
    """Note each server that a test starts with a file for its standard output; check what still runs at the end."""
    with pytest.MonkeyPatch.context() as patch:
        start = subprocess.Popen.__init__

        def noting(process: "subprocess.Popen[Any]", args: Any, *rest: Any, **options: Any) -> None:
            start(process, args, *rest, **options)
            stdout, words = options.get("stdout"), [] if isinstance(args, str | bytes) else list(args)
            if (
                stdout is not None
                and "bedside" in words
                and {"serve", "listen"} & set(words)
                and hasattr(stdout, "fileno")
            ):
                file = Path(f"/proc/self/fd/{stdout.fileno()}").readlink()
                _servers.append((process, file, options.get("stderr") == subprocess.STDOUT))

        patch.setattr(subprocess.Popen, "__init__", noting)
        yield
    _check_ended(everything=True)


@pytest.fixture(autouse=True)
def _hold_lines_against_the_schema() -> Iterator[None]:
    """Fail the test whose server wrote a line that the schema does not know."""
    yield
    _check_ended()


def _check_ended(*, everything: bool = False) -> None:
    for watched in list(_servers):
        process, file, mixed = watched
        if everything or process.poll() is not None:
            _servers.remove(watched)
            if file.is_file():
                check_lines(file.read_bytes(), mixed=mixed)
