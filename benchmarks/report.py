# ruff: noqa: RUF001 - the multiplication sign is meant
"""From raw results to docs/benchmarks.md. Medians and spreads of rounds; ratios are medians of each round's ratio."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from math import isnan
from statistics import median
from typing import Any

Raw = Mapping[str, Any]
Rows = Iterable[Sequence[str]]

_PARTS = ("tabular", "imaging", "startup", "dicom")
OURS = ("Bedside /v1 predict", "Bedside /v2 infer")
NAIVE = "naive FastAPI, scikit-learn"
NAIVE_BUNDLE = "naive FastAPI, same bundle"
KSERVE, MLSERVER = "KServe 0.21", "MLServer 1.7.1"


def render(results: Raw) -> str:
    """Return the whole document."""
    parts = [_head(results)]
    if "tabular" in results:
        parts += [_budget_tabular(results["tabular"]), _tabular(results["tabular"])]
    if "imaging" in results:
        parts.append(_imaging(results["imaging"]))
    if "startup" in results:
        parts.append(_startup(results["startup"]))
    if "dicom" in results:
        parts.append(_dicom(results["dicom"]))
    if "batching" in results:
        parts.append(_batching(results["batching"]))
    parts.append(_method())
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _head(results: Raw) -> str:
    machine = results["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items() if version)
    peers = "; ".join(
        f"{peer}: " + ", ".join(f"{name} {version}" for name, version in found.items())
        for peer, found in machine["peers"].items()
    )
    measured = "; ".join(f"{part}: {results[part]['when']}" for part in _PARTS if part in results)
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


# (a) tabular


class _Rounds:
    """The measurements of one load, by contestant and round."""

    def __init__(self, raw: Raw, kind: str, *, pinned: bool) -> None:
        self._found: dict[str, dict[int, Raw]] = {}
        for item in raw["measurements"]:
            if item["kind"] == kind and item["pinned"] == pinned:
                self._found.setdefault(item["contestant"], {})[item["round"]] = item

    @property
    def names(self) -> list[str]:
        return list(self._found)

    def values(self, name: str, key: Callable[[Raw], float]) -> list[float]:
        return [key(item) for item in self._found.get(name, {}).values()]

    def ratios(self, over: str, under: str, key: Callable[[Raw], float]) -> list[float]:
        left, right = self._found.get(over, {}), self._found.get(under, {})
        return [key(left[number]) / key(right[number]) for number in left if number in right and key(right[number])]

    def best(self, over: str, under: str) -> float:
        """Return the ratio of the best rounds: what the neighbours disturbed least."""
        return max(self.values(over, _per_second)) / max(self.values(under, _per_second))

    def errors(self, name: str) -> int:
        return sum(sum(item["load"]["errors"].values()) for item in self._found.get(name, {}).values())


def _per_second(item: Raw) -> float:
    return float(item["per_second"])


def _cpu(item: Raw) -> float:
    return float(item["cpu_us"])


def _p50(item: Raw) -> float:
    return float(item["load"]["p50"]) * 1e3


def _p99(item: Raw) -> float:
    return float(item["load"]["p99"]) * 1e3


def _budget_tabular(raw: Raw) -> str:
    rounds = _Rounds(raw, "saturated", pinned=True)
    goals = (
        (NAIVE, "naive FastAPI, scikit-learn, same duties", 6.0),
        (NAIVE_BUNDLE, "naive FastAPI, same bundle, same duties", 6.0),
        (KSERVE, "KServe 0.21, no authentication, no log", 4.0),
        (MLSERVER, "MLServer 1.7.1, no authentication, no log", 4.0),
    )
    rows = []
    for peer, title, goal in goals:
        if peer in rounds.names:
            cells = [title, f"≥ {goal:g}×"]
            for ours in OURS:
                speed, best = rounds.ratios(ours, peer, _per_second), rounds.best(ours, peer)
                cpu = [1 / ratio for ratio in rounds.ratios(ours, peer, _cpu)]
                kept = _verdict(min(median(speed), best) >= goal)
                cells += [f"{kept} {median(speed):.1f}×; {best:.1f}×", f"{_spread(cpu, 1)}×"]
            rows.append(cells)
    head = ("Bedside against", "goal", "req/s, /v1", "CPU, /v1", "req/s, /v2", "CPU, /v2")
    return f"""
## (a) Tabular: `heart_disease`, ten models over HTTP

{_table(head, rows)}

Requests per second of Bedside over the peer's: median of the rounds' ratios; then Bedside's best round over the peer's
best round, which neighbours disturb least. ✓ where both keep the goal. CPU: the peer's per request over Bedside's,
median of the rounds (least to most). Bedside authenticates, validates, logs and meters every request; so does the
naive server.

{_held(raw)}
"""


def _held(raw: Raw) -> str:
    rounds = _Rounds(raw, "held", pinned=True)
    plan = raw["plan"]
    rows = []
    for name in rounds.names:
        late = rounds.values(name, lambda item: item["load"]["late_sends"] * 1e3)
        held = rounds.values(name, lambda item: item["load"]["answered"] / max(1, item["load"]["sent"]))
        rows.append(
            [
                name,
                f"{_spread([100 * share for share in held], 1)} %",
                f"{rounds.errors(name)}",
                _spread(rounds.values(name, _p50), 2),
                f"{_verdict(median(rounds.values(name, _p99)) <= 20)} {_spread(rounds.values(name, _p99), 2)}",
                _spread(rounds.values(name, _cpu), 0),
                _spread(late, 2),
            ]
        )
    head = ("", "answered", "errors", "p50 ms", "p99 ms (goal ≤ 20)", "server CPU µs", "client late p99 ms")
    return f"""
**{plan["held_rate"]:.0f} requests a second held**, open loop, latency from the moment at which a request was meant to
leave. "Client late" is how long after that moment requests left although a connection was free: what the neighbours
did to the load client, and part of the latency.

{_table(head, rows)}
"""


def _tabular(raw: Raw) -> str:
    pinned, free = _Rounds(raw, "saturated", pinned=True), _Rounds(raw, "saturated", pinned=False)
    light = _Rounds(raw, "light", pinned=True)
    memory = {_service(name): value for name, value in raw["pss_mb"].items()}
    rows = [
        [
            name,
            _spread(pinned.values(name, _per_second), 0),
            _spread(pinned.values(name, _cpu), 0),
            _spread(light.values(name, _p50), 2),
            _spread(light.values(name, _p99), 2),
            _spread(free.values(name, _per_second), 0),
            str(pinned.errors(name) + light.errors(name) + free.errors(name)),
            f"{memory.get(_service(name), float('nan')):.0f}",
        ]
        for name in pinned.names
    ]
    head = ("", "req/s", "server CPU µs", "p50 ms at 200/s", "p99 ms at 200/s", "req/s unpinned", "errors", "PSS MB")
    logged = "; ".join(
        f"{name}: {lines} lines for {raw['answered'][name]} answers" for name, lines in raw["logged_lines"].items()
    )
    return f"""
### All contestants

{_table(head, rows)}

Median (least to most) of {raw["plan"]["rounds"]} rounds of {raw["plan"]["seconds"]:g} s after
{raw["plan"]["warm_up_seconds"]:g} s of warm-up, 64 connections; server on core 0, client on core 1, and "unpinned"
both where the scheduler likes ({raw["plan"]["unpinned_rounds"]} rounds). Every answer was compared byte for byte with
the one that belongs to its request. Servers with the same model gave the same probabilities (largest difference
{max(raw["largest_difference"].values()):.0e}). Logged: {logged}.
"""


def _service(name: str) -> str:
    if name.startswith("Bedside"):
        return "Bedside, tokens never remembered" if "never" in name else "Bedside"
    return name.replace(", scikit-learn", "")


# (b) imaging


def _imaging(raw: Raw) -> str:
    timings = raw["timings"]
    ratios = [item["served"] / item["in_process"] for item in timings]
    with_saving = [item["served"] / (item["in_process"] + item["saved"]) for item in timings]
    cpu = sum(item["served_cpu"] for item in timings) / sum(item["in_process_cpu"] for item in timings)
    served = [item["served"] * 1e3 for item in timings]
    in_process = [item["in_process"] * 1e3 for item in timings]
    saved = [item["saved"] * 1e3 for item in timings]
    total = raw["stages_ms"].get("total", float("nan"))
    by_log = total / median(in_process)
    rows = [
        ["served, whole request seen by the client", _quartiles(served, 1), _quartiles(ratios, 3)],
        ["served, the server's own total (log event)", f"{total:.1f}", f"{by_log:.3f}"],
        ["called in process (goal: served ≤ 1.05×)", _quartiles(in_process, 1), "1"],
        ["… saving the mask, as the served answer has it", f"{_quartiles(saved, 1)} more", ""],
    ]
    runs = [run["wall"] for run in raw["bundle_run"]]
    if runs:
        times = median(runs) / median(t["served"] for t in timings)
        rows.append(
            [
                "`python -m monai.bundle run`, per case (goal: served ≥ 8× faster)",
                f"{median(runs) * 1e3:.0f}",
                f"{_verdict(times >= 8)} served is {times:.1f}× faster",
            ]
        )
    stages = [[name, f"{value:.2f}"] for name, value in raw["stages_ms"].items()]
    rounds = len({item["round"] for item in timings})
    return f"""
## (b) Imaging: `hippocampus_mr`, NIfTI.gz in, NIfTI.gz mask out

{_table(("", "ms", "× in process"), rows)}

{len(raw["volumes"])} volumes (such as {next(iter(raw["volumes"].values()))} voxels), {rounds} rounds, one request at a
time, {raw["threads"]} thread for the model everywhere; served and in-process calls alternate. Median (quartiles);
ratios are per call. {_verdict(median(ratios) <= 1.05)} Median ratio {median(ratios):.3f}; with the saving of the mask
counted on both sides {median(with_saving):.3f}; server CPU over CPU in process {cpu:.3f}. All masks equal voxel for
voxel.
PSS: server and model process {raw["pss_mb"]["server"]:.0f} MB, in process {raw["pss_mb"]["in process"]:.0f} MB.

Stages of the served calls, from their log events (median ms; `run` holds `queue`, `preprocess` and `inference`):

{_table(("stage", "ms"), stages)}
"""


# (c) start-up and memory


def _startup(raw: Raw) -> str:
    starts = [[name, _spread(values, 1)] for name, values in raw["cold_start_s"].items()]
    rows = []
    roles = ("server", "fork server", "model processes", "all", "seconds to ready")
    for bundle, by_count in raw["memory_mb"].items():
        for count, found in by_count.items():
            cells = [f"{found[role]:.0f}" if role in found else "" for role in roles]
            rows.append([f"{count} × {bundle}", *cells])
    return f"""
## (c) Cold start and memory

From the start of the process to the first right answer, seconds, median (least to most):

{_table(("", "s"), starts)}

Memory by number of models, after one answer of each: PSS in MB, so that pages shared by processes count once. Library
pages are shared with whoever else runs torch at that moment, so a busy machine may show 100 MB less.
`heart_disease` runs inside the server (`execution = "inline"`), each `hippocampus_mr` in a process of its own.

{_table(("models", *roles), rows)}
"""


def _dicom(raw: Raw) -> str:
    runs, memory, count = raw["through"]["seconds"], raw["memory"], raw["count"]
    steps = [[name, _spread([run[name] for run in runs], 2)] for name in runs[0]]
    steps.append(["**study in, SEG and SR stored**", _spread([sum(run.values()) for run in runs], 2)])
    kinds = ("decode", "run", "preprocess", "inference", "encode")
    stages = [[name, f"{raw['through']['stages_ms'][name]:.1f}"] for name in kinds]
    rates = raw["instances_per_second"]
    rows = []
    for name, found in rates.items():
        service = name.partition(",")[0]
        ratios = [ours / theirs for ours, theirs in zip(rates[f"{service}, Bedside"], found, strict=True)]
        rows.append([name, _spread(found, 0), "" if name.endswith("Bedside") else _spread(ratios, 2)])
    volumes = memory["peak_bytes"] / memory["volume_bytes"]
    return f"""
## (d) DICOM

A made-up MR series of 20 slices of 48 × 40 through `hippocampus_mr`: stored by STOW-RS, run as a job, its Segmentation
and Structured Report stored in an Orthanc on this machine and found there by QIDO-RS. Seconds, median (least to most)
of {len(runs)}:

{_table(("", "s"), steps)}

Milliseconds of the stages by the server's log, median; `decode` runs twice, when the study is checked and in its job:

{_table(("stage", "ms"), stages)}

The same {count} instances of {raw["instance_bytes"] / 2**20:.1f} MiB to each in turn; C-STORE by dcmtk's `storescu`,
one association, PDUs of 128 KiB; STOW-RS in one request. "Success" of Bedside means encrypted, on disk and synchronised
(C-STORE), or a job whose series has an exact volume (STOW-RS); the others promise less.

{_table(("", "instances/s", "Bedside's rate over this"), rows)}

A CT of {memory["slices"]} slices of 512 × 512 as `multipart/related`, decoded in {memory["seconds"]:.1f} s: the peak of
the process above what it held before is **{volumes:.2f} volumes**, the request itself included (goal: at most 3).
{_verdict(volumes <= 3)}
"""


def _batching(raw: Raw) -> str:
    rows = []
    for concurrency in sorted({run["concurrency"] for run in raw["runs"]}):
        here = [run for run in raw["runs"] if run["concurrency"] == concurrency]
        alone, shared = ([run for run in here if run["side"] == side] for side in ("alone", "shared"))
        rate = [[_rate(run) for run in side] for side in (alone, shared)]
        ratios = [b / a for a, b in zip(*rate, strict=True)]
        p50, p99 = ([[run[key] for run in side] for side in (alone, shared)] for key in ("p50_ms", "p99_ms"))
        rows.append(
            [
                str(concurrency),
                *(_spread(found, 0) for found in rate),
                f"{_spread(ratios, 2)}×",
                *(f"{median(a):.0f} → {median(b):.0f}" for a, b in (p50, p99)),
            ]
        )
    head = ("callers", "req/s one by one", "req/s sharing runs", "ratio", "p50 ms", "p99 ms")
    wrong, answers = (sum(run[key] for run in raw["runs"]) for key in ("wrong", "answers"))
    return f"""
## (e) Batching: `chest_xray_pneumonia`, PNG in, JSON out

{_table(head, rows)}

Two servers, `runtime.batch_size` 1 and 8, take turns; each caller sends its next picture (256 × 256) when it has the
answer to the last one. Median (least to most) of the rounds; the ratio is that inside each round. Others, the load
client among them, used {raw["foreign_cores"]:.1f} cores meanwhile. {wrong} of {answers:,} answers were not those
of their picture alone (within 1e-5).
"""


def _rate(run: Raw) -> float:
    return float(run["answers"] / run["seconds"])


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


# words and tables


def _table(head: Sequence[str], rows: Rows) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    lines += ["| " + " | ".join(cells) + " |" for cells in rows]
    return "\n".join(lines)


def _spread(found: Sequence[float], digits: int) -> str:
    values = [value for value in found if not isnan(value)]
    if not values:
        return "-"
    return f"{median(values):,.{digits}f} ({min(values):,.{digits}f} to {max(values):,.{digits}f})"


def _quartiles(values: Sequence[float], digits: int) -> str:
    ordered = sorted(values)
    low, high = ordered[len(ordered) // 4], ordered[(3 * len(ordered)) // 4]
    return f"{median(ordered):.{digits}f} ({low:.{digits}f} to {high:.{digits}f})"


def _verdict(kept: bool) -> str:  # noqa: FBT001 - a verdict is one
    return "✓" if kept else "✗"
