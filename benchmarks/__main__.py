"""``python -m benchmarks``: run what was chosen, print it, write docs/benchmarks.md and benchmarks/results/."""

import argparse
import json
import os
import sys
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from benchmarks import batching, conformance, dicom, imaging, machine, report, startup, tabular, tensors
from benchmarks.part import Options, Part
from benchmarks.services import REPOSITORY, Workspace

PARTS: tuple[Part, ...] = (
    tabular.PART,
    imaging.PART,
    startup.PART,
    dicom.PART,
    batching.PART,
    tensors.PART,
    conformance.PART,
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
    text = report.render(results, PARTS)
    print(text)
    if options.out is not None:
        _write(options.out, results, text)


def _measure(options: argparse.Namespace, workspace: Workspace) -> dict[str, Any]:
    about = machine.describe(workspace)
    results: dict[str, Any] = {"machine": about}
    how = Options(options.rounds, options.quick, options.only, _say)
    for part in PARTS:
        if part.name in options.parts and part.available():
            _say(f"── {part.name}")
            results[part.name] = part.measure(workspace, how)
            when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
            results[part.name]["when"] = f"{when}, commit {about['commit']}"
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
    names = [part.name for part in PARTS]
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("parts", nargs="*", help=f"any of {', '.join(names)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="a smoke run: one short round, figures mean nothing")
    parser.add_argument("--rounds", type=int, default=5, help="interleaved rounds (default: %(default)s)")
    parser.add_argument("--only", default="", metavar="TEXT", help="tabular contestants whose name holds TEXT")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bedside-benchmarks"
    parser.add_argument("--peers", type=Path, default=cache, help="folder that benchmarks/peers.sh installed into")
    parser.add_argument("--out", type=Path, default=None, help="folder for latest.json and benchmarks.md")
    options = parser.parse_args()
    for part in options.parts:
        if part not in names:
            parser.error(f"'{part}' is none of {', '.join(names)}")
    options.parts = options.parts or names
    if options.out is None and not options.quick and not options.only:
        options.out = _default_out()
    return options


def _default_out() -> Path:
    return Path(__file__).resolve().parent / "results"


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
