"""``bedside audit``: what an auditor runs (docs/audit.md)."""

import csv
import sys
from collections.abc import Iterator, Mapping
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from bedside.cli.options import Config
from bedside.errors import ConfigurationError
from bedside.observability.audit import caller_hash
from bedside.observability.audit_reading import Verifier, read_anchors, records
from bedside.observability.schema import AUDIT_RULES, FIELDS
from bedside.security.embedded import ISSUER
from bedside.settings import Settings, load_settings

audit_app = typer.Typer(name="audit", help="Verify the audit trail, and read it.", no_args_is_help=True)

FOLDER = typer.Argument(help="Folder of the trail. [default: audit.folder]", show_default=False)
_NEVER = "\uffff"


class ExportFormat(StrEnum):
    """What the export is."""

    ndjson = "ndjson"
    csv = "csv"


@audit_app.command()
def verify(
    folder: Annotated[Path | None, FOLDER] = None,
    anchors: Annotated[
        Path | None, typer.Option(help="Lines of the log, kept elsewhere, with `audit_anchored`.")
    ] = None,
    *,
    no_key: Annotated[bool, typer.Option("--no-key", help="Do without the site's key: do not check seals.")] = False,
    config: Config = None,
) -> None:
    """Verify every chain; exit with 1, naming the first broken record, where the trail was changed.

    Records altered, removed, moved or cut off are found; with the site's key also chains that were made anew, and with
    anchors chains that are gone. Without the key nobody can vouch for the trail: that, too, is 1, unless asked for.
    """
    settings = load_settings(config)
    known = {} if anchors is None else read_anchors(anchors.read_bytes())
    key = None if no_key else _key(settings)
    verifier = Verifier(_folder(folder, settings), key, known)
    findings = verifier.findings()
    for found in findings:
        typer.echo(f"{'BROKEN' if found.broken else 'note'}  {found.chain} record {found.sequence}: {found.text}")
    typer.echo(f"{verifier.records} records read")
    if key is None:
        typer.echo("seals not checked: no key")
    if any(found.broken for found in findings) or (key is None and not no_key):
        raise typer.Exit(1)


@audit_app.command()
def export(
    folder: Annotated[Path | None, FOLDER] = None,
    begin: Annotated[str, typer.Option("--from", help="First moment, ISO 8601 in UTC.")] = "",
    end: Annotated[
        str, typer.Option("--to", help="First moment that is not wanted any more.", show_default=False)
    ] = _NEVER,
    subject: Annotated[str, typer.Option(help="Only what this caller did: `sub` of its tokens.")] = "",
    issuer: Annotated[
        str, typer.Option(help="`iss` of these tokens. [default: auth.issuer, else the embedded one]")
    ] = "",
    layout: Annotated[
        ExportFormat, typer.Option("--format", help="One object a line, or a table.")
    ] = ExportFormat.ndjson,
    config: Config = None,
) -> None:
    """Write records to standard output, in the order of each chain."""
    _check_moments(begin, end)
    settings = load_settings(config)
    wanted = records(_folder(folder, settings), begin, end)
    if subject:
        wanted = _of_caller(wanted, settings, issuer or settings.auth.issuer or ISSUER, subject)
    if layout is ExportFormat.csv:
        _write_table(wanted)
        return
    for record in wanted:
        typer.echo(orjson.dumps(record))


def _check_moments(*moments: str) -> None:
    """Raise ConfigurationError for what is no moment: it would be compared as text, and find anything."""
    for moment in moments:
        try:
            if moment not in {"", _NEVER}:
                datetime.fromisoformat(moment)
        except ValueError:
            raise ConfigurationError("--from and --to are moments, like 2026-11-30 or 2026-11-30T18:00") from None


def _of_caller(
    found: Iterator[dict[str, Any]], settings: Settings, issuer: str, subject: str
) -> Iterator[dict[str, Any]]:
    key = _key(settings)
    if key is None:
        raise ConfigurationError("needed to find a caller", field="audit.key")
    pseudonym = caller_hash(key, issuer, subject)
    return (record for record in found if record.get("user", {}).get("hash") == pseudonym)


def _write_table(found: Iterator[Mapping[str, Any]]) -> None:
    used = {name for rule in AUDIT_RULES.values() for name in rule.fields}
    columns = ["@timestamp", "message", *(FIELDS[name].ecs for name in FIELDS if name in used)]
    table = csv.writer(sys.stdout)
    table.writerow(columns)
    for record in found:
        table.writerow([_value(record, column) for column in columns])


def _value(record: Mapping[str, Any], name: str) -> Any:
    node: Any = record
    for part in name.split("."):
        node = node.get(part, {})
    return "" if node == {} else node


def _folder(given: Path | None, settings: Settings) -> Path:
    folder = given or settings.audit.folder_in(settings.runtime.state_dir)
    if not folder.is_dir():
        raise ConfigurationError("there is no audit trail", field="audit.folder")
    return folder


def _key(settings: Settings) -> bytes | None:
    if settings.audit.key is not None:
        return settings.audit.secret
    file = settings.audit.key_file_in(settings.runtime.state_dir)
    return file.read_bytes().strip() if file.is_file() else None
