"""Whether there is anything to serve once the sources have been looked at."""

from bedside.errors import BundleError, ConfigurationError
from bedside.registry.finding import Finder
from bedside.registry.repository import Repository
from bedside.settings import RegistrySettings


def require_service(repository: Repository, finder: Finder, settings: RegistrySettings) -> None:
    """Check after the first look that there is something to serve.

    Raises:
        BundleError: nothing is ready and nobody looks again, or with ``registry.strict`` something is not.
        BedsideError: what a source said, where there is nothing at all.
    """
    missing = [status for status in repository.index() if status.state != "READY"]
    if settings.strict:
        for error in finder.failures.values():
            raise error
        if missing:
            raise BundleError(f"registry.strict is on, and {missing[0].name} is not served: {missing[0].reason}")
    if settings.poll_seconds or len(missing) < len(repository.index()):
        return
    if missing:
        told = "; ".join(f"{status.name}: {status.reason}" for status in missing)
        raise BundleError(f"no bundle can be served: {told}")
    raise next(iter(finder.failures.values()), ConfigurationError("there are no bundles", field="bundle"))
