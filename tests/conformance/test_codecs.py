"""Codecs against the real thing: MONAI's readers on the same files, and hostile bytes on the decoder."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.transforms import Compose, EnsureChannelFirstd, LoadImaged

from bedside.bundle.contract import InputSpec
from bedside.codecs import Codecs
from bedside.errors import RequestError
from bedside.settings import LimitSettings
from bedside.types import DecodedImage, RawPart, RawTensor

INPUTS = Path(__file__).parents[1] / "assets" / "inputs"
FILES = sorted(path for path in INPUTS.iterdir() if path.suffix not in {".py", ""} and path.is_file())
CODECS = Codecs(LimitSettings(decompressed_bytes=4 * 1024 * 1024, json_bytes=65536))
ANYTHING = InputSpec("image", "image")


def decoded(data: bytes) -> DecodedImage:
    """Decode for an input that takes everything."""
    image = CODECS.decode_part(RawPart(None, "application/octet-stream", data), ANYTHING)
    assert isinstance(image, DecodedImage)
    return image


def sound() -> Iterator[Path]:
    """Return the assets that are accepted."""
    for path in FILES:
        try:
            decoded(path.read_bytes())
        except RequestError:
            continue
        yield path


def read_by_monai(image: DecodedImage, folder: Path) -> Any:
    """Return the channel-first tensor that a bundle's usual preprocessing makes of the payload."""
    path = folder / f"image{image.suffix}"
    path.write_bytes(image.payload)
    return Compose([LoadImaged("image"), EnsureChannelFirstd("image")])({"image": str(path)})["image"]


@pytest.mark.parametrize("path", list(sound()), ids=lambda path: path.name)
def test_monai_reads_what_was_described(path: Path, tmp_path: Path) -> None:
    """Channels, spatial shape, affine and finiteness of every accepted file are what MONAI sees."""
    image = decoded(path.read_bytes())
    tensor = read_by_monai(image, tmp_path)
    assert tuple(tensor.shape) == (image.channels, *image.shape[: image.spatial_dims])
    if image.affine is not None:
        rank = image.spatial_dims
        rows, columns = [*range(rank)], [*range(rank), -1]  # MONAI keeps as many axes as the image has
        np.testing.assert_allclose(tensor.affine[rows][:, columns], image.affine[rows][:, columns], atol=1e-6)
    assert bool(torch.isfinite(tensor).all()) is image.finite


def test_tensor_and_file_give_monai_the_same_pixels(tmp_path: Path) -> None:
    """A plane sent as (height, width) and as PNG, a volume sent as array and as file."""
    pixels = np.arange(35, dtype=np.uint8).reshape(5, 7)
    plane = RawTensor("image", "UINT8", (5, 7), pixels.tobytes())
    [[from_tensor]] = CODECS.decode_tensors([plane], [InputSpec("image", "image", ("image/png",), 2)])
    assert isinstance(from_tensor, DecodedImage)
    from_file = decoded((INPUTS / "grey.png").read_bytes())
    assert torch.equal(read_by_monai(from_tensor, tmp_path), read_by_monai(from_file, tmp_path))

    voxels = np.arange(120, dtype="<i2").reshape(4, 5, 6)
    from_file = decoded((INPUTS / "volume.nii.gz").read_bytes())
    assert from_file.affine is not None
    parameters = {"affine": from_file.affine.ravel().tolist()}
    volume = RawTensor("image", "INT16", (4, 5, 6), voxels.tobytes(), parameters)
    [[from_tensor]] = CODECS.decode_tensors([volume], [InputSpec("image", "image", (), 3)])
    assert isinstance(from_tensor, DecodedImage)
    one, other = read_by_monai(from_tensor, tmp_path), read_by_monai(from_file, tmp_path)
    assert torch.equal(one, other)
    assert torch.equal(one.affine, other.affine)


MEDIA_TYPES = st.sampled_from(
    ["", "application/gzip", "application/x-nifti", "image/png", "image/jpeg", "image/tiff", "application/x-npy", "x/y"]
)


@settings(max_examples=200)
@given(data=st.binary(max_size=600), media_type=MEDIA_TYPES)
def test_random_bytes_are_the_callers_error(data: bytes, media_type: str) -> None:
    """Never a traceback, whatever is sent."""
    try:
        CODECS.decode_part(RawPart(None, media_type, data), ANYTHING)
    except RequestError as error:
        assert error.field == "image"  # noqa: PT017 - most examples raise, a few may not


@settings(max_examples=1000)
@given(
    path=st.sampled_from(FILES),
    changes=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), max_size=6),
    cut=st.floats(0.2, 1),
)
def test_mutated_files_are_read_or_the_callers_error(path: Path, changes: list[tuple[float, int]], cut: float) -> None:
    """Flipped and lost bytes end in a RequestError or in an image, never in anything else."""
    data = bytearray(path.read_bytes())
    for position, value in changes:
        data[int(position * min(len(data), 400))] = value
    try:
        decoded(bytes(data[: int(len(data) * cut)]))
    except RequestError as error:
        assert error.field == "image"  # noqa: PT017 - some mutations leave a sound file


@settings(max_examples=300)
@given(
    datatype=st.sampled_from(["FP32", "INT8", "BYTES", "BOOL", "BF16", "UINT64", ""]),
    shape=st.lists(st.integers(-2, 5), max_size=5).map(tuple),
    data=st.binary(max_size=200)
    | st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4), st.lists, max_leaves=9
    ).map(lambda value: value if isinstance(value, list) else [value]),
    parameters=st.dictionaries(
        st.sampled_from(["affine", "spacing", "content_type"]),
        st.none() | st.text(max_size=5) | st.lists(st.floats() | st.text(max_size=2), max_size=16),
    ),
)
def test_random_tensors_are_the_callers_error(
    datatype: str, shape: tuple[int, ...], data: bytes | list[Any], parameters: dict[str, Any]
) -> None:
    """The same for tensors."""
    try:
        CODECS.decode_tensors([RawTensor("image", datatype, shape, data, parameters)], [ANYTHING])
    except RequestError as error:
        assert error.field == "image"  # noqa: PT017 - a few are sound
