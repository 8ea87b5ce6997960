"""Structured report (PS3.16 TID 1500): millilitres per label, probabilities per class."""

from collections.abc import Sequence
from typing import Any

from highdicom import sr
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code

from bedside.bundle.contract import OutputSpec
from bedside.codecs.dicom.coding import as_code, coding_of, finding_code
from bedside.codecs.dicom.instances import BROKEN
from bedside.codecs.dicom.library import pydicom
from bedside.codecs.dicom.objects import MANUFACTURER, DicomObject, Result, made_uid, seal
from bedside.codecs.dicom.segmentation import Segments, tracking_uid
from bedside.codecs.dicom.tags import text
from bedside.codecs.report import probabilities
from bedside.errors import RunFailed
from bedside.types import OutputArray

_MILLILITRE = Code("mL", "UCUM", "mL")
_RATIO = Code("1", "UCUM", "no units")
_PROCEDURES = {
    "CT": codes.cid100.CTUnspecifiedBodyRegion,
    "MR": codes.cid100.MRIUnspecifiedBodyRegion,
    "PT": codes.cid100.PETUnspecifiedBodyRegion,
    "CR": codes.cid100.XRUnspecifiedBodyRegion,
    "DX": codes.cid100.XRUnspecifiedBodyRegion,
}
_DIGITS = 6


def write_report(
    result: Result,
    segmentations: Sequence[tuple[Segments, Any]],
    classes: Sequence[tuple[OutputArray, OutputSpec]],
) -> DicomObject:
    """Return a Comprehensive 3D SR.

    Args:
        result: source and bundle.
        segmentations: labels, each with the Segmentation data set that holds them.
        classes: outputs with one probability per class.

    Raises:
        RunFailed: it cannot be written.
    """
    try:
        groups = [
            _volume(result, segments, found, place) for segments, found in segmentations for place in _places(segments)
        ]
        groups += [group for array, spec in classes for group in _classes(result, array, spec)]
        dataset = sr.Comprehensive3DSR(
            evidence=[*result.evidence, *(found for _, found in segmentations)],
            content=_report(result, groups),
            is_complete=True,
            is_final=False,
            specific_character_set="ISO_IR 192",
            **result.identity("report"),
        )
    except BROKEN as error:
        raise RunFailed("the report cannot be written as DICOM", cause=type(error).__name__) from None
    return seal(result, "report", dataset)


def _report(result: Result, groups: list[Any]) -> Any:
    contract = result.contract
    device = sr.ObserverContext(
        observer_type=codes.DCM.Device,
        observer_identifying_attributes=sr.DeviceObserverIdentifyingAttributes(
            uid=made_uid("device", contract.model, contract.version, contract.digest),
            name=contract.model[:64],
            manufacturer_name=MANUFACTURER,
            model_name=contract.model[:64],
            serial_number=contract.digest.removeprefix("sha256:")[:64],
        ),
    )
    return sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=device),
        procedure_reported=_PROCEDURES.get(result.source.modality, codes.cid100.ImagingProcedure),
        imaging_measurements=groups,
        title=codes.DCM.ImagingMeasurementReport,
    )


def _places(segments: Segments) -> range:
    return range(1, len(segments.labels) + 1)


def _volume(result: Result, segments: Segments, found: Any, number: int) -> Any:
    label = segments.labels[number - 1]
    coding = coding_of(label.name, result.policy)
    return sr.VolumetricROIMeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(
            uid=tracking_uid(result, segments.output, number), identifier=label.name[:64] or f"segment {number}"
        ),
        referenced_segment=sr.ReferencedSegment(
            sop_class_uid=found.SOPClassUID,
            sop_instance_uid=found.SOPInstanceUID,
            segment_number=number,
            source_series=sr.SourceSeriesForSegmentation(result.source.series),
        ),
        finding_category=as_code(coding.category),
        finding_type=as_code(coding.type),
        algorithm_id=_algorithm(result),
        measurements=[sr.Measurement(codes.SCT.Volume, round(float(label.volume_ml or 0.0), _DIGITS), _MILLILITRE)],
    )


def _classes(result: Result, array: OutputArray, spec: OutputSpec) -> list[Any]:
    named = probabilities(array, spec).get("probabilities", {})
    return [
        sr.MeasurementsAndQualitativeEvaluations(
            tracking_identifier=sr.TrackingIdentifier(
                uid=result.uid("tracking", spec.name, index), identifier=name[:64] or f"class {index}"
            ),
            finding_type=finding_code(name, result.policy),
            algorithm_id=_algorithm(result),
            measurements=[sr.Measurement(codes.DCM.Probability, round(float(value), _DIGITS), _RATIO)],
            source_images=_images(result),
        )
        for index, (name, value) in enumerate(named.items())
    ]


def _images(result: Result) -> list[Any]:
    return [sr.SourceImageForMeasurementGroup(header.SOPClassUID, header.SOPInstanceUID) for header in result.evidence]


def _algorithm(result: Result) -> sr.AlgorithmIdentification:
    contract = result.contract
    return sr.AlgorithmIdentification(
        name=contract.model[:64],
        version=contract.version[:64],
        parameters=[f"bundle_digest={contract.digest}"],
        family=codes.DCM.ArtificialIntelligence,
        manufacturer=MANUFACTURER,
    )


def reread(data: bytes) -> Any:
    """Return a written object as evidence for the next one."""
    dataset = pydicom.dcmread(pydicom.filebase.DicomBytesIO(data), stop_before_pixels=True)
    text(dataset, "PatientName")
    return dataset
