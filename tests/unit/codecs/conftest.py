"""What the codec tests share: the input files and the specs they are decoded for."""

from collections.abc import Callable
from pathlib import Path

import pytest

from bedside.bundle.contract import InputSpec
from bedside.codecs import Codecs
from bedside.settings import LimitSettings
from bedside.types import DecodedImage, RawPart

INPUTS = Path(__file__).parents[2] / "assets" / "inputs"

Decode = Callable[..., DecodedImage]


@pytest.fixture
def codecs() -> Codecs:
    """Return codecs with room for 16 MiB."""
    return Codecs(LimitSettings(decompressed_bytes=16 * 1024 * 1024, json_bytes=4096, rows=8))


@pytest.fixture
def decode(codecs: Codecs) -> Decode:
    """Return a function that decodes an asset, by default for an input that takes everything."""

    def run(name: str, media_type: str = "application/octet-stream", spec: InputSpec | None = None) -> DecodedImage:
        part = RawPart(None, media_type, (INPUTS / name).read_bytes())
        decoded = codecs.decode_part(part, spec or InputSpec("scan", "image"))
        assert isinstance(decoded, DecodedImage)
        return decoded

    return run
