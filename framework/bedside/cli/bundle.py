"""``bedside bundle inspect | test | tune``; all run the bundle, so all ask admission first."""

import asyncio
import json
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from bedside.bundle.contract import Contract, FeatureSpec, InputSpec, OutputSpec
from bedside.bundle.folder import open_bundle
from bedside.cli import golden
from bedside.cli.counting import reference
from bedside.cli.options import Bundle
from bedside.cli.terminal import plain
from bedside.cli.tuning import tune
from bedside.runtime.facts import WHY_ALONE, WHY_EAGER, Acceleration, Batches
from bedside.runtime.memory import MemoryNeed
from bedside.settings import MEBIBYTE, load_settings

bundle_app = typer.Typer(help="Look at a bundle and try it, before it is served.", no_args_is_help=True)
bundle_app.command()(tune)
bundle_app.command()(reference)


@bundle_app.command()
def inspect(path: Bundle) -> None:
    """Build a bundle, run it once, and print its contract: what a request must hold and what the answer will be."""
    console = Console()
    folder = open_bundle(path)
    from bedside import bootstrap  # noqa: PLC0415 - two seconds that other commands need not

    with Console(stderr=True).status(f"building {folder.name} and running it once …"):
        inspection = asyncio.run(bootstrap.inspect_bundle(load_settings(), folder))
    contract = inspection.contract
    title = Text.assemble(plain(contract.model, "bold"), " ", plain(contract.version), "  ", contract.digest)
    console.print(title, highlight=False)
    console.print(plain(contract.description or contract.task))
    if folder.metadata.missing:
        console.print(f"[yellow]metadata.json lacks: {', '.join(folder.metadata.missing)}[/yellow]")
    if contract.shims:
        console.print(f"compatibility (docs/compatibility.md): {', '.join(contract.shims)}")
    console.print(_contract_table(contract))
    console.print(f"sandbox: {', '.join(inspection.layers) or 'none'}", highlight=False)
    if inspection.memory is not None:
        console.print(_memory_line(inspection.memory), highlight=False)
    console.print(_batches_line(inspection.batches), highlight=False)
    console.print(_acceleration_line(inspection.acceleration), highlight=False)


@bundle_app.command("test")
def try_golden_cases(
    path: Bundle,
    monai: Annotated[bool, typer.Option(help="Compare with monai.bundle, run afresh for each case.")] = True,  # noqa: FBT002
    as_json: Annotated[bool, typer.Option("--json", help="Print the results as JSON.")] = False,  # noqa: FBT002
) -> None:
    """Run a bundle's golden cases (golden/cases.json), served and by `monai.bundle`, and compare the answers.

    Exits 1 when an answer is not as expected, or is not MONAI's within the case's tolerance.
    """
    console = Console()
    folder = open_bundle(path)
    from bedside import bootstrap  # noqa: PLC0415 - two seconds that other commands need not

    with Console(stderr=True).status(f"running the golden cases of {folder.name} …"):
        results = asyncio.run(bootstrap.run_golden_cases(load_settings(), folder, with_monai=monai))
    if as_json:
        typer.echo(json.dumps(golden.to_json(folder, results), indent=2, allow_nan=False))
    else:
        golden.show(console, folder, results)
    if any(golden.failed(result, comparison) for result, comparison in results):
        raise typer.Exit(1)


def _memory_line(need: MemoryNeed) -> str:
    counted = " at 1 mm" if need.by_volume else ""
    per_million = need.per_voxel * 1e6 / MEBIBYTE
    return (
        f"memory: {need.resident // MEBIBYTE} MiB loaded; a request {need.base // MEBIBYTE} MiB"
        f" and {per_million:.0f} MiB for each million voxels{counted}, as measured"
    )


def _batches_line(batches: Batches) -> str:
    if batches.size < 2:
        return f"batches: none; {WHY_ALONE.get(batches.why, 'not tried')}"
    return f"batches: up to {batches.size} requests, {batches.gain:.1f} times as many a second"


def _acceleration_line(found: Acceleration) -> str:
    return f"network: {found.name}" + (f"; {WHY_EAGER[found.why]}" if found.why else "")


def _contract_table(contract: Contract) -> Table:
    table = Table("", "name", "what", "details", box=None, pad_edge=False)
    for given in contract.inputs:
        table.add_row("in", plain(given.name), given.kind, plain("\n".join(_input_lines(given))))
    for answered in contract.outputs:
        table.add_row("out", plain(answered.name), answered.kind, plain("\n".join(_output_lines(answered))))
    return table


def _input_lines(spec: InputSpec) -> Iterator[str]:
    yield "media types: " + (", ".join(spec.media_types) or "unknown")
    if spec.kind == "image":
        yield f"spatial axes: {spec.spatial_dims or 'unknown'}"
        yield "channels: " + (" or ".join(str(count) for count in spec.channels) or "unknown")
    if spec.extent_mm is not None:
        yield f"size along each axis: {spec.extent_mm[0]:g} to {spec.extent_mm[1]:g} mm"
    for feature in spec.features:
        yield f"{feature.name}: {_feature_line(feature)}"


def _feature_line(feature: FeatureSpec) -> str:
    codes = ", ".join(f"{value:g} {meaning}" for value, meaning in feature.codes.items())
    unit = f", {feature.unit}" if feature.unit and not codes else ""
    return f"{feature.description}{unit}{f' ({codes})' if codes else ''}{', may be null' if feature.nullable else ''}"


def _output_lines(spec: OutputSpec) -> Iterator[str]:
    yield f"type: {spec.dtype or 'unknown'}, shape: {list(spec.shape) if spec.shape is not None else 'unknown'}"
    if spec.like_input:
        yield f"on the grid of: {spec.like_input}"
    if spec.labels:
        yield "labels: " + ", ".join(f"{index} {name}" for index, name in spec.labels.items())
