"""Which way a radiograph hangs, by Patient Orientation (0020,0020; PS3.3 §C.7.6.1.1.1), and how it is to hang.

Two values: the direction in which a row runs, from left to right, and a column, from top to bottom, each a letter for
where in the patient it leads (a second and third letter tell by how little it deviates).
"""

from bedside.bundle.dicom_policy import DicomPolicy, Direction
from bedside.codecs.dicom.instances import Instance
from bedside.codecs.dicom.tags import text, texts
from bedside.codecs.turning import Turn
from bedside.errors import InvalidTag, UnexpectedOrientation

_OPPOSITE = {"L": "R", "R": "L", "A": "P", "P": "A", "H": "F", "F": "H"}
_FRONTAL: tuple[Direction, Direction] = ("L", "F")
_CHEST = "CHEST"
_FRONTAL_VIEWS = ("PA", "AP")  # PS3.3 §C.8.11.5, View Position


def turn_of(instance: Instance, rules: DicomPolicy) -> Turn | None:
    """Return how an image must be turned before the model sees it; None where it is taken as it is stored.

    Raises:
        UnexpectedOrientation: it hangs in another way than the model was made for, and the rules do not have it turned;
            or it says nothing, and the rules want that.
        InvalidTag: Patient Orientation names no two directions at right angles.
    """
    wanted = rules.hanging or _usual(instance, rules)
    if wanted is None or rules.orientation == "keep":
        return None
    stated = texts(instance.header, "PatientOrientation")
    if not any(value.strip() for value in stated):
        if rules.orientation_unstated == "refuse":
            raise UnexpectedOrientation("Patient Orientation (0020,0020) is not stated", instances=[instance.uid])
        return None
    turn = _between(_directions(stated, instance.uid), wanted, instance.uid)
    if turn != Turn() and rules.orientation != "turn":
        raise UnexpectedOrientation(instances=[instance.uid])
    return None if turn == Turn() else turn


def _usual(instance: Instance, rules: DicomPolicy) -> tuple[Direction, Direction] | None:
    """Return how a frontal chest hangs, for one; None for what has no way that everybody keeps to."""
    header = instance.header
    part = text(header, "BodyPartExamined").strip().upper()
    chest = part == _CHEST if part else [name.upper() for name in rules.body_part] == [_CHEST]
    return _FRONTAL if chest and text(header, "ViewPosition").strip().upper() in _FRONTAL_VIEWS else None


def _directions(stated: tuple[str, ...], uid: str) -> tuple[str, str]:
    first = [value.strip().upper()[:1] for value in stated]
    known = len(first) == 2 and all(letter in _OPPOSITE for letter in first)
    if not known or first[1] in (first[0], _OPPOSITE[first[0]]):
        raise InvalidTag("Patient Orientation (0020,0020) names no two directions at right angles", instances=[uid])
    return first[0], first[1]


def _between(stated: tuple[str, str], wanted: tuple[str, str], uid: str) -> Turn:
    rows, columns = wanted
    transposed = stated[0] in (columns, _OPPOSITE[columns])
    along, down = stated[::-1] if transposed else stated
    if along not in (rows, _OPPOSITE[rows]) or down not in (columns, _OPPOSITE[columns]):
        raise UnexpectedOrientation("Patient Orientation (0020,0020) is that of another view", instances=[uid])
    return Turn(transposed, mirrored=along != rows, upended=down != columns)
