"""``bedside bundle reference``: answers to what a bundle was validated on, counted; drift is measured against them."""

import asyncio
from collections.abc import Iterator
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import track

from bedside.bundle.folder import open_bundle
from bedside.bundle.reference import write_reference
from bedside.cli.options import Bundle
from bedside.cli.server import CallFailed
from bedside.cli.study import parts_of, read_file
from bedside.cli.terminal import plain
from bedside.errors import ModelFailure, RequestError
from bedside.settings import load_settings
from bedside.types import RawPart


def reference(
    path: Bundle,
    files: Annotated[
        list[str],
        typer.Argument(
            help="One case per FILE, or per folder or .zip of DICOM files; NAME=FILE,NAME=FILE for several inputs.",
            metavar="FILE...",
            show_default=False,
        ),
    ],
    description: Annotated[
        str, typer.Option(help="What the cases are: source, how many, which split. It holds no patient.")
    ],
) -> None:
    """Answer what a bundle was validated on, and write golden/reference.json, which drift is measured against.

    How often each class was answered, how surely, which volumes and values: counts by bin, nothing of a case, and 50
    cases at least. The file is part of the bundle: sign and pack it afterwards.
    """
    folder = open_bundle(path)
    from bedside import bootstrap  # noqa: PLC0415 - two seconds that other commands need not

    asked = _Cases(files, folder.name)
    try:
        counts = asyncio.run(bootstrap.count_answers(load_settings(), folder, asked))
    except (RequestError, ModelFailure) as error:
        raise CallFailed(f"case {asked.number} of {len(files)} has no answer: {error.text}") from None
    written = write_reference(folder.root, counts, description)
    console = Console()
    for (kind, name), bins in sorted(counts.items()):
        console.print(plain(f"{kind} {name}: {sum(bins.values())} answers in {len(bins)} bins"), highlight=False)
    console.print(plain(str(written)), highlight=False, soft_wrap=True)


class _Cases:
    """The cases, read one by one; ``number`` is that of the one that was read last."""

    def __init__(self, files: list[str], model: str) -> None:
        self._files = files
        self._model = model
        self.number = 0

    def __iter__(self) -> Iterator[list[RawPart]]:
        console = Console(stderr=True)
        for case in track(self._files, f"asking {self._model} …", console=console, transient=True):
            self.number += 1
            yield [_part(name, path) for name, path in parts_of(case)]


def _part(name: str | None, path: str) -> RawPart:
    content, media_type = read_file(path)
    return RawPart(name, media_type, content)
