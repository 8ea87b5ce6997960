"""Arguments and options that several commands have."""

from pathlib import Path
from typing import Annotated

import typer

Bundle = Annotated[Path, typer.Argument(help="Bundle folder.", metavar="PATH", show_default=False)]
Config = Annotated[Path | None, typer.Option(help="TOML file with settings (docs/settings.md).")]
