"""`bedside top` over made-up metrics, written by the product's own registry: top.svg."""

import random
import re
from pathlib import Path

from rich import _export_format
from rich.console import Console

from bedside.cli.top import View, render
from bedside.observability.metrics import Metrics
from bedside.observability.snapshot import Activity, read

PROCESS = "process_cpu_seconds_total {cpu}\nprocess_resident_memory_bytes 4.2e8\n"
MODELS = {  # share of calls, median seconds, waiting, running
    ("hippocampus_mr", "0.1.0"): (0.2, 0.9, 3, 1),
    ("chest_xray_pneumonia", "0.1.0"): (0.3, 0.12, 0, 1),
    ("heart_disease", "0.1.0"): (0.5, 0.004, 0, 0),
}


def draw(folder: Path) -> None:
    """Write the picture into a folder."""
    metrics = Metrics()
    for (name, version), (_, _, waiting, running) in MODELS.items():
        metrics.for_model(name, version).ready.set(1)
        metrics.queue_length.labels(name).set(waiting)
        metrics.in_flight.labels(name).set(running)
    metrics.show_memory(lambda: 12 * 2**30, lambda: 1.5 * 2**30)
    before = read(_text(metrics, 10.0), 0.0)
    _serve(metrics, random.Random(3))  # noqa: S311 - made-up data
    activity = Activity(before, read(_text(metrics, 41.0), 60.0), 60.0)
    states = dict.fromkeys(MODELS, "READY") | {("hippocampus_mr", "0.2.0"): "LOADING"}
    console = Console(record=True, width=104, file=Path("/dev/null").open("w"), force_terminal=True)  # noqa: SIM115
    console.print(render(View("http://127.0.0.1:8000", activity, states, since_start=False)))
    # Without rich's link to a font on another server.
    style = re.sub(r"@font-face \{\{.*?\}\}", "", _export_format.CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    picture = console.export_svg(title="bedside top", code_format=style, unique_id="top")
    (folder / "top.svg").write_text(re.sub("<!--.*?-->", "", picture) + "\n", encoding="utf-8")


def _text(metrics: Metrics, cpu: float) -> str:
    ours = [line for line in metrics.expose("")[0].decode().splitlines() if not re.search(r"\bprocess_", line)]
    return "\n".join(ours) + "\n" + PROCESS.format(cpu=cpu)


def _serve(metrics: Metrics, chance: random.Random) -> None:
    metrics.for_model("hippocampus_mr", "0.2.0").ready.set(0)
    for (name, version), (share, median, _, _) in MODELS.items():
        for _ in range(int(2400 * share)):
            failed = chance.random() < 0.01
            seconds = median * chance.lognormvariate(0, 0.4)
            metrics.for_model(name, version).finished("rest", "failure" if failed else "success", seconds, {})
            if failed:
                metrics.refusal(chance.choice(("wrong_shape", "missing_feature", "queue_full"))).inc()
    for _ in range(7):
        metrics.for_model("", "").finished("rest", "failure", 0.0004, {})
        metrics.refusal("expired_token").inc()
