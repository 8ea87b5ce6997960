"""``[dicom]`` of ``bedside.toml``: which series a bundle takes, what may be mended, how results are coded."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Orientation = Literal["axial", "coronal", "sagittal"]
Repair = Literal["gantry-tilt", "uneven-spacing"]
ResultObject = Literal["segmentation", "report", "capture"]
Direction = Literal["L", "R", "A", "P", "H", "F"]


RADIOGRAPHY = frozenset({"CR", "DX"})
"""Modalities (PS3.3 §C.7.3.1.1.1) that tell how a radiograph was read out, not what it shows."""


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


@dataclass(frozen=True, slots=True)
class DescribedSeries:
    """What an archive tells of a series before it is taken; what it leaves out is empty, or None."""

    uid: str
    modality: str = ""
    description: str | None = None
    body_part: str | None = None
    count: int | None = None


class SeriesRule(_Table):
    """One way to find the series of an input; what is left out binds nothing."""

    modality: str = ""
    """Modality (0008,0060), for example ``CT``."""

    description: str = ""
    """Regular expression that is searched in Series Description (0008,103E), whatever the case."""

    body_part: tuple[str, ...] = ()
    """Body Part Examined (0018,0015), one of these. A series that states none does not match."""

    orientation: Orientation | None = None
    """The plane that the slices are nearest to."""

    view: tuple[str, ...] = ()
    """View Position (0018,5101) of a radiograph, one of these, for example ``PA``; ``""`` for one that states none."""

    min_instances: int = Field(default=1, ge=1)
    """Fewest instances."""

    max_instances: int | None = Field(default=None, ge=1)
    """Most instances."""

    input: str = ""
    """The input that this rule is for; empty: every image input."""

    def may_match(self, series: DescribedSeries, *, planes: bool) -> bool:
        """Tell whether the series itself could match; of pictures, each is judged by itself (``planes``)."""
        parts = {part.upper() for part in self.body_part}
        count = None if planes else series.count
        return (
            (not series.modality or self.modality in ("", series.modality))
            and (series.description is None or bool(re.search(self.description, series.description, re.IGNORECASE)))
            and (not parts or series.body_part is None or series.body_part.upper() in parts)
            and (count is None or self.min_instances <= count <= (self.max_instances or count))
        )

    @field_validator("description")
    @classmethod
    def _is_regex(cls, value: str) -> str:
        try:
            re.compile(value)
        except re.error as error:
            raise ValueError(f"no regular expression: {error}") from None
        return value


class Code(_Table):
    """A coded concept (DICOM PS3.3 §8): value, scheme and meaning."""

    value: str = Field(min_length=1, max_length=16)
    """Code Value (0008,0100)."""

    scheme: str = Field(default="SCT", min_length=1, max_length=16)
    """Coding Scheme Designator (0008,0102)."""

    meaning: str = Field(min_length=1, max_length=64)
    """Code Meaning (0008,0104)."""


class SegmentCoding(_Table):
    """What one label means to an archive: ``[dicom.segments.<label>]``."""

    category: Code = Code(value="91723000", meaning="Anatomical Structure")
    """Segmented Property Category (CID 7150)."""

    type: Code
    """Segmented Property Type (CID 7151)."""

    modifier: Code | None = None
    """Segmented Property Type Modifier, for example a side (CID 244)."""


class DicomPolicy(_Table):
    """What a site or an author decides about DICOM for one bundle."""

    series: tuple[SeriesRule, ...] = ()
    """Rules in order; the first that any series matches decides. Without rules, the study must hold one series of the
    modality that ``metadata.json`` names."""

    modality: str = ""
    """Modality that the model was made for; empty: the one that ``metadata.json`` names for the input, if any."""

    body_part: tuple[str, ...] = ()
    """Body parts that the model was made for; a series that states another one is refused."""

    resample: tuple[Repair, ...] = ()
    """What may be mended by interpolation instead of being refused. The result is put back into the source's grid."""

    padding: Literal["refuse", "keep"] | float = "refuse"
    """Pixels with Pixel Padding Value (0028,0120): refuse the series, keep what the scanner wrote, or take this number
    (after rescaling) instead."""

    drop_localizers: bool = False
    """Leave out localizers that share the series with the images, instead of refusing the series."""

    spacing_tolerance: float = Field(default=0.01, gt=0, lt=0.5)
    """How far a slice may lie from its place in an even row, as a part of the distance between slices."""

    hanging: tuple[Direction, Direction] | None = None
    """How radiographs hung that the model was made for, as Patient Orientation (0020,0020) says it: where rows run,
    then columns. Unset: ``["L", "F"]`` for PA and AP views of the chest, and nothing is expected of others."""

    orientation: Literal["refuse", "turn", "keep"] = "refuse"
    """A radiograph that says that it hangs in another way: refuse it, turn it (by quarters and flips, no pixel changes;
    results are turned back), or take it as it is stored."""

    orientation_unstated: Literal["keep", "refuse"] = "keep"
    """A radiograph of which something is expected and that does not say how it hangs: take it as it is stored, or
    refuse it."""

    results: tuple[ResultObject, ...] = ("segmentation", "report")
    """What a DICOM answer holds, where the model's answer allows it."""

    segments: Mapping[str, SegmentCoding] = Field(default_factory=dict)
    """Coding by label name, as ``channel_def`` has it."""

    @field_validator("hanging")
    @classmethod
    def _is_plane(cls, value: tuple[Direction, Direction] | None) -> tuple[Direction, Direction] | None:
        if value is not None and any(set(value) <= axis for axis in ({"L", "R"}, {"A", "P"}, {"H", "F"})):
            raise ValueError("hanging names two directions at right angles")
        return value

    def takes(self, modality: str) -> bool:
        """Tell whether the model was made for a modality; to it, a radiograph is one however it was read out."""
        return self.modality in ("", modality) or {self.modality, modality} <= RADIOGRAPHY

    def wanted(self, found: Sequence[DescribedSeries], name: str, *, planes: bool) -> list[DescribedSeries]:
        """Return the series that may be the one that is meant, so that no others are taken from an archive.

        What an archive does not tell binds nothing: who reads the files decides.
        """
        rules = [rule for rule in self.series if rule.input in ("", name)]
        if not rules:
            return [series for series in found if not series.modality or self.takes(series.modality)]
        wanted: list[DescribedSeries] = []
        for rule in rules:
            matching = [series for series in found if rule.may_match(series, planes=planes)]
            wanted += [series for series in matching if series not in wanted]
            if matching and rule.orientation is None and not planes:
                break  # nothing is left to be asked of the files: the first rule that matches decides
        return wanted
