"""What a reference run is given: files and records as a bundle's own data folder would hold them; no torch."""

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bedside.bundle.agreement import NotComparable
from bedside.types import RawPart, RawRecord

_SUFFIXES = {
    "application/gzip": ".nii.gz",
    "application/x-nifti": ".nii",
    "image/png": ".png",
    "image/jpeg": ".jpg",
    "image/tiff": ".tif",
    "application/x-npy": ".npy",
}


@dataclass(frozen=True, slots=True)
class ReferenceItem:
    """One item.

    Attributes:
        files: by input name, the path of its file.
        records: by input name, the numbers by feature, in the network's order; None where a value is missing.
    """

    files: Mapping[str, str] = field(default_factory=dict)
    records: Mapping[str, Mapping[str, float | None]] = field(default_factory=dict)


def item_of(
    inputs: Mapping[str, RawPart | RawRecord], features: Mapping[str, tuple[str, ...]], folder: Path
) -> ReferenceItem:
    """Write the files of a case and return the item.

    Args:
        inputs: by name.
        features: by name of a record, the names of its numbers in the network's order.
        folder: where the files go.

    Raises:
        NotComparable: an input is no file that a bundle's reader takes, nor a record.
    """
    files, records = {}, {}
    for number, (name, given) in enumerate(inputs.items()):
        if isinstance(given, RawRecord):
            if name not in features:
                raise NotComparable(f"{name} is neither a file nor a record of numbers")
            records[name] = {feature: given.values.get(feature) for feature in features[name]}
        elif given.media_type in _SUFFIXES:
            path = folder / f"input{number}{_SUFFIXES[given.media_type]}"
            path.write_bytes(given.data)
            files[name] = str(path)
        else:
            raise NotComparable(f"{name} is {given.media_type}, which is no file that monai.bundle reads")
    return ReferenceItem(files, records)


def table_of(item: ReferenceItem, options: Mapping[str, Any], folder: Path) -> Path:
    """Write the records as a table of one row, in the form that ``pandas.read_csv(**options)`` reads back."""
    values = {name: value for record in item.records.values() for name, value in record.items()}
    columns = list(options.get("names") or values)
    path = folder / "record.csv"
    with path.open("w", newline="") as stream:
        writer = csv.writer(stream, delimiter=options.get("sep") or options.get("delimiter") or ",")
        if options.get("header", 0) is not None:
            writer.writerow(columns)
        writer.writerow(["" if values.get(column) is None else values[column] for column in columns])
    return path
