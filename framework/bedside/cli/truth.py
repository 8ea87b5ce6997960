"""``bedside truth``: tell what turned out to be so for earlier answers, and see how right they were."""

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import httpx
import typer
from rich.console import Console
from rich.table import Table

from bedside.cli.server import URL, Ca, CallFailed, Token, Url, asked, connected
from bedside.cli.terminal import plain

truth_app = typer.Typer(
    name="truth",
    help="The truth of earlier answers, told when it is known (docs/observability.md).",
    no_args_is_help=True,
)

_UNDERSTOOD = (httpx.codes.OK, httpx.codes.NOT_FOUND, httpx.codes.CONFLICT)

Model = Annotated[str, typer.Argument(help="Name of the model.", metavar="MODEL")]


@truth_app.command()
def send(
    model: Model,
    file: Annotated[
        Path,
        typer.Argument(
            help="CSV with the columns request_id and truth (a class), or request_id and one for each volume or value, "
            "and for requests of several rows a column row, from 0 on; or NDJSON (.ndjson, .jsonl) with an object a "
            "line, as POST /v1/models/MODEL/truth takes it.",
            metavar="FILE",
        ),
    ],
    url: Url = URL,
    token: Token = None,
    ca: Ca = None,
) -> None:
    """Tell the truths of a file, one by one; needs the scope bedside.truth.

    What is told already is told again without harm, so a file that grows may be sent every night. Exits with 1 where
    an answer is not kept or was told another truth; the others are told all the same.
    """
    counts = {"new": 0, "known": 0, "without an answer": 0, "told otherwise before": 0}
    with connected(url, token, ca) as client:
        for number, document in enumerate(_documents(file), 1):
            counts[_told(client, model, document, number)] += 1
    typer.echo(", ".join(f"{count} {what}" for what, count in counts.items()))
    if counts["without an answer"] or counts["told otherwise before"]:
        raise typer.Exit(1)


@truth_app.command()
def accuracy(model: Model, url: Url = URL, token: Token = None, ca: Ca = None) -> None:
    """Show how right each version of a model was, where the truth has come; needs the scope bedside.truth."""
    with connected(url, token, ca) as client:
        versions = asked(client, "GET", f"/v1/models/{model}/accuracy").json()["versions"]
    table = Table("version", "of", "truths", "measures", box=None, pad_edge=False)
    for version in versions:
        overall = {name: version[name] for name in ("accuracy", "mean_probability") if name in version}
        table.add_row(plain(version["version"]), "all", str(version["truths"]), _measures(overall))
        for name, found in {**version.get("classes", {}), **version.get("quantities", {})}.items():
            table.add_row("", plain(name), str(found["truths"]), _measures(found))
    Console().print(table)


def _told(client: httpx.Client, model: str, document: Any, number: int) -> str:
    try:
        answer = asked(client, "POST", f"/v1/models/{model}/truth", expected=_UNDERSTOOD, json=document)
    except CallFailed as error:
        raise CallFailed(f"truth {number} of the file: {error.detail}") from None
    if answer.status_code == httpx.codes.CONFLICT:
        return "told otherwise before"
    if answer.status_code == httpx.codes.NOT_FOUND:
        if not answer.json().get("type", "").endswith(":prediction-not-found"):
            raise CallFailed(f"the server has no such model: {answer.json().get('detail', '')}")
        return "without an answer"
    return "new" if answer.json()["new"] else "known"


def _documents(file: Path) -> Iterator[Any]:
    text = file.read_text(encoding="utf-8-sig")
    if file.suffix in {".ndjson", ".jsonl"}:
        try:
            yield from (json.loads(line) for line in text.splitlines() if line.strip())
        except ValueError:
            raise CallFailed("a line of the file is no JSON") from None
        return
    for row in csv.DictReader(io.StringIO(text)):
        yield _document({name: value for name, value in row.items() if name and value})


def _document(row: dict[str, Any]) -> dict[str, Any]:
    try:
        of: dict[str, Any] = {"request_id": row.pop("request_id")}
        if "row" in row:
            of["row"] = int(row.pop("row"))
        truth = row["truth"] if "truth" in row else {name: float(value) for name, value in row.items()}
    except KeyError:
        raise CallFailed("the file has no column request_id, or a row has none") from None
    except (ValueError, TypeError):
        raise CallFailed("a row, volume or value in the file is no number") from None
    return {**of, "truth": truth}


def _measures(found: dict[str, Any]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value:g}" for name, value in found.items() if isinstance(value, float))
