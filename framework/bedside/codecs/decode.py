"""Stage 4 of the spine: decode. One class over small modules, one per format."""

from collections.abc import Sequence

from bedside.bundle.contract import ARRAY_MEDIA_TYPES, InputSpec
from bedside.codecs.dicom import MEDIA_TYPES as DICOM_MEDIA_TYPES
from bedside.codecs.dicom import decode_dicom, is_dicom
from bedside.codecs.gunzip import gunzip
from bedside.codecs.nifti import decode_nifti
from bedside.codecs.npy import decode_array, decode_npy
from bedside.codecs.plane import decode_plane
from bedside.codecs.record import decode_values, parse_object
from bedside.codecs.slide import decode_slide
from bedside.codecs.sniff import FileKind, identify, sniff, unsupported
from bedside.codecs.tensors import decode_request
from bedside.codecs.value import decode_document, decode_value
from bedside.errors import MalformedPayload, PayloadTooLarge
from bedside.settings import LimitSettings
from bedside.types import DecodedImage, DecodedInput, DecodedRecord, RawPart, RawRecord, RawTensor


class Codecs:
    """Wire formats to arrays with geometry (implements :class:`bedside.interfaces.Codec`).

    Pure: no state but the limits, safe in threads. Every error is a RequestError that names the input.
    """

    def __init__(self, limits: LimitSettings) -> None:
        self._limits = limits

    def decode_part(self, part: RawPart, spec: InputSpec) -> DecodedInput:
        """Decode an encoded file (NIfTI, PNG, JPEG, TIFF, .npy), DICOM files, a JSON record, or a JSON value.

        Args:
            part: bytes and declared media type; ``application/octet-stream`` or none lets the bytes speak.
            spec: the input of the contract that it is meant for.

        Raises:
            UnsupportedMediaType: the input does not take this media type.
            MalformedPayload: the bytes are not what they claim, are damaged or cut short.
            PayloadTooLarge, DecompressedTooLarge: beyond the limits, found before it is in memory.
            ContractViolation: the values cannot be used, naming the feature or input.
            DicomRefused: the series has no volume that could be vouched for; one leaf per reason.
        """
        data = part.data
        if spec.kind == "value":
            return decode_value(data, part.media_type.partition(";")[0].strip().lower(), spec, self._limits)
        if spec.kind == "record" and part.media_type == "application/json" and data[:1] == b"{":
            return self._record(data, spec)  # the hot path of tabular models: nothing left to identify
        if is_dicom(part):
            return self._dicom(part, spec)
        kind = identify(data, part.media_type, spec)
        if kind == "json":
            return self._record(data, spec)
        if spec.kind == "tensor":
            return decode_array(data, kind, name=spec.name, limit=self._limits.decompressed_bytes)
        return self._image(data, kind, spec)

    def decode_document(self, document: RawRecord, specs: Sequence[InputSpec]) -> tuple[DecodedInput, ...]:
        """Decode one parsed JSON object whose members are the JSON values of a model without a record.

        Raises:
            UnknownInput, MissingInput, MalformedPayload: naming the member.
        """
        return decode_document(document.values, specs, self._limits)

    def decode_record(self, record: RawRecord, spec: InputSpec) -> DecodedRecord:
        """Decode one parsed record of named numbers.

        Raises:
            UnknownFeature, MissingFeature, WrongDatatype, NonFiniteValue: naming the feature.
        """
        return decode_values(record.values, spec)

    def decode_tensors(
        self, tensors: Sequence[RawTensor], specs: Sequence[InputSpec]
    ) -> list[tuple[DecodedInput, ...]]:
        """Decode the tensors of one Open Inference Protocol request into one tuple of inputs per row.

        Images come as BYTES (the encoded file) or as the decoded array with its geometry; records as one tensor per
        feature or as one packed tensor: see ``tensor_image`` and ``tensor_record``. A JSON value is the text of a BYTES
        element, an array any numeric tensor.

        Raises:
            UnknownInput, MissingInput, WrongDatatype, WrongShape, NonFiniteValue, PayloadTooLarge, and what
            :meth:`decode_part` raises; always naming the tensor.
        """
        return decode_request(tensors, specs, self._limits, self.decode_part)

    def _record(self, data: bytes, spec: InputSpec) -> DecodedRecord:
        if len(data) > self._limits.json_bytes:
            raise PayloadTooLarge(
                f"'{spec.name}' has {len(data)} bytes of JSON, the limit is {self._limits.json_bytes}", field=spec.name
            )
        return decode_values(parse_object(data, spec.name), spec)

    def _dicom(self, part: RawPart, spec: InputSpec) -> DecodedImage:
        if spec.kind != "image" or (spec.media_types and not set(DICOM_MEDIA_TYPES) & set(spec.media_types)):
            raise unsupported(spec)
        return decode_dicom(part, spec, self._limits)

    def _image(self, data: bytes, kind: FileKind, spec: InputSpec) -> DecodedImage:
        limit, name = self._limits.decompressed_bytes, spec.name
        if kind == "gzip":
            data = gunzip(data, limit=limit, field=name)
            kind = sniff(data)
            if kind != "nifti":
                raise MalformedPayload(f"'{name}' is a gzip file that holds no NIfTI file", field=name)
        if kind == "nifti":
            return decode_nifti(data, name=name, limit=limit)
        if kind == "npy":
            return decode_npy(data, name=name, limit=limit)
        if kind in {"png", "jpeg", "tiff"}:
            arrays = not spec.media_types or set(ARRAY_MEDIA_TYPES) <= set(spec.media_types)
            pixels = self._limits.picture_pixels
            if spec.is_slide:
                return decode_slide(data, name=name, pixels=self._limits.slide_pixels, tile_pixels=pixels)
            return decode_plane(data, kind, name=name, limit=limit, arrays=arrays, pixels=pixels)
        raise MalformedPayload(f"'{name}' {_REFUSED.get(kind, 'is of no known kind')}", field=name)


_REFUSED = {
    "npz": "is a ZIP archive; send one .npy array",
    "pair": "is the header of a .hdr/.img pair; send a single .nii file",
}
