"""``python -m benchmarks``: run what was chosen, print it, write docs/benchmarks.md and benchmarks/results/."""

import argparse
import json
import os
import sys
import tempfile
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import batching, dicom, imaging, machine, report, services, startup, tabular
from benchmarks.services import REPOSITORY, Workspace

PARTS = ("tabular", "imaging", "startup", "dicom", "batching")
QUICK = tabular.Plan(
    rounds=1,
    seconds=0.5,
    warm_up_seconds=0.2,
    light_seconds=0.5,
    held_rate=500.0,
    held_seconds=0.5,
    unpinned_rounds=0,
)


def main() -> None:
    """Run the benchmarks."""
    options = _options()
    begin = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="bedside-benchmarks-") as folder:
        workspace = Workspace(Path(folder), options.peers)
        results = _measure(options, workspace)
    _say(f"took {time.monotonic() - begin:.0f} s")
    if options.out is not None:
        results = _earlier(options.out) | results
    text = report.render(results)
    print(text)
    if options.out is not None:
        _write(options.out, results, text)


def _measure(options: argparse.Namespace, workspace: Workspace) -> dict[str, Any]:
    about = machine.describe(workspace)
    results: dict[str, Any] = {"machine": about}
    if "tabular" in options.parts:
        _say("(a) tabular")
        contestants = [c for c in tabular.CONTESTANTS if options.only in c.name]
        if options.quick:
            contestants = [c for c in contestants if c.service is not services.BEDSIDE_UNCACHED]
        for missing in {c.service.name for c in contestants if not c.service.available(workspace)}:
            _say(f"skipped, not installed: {missing} (benchmarks/peers.sh)")
        plan = QUICK if options.quick else replace(tabular.Plan(), rounds=2 * options.rounds)
        results["tabular"] = tabular.measure(workspace, contestants, plan, _say)
    if "imaging" in options.parts and imaging.available():
        _say("(b) imaging")
        rounds, count, runs = (1, 1, 0) if options.quick else (options.rounds, 12, 3)
        results["imaging"] = imaging.measure(workspace, rounds, count, runs, _say)
    if "startup" in options.parts:
        _say("(c) cold start and memory")
        rounds, counts, only = (1, (1,), "heart_disease") if options.quick else (3, (1, 3, 10), "")
        results["startup"] = startup.measure(workspace, rounds, counts, _say, only)
    if "batching" in options.parts:
        _say("(e) batching")
        rounds, concurrencies = (1, (4,)) if options.quick else (options.rounds, batching.CONCURRENCIES)
        results["batching"] = batching.measure(workspace, rounds, 1.0 if options.quick else 2.0, concurrencies, _say)
    if "dicom" in options.parts and dicom.available():
        _say("(d) DICOM")
        rounds, count, slices = (1, 5, 20) if options.quick else (options.rounds, 100, dicom.CT_SLICES)
        results["dicom"] = dicom.measure(workspace, rounds, count, slices, _say)
    now = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    for part in PARTS:
        if part in results:
            results[part]["when"] = f"{now}, commit {about['commit']}"
    return results


def _earlier(out: Path) -> dict[str, Any]:
    """Return the results that are there: a run of some parts leaves the others as they were."""
    try:
        found: dict[str, Any] = json.loads((out / "latest.json").read_text())
    except FileNotFoundError:
        return {}
    return found


def _write(out: Path, results: dict[str, Any], text: str) -> None:
    out.mkdir(parents=True, exist_ok=True)
    (out / "latest.json").write_text(json.dumps(_rounded(results), indent=1) + "\n")
    page = REPOSITORY / "docs" / "benchmarks.md" if out == _default_out() else out / "benchmarks.md"
    page.write_text(text, encoding="utf-8")
    _say(f"written: {page}, {out / 'latest.json'}")


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return float(f"{value:.5g}")
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list) else value


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(PARTS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a smoke run: one short round, figures mean nothing")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="tabular contestants whose name holds TEXT")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bedside-benchmarks"
    parser.add_argument("--peers", type=Path, default=cache, help="folder that benchmarks/peers.sh installed into")
    parser.add_argument("--out", type=Path, default=None, help="folder for latest.json and benchmarks.md")
    options = parser.parse_args()
    for part in options.parts:
        if part not in PARTS:
            parser.error(f"'{part}' is none of {', '.join(PARTS)}")
    options.parts = options.parts or PARTS
    if options.out is None and not options.quick and not options.only:
        options.out = _default_out()
    return options


def _default_out() -> Path:
    return Path(__file__).resolve().parent / "results"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
