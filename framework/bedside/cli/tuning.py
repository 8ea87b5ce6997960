"""``bedside bundle tune``: which way of running a bundle's network is the fastest that gives the same answers here."""

import asyncio
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bedside.bundle.folder import open_bundle
from bedside.bundle.tuned import LEAST_GAIN, tune_file, write_tuned
from bedside.cli.options import Bundle
from bedside.cli.terminal import plain
from bedside.registry.tuning import Measured, Tuning
from bedside.runtime.facts import WHY_EAGER
from bedside.settings import load_settings

NOT_OFFERED = {
    "torch_compile": "it compiles C++ when it runs, and a confined process starts no program (docs/isolation.md)",
    "tensorrt": "it needs a GPU of NVIDIA's, where it has not been tried; freeze and bf16 run there",
}


def tune(
    path: Bundle,
    write: Annotated[bool, typer.Option(help="Keep the choice beside the folder, as PATH.tune.json.")] = True,  # noqa: FBT002
    rounds: Annotated[int, typer.Option(min=1, max=1000, help="Timed runs of each way.")] = 5,
) -> None:
    """Run a bundle's golden cases, or a sample, in each way its network can run, and keep the fastest.

    Only what agrees with PyTorch within the golden cases' tolerance is kept, and only what is 1.1 times as fast; where
    nothing is, an earlier choice is removed. Servers use the choice when they load the bundle next.
    """
    console = Console()
    folder = open_bundle(path)
    from bedside import bootstrap  # noqa: PLC0415 - two seconds that other commands need not

    with Console(stderr=True).status(f"running {folder.name} in each way …"):
        tuning = asyncio.run(bootstrap.tune_bundle(load_settings(), folder, rounds))
    console.print(_table(tuning))
    chosen = tuning.choice
    if chosen is None:
        console.print(f"nothing is {LEAST_GAIN} times as fast and agrees: networks stay as PyTorch runs them")
    if write:
        write_tuned(folder.root, chosen)
    if chosen is not None:
        where = f"kept in {tune_file(folder.root)}" if write else "not kept (--no-write)"
        console.print(plain(f"{chosen.acceleration}: {where}"), highlight=False, soft_wrap=True)


def _table(tuning: Tuning) -> Table:
    machine = tuning.machine
    on = f"{machine.processor}, torch {machine.torch}, threads: {machine.threads}"
    ran = ", ".join(tuning.inputs) or "a made-up sample"
    table = Table("way", "ms", "ratio", "equal", "remarks", title=plain(f"{ran}; {on}"))
    table.add_row("eager", f"{tuning.eager_seconds * 1e3:.1f}", "1.00", "", "")
    best = tuning.choice
    for way in tuning.ways:
        style = "green" if best is not None and way.name == best.acceleration else ""
        table.add_row(*_row(way), style=style)
    for name, reason in NOT_OFFERED.items():
        table.add_row(name, "", "", "", plain(f"not here: {reason}"))
    return table


def _row(way: Measured) -> tuple[str, str, str, str, Text]:
    if way.why:
        return way.name, "", "", "", plain("; ".join(("not here: " + WHY_EAGER[way.why], *way.remarks)))
    verdict = way.remarks or (() if way.kept else ("not worth it",))
    return way.name, f"{way.seconds * 1e3:.1f}", f"{way.ratio:.2f}", f"{way.equal:.4%}", plain("\n".join(verdict))
