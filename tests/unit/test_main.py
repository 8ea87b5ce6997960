"""The command as a module."""

import subprocess
import sys
from pathlib import Path


def test_nothing_is_imported_from_the_current_folder(tmp_path: Path) -> None:
    """``python -m bedside`` within a bundle's folder runs nothing that lies there."""
    for name in ("httpx", "pydantic", "structlog", "torch", "typer"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('ran')\n")
    command = [sys.executable, "-m", "bedside", "--version"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.stdout.startswith("bedside "), done.stderr
