"""What the DICOM port speaks: the presentation contexts, which docs/dicom-conformance.md is written from."""

from bedside.codecs.dicom.instances import COMPRESSED, NATIVE
from bedside.codecs.dicom.library import pydicom
from bedside.codecs.dicom.selection import PLANE_CLASSES, VOLUME_CLASSES

uids = pydicom.uid

TRANSFER_SYNTAXES = (*NATIVE, *COMPRESSED)
"""What a sender may choose from."""

PROCESSED = (*sorted(VOLUME_CLASSES), *sorted(PLANE_CLASSES))
"""Storage SOP classes that models are given."""

ACCOMPANYING = (
    uids.SecondaryCaptureImageStorage,
    uids.DigitalXRayImageStorageForProcessing,
    uids.GrayscaleSoftcopyPresentationStateStorage,
    uids.KeyObjectSelectionDocumentStorage,
    uids.BasicTextSRStorage,
    uids.EnhancedSRStorage,
    uids.ComprehensiveSRStorage,
    uids.XRayRadiationDoseSRStorage,
    uids.EncapsulatedPDFStorage,
)
"""Storage SOP classes that are taken so that a whole study can be sent, and are left aside."""

RESULTS = (uids.SegmentationStorage, uids.Comprehensive3DSRStorage, uids.SecondaryCaptureImageStorage)
"""Storage SOP classes that are sent to archives."""
