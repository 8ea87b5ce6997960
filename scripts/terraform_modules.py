"""Writes the tables in the READMEs of infra/terraform's modules, or checks (``--check``) them and the house rules.

The rules: five files per module; every variable typed, described and (but for booleans) validated; a test per
validation that the value is refused; every output described; local sources only; the target modules share their
variables, and the sites in live/ have the same types and defaults. It reads HCL as ``terraform fmt`` lays it out
(a block begins in the first column, its brace ends there).
"""

import argparse
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent / "infra" / "terraform"
FILES = ("main.tf", "variables.tf", "outputs.tf", "versions.tf", "README.md")
SHARED = ("modules/contract", "modules/aws/site", "modules/onprem/site")
BLOCK = re.compile(r'^(variable|output) "([a-z0-9_]+)" \{\n(.*?)^\}', re.DOTALL | re.MULTILINE)
TABLES = re.compile(r"(<!-- tables:begin -->\n).*?(<!-- tables:end -->)", re.DOTALL)
HEREDOC = re.compile(r"^  description = <<-EOT\n(.*?)^\s*EOT$", re.DOTALL | re.MULTILINE)
QUOTED = re.compile(r'^  description = "(.*)"$', re.MULTILINE)
TYPE = re.compile(r"^  type\s+= ([a-z]+)", re.MULTILINE)
DEFAULT = re.compile(r"^  default\s+= (.*)$", re.MULTILINE)
VALIDATION = re.compile(r"^  validation \{$", re.MULTILINE)
REFUSED = re.compile(r"expect_failures = \[var\.([a-z0-9_]+)\]")
ASIDE = re.compile(
    r"^  (?:description = (?:<<-EOT\n.*?^\s*EOT|\"[^\n]*\")|validation \{\n.*?^  \})\n", re.DOTALL | re.MULTILINE
)
SOURCE = re.compile(r'^module "[^"]+" \{\n\s+source\s+= "([^"]+)"', re.MULTILINE)


@dataclass(frozen=True)
class Block:
    """A ``variable`` or ``output`` block."""

    name: str
    body: str

    @property
    def description(self) -> str:
        """The description as one line; empty where there is none."""
        if found := HEREDOC.search(self.body):
            return " ".join(found[1].split())
        found = QUOTED.search(self.body)
        return found[1] if found else ""

    @property
    def type(self) -> str:
        """The outermost type constructor, such as ``map``; empty where there is none."""
        found = TYPE.search(self.body)
        return found[1] if found else ""

    @property
    def shape(self) -> str:
        """Type, default and the like: what is left without the description and the rules."""
        return " ".join(ASIDE.sub("", self.body).split())

    @property
    def default(self) -> str | None:
        """The default as written; None where the value is required."""
        found = DEFAULT.search(self.body)
        return None if found is None else "…" if found[1].endswith(("{", "[")) else found[1]


def main() -> int:
    """Write or check; returns the exit status."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="write nothing; exit 1 where a rule is broken")
    parser.add_argument("root", nargs="?", type=Path, default=ROOT, help="the folder with modules/ and live/")
    arguments = parser.parse_args()
    problems: list[str] = []
    for module in _modules(arguments.root):
        problems += _tables(module, check=arguments.check)
        problems += _rules(module)
    problems += _shared(arguments.root)
    print("\n".join(problems), end="\n" if problems else "", file=sys.stderr)
    return 1 if problems else 0


def _modules(root: Path) -> list[Path]:
    return sorted(path.parent for path in root.glob("modules/**/versions.tf") if ".terraform" not in path.parts)


def _blocks(module: Path, file: str, kind: str) -> list[Block]:
    path = module / file
    text = path.read_text(encoding="utf-8") if path.is_file() else ""
    return [Block(name, body) for found, name, body in BLOCK.findall(text) if found == kind]


def _tables(module: Path, *, check: bool) -> Iterator[str]:
    readme = module / "README.md"
    if not readme.is_file():
        return
    text = readme.read_text(encoding="utf-8")
    tables = "\n".join([*_inputs(module), "", *_outputs(module)]) + "\n"
    wanted = TABLES.sub(lambda found: found[1] + tables + found[2], text)
    if tables not in wanted:
        yield f"{readme}: lacks the markers <!-- tables:begin --> and <!-- tables:end -->"
    elif check and wanted != text:
        yield f"{readme}: out of step with the code; run scripts/terraform_modules.py"
    elif wanted != text:
        readme.write_text(wanted, encoding="utf-8")
        print(f"wrote {readme}")


def _inputs(module: Path) -> list[str]:
    lines = ["| input | type | default | |", "|---|---|---|---|"]
    for block in _blocks(module, "variables.tf", "variable"):
        default = "required" if block.default is None else f"`{block.default}`"
        lines.append(f"| `{block.name}` | {block.type} | {default} | {_cell(block.description)} |")
    return lines


def _outputs(module: Path) -> list[str]:
    rows = (f"| `{block.name}` | {_cell(block.description)} |" for block in _blocks(module, "outputs.tf", "output"))
    return ["| output | |", "|---|---|", *rows]


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _rules(module: Path) -> Iterator[str]:
    yield from (f"{module}: lacks {name}" for name in FILES if not (module / name).is_file())
    tests = "".join(path.read_text(encoding="utf-8") for path in sorted(module.glob("tests/*.tftest.hcl")))
    if not tests:
        yield f"{module}: has no tests"
    shared = module.as_posix().endswith(SHARED[1:])
    refused = REFUSED.findall(tests)
    for block in _blocks(module, "variables.tf", "variable"):
        yield from _variable(module, block, None if shared else refused.count(block.name))
    yield from (
        f"{module}/outputs.tf: {block.name} has no description"
        for block in _blocks(module, "outputs.tf", "output")
        if not block.description
    )
    for path in module.glob("*.tf"):
        for source in SOURCE.findall(path.read_text(encoding="utf-8")):
            if not source.startswith("../"):
                yield f"{path}: {source} is not local"


def _variable(module: Path, block: Block, refused: int | None) -> Iterator[str]:
    where = f"{module}/variables.tf: {block.name}"
    if not block.description:
        yield f"{where} has no description"
    if not block.type or block.type == "any":
        yield f"{where} has no type"
    rules = len(VALIDATION.findall(block.body))
    if rules == 0 and block.type != "bool":
        yield f"{where} is not validated"
    if refused is not None and refused < rules:
        yield f"{where} has {rules} validations and {refused} tests that a value is refused"


def _shared(root: Path) -> Iterator[str]:
    """The target modules take what the contract takes; its tests are theirs."""
    first, *others = SHARED
    wanted = (root / first / "variables.tf").read_text(encoding="utf-8")
    for name in others:
        if (root / name / "variables.tf").read_text(encoding="utf-8") != wanted:
            yield f"{root / name}/variables.tf differs from {first}'s"
    shapes = {block.name: block.shape for block in _blocks(root / first, "variables.tf", "variable")}
    for live in sorted(root.glob("live/*")):
        for block in _blocks(live, "variables.tf", "variable"):
            if _is_site(live) and block.shape != shapes.get(block.name, block.shape):
                yield f"{live}/variables.tf: the type or the default of {block.name} is not that of {first}"


def _is_site(live: Path) -> bool:
    return any(source.endswith("/site") for source in SOURCE.findall((live / "main.tf").read_text(encoding="utf-8")))


if __name__ == "__main__":
    sys.exit(main())
