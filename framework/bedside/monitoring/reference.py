"""What drift is measured against: read, for the bundle's next version, and begun anew. All methods may block."""

from collections.abc import Callable
from typing import Any

from bedside.bundle.reference import Counts, document_of
from bedside.errors import DriftReferenceNotFound
from bedside.monitoring.store import PredictionStore

Bundle = tuple[str, str, Counts]
"""Version and digest of what answers, and the reference that came with it."""


class ReferenceDesk:
    """Implements what a transport needs of references.

    Args:
        store: has the counts of first answers.
        bundle_of: what answers for a model, or for one version of it; raises what ``ModelRepository.resolve`` does.
        wanted: answers that a reference is of at least (``monitoring.reference_predictions``).
    """

    def __init__(self, store: PredictionStore, bundle_of: Callable[[str, str | None], Bundle], wanted: int) -> None:
        self._store = store
        self._bundle_of = bundle_of
        self._wanted = wanted

    def read(self, model: str, version: str | None) -> dict[str, Any]:
        """Return the reference in the form of ``golden/reference.json``: the site's own, else the bundle's.

        Raises:
            DriftReferenceNotFound: the first answers are still being counted.
        """
        version, digest, shipped = self._bundle_of(model, version)
        own = self._store.references(digest)
        known = {key: counts for key, counts in own.items() if sum(counts.values()) >= self._wanted}
        known |= {key: dict(counts) for key, counts in shipped.items() if key not in own}
        if not known:
            raise DriftReferenceNotFound
        return document_of(known, f"answers of {model} {version} ({digest})")

    def renew(self, model: str, version: str | None) -> dict[str, Any]:
        """Have the next answers be what later ones are compared with; the bundle's own reference counts no more."""
        version, digest, shipped = self._bundle_of(model, version)
        self._store.renew(digest, shipped)
        return {"model": model, "version": version, "digest": digest, "answers": self._wanted}
