"""``bedside bundle vet | sign | verify``: none of them runs anything of a bundle."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bedside.bundle.vetting import Finding, Verdict, read_site_policy
from bedside.bundle.vetting import vet as judge
from bedside.bundle.vetting.findings import Refused
from bedside.bundle.vetting.signatures import sign_bundle, verified_by
from bedside.cli.options import Bundle, Config
from bedside.errors import NotAdmitted
from bedside.settings import load_settings

_COLOURS = {"refused": "red", "warning": "yellow", "reviewed": "cyan", "info": "dim"}


def vet(
    path: Annotated[Path, typer.Argument(help="Bundle folder, or a zip or tar archive with one.", show_default=False)],
    policy: Annotated[Path | None, typer.Option(help="Policy file. [default: admission.policy_file]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the verdict as JSON.")] = False,  # noqa: FBT002
    config: Config = None,
) -> None:
    """Decide whether a bundle may be loaded, before anything of it is imported or unpickled; exits 1 when it may not.

    docs/admission.md says how to read the verdict and how to write a policy.
    """
    settings = load_settings(config).admission
    verdict = judge(path, settings, read_site_policy(policy or settings.policy_file))
    if as_json:
        typer.echo(json.dumps(verdict.to_json(), indent=2))
    else:
        _print(verdict)
    if not verdict.admitted:
        raise typer.Exit(1)


def sign(
    path: Bundle,
    key: Annotated[Path, typer.Option(help="PEM file with an elliptic-curve private key.")],
    ask_password: Annotated[bool, typer.Option(help="Ask for the key's password.")] = False,  # noqa: FBT002
) -> None:
    """Sign every file of a bundle; writes model.sig into it. Needs `pip install 'bedside[signing]'`."""
    password = typer.prompt("Password of the key", hide_input=True) if ask_password else None
    typer.echo(f"signed: {sign_bundle(path.resolve(), key, password)}")


def verify(
    path: Bundle,
    key: Annotated[Path, typer.Option(help="PEM file with an elliptic-curve public key.")],
) -> None:
    """Verify a bundle's signature (model.sig) over its whole content; exits 1 when it does not hold."""
    try:
        verified_by(path.resolve(), [key])
    except Refused as refused:
        raise NotAdmitted(refused.explanation, field=refused.rule) from None
    typer.echo("verified: every file is as it was signed")


def _print(verdict: Verdict) -> None:
    console = Console()
    word = "[bold green]admitted[/]" if verdict.admitted else "[bold red]refused[/]"
    console.print(f"{word}  trust: {verdict.trust}{f'  signed with {verdict.signer}' if verdict.signer else ''}")
    console.print(Text(f"{verdict.name} {verdict.version}  {verdict.digest}"), highlight=False)
    if verdict.findings:
        console.print(_table(verdict))


def _table(verdict: Verdict) -> Table:
    table = Table("severity", "rule", "where", "what and why", "what to do", pad_edge=False)
    for column in table.columns:
        column.overflow = "fold"
    for finding in sorted(verdict.findings, key=_weight):
        remedy = "" if finding.severity == "info" else finding.remedy
        # Text, not markup: what a bundle calls its files is not for the terminal to interpret.
        cells = (finding.rule, finding.where, finding.explanation, remedy)
        table.add_row(Text(finding.severity, style=_COLOURS[finding.severity]), *map(Text, cells))
    return table


def _weight(finding: Finding) -> int:
    return list(_COLOURS).index(finding.severity)
