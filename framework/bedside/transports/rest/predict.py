"""``POST /v1/models/{m}[/versions/{v}]/predict``: files in, files out."""

from bedside.codecs.negotiate import negotiate
from bedside.codecs.record import parse_object
from bedside.dataplane.inference import DataPlane
from bedside.errors import PayloadTooLarge, UnsupportedMediaType
from bedside.interfaces import ServedModel
from bedside.settings import LimitSettings
from bedside.transports.references import References, is_reference
from bedside.transports.rest.exchange import Exchange
from bedside.transports.rest.multipart_form import read_form
from bedside.transports.rest.reply import Reply
from bedside.types import RawInput, RawPart, RawRecord


class Predict:
    """Reads one body, raw or multipart, and answers in the media type that ``Accept`` chooses."""

    def __init__(
        self, dataplane: DataPlane, limits: LimitSettings, references: References, *, uploads: bool = False
    ) -> None:
        self._uploads = uploads
        self._dataplane = dataplane
        self._limits = limits
        self._references = references

    async def __call__(self, exchange: Exchange, served: ServedModel) -> Reply:
        """Answer one request whose caller has been let in; see ``exchange.Operation``."""
        # Before the body is read and the model runs: a 406 costs nothing.
        media_type = self.negotiate(exchange, served)
        raw = await self.read(exchange, served)
        if not any(map(is_reference, raw)):
            answer = await self._dataplane.answer(exchange.call, served, raw, media_type)
        else:
            seconds = self._dataplane.remaining(exchange.call)
            async with self._references.fetched(exchange.call, served.contract, raw, seconds) as inputs:
                answer = await self._dataplane.answer(exchange.call, served, inputs, media_type)
        fields = tuple((name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in answer.headers)
        return Reply(200, answer.media_type, answer.body, fields)

    def negotiate(self, exchange: Exchange, served: ServedModel) -> str:
        """Return the media type to answer with. Raises NotAcceptable."""
        available = self._dataplane.available(served)
        accept = exchange.head.accept
        if accept == "*/*":
            return available[0]
        return accept if accept in available else negotiate(accept, available)

    async def read(self, exchange: Exchange, served: ServedModel) -> list[RawInput]:
        """Read the body, within the limits; what it only refers to comes later. Raises RequestError."""
        try:
            return await self._read(exchange, served)
        except PayloadTooLarge as error:
            if not (self._uploads and self._references.expected(served.contract.only)):
                raise
            raise PayloadTooLarge(f"{error.detail}; POST /v1/uploads says where to put it", field=error.field) from None

    async def _read(self, exchange: Exchange, served: ServedModel) -> list[RawInput]:
        contract = served.contract
        media_type, whole = exchange.head.content_type
        if media_type == "application/json" and not self._references.expected(contract.only):
            return [await self._document(exchange, served)]
        if media_type == "multipart/form-data":
            form = await read_form(exchange.body, whole, contract, self._limits)
            return self._references.admit(form, contract, exchange.call.principal)
        data = await exchange.body.read(self._limits.body_bytes)
        if not data and not served.contract.needs_input:
            return []
        # The boundary is among the parameters.
        part = RawPart(None, whole if media_type.startswith("multipart/") else media_type, data)
        return self._references.admit([part], contract, exchange.call.principal)

    async def _document(self, exchange: Exchange, served: ServedModel) -> RawRecord:
        if served.contract.record is None and not served.contract.takes_document:
            accepted = sorted({media for spec in served.contract.inputs for media in spec.media_types})
            raise UnsupportedMediaType(
                f"this model takes more than JSON; send one of: {', '.join(accepted)}, or multipart/form-data",
                field="Content-Type",
            )
        data = await exchange.body.read(self._limits.json_bytes)
        exchange.call.input_bytes = len(data)
        if not data and not served.contract.needs_input:
            return RawRecord({})
        return RawRecord(parse_object(data, "body"))
