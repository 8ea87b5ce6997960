"""Settings of what is kept of answers (docs/observability.md)."""

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class MonitoringSettings(BaseModel):
    """How right answers were, and whether they drift (docs/observability.md)."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    enabled: bool = True
    """Watch what is answered: how often each class is named and how surely, volumes and values, their drift. Tabular
    calls cost two microseconds less without."""

    predictions_seconds: float = Field(default=0.0, ge=0)
    """Seconds for which what was answered (class, probability, volumes, values: no input, no caller) is kept under its
    request id in the jobs' database, so that the truth finds it when it comes; 30 days are 2592000. 0: nothing is
    kept, and truth is refused. A finding beside an id that the hospital's systems can name is about a patient."""

    predictions_most: int = Field(default=1_000_000, gt=0)
    """Most predictions that are kept; beyond, the oldest go first. A million take about 250 MB."""

    window_seconds: float = Field(default=3600.0, gt=0)
    """Seconds of answers that are summed up at least, for the log and for the drift score."""

    window_predictions: int = Field(default=200, ge=50)
    """Answers that are summed up at least: of few, a sum would be about somebody, and its drift be chance."""

    window_truths: int = Field(default=200, ge=50)
    """Last truths of a model that its accuracy and sensitivities are taken of, and first ones that they are compared
    with where the bundle declares none. Of fewer, only what falls far is told from chance."""

    reference_predictions: int = Field(default=500, ge=50)
    """First answers of a bundle that later ones are compared with; kept in the jobs' database, as counts."""

    @model_validator(mode="after")
    def _nothing_is_kept_unwatched(self) -> Self:
        if self.predictions_seconds and not self.enabled:
            raise ValueError("monitoring.predictions_seconds keeps what is watched: monitoring.enabled must be true")
        return self
