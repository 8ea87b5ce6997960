"""Which hosts are this machine."""

import pytest

from bedside.log_settings import is_in_the_clear
from bedside.loopback import is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_this_machine(host: str) -> None:
    """All of 127/8 (RFC 1122 §3.2.1.3); one rule for bundles, issuers, archives and logs."""
    assert is_loopback(host)
    assert not is_in_the_clear(f"http://{'[::1]' if host == '::1' else host}:9200")


@pytest.mark.parametrize("host", ["10.0.0.1", "localhost.example", "127.0.0.1.example", "::2", "", None])
def test_another_machine(host: str | None) -> None:
    """A name is another machine's, whatever its server would say."""
    assert not is_loopback(host)
