"""Lines that are filled in by position."""

import pytest

from bedside.observability.template import MOMENT_PLACES, Template, number, word


def test_values_stand_where_their_placeholders_did() -> None:
    """Whatever the order of the line; a value without a place is left out, and percent signs stay."""
    line = f'{{"share":"100%","rows":{number(1)},"id":"{word("id")}","ms":{float(number(0))}}}'.encode()
    places = {str(float(number(0))): b"%.3f", word("absent"): b"%b", str(number(1)): b"%d", word("id"): b"%b"}
    filled = Template(line, places).fill((0.25, b"x", 7, b"abc"))
    assert filled == b'{"share":"100%","rows":7,"id":"abc","ms":0.250}'


def test_values_are_not_looked_through() -> None:
    """An id that reads like a placeholder or a conversion stays what it is."""
    template = Template(f'["{word("a")}","{word("b")}"]'.encode(), {word("a"): b"%b", word("b"): b"%b"})
    assert template.fill((word("b").encode(), b"%d")) == f'["{word("b")}","%d"]'.encode()


@pytest.mark.parametrize(("microseconds", "text"), [(0, b"000000"), (42, b"000042"), (999999, b"999999")])
def test_moments_have_six_digits(microseconds: int, text: bytes) -> None:
    """A fraction without its zeros would be another moment."""
    template = Template(
        b'["1999-12-31T23:59:59.999999Z","%s"]' % word("id").encode(), {**MOMENT_PLACES, word("id"): b"%b"}
    )
    assert template.fill((b"2026-11-21T06:30:01", microseconds, b"x")) == b'["2026-11-21T06:30:01.%bZ","x"]' % text
