"""Which hosts may be spoken to in the clear."""

import ipaddress
from urllib.parse import urlsplit

from bedside.errors import ConfigurationError
from bedside.settings import RegistrySettings


def is_loopback(host: str) -> bool:
    """Tell whether a host name is this machine's own, without asking a name server."""
    try:
        return host == "localhost" or ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def require_https(url: str, settings: RegistrySettings) -> None:
    """Raise ConfigurationError for an ``http://`` address that is not on loopback, unless ``registry.allow_http``."""
    parts = urlsplit(url)
    if parts.scheme == "http" and not settings.allow_http and not is_loopback(parts.hostname or ""):
        raise ConfigurationError(
            "bundles are fetched over http:// from this machine only; set registry.allow_http where that is meant",
            field="registry.allow_http",
        )
