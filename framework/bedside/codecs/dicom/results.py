"""A prediction becomes DICOM objects in the source's study and frame of reference."""

from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from bedside.bundle.contract import Contract, OutputSpec
from bedside.bundle.dicom_policy import DicomPolicy
from bedside.codecs.dicom.capture import write_capture
from bedside.codecs.dicom.measurements import reread, write_report
from bedside.codecs.dicom.objects import DicomObject, Result, evidence_of
from bedside.codecs.dicom.segmentation import Segments, labels_of, write_segmentation
from bedside.codecs.dicom.source import Source, SourceSeries
from bedside.codecs.labels import count_labels
from bedside.codecs.report import probabilities
from bedside.errors import RunFailed
from bedside.types import OutputArray, Prediction, ValidatedInputs


def write_results(
    source: Source,
    contract: Contract,
    prediction: Prediction,
    policy: DicomPolicy,
    *,
    inputs: ValidatedInputs | None = None,
    created: datetime | None = None,
) -> list[DicomObject]:
    """See :func:`bedside.codecs.dicom.write_results`."""
    result = Result(source, contract, policy, (created or datetime.now(UTC)).astimezone(UTC), evidence_of(source))
    specs = {spec.name: spec for spec in contract.outputs}
    named = [(array, specs[array.name]) for array in prediction.arrays if array.name in specs]
    masks = [(array, spec) for array, spec in named if spec.kind == "segmentation"]
    # A radiograph has no frame of reference in which a segment could lie.
    segments = [_segments(*mask, source) for mask in masks] if isinstance(source, SourceSeries) else []
    # Scores that are no probabilities have no name in DICOM.
    kinds = [(array, spec) for array, spec in named if spec.kind == "probabilities" and spec.labels]
    classes = [(array, spec) for array, spec in kinds if "probabilities" in probabilities(array, spec)]
    if not segments and not classes:
        raise RunFailed("the model answered nothing that DICOM has an object for")
    if len(segments) > 1:
        raise RunFailed("the model answered several segmentations; ask for multipart/mixed")
    objects = [write_segmentation(result, found) for found in segments]
    if "report" in policy.results:
        written = [reread(found.data) for found in objects]
        objects.append(write_report(result, list(zip(segments, written, strict=True)), classes))
    if "capture" in policy.results and inputs is not None and segments:
        objects.append(write_capture(result, inputs, prediction))
    return [found for found in objects if found.kind in policy.results]


def _segments(array: OutputArray, spec: OutputSpec, source: SourceSeries) -> Segments:
    affine = _affine(array, spec, source)
    if array.stored.ndim < 3:
        raise RunFailed("the model answered a label map without three axes", field=array.name)
    placed = array._replace(affine=affine)
    labels = labels_of(count_labels(placed, spec.labels, 3), spec.labels)
    if not labels:
        raise RunFailed("the model answered a label map without labels", field=array.name)
    return Segments(source, array.name, labels, array.stored, affine)


def _affine(array: OutputArray, spec: OutputSpec, source: SourceSeries) -> NDArray[np.float64]:
    """Return the result's own affine, or the input's where the result lies on its grid.

    Raises:
        RunFailed: neither. Without a place in the source's frame of reference, a segment could lie anywhere.
    """
    if (
        array.affine is not None
        and np.isfinite(array.affine).all()
        and abs(np.linalg.det(array.affine[:3, :3])) > 1e-12
    ):
        return np.asarray(array.affine, np.float64)
    if array.affine is None and spec.like_input == source.name and array.stored.shape[:3] == source.shape:
        return source.affine
    raise RunFailed("the model answered an array that lost the source's frame of reference", field=array.name)
