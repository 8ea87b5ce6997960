"""Secondary capture (PS3.3 §A.8): the picture for people, with its notice burned in."""

import numpy as np
from highdicom import sc
from pydicom import uid as uids

from bedside.codecs.dicom.instances import BROKEN
from bedside.codecs.dicom.objects import NOTICE, DicomObject, Result, seal
from bedside.codecs.dicom.tags import text
from bedside.codecs.overlay import render_overlay
from bedside.errors import RunFailed
from bedside.types import Prediction, ValidatedInputs


def write_capture(result: Result, inputs: ValidatedInputs, prediction: Prediction) -> DicomObject:
    """Return the overlay as a secondary capture. Raises RunFailed."""
    picture = np.asarray(render_overlay(result.contract, inputs, prediction).convert("RGB"))
    source = result.evidence[0]
    try:
        dataset = sc.SCImage(
            pixel_array=picture,
            photometric_interpretation="RGB",
            bits_allocated=8,
            coordinate_system="PATIENT",
            patient_orientation=("L", "P"),
            study_instance_uid=source.StudyInstanceUID,
            patient_id=source.PatientID,
            patient_name=source.PatientName,
            patient_birth_date=source.PatientBirthDate,
            patient_sex=source.PatientSex,
            accession_number=source.AccessionNumber,
            study_id=source.StudyID,
            study_date=source.StudyDate or None,
            study_time=source.StudyTime or None,
            referring_physician_name=source.ReferringPhysicianName,
            transfer_syntax_uid=uids.ExplicitVRLittleEndian,
            specific_character_set="ISO_IR 192",
            **result.identity("capture"),
        )
    except BROKEN as error:
        raise RunFailed("the secondary capture cannot be written as DICOM", cause=type(error).__name__) from None
    dataset.Laterality = None  # of type 2C, and the source may have none
    dataset.PatientOrientation = None  # of type 2: the picture shows three planes
    dataset.ImageComments = NOTICE
    dataset.BurnedInAnnotation = "NO"  # identifies nobody (PS3.3 §C.7.6.1.1.5): the words are the model's
    if text(source, "StudyDescription"):
        dataset.StudyDescription = source.StudyDescription
    return seal(result, "capture", dataset)
