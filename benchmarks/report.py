"""From raw results to docs/benchmarks.md; each part writes its own section."""

from collections.abc import Iterable, Sequence
from statistics import median

from benchmarks.part import Part, Raw


def render(results: Raw, parts: Sequence[Part]) -> str:
    """Return the whole document."""
    measured = [part for part in parts if part.name in results]
    head = _head(results, [part.name for part in measured])
    sections = [head, *(part.render(results[part.name]) for part in measured), _method()]
    return "\n\n".join(section.strip() for section in sections) + "\n"


def _head(results: Raw, sections: Iterable[str]) -> str:
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    peers = "; ".join(
        f"{peer}: " + ", ".join(f"{name} {version}" for name, version in found.items())
        for peer, found in machine["peers"].items()
    )
    measured = "; ".join(f"{part}: {results[part]['when']}" for part in sections)
    return f"""
# Benchmarks

Written by `make bench`; do not edit. Raw results: `benchmarks/results/latest.json`.

**Ratios count, absolutes do not**: the machine is small and shared, and a neighbour moves requests per second
three-fold and CPU per request by half. Contestants therefore take turns (A B C, A B C …), and a ratio is the median
of the ratios inside each round.

| | |
|---|---|
| Machine | {machine["cpu"]}, {machine["cores"]} cores, {machine["memory_gib"]} GiB, Linux {machine["kernel"]} |
| Python | {machine["python"]} |
| Measured | {measured} |
| Versions | {versions} |
| Peers | {peers or "none installed: `benchmarks/peers.sh`"} |
| How busy | {_busy(results)} |
"""


def _busy(results: Raw) -> str:
    told = []
    if "tabular" in results:
        cores = [item["foreign_cores"] for item in results["tabular"]["measurements"]]
        stolen = max(item["stolen_cores"] for item in results["tabular"]["measurements"])
        told.append(
            f"tabular: others used {median(cores):.2f} cores (median; {min(cores):.2f} to {max(cores):.2f}), "
            f"the hypervisor took up to {stolen:.2f}"
        )
    if "imaging" in results:
        told.append(f"imaging: others used {results['imaging']['foreign_cores']:.2f} cores")
    if "dicom" in results:
        load = f"load average {results['dicom']['load_average']:.1f} over five minutes"
        told.append(f"DICOM: others used {results['dicom']['foreign_cores']:.2f} cores, {load}")
    return "; ".join(told) or "not recorded"


def _method() -> str:
    return """
## How it is measured

- `make bench` (all, under 15 minutes) or `make bench BENCH_OPTIONS="--quick"` (a smoke run, its figures mean nothing);
  `BENCH_OPTIONS=--help` lists the rest. KServe and MLServer take part once `benchmarks/peers.sh` has installed them.
- Load client: `benchmarks/client.py`. HTTP/1.1 keep-alive, constant arrival rate or saturation; latencies count from
  the moment at which a request was meant to leave, so a stalled server is charged for everybody who waited. Warm-up is
  not counted. A wrong, missing or foreign answer is an error; none is dropped. At saturation answers gather for 1 ms
  before the client looks at them: waking it for each one would be charged to the server, which no remote client does.
- CPU per request: user and system time of the server's whole process tree (`/proc`), warm-up included, over the answers
  of the same time.
- The naive server (`benchmarks/contestants/naive_fastapi.py`) is what FastAPI's tutorials lead to: a pydantic model,
  `Depends` with PyJWT (RS256) on every request, a `BaseHTTPMiddleware` that writes a structlog JSON line and counts in
  `prometheus_client`. Nothing in it is slow on purpose, and its handlers are `async def`. One variant scores with
  scikit-learn, one with the same bundle called in process.
- KServe and MLServer serve the same scikit-learn model ten times, V2 JSON, in the settings that suit them (one worker,
  no parallel workers, no gRPC, request logs off).
- Sixteen callers with a token each. "Tokens never remembered" switches Bedside's cache of verified tokens off
  (`auth.token_cache_size = 0`): each signature is then checked each time.
- No figure here is a test; `tests/integration/test_benchmarks_smoke.py` only checks that the benchmarks still run.
"""
