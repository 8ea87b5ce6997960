"""What the sender of DICOM objects can mend."""

import re
from collections.abc import Iterable

from bedside.errors.requests import RequestError


class DicomRefused(RequestError):
    """Correct the DICOM objects as the reason says and send them again.

    ``instances`` are the SOP Instance UIDs at fault. They go into the caller's answer only: a UID leads to a patient in
    whoever's archive holds it, so none is logged, counted or put into ``detail``.
    """

    def __init__(self, detail: str = "", *, field: str | None = None, instances: Iterable[str] = ()) -> None:
        super().__init__(detail, field=field)
        self.instances = tuple(dict.fromkeys(instances))

    @classmethod
    def reason(cls) -> str:
        """Return the reason's code: ``MissingSlice`` is ``missing-slice``."""
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "-", cls.__name__).lower()


class NotDicom(DicomRefused):
    """Send DICOM files only (PS3.10: 'DICM' after 128 bytes); this one is something else, or is damaged."""


class UnsupportedTransferSyntax(DicomRefused):
    """Have the archive send a transfer syntax that docs/dicom.md lists."""


class UnsupportedSopClass(DicomRefused):
    """Send images of a kind that docs/dicom.md lists: CT, MR or PET slices for a volume, radiographs for a plane."""


class MissingTag(DicomRefused):
    """Have the sender keep the named attribute; without it, the volume's values or place would be guessed."""


class InvalidTag(DicomRefused):
    """Have the sender correct the named attribute; its value cannot be true."""


class SeveralStudies(DicomRefused):
    """Send one study of one patient in a request."""


class NoMatchingSeries(DicomRefused):
    """Send the series that the model was made for: see [[dicom.series]] in the bundle's bedside.toml."""


class AmbiguousSeries(DicomRefused):
    """Send one of the series alone, or have [[dicom.series]] in the bundle's bedside.toml choose one."""


class WrongModality(DicomRefused):
    """Send a series of the modality that the model was made for."""


class WrongBodyPart(DicomRefused):
    """Send a series of the body part that the model was made for."""


class LocalizerMixedIn(DicomRefused):
    """Send the series without its localizer, or have dicom.drop_localizers switched on."""


class FourDimensional(DicomRefused):
    """Send one time point, echo or b-value; several images lie at each place."""


class TooFewSlices(DicomRefused):
    """Send at least two slices; one has no neighbour from which its thickness could be told."""


class MissingSlice(DicomRefused):
    """Send the series again, whole: between two neighbours at least one slice is missing."""


class DuplicateSlice(DicomRefused):
    """Send each slice once; two images lie at the same place."""


class UnevenSpacing(DicomRefused):
    """Send slices at even distances, or have dicom.resample take 'uneven-spacing'."""


class GantryTilt(DicomRefused):
    """Send an untilted or corrected series, or have dicom.resample take 'gantry-tilt'."""


class MixedOrientation(DicomRefused):
    """Send slices of one orientation."""


class MixedSize(DicomRefused):
    """Send slices with the same number of rows and columns."""


class MixedPixelSpacing(DicomRefused):
    """Send slices of one pixel spacing."""


class MixedRescaleType(DicomRefused):
    """Send slices whose values have the same unit (Rescale Type)."""


class MixedFrameOfReference(DicomRefused):
    """Send slices of one frame of reference; between two, nobody knows the shift."""


class MixedPixelFormat(DicomRefused):
    """Send slices with the same bits, sign and photometric interpretation."""


class MixedSopClass(DicomRefused):
    """Send slices of one SOP class."""


class NotMonochrome(DicomRefused):
    """Send grey images: slices in MONOCHROME2, radiographs in MONOCHROME1 or 2."""


class MultiFrame(DicomRefused):
    """Send one image in one frame; of a moving picture, nobody knows which frame is meant."""


class NonSquarePixels(DicomRefused):
    """Send an image whose pixels are as high as wide; others would reach the model stretched."""


class UnexpectedOrientation(DicomRefused):
    """Send the image as the model's hung (Patient Orientation), or have dicom.orientation in bedside.toml turn it."""


class NonlinearRescale(DicomRefused):
    """Send images with Rescale Slope and Intercept; a Modality LUT is not applied here."""


class PaddingPixels(DicomRefused):
    """Have dicom.padding in the bundle's bedside.toml say what pixels outside of the image mean."""


class TruncatedPixelData(DicomRefused):
    """Send the instance again; its pixel data end before the image does, or cannot be decompressed."""


class PixelDataContradictsHeader(DicomRefused):
    """Send the instance again; its pixel data are not those that its header describes."""


class ValueOverflow(DicomRefused):
    """Have the sender correct Rescale Slope and Intercept; values leave the range of float32."""


class PrecisionLost(DicomRefused):
    """Have the sender correct Rescale Slope and Intercept; float32 cannot tell neighbouring values apart."""
