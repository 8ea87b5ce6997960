"""Which hosts are this machine; the standard library only, as ``health`` imports it every few seconds."""

import ipaddress


def is_loopback(host: str | None) -> bool:
    """Tell whether a host name is this machine's own, without asking a name server.

    Args:
        host: as ``urlsplit`` gives it; an IPv6 address may be in brackets.
    """
    try:
        return host == "localhost" or ipaddress.ip_address((host or "").strip("[]")).is_loopback
    except ValueError:
        return False
