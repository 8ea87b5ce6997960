"""Series made in memory (``tests/assets/dicom/make_series.py``) and how tests read them."""

import io
from typing import Any

import numpy as np
from PIL import Image
from tests.assets.dicom import make_series

from bedside.bundle.dicom_policy import DicomPolicy
from bedside.codecs.dicom import read_radiograph, read_series
from bedside.codecs.dicom.source import Source, SourceSeries
from bedside.codecs.nifti import decode_nifti, read_nifti
from bedside.codecs.plane import decode_plane
from bedside.settings import LimitSettings
from bedside.types import DecodedImage

LIMITS = LimitSettings(decompressed_bytes=16 << 20, dicom_instances=50)


MAKE: Any = make_series

TIMES = {
    *("ContentDate", "ContentTime", "SeriesDate", "SeriesTime"),
    *("InstanceCreationDate", "InstanceCreationTime", "ContributionDateTime"),
}


def without_times(data: bytes) -> Any:
    """Return a result as a data set without the times of its making, which are all that may differ between two runs."""
    dataset = MAKE.pydicom.dcmread(io.BytesIO(data))
    for element in dataset.iterall():
        if element.keyword in TIMES:
            element.value = ""
    return dataset


def read(made: Any, **policy: Any) -> tuple[DecodedImage, SourceSeries]:
    """Read data sets as one input, with small limits."""
    return read_series(MAKE.files(made), DicomPolicy(**policy), LIMITS)


def read_picture(made: Any, **policy: Any) -> tuple[DecodedImage, Source]:
    """Read data sets as one radiograph, with small limits."""
    return read_radiograph(MAKE.files(made), DicomPolicy(**policy), LIMITS)


def picture(image: DecodedImage) -> Any:
    """Return the pixels (rows, columns), after the codec for PNG has checked the file and agreed with what is said."""
    checked = decode_plane(image.payload, "png", name=image.name, limit=1 << 30, arrays=False)
    assert (checked.shape, checked.dtype, checked.channels) == (image.shape, image.dtype, image.channels)
    return np.asarray(Image.open(io.BytesIO(image.payload)))


def voxels(image: DecodedImage) -> Any:
    """Return the voxel array, after the codec for NIfTI has checked the file and agreed with what is said of it."""
    checked = decode_nifti(image.payload, name=image.name, limit=1 << 30)
    assert (checked.shape, checked.dtype, checked.finite) == (image.shape, image.dtype, True)
    assert checked.affine is not None
    np.testing.assert_array_equal(checked.affine, image.affine)
    return read_nifti(image.payload)
