"""The pictures in docs/images are those of the code."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[2]
IMAGES = REPOSITORY / "docs" / "images"


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the pictures as ``make pictures`` draws them now."""
    pytest.importorskip("matplotlib", reason="pip install 'bedside[docs]'")
    folder = tmp_path_factory.mktemp("images")
    subprocess.run([sys.executable, "-m", "scripts.pictures", str(folder)], cwd=REPOSITORY, check=True, timeout=120)
    return folder


def test_every_picture_is_drawn_and_no_other(drawn: Path) -> None:
    """None is left behind of a dashboard that has gone, and none is missing."""
    assert sorted(path.name for path in drawn.iterdir()) == sorted(path.name for path in IMAGES.iterdir())


@pytest.mark.parametrize("name", sorted(path.name for path in IMAGES.glob("*.png")))
def test_a_picture_shows_what_is_drawn_today(drawn: Path, name: str) -> None:
    """The size to the pixel; the colours but for the edges of letters, which differ between font renderers."""
    pictures = [np.asarray(Image.open(folder / name).convert("RGB")).astype(int) for folder in (drawn, IMAGES)]
    assert pictures[0].shape == pictures[1].shape
    assert np.mean(np.abs(pictures[0] - pictures[1]).max(axis=-1) > 32) < 0.01


def test_the_terminal_is_shown_as_it_looks_today(drawn: Path) -> None:
    """Text is compared as text."""
    assert (drawn / "top.svg").read_text() == (IMAGES / "top.svg").read_text()
