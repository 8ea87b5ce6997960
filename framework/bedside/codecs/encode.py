"""Stage 8 of the spine: encode. A prediction becomes the media type that was negotiated."""

import hashlib
import io
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from bedside.bundle.contract import Contract, OutputSpec
from bedside.bundle.media_types import media_type_of_suffix
from bedside.bundle.remembered import Remembered
from bedside.codecs.dicom import DICOM, RELATED, write_results
from bedside.codecs.findings import finding, source_image
from bedside.codecs.nifti import compress, encode_nifti
from bedside.codecs.npy import encode_npy
from bedside.codecs.overlay import render_overlay
from bedside.codecs.report import encode_json, report
from bedside.codecs.turning import inputs_as_sent, results_as_sent
from bedside.errors import NotAcceptable, RunFailed
from bedside.types import (
    DecodedImage,
    DecodedInput,
    EncodedAnswer,
    OutputArray,
    OutputFile,
    Prediction,
    RawPart,
    ValidatedInputs,
)

NIFTI_GZ = "application/gzip"
JSON = "application/json"
PNG = "image/png"
NPY = "application/x-npy"
MIXED = "multipart/mixed"
_RELATED_DICOM = f'{RELATED}; type="{DICOM}"'

_Write = Callable[[Contract, ValidatedInputs, Prediction], EncodedAnswer]


class Answers:
    """Predictions to JSON, NIfTI, PNG, .npy, DICOM, a bundle's own files, and all of them together.

    Implements :class:`bedside.interfaces.Encoder`.

    Attributes:
        watches: somebody wants to know what answers say.
    """

    def __init__(self, *, watches: bool = True) -> None:
        self.watches = watches
        self._writers: dict[str, _Write] = {
            NIFTI_GZ: _nifti,
            JSON: _json,
            PNG: _png,
            NPY: _npy,
            MIXED: _mixed,
            DICOM: _dicom,
            RELATED: _dicoms,
        }

    def available(self, contract: Contract) -> tuple[str, ...]:
        """Return the media types that this model can answer with, the preferred one first.

        A model with one result on a grid whose place is known answers with the file that a viewer opens, one with
        several such results with all of them; a model that only writes a file, with that; any other with JSON.
        DICOM objects are for inputs that were DICOM.
        """
        return _available(contract)

    def encode(
        self, media_type: str, contract: Contract, inputs: ValidatedInputs, prediction: Prediction
    ) -> EncodedAnswer:
        """Encode a prediction as ``media_type``, one of :meth:`available`.

        Raises:
            NotAcceptable: this model has no such answer, or DICOM was asked for and not sent.
            RunFailed: the result holds numbers that must not go out (NaN, labels that are none), or has no place in
                space although the contract promises one.
            InputNotProcessable: the numbers are NaN because the record lies outside the range seen in training.
        """
        available = _available(contract)
        if media_type not in available:
            raise NotAcceptable(f"this model answers with: {', '.join(available)}", available=available)
        if media_type in _own_types(contract):
            return _own_file(media_type, prediction)
        sent = results_as_sent(contract, inputs, prediction)
        return self._writers[media_type](contract, inputs_as_sent(inputs), sent)

    finding = staticmethod(finding)

    def needed(self, media_type: str, contract: Contract, inputs: ValidatedInputs) -> ValidatedInputs:
        """Return what :meth:`encode` needs of the inputs: images without their voxels where it does not draw them."""
        captured = media_type in {DICOM, RELATED} and any("capture" in spec.dicom.results for spec in contract.inputs)
        drawn = captured or media_type in {PNG, MIXED}
        return inputs if drawn else inputs._replace(items=tuple(map(_without_voxels, inputs.items)))


def _without_voxels(item: DecodedInput) -> DecodedInput:
    return replace(item, payload=b"") if isinstance(item, DecodedImage) else item


def _find_own_types(contract: Contract) -> tuple[str, ...]:
    """Return the media types of the files that the bundle writes by design, where they are all there is to see."""
    own = (spec.media_type for spec in contract.outputs if spec.kind == "file" and spec.media_type != JSON)
    return () if _grids(contract) else tuple(dict.fromkeys(own))


_own_types = Remembered(_find_own_types)


def _make_available(contract: Contract) -> tuple[str, ...]:
    objects = (DICOM, RELATED) if _may_answer_dicom(contract) else ()
    grids, own = _grids(contract), _own_types(contract)
    if own:
        return (*own, JSON, MIXED) if len(contract.outputs) == 1 else (JSON, MIXED, *own)
    if not grids:
        arrays = (NPY, MIXED) if _plain(contract) else ()
        written = (MIXED,) if any(spec.kind == "file" for spec in contract.outputs) else ()
        return (JSON, *(arrays or written), *objects)
    pictures = (PNG,) if any(spec.kind == "image" for spec in contract.inputs) else ()
    return (NIFTI_GZ, JSON, *pictures, MIXED, *objects) if len(grids) == 1 else (MIXED, JSON, *pictures, *objects)


_available = Remembered(_make_available)


def _plain(contract: Contract) -> list[OutputSpec]:
    """Return the results that are arrays without a place in space and without class names."""
    named = [spec for spec in contract.outputs if spec.kind == "probabilities" and spec.labels]
    return [spec for spec in contract.outputs if spec.kind in _ARRAYS and spec not in named + _grids(contract)]


_ARRAYS = ("segmentation", "probabilities", "image", "tensor")


def _may_answer_dicom(contract: Contract) -> bool:
    takes = [spec for spec in contract.inputs if DICOM in spec.media_types]
    # A radiograph has no frame of reference in which a segment could lie.
    kinds = {"probabilities"} if all(spec.is_plane for spec in takes) else {"segmentation", "probabilities"}
    return bool(takes) and any(spec.kind in kinds for spec in contract.outputs)


def _grids(contract: Contract) -> list[OutputSpec]:
    return [spec for spec in contract.outputs if spec.kind in {"segmentation", "image"} and _has_place(spec)]


def _has_place(spec: OutputSpec) -> bool:
    # Of a result with an affine, or on its input's grid, the contract leaves the lengths open; any other has its own.
    return spec.like_input is not None or spec.shape is None or -1 in spec.shape


def _json(contract: Contract, inputs: ValidatedInputs, prediction: Prediction) -> EncodedAnswer:
    document, said = report(contract, inputs, prediction)
    return EncodedAnswer(JSON, encode_json(document), finding=said)


def _nifti(contract: Contract, inputs: ValidatedInputs, prediction: Prediction) -> EncodedAnswer:
    arrays = _grid_arrays(contract, prediction)
    if arrays:
        return _nifti_of(arrays[0], contract, inputs)
    for file in prediction.files:  # a bundle that saves by design
        if file.suffix.endswith((".nii", ".nii.gz")):
            data = file.data if file.suffix.endswith(".gz") else compress(file.data)
            return EncodedAnswer(NIFTI_GZ, data, (("Content-Disposition", _attachment("result", ".nii.gz")),))
    raise RunFailed("the model answered no array that could be written as NIfTI")


def _nifti_of(output: OutputArray, contract: Contract, inputs: ValidatedInputs) -> EncodedAnswer:
    return EncodedAnswer(
        NIFTI_GZ,
        compress(encode_nifti(output.array, _affine(output, contract, inputs))),
        (("Content-Disposition", _attachment(output.name, ".nii.gz")),),
    )


def _npy(contract: Contract, inputs: ValidatedInputs, prediction: Prediction) -> EncodedAnswer:  # noqa: ARG001
    names = [spec.name for spec in _plain(contract)]
    for array in prediction.arrays:
        if array.name in names:
            return _npy_of(array)
    raise RunFailed("the model answered no array that could be written as .npy")


def _npy_of(output: OutputArray) -> EncodedAnswer:
    return EncodedAnswer(NPY, encode_npy(output.array), (("Content-Disposition", _attachment(output.name, ".npy")),))


def _own_file(media_type: str, prediction: Prediction) -> EncodedAnswer:
    for index, file in enumerate(prediction.files):
        if _has_type(file, media_type):
            return _file(file, index)
    raise RunFailed(f"the model wrote no file of type {media_type} this time")


def _has_type(file: OutputFile, media_type: str) -> bool:
    return media_type_of_suffix(file.suffix) == media_type


def _png(contract: Contract, inputs: ValidatedInputs, prediction: Prediction) -> EncodedAnswer:
    buffer = io.BytesIO()
    render_overlay(contract, inputs, prediction).save(buffer, "PNG", compress_level=1)
    return EncodedAnswer(PNG, buffer.getvalue(), (("Content-Disposition", _attachment("overlay", ".png")),))


def _affine(output: OutputArray, contract: Contract, inputs: ValidatedInputs) -> NDArray[np.float64] | None:
    """Return the result's own affine, or that of the input on whose grid it lies; None where that one has none.

    Raises:
        RunFailed: neither. A shape that happens to be the input's proves nothing: preprocessing may have turned the
            image, and the mask would come back mirrored under an affine that says it is not.
    """
    if output.affine is not None:
        return output.affine
    like = next((spec.like_input for spec in contract.outputs if spec.name == output.name), None)
    for item in inputs.items:
        if isinstance(item, DecodedImage) and item.name == like:
            rank = item.spatial_dims
            if output.stored.shape[:rank] == item.shape[:rank]:
                return item.affine
    raise RunFailed("the model answered an array without a place in space; ask for JSON, or infer", field=output.name)


def _grid_arrays(contract: Contract, prediction: Prediction) -> list[OutputArray]:
    names = [spec.name for spec in _grids(contract)]
    return [array for array in prediction.arrays if array.name in names]


def _dicom(contract: Contract, inputs: ValidatedInputs, prediction: Prediction) -> EncodedAnswer:
    return _objects(contract, inputs, prediction)[0]


def _dicoms(contract: Contract, inputs: ValidatedInputs, prediction: Prediction) -> EncodedAnswer:
    """Return all objects (DICOM PS3.18 §8.7.1)."""
    return join(_objects(contract, inputs, prediction), _RELATED_DICOM)


def _objects(contract: Contract, inputs: ValidatedInputs, prediction: Prediction) -> list[EncodedAnswer]:
    for item in inputs.items:
        spec = contract.input(item.name)
        if isinstance(item, DecodedImage) and item.source is not None and spec is not None:
            written = write_results(item.source, contract, prediction, spec.dicom, inputs=inputs)
            return [EncodedAnswer(DICOM, found.data) for found in written]
    raise NotAcceptable("DICOM answers belong to a DICOM image; this input was none", available=(JSON, NIFTI_GZ))


def _mixed(contract: Contract, inputs: ValidatedInputs, prediction: Prediction) -> EncodedAnswer:
    plain = [spec.name for spec in _plain(contract)]
    parts = [_json(contract, inputs, prediction)]
    parts += [_nifti_of(array, contract, inputs) for array in _grid_arrays(contract, prediction)]
    parts += [_npy_of(array) for array in prediction.arrays if array.name in plain]
    if source_image(inputs) is not None and _grid_arrays(contract, prediction):
        parts.append(_png(contract, inputs, prediction))
    parts += [_file(file, index) for index, file in enumerate(prediction.files)]
    return join(parts)._replace(finding=parts[0].finding)


def _file(file: OutputFile, index: int) -> EncodedAnswer:
    disposition = _attachment(file.name or f"file_{index}", file.suffix)
    return EncodedAnswer(media_type_of_suffix(file.suffix), file.data, (("Content-Disposition", disposition),))


class BodyPart(NamedTuple):
    """One part of a multipart body, which may lie within another body."""

    media_type: str
    body: bytes | memoryview
    headers: tuple[tuple[str, str], ...] = ()


def join(parts: Sequence[EncodedAnswer | BodyPart], media_type: str = MIXED) -> EncodedAnswer:
    """Return the parts as one multipart body (RFC 2046 §5.1).

    The boundary is a digest of the parts: no part can hold it, and the same answer has the same bytes.
    """
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.body)
    boundary = f"bedside-{digest.hexdigest()[:40]}"
    pieces: list[bytes | memoryview] = []  # joined once: a study of hundreds of megabytes is copied once
    for part in parts:
        head = [f"--{boundary}\r\nContent-Type: {part.media_type}\r\n"]
        head += [f"{name}: {value}\r\n" for name, value in part.headers]
        pieces += ["".join([*head, "\r\n"]).encode(), part.body, b"\r\n"]
    pieces.append(f"--{boundary}--\r\n".encode())
    return EncodedAnswer(f"{media_type}; boundary={boundary}", b"".join(pieces))


def join_study(files: Iterable[bytes | memoryview]) -> RawPart:
    """Return DICOM files as one input (DICOM PS3.18 §8.6.1.2)."""
    whole = join([BodyPart(DICOM, data) for data in files], _RELATED_DICOM)
    return RawPart(None, whole.media_type, whole.body)


def _attachment(name: str, suffix: str) -> str:
    # Output names come from the bundle; whatever is no plain letter would need RFC 8187 quoting.
    plain = re.sub(r"[^A-Za-z0-9_-]", "_", name)
    return f'attachment; filename="{plain or "result"}{re.sub(r"[^A-Za-z0-9.]", "_", suffix)}"'
