"""Which hosts are this machine; the standard library only, as ``health`` imports it every few seconds."""

import ipaddress
from urllib.parse import urlsplit


def is_loopback(host: str | None) -> bool:
    """Tell whether a host name is this machine's own, without asking a name server.

    Args:
        host: as ``urlsplit`` gives it; an IPv6 address may be in brackets.
    """
    try:
        return host == "localhost" or ipaddress.ip_address((host or "").strip("[]")).is_loopback
    except ValueError:
        return False


def direct(url: str) -> dict[str, None]:
    """Return ``mounts`` for httpx: a proxy of the environment (``HTTP_PROXY``) gets nothing that stays on this machine.

    Addresses in the clear are allowed on loopback because nobody else reads what goes there.
    """
    return dict.fromkeys(("http://", "https://")) if is_loopback(urlsplit(url).hostname) else {}
