"""Made-up inputs have the structure of real ones, and keep the contract that they are made from."""

import nibabel
import numpy as np
import pytest

from bedside.bundle.contract import (
    ARRAY_MEDIA_TYPES,
    PLANE_MEDIA_TYPES,
    VOLUME_MEDIA_TYPES,
    Contract,
    FeatureSpec,
    InputSpec,
)
from bedside.bundle.metadata import Metadata, parse_metadata
from bedside.bundle.sample import axis_length, sample_inputs, sample_record, with_spacing
from bedside.bundle.validation import validate
from bedside.codecs import Codecs
from bedside.settings import LimitSettings
from bedside.types import DecodedArray, DecodedImage, DecodedRecord, DecodedValue, RawPart


def metadata(*spatial_shape: int | str) -> Metadata:
    """Return metadata with one network input."""
    entry = {"spatial_shape": list(spatial_shape)}
    return parse_metadata({"version": "1", "network_data_format": {"inputs": {"image": entry}}})


@pytest.mark.parametrize(
    ("formula", "length"),
    [
        (96, 96),
        (0, 1),
        (4096, 256),
        ("*", 64),
        ("8*n", 32),
        ("16 * n", 32),
        ("2**p*n", 64),
        ("2**n", 32),
        ("'256'", 64),
        ("256", 256),
        ("n+31", 32),
        ("n-1", 32),
        ("n//2", 32),
        ("1000*n", 64),
        ("__import__('os').system('true')", 64),
        ("n**-1", 64),
        ("9**9**9**9", 1),
        ("n if n else 0", 64),
        ("(" * 500, 64),
        ("1.5*n", 64),
        ("n//0", 64),
    ],
)
def test_formulas_are_parsed_never_run(formula: int | str, length: int) -> None:
    """The least length from 32 on; 64 where nothing can be said."""
    assert axis_length(formula) == length


@pytest.mark.parametrize(
    ("spec", "shape", "suffix"),
    [
        (InputSpec("image", "image", VOLUME_MEDIA_TYPES, 3, (1,)), (32, 32, 48), ".nii"),
        (InputSpec("image", "image", VOLUME_MEDIA_TYPES, 3, (4,)), (32, 32, 48, 4), ".nii"),
        (InputSpec("image", "image", (), 3), (32, 32, 48), ".nii"),
        (InputSpec("image", "image", (), None), (32, 32, 48), ".nii"),
        (InputSpec("image", "image", PLANE_MEDIA_TYPES, 2), (32, 32), ".png"),
        (InputSpec("image", "image", PLANE_MEDIA_TYPES, 2, (2, 3)), (32, 32, 2), ".png"),
        (InputSpec("image", "image", PLANE_MEDIA_TYPES, 2, (3,)), (32, 32, 3), ".png"),
        (InputSpec("image", "image", VOLUME_MEDIA_TYPES, 2), (32, 32), ".nii"),
        (InputSpec("image", "image", VOLUME_MEDIA_TYPES, 2, (3,)), (32, 32, 1, 3), ".nii"),
        (InputSpec("image", "image", ARRAY_MEDIA_TYPES, 3), (32, 32, 48), ".npy"),
        (InputSpec("image", "image", ARRAY_MEDIA_TYPES, 4), (32, 32, 48, 64), ".npy"),
    ],
)
def test_samples_are_what_decoding_would_have_made(spec: InputSpec, shape: tuple[int, ...], suffix: str) -> None:
    """The description agrees with the file, and the file with the contract."""
    [sample] = sample_inputs([spec], metadata("8*n", "8*n", 48)).items
    assert isinstance(sample, DecodedImage)
    assert (sample.shape, sample.suffix) == (shape, suffix)
    decoded = Codecs(LimitSettings()).decode_part(RawPart(None, "", sample.payload), spec)
    assert isinstance(decoded, DecodedImage)
    assert (decoded.shape, decoded.spatial_dims, decoded.channels, decoded.dtype) == (
        sample.shape,
        sample.spatial_dims,
        sample.channels,
        sample.dtype,
    )
    assert (decoded.affine is None) == (sample.affine is None)
    validate(Contract("m", "1", "d", "", "", (spec,), (), {}), [sample])


def test_the_same_seed_gives_the_same_sample() -> None:
    """A warm-up is repeatable; another seed is another image; neither is flat."""
    spec = InputSpec("image", "image", VOLUME_MEDIA_TYPES, 3)
    first, again, other = (sample_inputs([spec], metadata(32, 32, 32), seed=seed).items[0] for seed in (1, 1, 2))
    assert isinstance(first, DecodedImage)
    assert isinstance(again, DecodedImage)
    assert isinstance(other, DecodedImage)
    assert first.payload == again.payload != other.payload
    assert np.frombuffer(first.payload[352:], np.int16).std() > 10


def test_without_metadata_there_is_still_a_sample() -> None:
    """MAISI's metadata has no network_data_format at all."""
    [sample] = sample_inputs([InputSpec("image", "image")], parse_metadata({"version": "1"})).items
    assert isinstance(sample, DecodedImage)
    assert sample.shape == (64, 64, 64)


def test_every_kind_of_input_has_a_sample() -> None:
    """As many files as one key takes, the value that the bundle shows, an array of the shape that is known."""
    specs = (
        InputSpec("mr", "image", VOLUME_MEDIA_TYPES, 3, files=4),
        InputSpec("ct", "image", VOLUME_MEDIA_TYPES, 3, files=None),
        InputSpec("label_prompt", "value", example=[1, 2]),
        InputSpec("latent", "tensor", shape=(-1, 16), dtype="float16"),
        InputSpec("noise", "tensor"),
    )
    samples = sample_inputs(specs, metadata()).items
    assert [sample.name for sample in samples] == [*["mr"] * 4, "ct", "label_prompt", "latent", "noise"]
    value, latent, noise = samples[-3:]
    assert isinstance(value, DecodedValue)
    assert value.value == [1, 2]
    assert isinstance(latent, DecodedArray)
    assert (latent.values.shape, latent.values.dtype.name) == ((64, 16), "float16")
    assert isinstance(noise, DecodedArray)
    assert (noise.values.shape, noise.values.dtype.name) == ((1,), "float32")
    validate(Contract("m", "1", "d", "", "", specs, (), {}), samples)


def test_what_is_optional_is_left_out_unless_the_bundle_shows_it() -> None:
    """The warm-up takes the way that the bundle's author took."""
    specs = (
        InputSpec("label", "image", optional=True),
        InputSpec("points", "value", optional=True),
        InputSpec("label_prompt", "value", optional=True, example=[3]),
        InputSpec("noise", "tensor", optional=True),
    )
    assert sample_inputs(specs, metadata()).items == (DecodedValue("label_prompt", [3]),)


def test_records_keep_their_own_contract() -> None:
    """A code that exists, the middle of what was seen, else 1."""
    features = (
        FeatureSpec("thal", codes={3.0: "normal"}),
        FeatureSpec("age", seen=(29.0, 77.0)),
        FeatureSpec("other"),
    )
    spec = InputSpec("patient", "record", features=features)
    [record] = sample_inputs([spec], metadata()).items
    assert isinstance(record, DecodedRecord)
    assert record.record == sample_record(spec).record == {"thal": 3.0, "age": 53.0, "other": 1.0}
    assert record.values.tolist() == [3, 53, 1]
    validate(Contract("m", "1", "d", "", "", (spec,), (), {}), [record])


def test_a_sample_can_be_stretched_and_spaced_otherwise() -> None:
    """As measuring memory asks for: more voxels along the first axis, or the same ones of another size."""
    spec = InputSpec("image", "image", spatial_dims=3, channels=(1,), media_types=VOLUME_MEDIA_TYPES)
    sample = sample_inputs([spec], metadata(32, 32, 32))
    (once,) = sample.items
    (thrice,) = sample_inputs([spec], metadata(32, 32, 32), stretch=3).items
    assert isinstance(once, DecodedImage)
    assert isinstance(thrice, DecodedImage)
    assert (once.shape, thrice.shape) == ((32, 32, 32), (96, 32, 32))
    (coarse,) = with_spacing(sample, once, 2.0).items
    assert isinstance(coarse, DecodedImage)
    read = nibabel.Nifti1Image.from_bytes(coarse.payload)
    assert read.header.get_zooms() == (2.0, 2.0, 2.0)
    assert coarse.affine is not None
    np.testing.assert_array_equal(coarse.affine, np.diag([2.0, 2.0, 2.0, 1.0]))
    np.testing.assert_array_equal(read.dataobj, nibabel.Nifti1Image.from_bytes(once.payload).dataobj)
