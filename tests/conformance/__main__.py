"""Runs the kit and prints one table: clause or hazard, and what the server did. ``kit.py`` says how to name a server.

    BEDSIDE_CONFORMANCE_URL=... python -m tests.conformance [--json FILE] > result.md

``--json`` writes the results by suite and clause, too; all other arguments are pytest's.
Exit status 1 where a row failed.
"""

import argparse
import json
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

HERE = Path(__file__).resolve().parent
SUITES = {
    "test_open_inference_protocol": "Open Inference Protocol V2 over HTTP",
    "test_open_inference_grpc": "Open Inference Protocol V2 over gRPC",
    "test_hazards": "Hazards",
}


@dataclass
class Row:
    """One clause with the outcomes of its variants."""

    clause: str
    failed: list[str] = field(default_factory=list)
    passed: int = 0
    skipped: str = ""

    @property
    def result(self) -> str:
        """Return the row's last cell."""
        if self.failed:
            return f"**fails** ({', '.join(self.failed)})"
        return "passes" if self.passed else f"skipped: {self.skipped}"


class Table:
    """A pytest plug-in: collects the outcomes of each test function."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, Row]] = {name: {} for name in SUITES}

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Make a row of each function, its clause the first line of what it says of itself."""
        for item in items:
            suite, name = self._place(item.nodeid)
            said = (getattr(item, "function").__doc__ or name).strip().splitlines()[0]  # noqa: B009 - functions only
            self.rows[suite].setdefault(name, Row(said.replace("|", "\\|")))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note one variant's outcome."""
        suite, name = self._place(report.nodeid)
        row = self.rows[suite][name]
        variant = report.nodeid.partition("[")[2].rstrip("]") or "always"
        if report.failed:
            row.failed.append(variant.replace("|", "\\|"))
        elif report.skipped:
            row.skipped = str(report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr)
            row.skipped = row.skipped.removeprefix("Skipped: ")
        elif report.when == "call":
            row.passed += 1

    @staticmethod
    def _place(nodeid: str) -> tuple[str, str]:
        file, _, rest = nodeid.partition("::")
        return Path(file).stem, rest.partition("[")[0]

    def __str__(self) -> str:
        """Return the tables as Markdown."""
        lines: list[str] = []
        for suite, title in SUITES.items():
            lines += [f"## {title}", "", "| clause | result |", "|---|---|"]
            lines += [f"| {row.clause} | {row.result} |" for row in self.rows[suite].values()]
            lines.append("")
        return "\n".join(lines)

    def as_json(self) -> str:
        """Return suite → clause → result."""
        found = {
            title: {row.clause: row.result for row in self.rows[suite].values()} for suite, title in SUITES.items()
        }
        return json.dumps(found, indent=1)


def main() -> int:
    """Run the suites; return pytest's exit status."""
    parser = argparse.ArgumentParser(add_help=False)
    parser.add_argument("--json", type=Path)
    options, for_pytest = parser.parse_known_args()
    table = Table()
    files = [str(HERE / f"{suite}.py") for suite in SUITES]
    # The table is all that is said; where a row fails, run pytest on its file.
    quiet = ["-o", "addopts=--import-mode=importlib", "-p", "no:terminal", "-p", "no:cacheprovider"]
    status = pytest.main([*quiet, *files, *for_pytest], plugins=[table])
    if options.json is not None:
        options.json.write_text(table.as_json())
    print(table)  # noqa: T201 - the result
    return int(status)


if __name__ == "__main__":
    sys.exit(main())
