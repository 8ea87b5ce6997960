"""``bedside predict``: send files to a served model and keep the answers."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from email.parser import BytesParser
from email.policy import HTTP
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    SpinnerColumn,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.table import Table

from bedside.bundle.media_types import SUFFIXES, suffix_of_media_type
from bedside.bundle.study import DICOM, RELATED
from bedside.cli.follow import follow
from bedside.cli.server import URL, Ca, CallFailed, Token, TooLarge, Url, asked, connected, model_names
from bedside.cli.study import is_study, parts_of, read_file, reference
from bedside.cli.terminal import plain

ACCEPT = "multipart/mixed, application/json;q=0.9"
ACCEPT_DICOM = f'{RELATED}; type="{DICOM}", multipart/mixed;q=0.9, application/json;q=0.8'
Read = Callable[[str], tuple[bytes, str]]
_WHOLE = ("application/json", "application/gzip", "image/png", DICOM)


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: its parts by media type, and the seconds that it took."""

    parts: tuple[tuple[str, bytes], ...]
    seconds: float

    @property
    def summary(self) -> dict[str, Any]:
        """Return the JSON part, or an empty dictionary."""
        return next((_object(body) for media, body in self.parts if media == "application/json"), {})

    def save(self, stem: str, folder: Path) -> list[Path]:
        """Write every part as ``folder/stem.<suffix>``, from the second of a kind on numbered; returns the paths.

        The server's names for them are not used: they could lead anywhere.
        """
        counts: Counter[str] = Counter()
        paths = []
        try:
            folder.mkdir(parents=True, exist_ok=True)
            for media, body in self.parts:
                suffix = suffix_of_media_type(media)
                counts[suffix] += 1
                number = f".{counts[suffix]}" if counts[suffix] > 1 else ""
                path = folder / f"{stem}{number}{suffix}"
                path.write_bytes(body)
                paths.append(path)
        except OSError as error:
            raise CallFailed(f"the answer cannot be saved in {folder}: {error.strerror}") from None
        return paths


Model = Annotated[str, typer.Argument(help="Name of a served model.", show_default=False, autocompletion=model_names)]


def predict(  # noqa: PLR0913, PLR0917 - each is an option of the command
    model: Model,
    files: Annotated[
        list[str],
        typer.Argument(
            help="One case per FILE (.nii.gz, .png, .jpg, .json, .dcm, …), or per folder or .zip of DICOM files; "
            "NAME=FILE,NAME=FILE for several inputs. What lies in one of the server's sources: "
            "dicomweb:SOURCE/STUDY[/SERIES], file:SOURCE/PATH or s3:SOURCE/PATH.",
            metavar="FILE...",
            show_default=False,
        ),
    ],
    url: Url = URL,
    token: Token = None,
    output: Annotated[Path, typer.Option("-o", "--output", help="Folder for the answers.")] = Path(),
    ca: Ca = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for one answer.")] = 300.0,
    accept: Annotated[
        str | None,
        typer.Option(
            help="Media types of the answer; unset: DICOM objects for DICOM, else all there is.", show_default=False
        ),
    ] = None,
    job: Annotated[  # noqa: FBT002
        bool, typer.Option("--job", help="Hand it in as a job, which outlives connection and server, and follow it.")
    ] = False,
) -> None:
    """Send each FILE to a model and save the answers; prints volumes per label, or the prediction."""
    progress = Progress(
        SpinnerColumn(),
        TextColumn("{task.description}", markup=False),
        *([BarColumn(), MofNCompleteColumn()] if job else []),
        TimeElapsedColumn(),
        console=(console := Console(stderr=True)),
        transient=True,
        disable=not console.is_terminal,
    )
    with connected(url, token, ca, timeout) as client, progress:
        for case, stem in zip(files, _stems(files), strict=True):
            task = progress.add_task(plain(f"{model} ← {_label(case)}").plain, total=None)
            tell = partial(_show, progress, task)
            as_job = partial(hand_in, client, model, case, accept, timeout, tell)
            try:
                answer = as_job() if job else send(client, model, case, accept)
            except TooLarge:  # for the server or for a gateway before it: by way of its bucket, as a job
                bucket = partial(connected, token=None, ca=ca, timeout=timeout, elsewhere=True)
                answer = as_job(partial(upload, client, bucket))
            paths = answer.save(f"{stem}.{model}", output)
            progress.update(task, total=1, completed=1)
            console.print(_table(answer, paths), highlight=False)


def send(client: httpx.Client, model: str, case: str, accept: str | None = None) -> Answer:
    """Send one case; raises CallFailed with the server's own explanation."""
    begin = perf_counter()
    response = asked(client, "POST", f"/v1/models/{model}/predict", **_body(case, accept))
    return _answer(response, begin)


def hand_in(
    client: httpx.Client,
    model: str,
    case: str,
    accept: str | None,
    seconds: float,
    tell: Callable[[Any], None],
    read: Read | None = None,
) -> Answer:
    """Send one case, ``read`` by other means than as files, as a job, and follow it.

    Raises:
        CallFailed: with the server's own explanation; also where it takes longer than ``seconds``.
    """
    begin = perf_counter()
    response = asked(
        client, "POST", f"/v1/models/{model}/jobs", expected=(httpx.codes.ACCEPTED,), **_body(case, accept, read)
    )
    location = response.headers.get("location", "")
    try:
        job = follow(client, location, tell, seconds)
    except TimeoutError:
        raise CallFailed(f"not done after {seconds:.0f} s; it goes on: GET {location}") from None
    except httpx.HTTPStatusError as error:
        raise CallFailed(f"the server answered {error.response.status_code} to GET {location}/events") from None
    if job["state"] != "succeeded":
        raise CallFailed(f"the job is {job['state']}: {job.get('error', {}).get('detail', 'given up')} ({location})")
    return _answer(asked(client, "GET", f"{location}/result"), begin)


def _answer(response: httpx.Response, begin: float) -> Answer:
    answer = Answer(_parts(response), perf_counter() - begin)
    _ = answer.summary  # what cannot be read is told before anything is saved
    return answer


def _show(progress: Progress, task: TaskID, job: dict[str, Any]) -> None:
    """Show the windows of a job that runs; of many bundles nothing is known of them."""
    windows = job.get("progress")
    if windows:
        progress.update(task, total=windows["total"], completed=windows["done"])


def upload(client: httpx.Client, connect: Callable[[str], httpx.Client], path: str) -> tuple[bytes, str]:
    """Put a file where the server says; return what names it (docs/api.md#large-inputs). What is JSON stays as it is.

    Raises:
        CallFailed: the server has no place for it, or the store does not take it.
    """
    content, media_type = _read(path)
    if media_type == "application/json":
        return content, media_type
    wanted = {"bytes": len(content), "media_type": media_type}
    answer = asked(client, "POST", "/v1/uploads", expected=(httpx.codes.OK, httpx.codes.NOT_FOUND), json=wanted)
    if answer.status_code == httpx.codes.NOT_FOUND:
        raise TooLarge("the input is larger than the server takes, and it has no bucket for larger ones")
    try:
        url, source = httpx.URL(answer.json()["url"]), answer.json()["source"]
    except (ValueError, KeyError, TypeError, httpx.InvalidURL):
        raise CallFailed("the server's answer names no place to upload to; is this address Bedside's?") from None
    # Not with the caller's token: the address leads elsewhere, and lets in by itself.
    with connect(f"{url.scheme}://{url.netloc.decode()}") as store:
        asked(store, "PUT", str(url), expected=(httpx.codes.OK, httpx.codes.CREATED), content=content)
    return json.dumps({"source": source}).encode(), "application/json"


def _body(case: str, accept: str | None, read: Read | None = None) -> dict[str, Any]:
    read = read or _read
    parts = parts_of(case)
    if parts[0][0] is not None:
        # The field's name stands in for the file's: that one may hold a patient's name.
        # A list, not a dictionary: an input that takes several files has its name several times.
        files = [(name, (name, *read(path))) for name, path in parts]
        return {"files": files, "headers": {"Accept": accept or ACCEPT}}
    content, media_type = read(case)
    headers = {"Accept": accept or (ACCEPT_DICOM if is_study(case) else ACCEPT), "Content-Type": media_type}
    return {"content": content, "headers": headers}


def _read(path: str) -> tuple[bytes, str]:
    referred = reference(path)
    return read_file(path) if referred is None else (referred[1], "application/json")


def _object(body: bytes) -> dict[str, Any]:
    try:
        document = json.loads(body)
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise CallFailed("the server's answer is not a JSON object; is this address Bedside's?")
    return document


def _parts(response: httpx.Response) -> tuple[tuple[str, bytes], ...]:
    whole = response.headers.get("content-type", "")
    media = whole.partition(";")[0].strip().lower()
    if media in _WHOLE:
        return ((media, response.content),)
    parts = tuple(_mixed(whole, response.content)) if media in {"multipart/mixed", RELATED} else ()
    if not parts:  # a page of a proxy, for one
        raise CallFailed(f"the server answered {media or 'something'} that holds no prediction; is this Bedside?")
    return parts


def _mixed(content_type: str, body: bytes) -> Iterator[tuple[str, bytes]]:
    message = BytesParser(policy=HTTP).parsebytes(f"Content-Type: {content_type}\r\n\r\n".encode() + body)
    if message.is_multipart():  # else it has no boundary, or not the one that it names
        for part in message.iter_parts():
            payload = part.get_payload(decode=True)
            yield part.get_content_type(), payload if isinstance(payload, bytes) else b""


def _table(answer: Answer, paths: list[Path]) -> Table:
    table = Table(show_header=False, box=None, pad_edge=False)
    for name, value in describe(answer.summary):
        table.add_row(plain(name), plain(value))
    table.add_row("time", f"{answer.seconds * 1000:.0f} ms")
    table.add_row("saved", plain("\n".join(str(path) for path in paths)))
    return table


def describe(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield what people want to know of an answer: volumes per label, or the prediction and its probability.

    Raises:
        CallFailed: it has not the shape of an answer.
    """
    try:
        yield from _prediction(summary)
        for output in summary.get("outputs", {}).values():
            yield from map(_volume, output.get("labels", ()))
        yield from (("warning", str(warning)) for warning in summary.get("warnings", ()))
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise CallFailed("the answer was saved, but lacks what Bedside's answers have") from None


def _prediction(summary: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if "prediction" in summary:
        # Scores that are no probabilities come without one.
        sure = f" ({float(summary['probability']):.1%})" if "probability" in summary else ""
        yield "prediction", f"{summary['prediction']}{sure}"
        if "accuracy" in summary:
            yield "accuracy", f"{float(summary['accuracy']):.1%} (measured, see the bundle's README)"


def _volume(label: dict[str, Any]) -> tuple[str, str]:
    volume = label.get("volume_ml")
    return str(label["name"]), f"{float(volume):.2f} mL" if volume is not None else f"{label['voxels']} pixels"


def _label(case: str) -> str:
    return case if reference(case) else Path(case).name


def _stems(files: list[str]) -> Iterator[str]:
    """Yield a name for each answer: that of the input, from the second of a name on with its number."""
    counts: Counter[str] = Counter()
    taken = {_stem(case) for case in files}
    for case in files:
        stem = name = _stem(case)
        counts[name] += 1
        while counts[name] > 1 and stem in taken:
            stem = f"{name}.{counts[name]}"
            counts[name] += stem in taken
        taken.add(stem)
        yield stem


def _stem(case: str) -> str:
    referred = reference(case)
    if referred is not None:
        return referred[0]  # a UID leads to a patient: it becomes no file's name
    name = Path(case.partition("=")[2].partition(",")[0] if "=" in case and not Path(case).exists() else case).name
    for suffix in (".nii.gz", *SUFFIXES.values(), ".jpg", ".jpeg", ".nii", ".tif", ".tiff"):
        name = name.removesuffix(suffix)
    return name
