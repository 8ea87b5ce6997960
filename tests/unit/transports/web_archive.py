"""An archive's DICOMweb service on loopback that answers as it is told."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from tests.loopback import Handler, http_server


@dataclass(frozen=True)
class Answer:
    """What the archive says to one GET; ``cut`` bytes of the body do not come, or only once ``rest`` is set."""

    status: int = 200
    media_type: str = "application/dicom+json"
    body: bytes = b""
    cut: int = 0
    rest: threading.Event | None = None
    fields: tuple[tuple[str, str], ...] = ()


@dataclass
class WebArchive:
    """Keeps what it was asked; ``answer`` gives the answer to a path with its query."""

    answer: Callable[[str], Answer]
    url: str = ""
    asked: list[tuple[str, dict[str, str]]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        """Return the paths that it was asked for, without queries."""
        return [path.partition("?")[0] for path, _ in self.asked]


@contextmanager
def web_archive(answer: Callable[[str], Answer]) -> Iterator[WebArchive]:
    """Run an archive on a free port."""
    kept = WebArchive(answer)

    class Dicomweb(Handler):
        def answer(self) -> None:
            kept.asked.append((self.path, self.fields))
            said = kept.answer(self.path)
            self.send_response(said.status)
            self.send_header("Content-Type", said.media_type)
            self.send_header("Content-Length", str(len(said.body)))
            for name, value in said.fields:
                self.send_header(name, value)
            with suppress(ConnectionError):  # who asked may have gone meanwhile
                self.end_headers()
                first = len(said.body) - said.cut
                self.wfile.write(said.body[:first])
                self.wfile.flush()
                if said.rest is not None and said.rest.wait(60):
                    self.wfile.write(said.body[first:])

    with http_server(Dicomweb) as url:
        kept.url = f"{url}/dicom-web/"
        yield kept
