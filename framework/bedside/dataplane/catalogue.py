"""What is asked beside the spine: which models there are, what they take, and whether they would answer."""

from collections.abc import Callable
from typing import Any

from bedside.bundle.model_metadata import model_metadata
from bedside.errors import ModelNotReady
from bedside.interfaces import ModelRepository, ModelStatus

EXTENSIONS = ("binary_tensor_data", "model_repository")
"""Extensions of the Open Inference Protocol that the server's metadata announces."""


def described(repository: ModelRepository, model: str, version: str | None) -> dict[str, Any]:
    """Return the metadata of one version of one model ($metadata_model_response). Raises as ``resolve``."""
    served = repository.resolve(model, version)
    versions = [status.version for status in repository.index() if status.name == model]
    return model_metadata(served.contract, versions)


def answers(repository: ModelRepository, model: str, version: str | None) -> bool:
    """Tell whether a model would answer now. Raises ModelNotFound."""
    try:
        repository.resolve(model, version)
    except ModelNotReady:
        return False
    return True


def listed(repository: ModelRepository, visible: Callable[[str], bool], *, only_ready: bool) -> list[ModelStatus]:
    """Return the models that the caller may learn of, by name, or those of them that would answer now."""
    return [
        status for status in repository.index() if visible(status.name) and (not only_ready or status.state == "READY")
    ]
