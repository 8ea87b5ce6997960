"""Draws the pictures of docs/images again: ``python -m scripts.pictures [FOLDER]``."""

import sys
from pathlib import Path

from scripts.pictures import dashboards, overlay, top

if __name__ == "__main__":
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).resolve().parents[2] / "docs" / "images"
    for kind in (dashboards, overlay, top):
        kind.draw(folder)
