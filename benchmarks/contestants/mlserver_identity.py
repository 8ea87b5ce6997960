"""MLServer's model that gives back what it gets."""

from typing import Any

from mlserver import MLModel  # type: ignore[import-not-found,unused-ignore]  # in a virtual environment of its own
from mlserver.types import (  # type: ignore[import-not-found,unused-ignore]
    InferenceRequest,
    InferenceResponse,
    ResponseOutput,
)


class Identity(MLModel):  # type: ignore[misc,unused-ignore]
    """A custom runtime, as MLServer's documentation writes one."""

    async def load(self) -> bool:
        """Have nothing to load."""
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        """Answer one V2 request."""
        given: Any = payload.inputs[0]
        output = ResponseOutput(name="pred", shape=given.shape, datatype=given.datatype, data=given.data)
        return InferenceResponse(model_name=self.name, outputs=[output])
