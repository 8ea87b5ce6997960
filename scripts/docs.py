"""Writes the generated parts of the documentation, or checks (``--check``) that they are in step with the code.

Generated: docs/settings.md from settings.py, docs/logging.md from the catalogue of events, tables of docs/dicom.md,
docs/pacs.md, docs/dicom-conformance.md and docs/observability.md, docs/cli.md from the commands' help, and the
PrometheusRule of deploy/k8s/components/monitoring. Checked: every relative link.
"""

import argparse
import inspect
import json
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path

import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from bedside import dicom_settings, errors, settings
from bedside.bundle import dicom_policy
from bedside.cli import app
from bedside.codecs.dicom.library import pydicom
from bedside.dashboards.alerts import ALERTS
from bedside.dashboards.boards import DASHBOARDS
from bedside.observability import events, rendering, schema
from bedside.transports.dicom import conformance, store_scu
from bedside.transports.intake import FAILURE_REASONS

ROOT = Path(__file__).resolve().parent.parent
POLICY = re.compile(r"(<!-- policy:begin -->\n).*?(<!-- policy:end -->)", re.DOTALL)
NETWORK = re.compile(r"(<!-- network:begin -->\n).*?(<!-- network:end -->)", re.DOTALL)
SCP = re.compile(r"(<!-- scp:begin -->\n).*?(<!-- scp:end -->)", re.DOTALL)
SCU = re.compile(r"(<!-- scu:begin -->\n).*?(<!-- scu:end -->)", re.DOTALL)
REFUSALS = re.compile(r"(<!-- refusals:begin -->\n).*?(<!-- refusals:end -->)", re.DOTALL)
ALERT_TABLE = re.compile(r"(<!-- alerts:begin -->\n).*?(<!-- alerts:end -->)", re.DOTALL)
METRIC_ALERTS = re.compile(r"(<!-- metric-alerts:begin -->\n).*?(<!-- metric-alerts:end -->)", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")


def main() -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where something is out of step")
    check = parser.parse_args().check
    problems: list[str] | None = [] if check else None
    for path, text in _generated():
        if path.is_file() and path.read_text(encoding="utf-8") == text:
            continue
        if problems is None:
            path.write_text(text, encoding="utf-8")
            print(f"wrote {path.relative_to(ROOT)}")
        else:
            problems.append(f"{path.relative_to(ROOT)} is out of step with the code: run `make docs`")
    problems = (problems or []) + list(_broken_links())
    print("\n".join(problems), end="\n" if problems else "", file=sys.stderr)
    return 1 if problems else 0


def _generated() -> Iterator[tuple[Path, str]]:
    yield ROOT / "docs" / "settings.md", settings_page()
    yield ROOT / "docs" / "logging.md", logging_page()
    for stream in ("events", "audit"):
        mappings = json.dumps(schema.component_template(stream)["template"]["mappings"], indent=2) + "\n"
        yield ROOT / "infra" / "terraform" / "modules" / "elastic-content" / "mappings" / f"{stream}.json", mappings
    dicom = ROOT / "docs" / "dicom.md"
    text = POLICY.sub(lambda found: found[1] + policy_tables() + found[2], dicom.read_text(encoding="utf-8"))
    yield dicom, REFUSALS.sub(lambda found: found[1] + refusals_table() + found[2], text)
    pacs = ROOT / "docs" / "pacs.md"
    yield pacs, NETWORK.sub(lambda found: found[1] + network_tables() + found[2], pacs.read_text(encoding="utf-8"))
    statement = ROOT / "docs" / "dicom-conformance.md"
    text = SCP.sub(lambda found: found[1] + scp_tables() + found[2], statement.read_text(encoding="utf-8"))
    yield statement, SCU.sub(lambda found: found[1] + scu_tables() + found[2], text)
    rules = (ROOT / "deploy" / "prometheus" / "rules.yaml").read_text(encoding="utf-8")
    yield ROOT / "deploy" / "k8s" / "components" / "monitoring" / "prometheusrule.yaml", prometheus_rule(rules)
    seeing = ROOT / "docs" / "observability.md"
    text = seeing.read_text(encoding="utf-8")
    text = ALERT_TABLE.sub(lambda found: found[1] + alerts_table() + found[2], text)
    yield seeing, METRIC_ALERTS.sub(lambda found: found[1] + metric_alerts_table(rules) + found[2], text)
    yield ROOT / "docs" / "cli.md", commands_page()


def settings_page() -> str:
    """Return docs/settings.md."""
    lines = ["# Settings", "", *_paragraphs(inspect.getdoc(settings) or ""), ""]
    lines += ["Written by `make docs` from `framework/bedside/settings.py`; do not edit.", ""]
    groups = {name: field for name, field in settings.Settings.model_fields.items() if _is_group(field)}
    lines += _table((name, field) for name, field in settings.Settings.model_fields.items() if name not in groups)
    for name, field in groups.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            lines += [f"## `{name}`", "", *_paragraphs(inspect.getdoc(kind) or ""), ""]
            lines += _table((f"{name}.{inner}", value) for inner, value in kind.model_fields.items())
    return "\n".join(lines).rstrip() + "\n"


def policy_tables() -> str:
    """Return what ``[dicom]`` and ``[[dicom.series]]`` may hold."""
    return _group_tables({"`[dicom]`": dicom_policy.DicomPolicy, "`[[dicom.series]]`": dicom_policy.SeriesRule})


def network_tables() -> str:
    """Return what a destination, a source and a route may hold."""
    return _group_tables(
        {
            "`[dicom.destinations.NAME]`": dicom_settings.DicomDestination,
            "`[dicom.sources.NAME]`": dicom_settings.DicomSource,
            "`[[dicom.routes]]`": dicom_settings.DicomRoute,
        }
    )


def _group_tables(tables: Mapping[str, type[BaseModel]]) -> str:
    lines = []
    for title, table in tables.items():
        lines += [f"| {title} | |", "|---|---|"]
        lines += [f"| `{name}` | {_cell(field.description or '')} |" for name, field in table.model_fields.items()]
        lines.append("")
    return "\n".join(lines)


def refusals_table() -> str:
    """Return every reason for which DICOM is refused, with what to do about it."""
    lines = ["| reason | what to do |", "|---|---|"]
    lines += [f"| `{leaf.reason()}` | {_cell(leaf.advice())} |" for leaf in errors.DicomRefused.__subclasses__()]
    return "\n".join(lines) + "\n"


def alerts_table() -> str:
    """Return every alerting rule over the log, with what to do about it."""
    titles = {board.id: board.title.partition(": ")[2] for board in DASHBOARDS}
    lines = ["| alert | when | look at | what to do |", "|---|---|---|---|"]
    for alert in ALERTS:
        per = f" of one `{alert.per}`" if alert.per else ""
        when = f"{alert.least} within {alert.minutes} min{per}"
        name = alert.name.partition(": ")[2]
        lines.append(f"| {name} | {when} | {titles[alert.dashboard]} | {_cell(alert.action)} |")
    return "\n".join(lines) + "\n"


def metric_alerts_table(rules: str) -> str:
    """Return every alert over metrics, with what to do about it."""
    lines = ["| alert | severity | after | what to do |", "|---|---|---|---|"]
    found = [rule for group in yaml.safe_load(rules)["groups"] for rule in group["rules"] if "alert" in rule]
    for rule in found:
        action = _cell(rule["annotations"]["action"])
        lines.append(f"| `{rule['alert']}` | {rule['labels']['severity']} | {rule.get('for', 'at once')} | {action} |")
    return "\n".join(lines) + "\n"


def prometheus_rule(rules: str) -> str:
    """Return the rules as the object of the Prometheus operator that holds them."""
    about = {"apiVersion": "monitoring.coreos.com/v1", "kind": "PrometheusRule"}
    metadata = {"name": "bedside", "namespace": "bedside"}
    content = {**about, "metadata": metadata, "spec": yaml.safe_load(rules)}
    text = yaml.safe_dump(content, sort_keys=False, width=10_000)
    return "# Written by `make docs` from deploy/prometheus/rules.yaml; do not edit.\n" + text


def scp_tables() -> str:
    """Return SOP classes and transfer syntaxes that are taken, and what C-STORE is answered with."""
    lines = _uid_table("SOP class, models are given", conformance.PROCESSED)
    lines += _uid_table("SOP class, left aside", conformance.ACCOMPANYING)
    lines += _uid_table("transfer syntax, for each SOP class", conformance.TRANSFER_SYNTAXES)
    lines += ["| status | |", "|---|---|", "| 0000H | The instance is on disk. |"]
    lines += [f"| {code:04X}H | {_cell(kind.advice())} |" for kind, code in FAILURE_REASONS.items()]
    return "\n".join([*lines, ""])


def scu_tables() -> str:
    """Return SOP classes and transfer syntaxes that archives are sent."""
    lines = _uid_table("SOP class", conformance.RESULTS) + _uid_table("transfer syntax", store_scu.SYNTAXES)
    return "\n".join(lines)


def _uid_table(title: str, found: Iterable[str]) -> list[str]:
    rows = [f"| {uid} | {pydicom.uid.UID(uid).name} |" for uid in found]
    return [f"| {title} | |", "|---|---|", *rows, ""]


def logging_page() -> str:
    """Return docs/logging.md."""
    lines = ["# Log events", "", *LOGGING.splitlines(), "", "## Events", ""]
    lines += ["Every event may have `log.logger`. Fields in *italics* are not always there.", ""]
    lines += ["| event | level | category | | fields |", "|---|---|---|---|---|"]
    for name, rule in schema.RULES.items():
        about = f"{', '.join(rule.levels)} | {rule.category[0]} | {_cell(rule.description)}"
        lines.append(f"| `{name}` | {about} | {_field_names(rule)} |")
    lines += ["", "## Fields", "", *KINDS.splitlines(), ""]
    lines += ["| field | in the code | type | kind | unit | |", "|---|---|---|---|---|---|"]
    shown = {name for rule in schema.RULES.values() for name in rule.fields}
    for field in schema.ALL_FIELDS:
        if field.name in shown or not field.name:
            code = f"`{field.name}`" if field.name else ""
            kind = f"{field.type} | {field.kind.value} | {field.unit}"
            lines.append(f"| `{field.ecs}` | {code} | {kind} | {_about_field(field)} |")
    return "\n".join([*lines, "", "## An example", "", "```json", example_line(), "```"]) + "\n"


def _field_names(rule: schema.EventRule) -> str:
    names = [name for name in schema.FIELDS if name in rule.fields and name != "logger_name"]
    cells = {name: f"`{schema.FIELDS[name].ecs}`" for name in names}
    return ", ".join(cell if name in rule.required else f"*{cell}*" for name, cell in cells.items())


def _about_field(field: schema.Field) -> str:
    values = f" One of {', '.join(f'`{value}`' for value in field.values)}." if len(field.values) > 1 else ""
    return _cell(field.description) + values


LOGGING = """\
One JSON object a line on standard output, in the Elastic Common Schema 9.4; `inference.*` and `bedside.*` are ours. An
event is a name for something that happens, not a sentence about it: names are searched, counted and alerted on. What is
not in this list does not leave the process, and **none of it identifies a patient**; a caller is a keyed hash.

Written by `make docs` from `framework/bedside/observability/schema.yaml`; do not edit. Elasticsearch's component
template and the JSON Schema that the tests hold every line against are made from the same file:

```python
from bedside.observability.schema import component_template, json_schema
```"""

KINDS = """\
Every line has the fields without a name in the code, but for `labels.dropped_fields`. A value of another kind is left
out and counted there. `keyword` is an identifier of up to 256 letters, digits and `_.:/+<>-`: a name, an e-mail address
or a sentence is none. `text` and `lines` are printable and cut at 4096 characters; numbers are finite."""


def example_line() -> str:
    """Return one line as the server would write it, indented for people."""
    service = rendering.Service("bedside", "production")
    renderer = rendering.EcsRenderer(service, lambda: datetime(2026, 11, 21, 9, 30, 0, 123456, tzinfo=UTC))
    call = {
        "event": events.Event.INFERENCE_COMPLETED,
        "logger_name": "bedside.inference",
        "request_id": "3f0c0cf5a6a84b1f000000000000002a",
        "transport": "rest",
        "operation": "predict",
        "outcome": "success",
        "outcome_ok": 1,
        "duration_ns": 3211000,
        "user_hash": "9c1185a5c5e9fc54",
        "model": "heart_disease",
        "version": "1.0.0",
        "device": "cpu",
        "rows": 1,
        "input_bytes": 214,
        "output_bytes": 388,
        "decode_ms": 0.041,
        "run_ms": 2.9,
    }
    line = json.loads(renderer(None, "info", call))
    line["service"]["version"] = "…"  # or every release would change this page
    return json.dumps(line, indent=2, ensure_ascii=False)


def _is_group(field: FieldInfo) -> bool:
    return isinstance(field.annotation, type) and issubclass(field.annotation, BaseModel)


def _table(fields: Iterator[tuple[str, FieldInfo]]) -> list[str]:
    rows = ["| setting | environment variable | default | |", "|---|---|---|---|"]
    for name, field in fields:
        variable = "BEDSIDE_" + name.upper().replace(".", "__")
        rows.append(f"| `{name}` | `{variable}` | {_default(name, field)} | {_cell(field.description)} |")
    return [*rows, ""]


def _cell(text: str | None) -> str:
    return " ".join((text or "").replace("``", "`").split())


def _default(name: str, field: FieldInfo) -> str:
    # Defaults that depend on the machine are said in words.
    words = {
        "runtime.staging_dir": "`/dev/shm`, else the temporary folder",
        "runtime.state_dir": "`~/.local/state/bedside`",
        "registry.cache_dir": "`~/.cache/bedside`",
        "registry.pins": "`{}`",
        "dicom.destinations": "`{}`",
    }
    if name in words:
        return words[name]
    value = field.get_default(call_default_factory=True)
    return "" if value in (None, "") else f"`{value}`"


def _paragraphs(text: str) -> list[str]:
    return text.replace("``", "`").splitlines()


def commands_page() -> str:
    """Return docs/cli.md: the help of every command."""
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"})
    lines = [
        "# Commands",
        "",
        "Written by `make docs`; do not edit. Tab completes commands, options, paths and names of served models once",
        'the shell has run `eval "$(bedside --show-completion)"`; `bedside --install-completion` does so for good.',
    ]
    for words in _commands(typer.main.get_command(app)):
        output = runner.invoke(app, [*words, "--help"], prog_name="bedside").output
        text = "\n".join(line.rstrip() for line in output.strip("\n").splitlines()).strip("\n")
        lines += ["", f"## `{' '.join(('bedside', *words))}`", "", "```text", text, "```"]
    return "\n".join(lines) + "\n"


def _commands(command: object, *words: str) -> Iterator[tuple[str, ...]]:
    yield words
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, *words, name)


def _broken_links() -> Iterator[str]:
    for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("apps/*/docs/*.md")]):
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            for target in LINK.findall(line):
                if not (page.parent / target).exists():
                    yield f"{page.relative_to(ROOT)}:{number}: {target} does not exist"


if __name__ == "__main__":
    sys.exit(main())
