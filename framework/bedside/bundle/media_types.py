"""Media types of files by their suffix: of golden inputs, and of what bundles write by design."""

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
}


def media_type_of_suffix(suffix: str) -> str:
    """Return the media type that the last suffix says (``.nii.gz`` is a gzip file); octets where it is unknown."""
    return _BY_SUFFIX.get(f".{suffix.rpartition('.')[2].lower()}", OCTETS)
