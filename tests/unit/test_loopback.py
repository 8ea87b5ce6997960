"""Which hosts are this machine."""

import pytest

from bedside.log_settings import is_in_the_clear
from bedside.loopback import direct, is_loopback


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_this_machine(host: str) -> None:
    """All of 127/8 (RFC 1122 §3.2.1.3); one rule for bundles, issuers, archives and logs."""
    assert is_loopback(host)
    assert not is_in_the_clear(f"http://{'[::1]' if host == '::1' else host}:9200")


@pytest.mark.parametrize("host", ["10.0.0.1", "localhost.example", "127.0.0.1.example", "::2", "", None])
def test_another_machine(host: str | None) -> None:
    """A name is another machine's, whatever its server would say."""
    assert not is_loopback(host)


@pytest.mark.parametrize(("url", "count"), [("http://[::1]:8042/x", 2), ("https://localhost", 2), ("http://pacs", 0)])
def test_ways_that_take_no_proxy(url: str, count: int) -> None:
    """Those that stay on this machine."""
    assert direct(url) == dict.fromkeys(["http://", "https://"][:count])
