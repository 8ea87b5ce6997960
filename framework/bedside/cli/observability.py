"""``bedside observability``: what the log needs inside Elasticsearch and Kibana."""

import json
from pathlib import Path, PurePath
from typing import Annotated

import typer
from pydantic import TypeAdapter, ValidationError

from bedside.dashboards.export import files
from bedside.errors import ConfigurationError
from bedside.log_settings import Address, Namespace
from bedside.observability.shipping.content import Lifetimes, requests, write_key
from bedside.observability.shipping.installation import Kibana, connect, make_key
from bedside.observability.shipping.installation import install as send

observability_app = typer.Typer(help="The log's place in Elasticsearch (docs/shipping.md).", no_args_is_help=True)


@observability_app.callback()
def _group() -> None:
    """Keep ``install`` a command of its own."""


@observability_app.command()
def install(  # noqa: PLR0913 - options
    *,
    url: Annotated[str | None, typer.Option(help="Address of Elasticsearch.")] = None,
    api_key_file: Annotated[Path | None, typer.Option(help="File with an API key that may manage all this.")] = None,
    ca: Annotated[Path | None, typer.Option(help="PEM file with the authorities of both certificates.")] = None,
    namespace: Annotated[str, typer.Option(help="Last part of the data streams' names: a stage or site.")] = "default",
    hot_days: Annotated[int, typer.Option(min=1, help="Days after which a new index is begun.")] = 1,
    warm_days: Annotated[int, typer.Option(min=1, help="Days after which an index is merged.")] = 7,
    keep_days: Annotated[int, typer.Option(min=1, help="Days after which lines are deleted.")] = 90,
    keep_audit_days: Annotated[int, typer.Option(min=2190, help="The same for the audit trail.")] = 2192,
    replicas: Annotated[int, typer.Option(min=0, max=3, help="Copies of each shard; 0 on a single node.")] = 1,
    write_key_file: Annotated[Path | None, typer.Option(help="Where to write a key that can only append.")] = None,
    kibana_url: Annotated[str | None, typer.Option(help="Address of Kibana, for dashboards and rules.")] = None,
    space: Annotated[str, typer.Option(help="Its space.")] = "default",
    dashboards_api: Annotated[
        bool, typer.Option("--dashboards-api", help="Put dashboards by their own API too (Kibana 9.5 on).")
    ] = False,
    replace_rules: Annotated[
        bool, typer.Option("--replace-rules", help="Make rules anew that are there; their connectors go.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the requests and send none.")] = False,
) -> None:
    """Create policies, templates, data streams and roles in Elasticsearch, dashboards and alerting rules in Kibana.

    Run again, it changes nothing: dashboards are replaced by the same, rules that are there stay as they are.
    """
    _check(url, kibana_url, namespace)
    plan = list(requests(namespace, Lifetimes(hot_days, warm_days, keep_days, keep_audit_days), replicas))
    if dry_run:
        for request in plan:
            typer.echo(f"{request.method} {request.path}")
            typer.echo(json.dumps(request.body, indent=2) if request.body else "")
        return
    key = _read(api_key_file)
    if url is not None:
        with connect(url, key, ca) as elasticsearch:
            send(elasticsearch, plan, typer.echo)
            if write_key_file is not None:
                made = make_key(elasticsearch, write_key(namespace), write_key_file)
                typer.echo(f"{write_key_file}{'' if made else ' (is there already)'}")
    if kibana_url is not None:
        with connect(kibana_url, key, ca) as client:
            _fill(Kibana(client, space, typer.echo), dashboards_api=dashboards_api, replace_rules=replace_rules)


def _fill(kibana: Kibana, *, dashboards_api: bool, replace_rules: bool) -> None:
    for name, text in files():
        path = PurePath(name)
        if path.parent.name == "rules":
            kibana.create_rule(path.stem, text, replace=replace_rules)
        elif path.parent.name != "api":
            kibana.import_objects(text)
        elif dashboards_api:
            kibana.put_dashboard(path.stem, text)


def _check(url: str | None, kibana_url: str | None, namespace: str) -> None:
    if url is None and kibana_url is None:
        raise ConfigurationError("--url or --kibana-url is needed", field="url")
    given = [("url", Address, url), ("kibana-url", Address, kibana_url), ("namespace", Namespace, namespace)]
    for field, kind, value in given:
        if value is None:
            continue
        try:
            TypeAdapter[str](kind).validate_python(value)
        except ValidationError as error:
            raise ConfigurationError(f"--{field}: {error.errors()[0]['msg']}", field=field) from None


def _read(file: Path | None) -> str:
    try:
        return "" if file is None else file.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        raise ConfigurationError("the API key's file cannot be read", field="api-key-file") from None
