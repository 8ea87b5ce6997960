"""Golden cases: inputs with expected outputs, kept beside a bundle in ``golden/cases.json``.

An input is the name of a file in ``golden/``, a JSON record, or a crop of an image that an installed Python package
carries (for images whose licence does not let us copy them).
"""

import gzip
import importlib.util
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bedside.bundle.media_types import media_type_of_suffix
from bedside.errors import InvalidBundle
from bedside.types import OutputArray, RawPart, RawRecord

_MILLIMETRES = 1e-4  # NIfTI keeps the matrix in float32
_PACKAGE = re.compile(r"[A-Za-z_]\w*", re.ASCII)


_EXPECTED = ({"file", "min_dice"}, {"probabilities", "tolerance"})


class PackageMissing(Exception):
    """The input comes inside a Python package that is not installed."""

    def __init__(self, package: str) -> None:
        self.package = package
        super().__init__(f"pip install {package}")


@dataclass(frozen=True, slots=True)
class GoldenCase:
    """One case.

    Attributes:
        name: what it shows.
        inputs: by input name, as ``cases.json`` describes them.
        expected: by output name: a mask file with the least Dice, or class probabilities with a tolerance.
        folder: the ``golden/`` folder.
    """

    name: str
    inputs: Mapping[str, Any]
    expected: Mapping[str, Any]
    folder: Path

    def raw_inputs(self) -> list[RawPart | RawRecord]:
        """Return the inputs as a transport would hand them over. Raises PackageMissing, InvalidBundle."""
        return [_raw(name, described, self.folder) for name, described in self.inputs.items()]

    def differences(self, outputs: Mapping[str, OutputArray], labels: Mapping[str, Mapping[int, str]]) -> list[str]:
        """Return what is not as expected, in words; empty where everything is. Raises InvalidBundle."""
        found: list[str] = []
        for name, wanted in self.expected.items():
            output = outputs.get(name)
            if output is None:
                found.append(f"{name}: no such output")
            elif "file" in wanted:
                path = _inside(self.folder, wanted["file"])
                found += _mask_differences(name, output, path, float(wanted["min_dice"]))
            else:
                found += _probability_differences(name, output, wanted, labels.get(name, {}))
        return found

    def answered(self, media_type: str, body: bytes) -> list[str]:
        """Return what is not as expected in an answer over HTTP, in words; empty where everything is.

        Args:
            media_type: ``application/gzip`` (one mask as NIfTI), or ``application/json`` with probabilities.
            body: the answer.

        Raises:
            InvalidBundle: the case names a file that is not there.
        """
        try:
            if media_type == "application/gzip":
                name = next(iter(self.expected))
                return self.differences({name: OutputArray(name, _mask(body))}, {})
            document = json.loads(body)
            found = {name: _named(document, name) for name in self.expected}
        except (ValueError, LookupError, TypeError, AttributeError, OSError):
            return ["the answer holds no mask and no probabilities"]
        outputs = {name: OutputArray(name, np.asarray(list(values.values()))) for name, values in found.items()}
        return self.differences(outputs, {name: dict(enumerate(values)) for name, values in found.items()})

    def disagreements(self, name: str, served: OutputArray, reference: OutputArray) -> list[str]:
        """Return where two answers of one shape differ by more than the case tolerates, in words.

        A mask has the case's least Dice, probabilities their tolerance; of what the case says nothing, each number
        may differ by 1e-5 of itself, and 1e-8.
        """
        wanted = self.expected.get(name, {})
        if not _on_one_grid(served, reference):
            return [f"{name}: the affine matrices differ"]
        if "file" in wanted:
            return _overlaps(name, reference.array, served.array, float(wanted["min_dice"]))
        tolerance = {"rtol": 0.0, "atol": float(wanted["tolerance"])} if wanted else {"rtol": 1e-5, "atol": 1e-8}
        close = np.isclose(served.array, reference.array, equal_nan=True, **tolerance)
        apart = int(close.size - np.count_nonzero(close))
        most = f"{tolerance['atol']:g}" if wanted else "1e-5 of themselves"
        return [f"{name}: {apart} of {close.size} numbers differ by more than {most}"] if apart else []


def read_golden(root: Path) -> list[GoldenCase]:
    """Return the golden cases of a bundle, none where it has no ``golden/cases.json``.

    Raises:
        InvalidBundle: the file is not a list of cases, or a part of one is missing; the case and the part are named.
    """
    path = root / "golden" / "cases.json"
    if not path.is_file():
        return []
    try:
        return [_case(number, dict(case), path.parent) for number, case in enumerate(json.loads(path.read_bytes()), 1)]
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise InvalidBundle(f"golden/cases.json is no JSON ({place})", field="golden/cases.json") from error
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InvalidBundle("golden/cases.json is not a list of cases", field="golden/cases.json") from error


def _case(number: int, case: Mapping[str, Any], folder: Path) -> GoldenCase:
    lacks = ", ".join(f"'{key}'" for key in ("name", "inputs", "expected") if key not in case)
    if lacks:
        raise InvalidBundle(f"golden/cases.json: case {number} lacks {lacks}", field="golden/cases.json")
    for output, wanted in dict(case["expected"]).items():
        if not any(keys <= {*wanted} for keys in _EXPECTED):
            needs = "needs 'file' and 'min_dice', or 'probabilities' and 'tolerance'"
            raise InvalidBundle(
                f"golden/cases.json: case {number}: expected.{output} {needs}", field="golden/cases.json"
            )
    return GoldenCase(str(case["name"]), dict(case["inputs"]), dict(case["expected"]), folder)


def dice(left: NDArray[Any], right: NDArray[Any], label: int) -> float:
    """Return the Dice overlap of one label in two label maps of the same shape; 1 where neither has it."""
    a, b = left == label, right == label
    total = int(a.sum()) + int(b.sum())
    return 1.0 if total == 0 else 2.0 * int((a & b).sum()) / total


def overlap(left: bytes, right: bytes) -> float:
    """Return the least Dice over the labels of two masks, each a NIfTI file in gzip; 0 where their shapes differ."""
    try:
        a, b = _mask(left), _mask(right)
    except (ValueError, OSError, EOFError):
        return 0.0
    if a.shape != b.shape:
        return 0.0
    return min((dice(a, b, int(label)) for label in np.union1d(a, b) if label), default=1.0)


def _mask(packed: bytes) -> NDArray[Any]:
    from nibabel import Nifti1Image  # noqa: PLC0415 - half a second that most commands need not
    from nibabel.filebasedimages import ImageFileError  # noqa: PLC0415

    try:
        return np.asanyarray(Nifti1Image.from_bytes(gzip.decompress(packed)).dataobj)
    except ImageFileError:
        raise ValueError("not NIfTI") from None


def _named(document: Mapping[str, Any], output: str) -> dict[str, float]:
    """Return the probabilities of an output by label, as docs/decisions/0024 lays them out."""
    result = document.get("result", document)
    within = result if "probabilities" in result else result["outputs"][output]
    return {str(label): float(value) for label, value in within["probabilities"].items()}


def _raw(name: str, described: Any, folder: Path) -> RawPart | RawRecord:
    file = described["file"] if isinstance(described, dict) and {*described} == {"file"} else described
    if isinstance(file, str):
        path = _inside(folder, file)
        return RawPart(name, media_type_of_suffix(path.suffix), path.read_bytes())
    if "package" in described:
        return RawPart(name, "application/x-nifti", _crop_of_package(described))
    return RawRecord(described)


def _inside(folder: Path, name: object) -> Path:
    """Return a file of a folder. Raises InvalidBundle where it lies elsewhere: no case reads the server's own files."""
    path = (folder / str(name)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise InvalidBundle("golden/cases.json names a file outside its folder", field="golden/cases.json")
    if not path.is_file():
        raise InvalidBundle(f"golden/{name} is missing", field="golden/cases.json")
    return path


def _crop_of_package(described: Mapping[str, Any]) -> bytes:
    import nibabel  # noqa: PLC0415 - half a second that most commands need not

    package = str(described["package"])
    if not _PACKAGE.fullmatch(package):  # to find 'a.b', Python would import 'a'
        raise InvalidBundle("golden/cases.json: 'package' must be a top-level package", field="golden/cases.json")
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise PackageMissing(package)
    image = nibabel.load(_inside(Path(spec.submodule_search_locations[0]), described["path"]))
    crop = tuple(slice(int(low), int(high)) for low, high in described.get("crop", ()))
    part = image.slicer[crop] if crop else image
    return bytes(part.to_bytes())


def _mask_differences(name: str, output: OutputArray, path: Path, least: float) -> list[str]:
    import nibabel  # noqa: PLC0415 - half a second that most commands need not

    expected = np.asanyarray(nibabel.load(path).dataobj)
    if expected.shape != output.stored.shape:
        return [f"{name}: shape {output.stored.shape}, expected {expected.shape}"]
    return _overlaps(name, expected, output.array, least)


def _on_one_grid(left: OutputArray, right: OutputArray) -> bool:
    if left.affine is None or right.affine is None:
        return True  # a picture has none, and neither has an array that was not written
    return bool(np.allclose(left.affine, right.affine, atol=_MILLIMETRES))


def _overlaps(name: str, expected: NDArray[Any], actual: NDArray[Any], least: float) -> list[str]:
    labels = [int(value) for value in np.union1d(expected, actual) if value]
    scores = {label: dice(expected, actual, label) for label in labels}
    return [f"{name}: Dice of label {k} is {v:.4f}, expected ≥ {least}" for k, v in scores.items() if v < least]


def _probability_differences(
    name: str, output: OutputArray, wanted: Mapping[str, Any], labels: Mapping[int, str]
) -> list[str]:
    index = {label: position for position, label in labels.items()}
    tolerance = float(wanted["tolerance"])
    found = []
    for label, expected in wanted["probabilities"].items():
        actual = float(output.array[index[label]]) if label in index else float("nan")
        if not abs(actual - float(expected)) <= tolerance:
            found.append(f"{name}: probability of {label} is {actual:.4f}, expected {expected} ± {tolerance}")
    return found
