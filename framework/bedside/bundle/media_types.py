"""Media types of files by their suffix, and back: of inputs, of answers, and of what bundles write by design."""

OCTETS = "application/octet-stream"

_BY_SUFFIX = {
    ".gz": "application/gzip",
    ".nii": "application/x-nifti",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".tif": "image/tiff",
    ".tiff": "image/tiff",
    ".npy": "application/x-npy",
    ".json": "application/json",
    ".csv": "text/csv",
    ".txt": "text/plain",
    ".dcm": "application/dicom",
    ".zip": "application/zip",
}

SUFFIXES = {
    "application/dicom": ".dcm",
    "application/json": ".json",
    "application/x-nifti": ".nii",
    "application/gzip": ".nii.gz",
    "image/png": ".png",
    "application/x-npy": ".npy",
    "text/csv": ".csv",
    "text/plain": ".txt",
    "image/tiff": ".tif",
    "image/jpeg": ".jpg",
    "application/zip": ".zip",
}
"""Suffixes of answers by their media type; gzip is NIfTI's."""


def media_type_of_suffix(suffix: str) -> str:
    """Return the media type that the last suffix says (``.nii.gz`` is a gzip file); octets where it is unknown."""
    return _BY_SUFFIX.get(f".{suffix.rpartition('.')[2].lower()}", OCTETS)


def suffix_of_media_type(media_type: str) -> str:
    """Return the suffix of an answer's file, ``.bin`` where it is unknown."""
    return SUFFIXES.get(media_type.partition(";")[0], ".bin")
