"""Bedside: a MONAI bundle becomes an authenticated, contract-checked, observable endpoint."""

from bedside.version import __version__

__all__ = ["__version__"]
