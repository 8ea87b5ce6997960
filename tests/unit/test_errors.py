"""The error tree: advice for people, and nothing of the caller's."""

import pytest

from bedside.errors import (
    BedsideError,
    InsufficientScope,
    MissingToken,
    ModelFailure,
    NotAcceptable,
    PayloadTooLarge,
    QueueFull,
    Unavailable,
    WrongShape,
    echo,
)


def test_without_words_of_its_own_an_error_gives_its_advice() -> None:
    """The class docstring is what to do next."""
    assert str(MissingToken()) == MissingToken().detail == MissingToken.__doc__


def test_words_and_field_are_kept() -> None:
    """What is wrong, and where."""
    error = WrongShape("three axes, please", field="image")
    assert (error.detail, error.field, str(error)) == ("three axes, please", "image", "three axes, please")


def test_only_the_first_paragraph_is_advice() -> None:
    """What follows is for programmers."""

    class Long(BedsideError):
        """Do this.

        Because of that.
        """

    class Silent(BedsideError):
        """Say nothing."""

    Silent.__doc__ = None
    assert (Long.advice(), Silent.advice()) == ("Do this.", "")


def test_what_a_transport_needs_goes_with_the_error() -> None:
    """Scope, media types, seconds, and where a bundle failed."""
    assert InsufficientScope(scope="bedside.infer").scope == "bedside.infer"
    error = NotAcceptable(available=("application/json",))
    assert (error.field, error.available) == ("Accept", ("application/json",))
    assert (QueueFull().retry_after_seconds, Unavailable.retry_after_seconds) == (1, 1)
    failure = ModelFailure(cause="ValueError", where="network.py:3")
    assert (failure.cause, failure.where, "network.py" in failure.detail) == ("ValueError", "network.py:3", False)


@pytest.mark.parametrize("name", ["image", "ct_2", "a"])
def test_plain_names_are_repeated(name: str) -> None:
    """Tensor and feature names look like that."""
    assert echo(name) == f"'{name}'"


@pytest.mark.parametrize("name", ["DOE^JOHN", "Doe", "doe john", "doe.nii", "4711", "x" * 33, "", None, 3, "a\n"])
def test_names_that_might_be_a_persons_are_not(name: object) -> None:
    """Patients, files and accession numbers."""
    assert echo(name) == "(not shown)"


def test_a_near_miss_is_corrected() -> None:
    """With a name of the contract's."""
    assert echo("imgae", ["image", "label"]) == "'imgae' (did you mean 'image'?)"
    assert echo("zzz", ["image"]) == "'zzz'"


def test_setting_names_in_advice_are_real() -> None:
    """Advice that names a variable names one that exists."""
    assert "BEDSIDE_LIMITS__BODY_BYTES" in PayloadTooLarge.advice()
