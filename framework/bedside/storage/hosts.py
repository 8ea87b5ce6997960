"""Which hosts may be spoken to in the clear."""

from urllib.parse import urlsplit

from bedside.errors import ConfigurationError
from bedside.loopback import is_loopback
from bedside.settings import RegistrySettings


def require_https(url: str, settings: RegistrySettings) -> None:
    """Raise ConfigurationError for an ``http://`` address that is not on loopback, unless ``registry.allow_http``."""
    parts = urlsplit(url)
    if parts.scheme == "http" and not settings.allow_http and not is_loopback(parts.hostname):
        raise ConfigurationError(
            "bundles are fetched over http:// from this machine only; set registry.allow_http where that is meant",
            field="registry.allow_http",
        )
