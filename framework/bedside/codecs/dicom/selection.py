"""Which series of a study is meant: rules in order, the first that any series matches decides.

Series are named by their number, or by their place in the request where they have none: never by text that came with
them. Descriptions are free text, and people write names into them.
"""

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from pydicom import uid as uids

from bedside.bundle.dicom_policy import DicomPolicy, SeriesRule
from bedside.codecs.dicom.frames import is_localizer
from bedside.codecs.dicom.instances import Instance
from bedside.codecs.dicom.tags import item, text, value_of
from bedside.errors import (
    AmbiguousSeries,
    DuplicateSlice,
    LocalizerMixedIn,
    MixedSopClass,
    MultiFrame,
    NoMatchingSeries,
    SeveralStudies,
    UnsupportedSopClass,
    WrongBodyPart,
    WrongModality,
)

VOLUME_CLASSES = frozenset(
    {
        uids.CTImageStorage,
        uids.EnhancedCTImageStorage,
        uids.LegacyConvertedEnhancedCTImageStorage,
        uids.MRImageStorage,
        uids.EnhancedMRImageStorage,
        uids.LegacyConvertedEnhancedMRImageStorage,
        uids.PositronEmissionTomographyImageStorage,
        uids.EnhancedPETImageStorage,
        uids.LegacyConvertedEnhancedPETImageStorage,
    }
)
"""SOP classes whose frames have a place in the patient (PS3.4 §B.5)."""

PLANE_CLASSES = frozenset(
    {
        uids.ComputedRadiographyImageStorage,
        uids.DigitalXRayImageStorageForPresentation,
        uids.DigitalMammographyXRayImageStorageForPresentation,
        uids.DigitalIntraOralXRayImageStorageForPresentation,
    }
)
"""SOP classes of radiographs. Not those for processing: their values are the detector's, not a picture's."""

_AXES = ("sagittal", "coronal", "axial")


@dataclass(frozen=True, slots=True)
class Series:
    """The images of one series."""

    name: str
    instances: tuple[Instance, ...]

    @property
    def modality(self) -> str:
        """Return Modality (0008,0060)."""
        return text(self.instances[0].header, "Modality")

    @property
    def body_part(self) -> str:
        """Return Body Part Examined (0018,0015), empty where none is stated."""
        return text(self.instances[0].header, "BodyPartExamined").strip().upper()

    @property
    def view(self) -> str:
        """Return View Position (0018,5101), empty where none is stated."""
        return text(self.instances[0].header, "ViewPosition").strip().upper()

    @property
    def uids(self) -> list[str]:
        """Return the SOP Instance UIDs."""
        return [instance.uid for instance in self.instances]

    @property
    def orientation(self) -> str:
        """Return the plane that the first slice is nearest to, empty where that cannot be told."""
        header = self.instances[0].header
        shared = item(header, "SharedFunctionalGroupsSequence")
        plane = item(shared, "PlaneOrientationSequence") if shared is not None else None
        value = value_of(header if plane is None else plane, "ImageOrientationPatient")
        try:
            vectors = np.array([float(number) for number in value])
            return _AXES[int(np.argmax(np.abs(np.cross(vectors[:3], vectors[3:6]))))]
        except (TypeError, ValueError):
            return ""


def choose(instances: Sequence[Instance], policy: DicomPolicy, name: str, *, planes: bool = False) -> Series:
    """Return the one series that is meant, without what is not an image of it.

    Args:
        instances: everything that came.
        policy: the rules.
        name: input for which the rules are asked.
        planes: one radiograph is meant; each is judged as if it were a series of its own.

    Raises:
        SeveralStudies, DuplicateSlice, UnsupportedSopClass, NoMatchingSeries, AmbiguousSeries, WrongModality,
        WrongBodyPart, LocalizerMixedIn, MixedSopClass, MultiFrame.
    """
    _require_one_study(instances)
    candidates = _radiographs(instances) if planes else _candidates(instances)
    rules = [rule for rule in policy.series if rule.input in ("", name)]
    chosen = _by_rules(candidates, rules) if rules else _only(_suitable(candidates, policy))
    _require_suitable(chosen, policy)
    chosen = _without_localizers(chosen, drop=policy.drop_localizers)
    if len({text(instance.header, "SOPClassUID") for instance in chosen.instances}) > 1:
        raise MixedSopClass(instances=chosen.uids)
    return chosen


def _require_one_study(instances: Sequence[Instance]) -> None:
    studies = {instance.study for instance in instances}
    patients = {(text(i.header, "PatientID"), text(i.header, "IssuerOfPatientID")) for i in instances}
    if len(studies) > 1 or len(patients) > 1:
        raise SeveralStudies(instances=[instance.uid for instance in instances])
    twice = [uid for uid, count in Counter(instance.uid for instance in instances).items() if count > 1]
    if twice:
        raise DuplicateSlice("an instance came twice", instances=twice)


def _candidates(instances: Sequence[Instance]) -> list[Series]:
    groups: dict[str, list[Instance]] = {}
    for instance in instances:
        groups.setdefault(instance.series, []).append(instance)
    found = [
        Series(_name(members[0], place), tuple(members))
        for place, members in enumerate(groups.values(), 1)
        if any(text(member.header, "SOPClassUID") in VOLUME_CLASSES for member in members)
    ]
    if not found:
        raise UnsupportedSopClass(instances=[instance.uid for instance in instances])
    # A scout of its own is no candidate, unless it is all there is.
    images = [series for series in found if not all(map(is_localizer, series.instances))]
    return images or found


def _radiographs(instances: Sequence[Instance]) -> list[Series]:
    found = [
        Series(f"image {place} of {_name(instance, place)}", (instance,))
        for place, instance in enumerate(instances, 1)
        if text(instance.header, "SOPClassUID") in PLANE_CLASSES
    ]
    moving = [instance.uid for instance in instances if text(instance.header, "NumberOfFrames") not in ("", "1")]
    if not found and moving:
        raise MultiFrame(instances=moving)
    if not found:
        raise UnsupportedSopClass(instances=[instance.uid for instance in instances])
    return found


def _name(instance: Instance, place: int) -> str:
    number = text(instance.header, "SeriesNumber")
    return f"series {number}" if re.fullmatch(r"\d{1,9}", number) else f"series without number ({place} in the request)"


def _by_rules(candidates: Sequence[Series], rules: Iterable[SeriesRule]) -> Series:
    for rule in rules:
        matching = [series for series in candidates if _matches(series, rule)]
        if matching:
            return _only(matching)
    raise NoMatchingSeries(f"no rule of [[dicom.series]] matches {_names(candidates)}")


def _matches(series: Series, rule: SeriesRule) -> bool:
    count = len(series.instances)
    description = text(series.instances[0].header, "SeriesDescription")
    return (
        rule.modality in ("", series.modality)
        and (not rule.description or re.search(rule.description, description, re.IGNORECASE) is not None)
        and (not rule.body_part or series.body_part in {part.upper() for part in rule.body_part})
        and rule.orientation in (None, series.orientation)
        and (not rule.view or series.view in {view.upper() for view in rule.view})
        and rule.min_instances <= count <= (rule.max_instances or count)
    )


def _suitable(candidates: list[Series], policy: DicomPolicy) -> list[Series]:
    """Return the candidates of the right modality, or all: with one wrong series, the reason is its modality."""
    return [series for series in candidates if policy.takes(series.modality)] or candidates


def _only(matching: Sequence[Series]) -> Series:
    if len(matching) > 1:
        raise AmbiguousSeries(f"{_names(matching)} could be meant", instances=[s.instances[0].uid for s in matching])
    return matching[0]


def _names(candidates: Sequence[Series]) -> str:
    return ", ".join(series.name for series in candidates)


def _require_suitable(series: Series, policy: DicomPolicy) -> None:
    if not policy.takes(series.modality):
        raise WrongModality(f"the model was made for {policy.modality}", instances=series.uids)
    parts = {part.upper() for part in policy.body_part}
    # An absent value is no contradiction: Body Part Examined is optional in CT and MR (type 3).
    if parts and series.body_part and series.body_part not in parts:
        raise WrongBodyPart(f"the model was made for {', '.join(sorted(parts))}", instances=series.uids)


def _without_localizers(series: Series, *, drop: bool) -> Series:
    scouts = [instance for instance in series.instances if is_localizer(instance)]
    if scouts and not drop:
        raise LocalizerMixedIn(instances=[scout.uid for scout in scouts])
    others = tuple(instance for instance in series.instances if not is_localizer(instance))
    if not others:
        raise LocalizerMixedIn("the series holds localizers only", instances=series.uids)
    return Series(series.name, others)
