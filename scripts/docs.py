"""Writes the generated parts of the documentation, or checks (``--check``) that they are in step with the code.

Generated: docs/settings.md from settings.py, the help in README.md from the command line. Checked: every relative link.
"""

import argparse
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from typer.testing import CliRunner

from bedside import settings
from bedside.cli import app

ROOT = Path(__file__).resolve().parent.parent
HELP = re.compile(r"(<!-- help:begin -->\n).*?(<!-- help:end -->)", re.DOTALL)
LINK = re.compile(r"\]\((?!https?:|#|mailto:)([^)#\s]+)")
COMMANDS = ((), ("serve",), ("predict",), ("token",), ("bundle", "inspect"), ("bundle", "test"))


def main() -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where something is out of step")
    check = parser.parse_args().check
    problems = [] if check else None
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
    readme = ROOT / "README.md"
    yield readme, HELP.sub(lambda found: found[1] + help_text() + found[2], readme.read_text(encoding="utf-8"))


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
    }
    if name in words:
        return words[name]
    value = field.default
    return "" if value in (None, "") else f"`{value}`"


def _paragraphs(text: str) -> list[str]:
    return text.replace("``", "`").splitlines()


def help_text() -> str:
    """Return the help of every command as one block."""
    runner = CliRunner(env={"COLUMNS": "100", "NO_COLOR": "1", "TERM": "dumb"})
    blocks = []
    for command in COMMANDS:
        output = runner.invoke(app, [*command, "--help"], prog_name="bedside").output
        lines = [line.rstrip() for line in output.strip("\n").splitlines()]
        blocks.append("\n".join(lines).strip("\n"))
    return "```text\n" + "\n\n".join(blocks) + "\n```\n"


def _broken_links() -> Iterator[str]:
    for page in sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("apps/*/docs/*.md")]):
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            for target in LINK.findall(line):
                if not (page.parent / target).exists():
                    yield f"{page.relative_to(ROOT)}:{number}: {target} does not exist"


if __name__ == "__main__":
    sys.exit(main())
