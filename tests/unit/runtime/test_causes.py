"""What is told of a bundle's exception: class and place."""

from typing import NoReturn

from bedside.runtime.causes import told

SECRET = "DOE^JOHN"


def failing() -> NoReturn:
    """Raise what quotes a patient."""
    raise ValueError(SECRET)


def wrapping() -> NoReturn:
    """Raise as MONAI does, with the cause behind it."""
    try:
        failing()
    except ValueError as error:
        raise RuntimeError(f"applying transform to {SECRET}") from error


def test_the_first_error_and_its_innermost_frames_are_told() -> None:
    """File, line and function, the innermost first; no text of any of the errors."""
    try:
        wrapping()
    except RuntimeError as error:
        found = told(error)
    assert found["cause"] == "ValueError"
    assert found["where"].startswith("test_causes.py:")
    assert found["where"].split(" < ")[0].endswith("failing")
    assert SECRET not in str(found)
