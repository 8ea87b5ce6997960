"""The Open Inference Protocol beside ``ModelInfer``: health, metadata, and the model repository extension."""

from typing import Any

from google.protobuf.message import DecodeError

from bedside.dataplane.catalogue import EXTENSIONS, answers, described, listed
from bedside.errors import MalformedPayload
from bedside.transports.grpc import messages
from bedside.transports.grpc.exchange import Exchange
from bedside.transports.grpc.parameters import write_parameters
from bedside.transports.grpc.parts import Parts

_MESSAGE_BYTES = 65536


class Protocol:
    """The methods; each is an ``edge.Operation``. Who may ask is decided before the message is read."""

    def __init__(self, parts: Parts) -> None:
        self._repository = parts.repository
        self._gate = parts.gate
        self._lifecycle = parts.lifecycle
        self._settings = parts.settings
        self._version = parts.version

    async def server_live(self, _: Exchange) -> Any:
        """Answer as long as the event loop turns; open to all, as over HTTP."""
        return messages.ServerLiveResponse(live=True)

    async def server_ready(self, _: Exchange) -> Any:
        """Tell whether every model would answer; open to all, as over HTTP."""
        return messages.ServerReadyResponse(ready=self._lifecycle.ready(self._repository))

    async def server_metadata(self, exchange: Exchange) -> Any:
        """Return name, version and extensions."""
        await self._gate.listing(exchange.token)
        name = self._settings.service_name
        return messages.ServerMetadataResponse(name=name, version=self._version, extensions=EXTENSIONS)

    async def model_ready(self, exchange: Exchange) -> Any:
        """Tell whether a model would answer now."""
        principal = await self._gate.caller(exchange.token)
        request = await self._read(exchange, messages.ModelReadyRequest)
        self._gate.authorise(principal, request.name)
        return messages.ModelReadyResponse(ready=answers(self._repository, request.name, request.version or None))

    async def model_metadata(self, exchange: Exchange) -> Any:
        """Return a model's contract, with what the REST form has."""
        principal = await self._gate.caller(exchange.token)
        request = await self._read(exchange, messages.ModelMetadataRequest)
        self._gate.authorise(principal, request.name)
        document = described(self._repository, request.name, request.version or None)
        response = messages.ModelMetadataResponse(
            name=document["name"], versions=document["versions"], platform=document["platform"]
        )
        for tensors, described_tensors in (
            (response.inputs, document["inputs"]),
            (response.outputs, document["outputs"]),
        ):
            for tensor in described_tensors:
                added = tensors.add(name=tensor["name"], datatype=tensor["datatype"], shape=tensor["shape"])
                write_parameters(added.parameters, tensor["parameters"])
        write_parameters(response.parameters, document["parameters"])
        return response

    async def repository_index(self, exchange: Exchange) -> Any:
        """Return every model that the caller may use, or those of them that answer; ``bedside.admin`` lists all."""
        visible = await self._gate.listing(exchange.token)
        request = await self._read(exchange, messages.RepositoryIndexRequest)
        response = messages.RepositoryIndexResponse()
        for status in listed(self._repository, visible, only_ready=request.ready):
            response.models.add(name=status.name, version=status.version, state=status.state, reason=status.reason)
        return response

    async def load(self, exchange: Exchange) -> Any:
        """Load a model that is known; needs the scope ``bedside.admin``. Answers once it is ready.

        The parameter ``version`` chooses one, as over HTTP.
        """
        name, version = await self._named(exchange, messages.RepositoryModelLoadRequest)
        await self._repository.load(name, version)
        return messages.RepositoryModelLoadResponse(model_name=name, isLoaded=True)

    async def unload(self, exchange: Exchange) -> Any:
        """Let a model finish its work and end it; needs the scope ``bedside.admin``.

        With the parameter ``version`` only that one; the next highest then answers for the name.
        """
        name, version = await self._named(exchange, messages.RepositoryModelUnloadRequest)
        await self._repository.unload(name, version)
        return messages.RepositoryModelUnloadResponse(model_name=name, isUnloaded=True)

    async def _named(self, exchange: Exchange, kind: Any) -> tuple[str, str | None]:
        await self._gate.admin(exchange.token)
        request = await self._read(exchange, kind)
        # KServe's clients have the model's name where Triton's have the repository's, of which there is one.
        name: str = request.model_name or request.repository_name
        exchange.model = name
        return name, _version(request.parameters)

    async def _read(self, exchange: Exchange, kind: Any) -> Any:
        data = await exchange.read(_MESSAGE_BYTES, self._settings.limits.body_seconds)
        try:
            return kind.FromString(data)
        except DecodeError:
            raise MalformedPayload(f"not an encoded {kind.DESCRIPTOR.name}", field="message") from None


def _version(parameters: Any) -> str | None:
    if "version" not in parameters:
        return None
    parameter = parameters["version"]
    if parameter.WhichOneof("parameter_choice") != "string_param":
        raise MalformedPayload("its 'version' must be a text", field="parameters")
    version: str = parameter.string_param
    return version
