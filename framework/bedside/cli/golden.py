"""How golden cases went, on the terminal and as JSON (``bedside bundle test``)."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from bedside.bundle.agreement import Agreement
from bedside.bundle.folder import BundleFolder
from bedside.cli.terminal import plain
from bedside.registry.golden import GoldenResult
from bedside.registry.parity import Comparison

Results = Sequence[tuple[GoldenResult, Comparison | None]]

_COLOURS = {
    "passed": "green",
    "agrees": "green",
    "failed": "red",
    "differs": "red",
    "skipped": "yellow",
    "not compared": "yellow",
}


def failed(result: GoldenResult, comparison: Comparison | None) -> bool:
    """Tell whether the bundle must not be served for what this case shows."""
    return result.outcome == "failed" or (comparison is not None and comparison.outcome == "differs")


def to_json(folder: BundleFolder, results: Results) -> dict[str, Any]:
    """Return the results as plain JSON types."""
    return {
        "model": folder.name,
        "version": folder.metadata.version,
        "digest": folder.digest,
        "cases": [
            {
                "name": result.name,
                "outcome": result.outcome,
                "seconds": round(result.seconds, 4),
                "remarks": list(result.remarks),
                "monai": None if comparison is None else comparison.to_json(),
            }
            for result, comparison in results
        ],
    }


def show(console: Console, folder: BundleFolder, results: Results) -> None:
    """Print the cases, and beside each what MONAI answered."""
    console.print(_cases(folder, results))
    if not results:
        console.print("no golden cases: add golden/cases.json (docs/bundles.md)")
    if any(comparison is not None for _, comparison in results):
        console.print(_comparisons(results))


def _cases(folder: BundleFolder, results: Results) -> Table:
    table = Table("case", "outcome", "seconds", "remarks", title=plain(f"{folder.name} {folder.metadata.version}"))
    for result, _ in results:
        outcome = Text(result.outcome, _COLOURS[result.outcome])
        table.add_row(plain(result.name), outcome, f"{result.seconds:.2f}", plain("\n".join(result.remarks)))
    return table


def _comparisons(results: Results) -> Table:
    columns = ("case", "beside MONAI", "output", "equal", "largest difference", "served s", "MONAI s", "remarks")
    table = Table(*columns, title="as python -m monai.bundle run answers")
    for result, comparison in results:
        if comparison is not None:
            outcome = Text(comparison.outcome, _COLOURS[comparison.outcome])
            times = ("", "")
            if comparison.outputs:
                times = (f"{comparison.served_seconds:.3f}", f"{comparison.monai_seconds:.2f}")
            remarks = plain("\n".join(comparison.remarks))
            table.add_row(plain(result.name), outcome, *_outputs(comparison.outputs), *times, remarks)
    return table


def _outputs(outputs: Sequence[Agreement]) -> tuple[Text, str, str]:
    names = plain("\n".join(found.output for found in outputs))
    equal = "\n".join(f"{found.equal:,} of {found.elements:,} ({found.fraction:.4%})" for found in outputs)
    return names, equal, "\n".join(f"{found.largest_difference:.3g}" for found in outputs)
