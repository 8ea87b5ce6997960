"""``bedside health``: what a container's health check learns."""

import subprocess
import sys
from collections.abc import Iterator

import pytest
from tests.loopback import Handler, http_server

from bedside import __main__, health


class _Answers(Handler):
    def answer(self) -> None:
        """Answer with the status that the path asks for."""
        self.reply(int(self.path.strip("/")))


@pytest.fixture
def url() -> Iterator[str]:
    """Return the address of a server that answers /NNN with the status NNN."""
    with http_server(_Answers) as address:
        yield address


def test_a_server_that_answers_200_is_healthy(url: str) -> None:
    """The exit status is what the engine looks at."""
    assert health.main(["--url", f"{url}/200"]) == 0


def test_a_server_that_is_not_ready_is_not_healthy(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """The status is named, for the engine keeps the line."""
    assert health.main(["--url", f"{url}/503"]) == 1
    assert capsys.readouterr().err == "answered 503\n"


def test_a_server_that_is_not_there_is_not_healthy(url: str, capsys: pytest.CaptureFixture[str]) -> None:
    """What went wrong is a word, not a stack trace."""
    assert health.main(["--url", "http://127.0.0.1:1/readyz", "--timeout", "1"]) == 1
    assert capsys.readouterr().err == "no answer: ConnectionRefusedError\n"


@pytest.mark.parametrize("address", ["ftp://127.0.0.1/", "127.0.0.1:8000", "http://"])
def test_only_http_is_asked(address: str) -> None:
    """Anything else is a mistake in the container's definition."""
    assert "http" in health.check(address, 1.0)


def test_a_server_without_tls_does_not_answer_https(url: str) -> None:
    """A wrong scheme is an error of the connection."""
    assert health.check(url.replace("http:", "https:") + "/200", 1.0).startswith("no answer: ")


def test_certificates_are_verified_elsewhere_than_on_loopback() -> None:
    """Only this machine's own certificate, made out to another name, is taken as it is."""
    here = health._connection("https", "127.0.0.1", 443, 1.0)
    there = health._connection("https", "bedside.hospital.example", 443, 1.0)
    assert vars(here)["_context"].check_hostname is False
    assert vars(there)["_context"].check_hostname is True


def test_the_check_imports_next_to_nothing() -> None:
    """It runs every few seconds in every replica: none of the heavy libraries may come with it."""
    code = (
        "import sys, bedside.__main__ as m; sys.argv = ['bedside', 'health', '--url', 'http://127.0.0.1:1/'];\n"
        "try: m.main()\n"
        "except SystemExit: pass\n"
        "print([n for n in sys.modules if n.split('.')[0] in {'torch', 'monai', 'typer', 'pydantic', 'numpy'}])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_the_command_is_answered_before_the_command_line(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """``bedside health`` ends with the check's status."""
    monkeypatch.setattr(sys, "argv", ["bedside", "health", "--url", f"{url}/200"])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 0


def test_everything_else_goes_to_the_command_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other commands are as they were."""
    monkeypatch.setattr(sys, "argv", ["bedside", "--version"])
    with pytest.raises(SystemExit) as ended:
        __main__.main()
    assert ended.value.code == 0
