"""The one place that states the version; the build reads it (``pyproject.toml``)."""

__version__ = "0.1.0"
