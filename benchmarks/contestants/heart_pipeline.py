"""The scikit-learn model of the contestants that serve no bundle: trained on made-up rows, the same in every process.

Imported by servers in other virtual environments, so it uses NumPy and scikit-learn only.
"""

from typing import Any

FEATURES = (
    "age",
    "sex",
    "cp",
    "trestbps",
    "chol",
    "fbs",
    "restecg",
    "thalach",
    "exang",
    "oldpeak",
    "slope",
    "ca",
    "thal",
)
MODELS = tuple(f"heart_disease_{number}" for number in range(10))
IDENTITY = "identity"
"""A model that gives back what it gets."""

ACCURACY = 0.822


def make_pipeline_trained() -> Any:
    """Return a StandardScaler and LogisticRegression fitted to 1,000 random rows with a made-up rule."""
    import numpy as np  # noqa: PLC0415 - whoever only wants the names needs no scikit-learn
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
    from sklearn.pipeline import Pipeline, make_pipeline  # noqa: PLC0415
    from sklearn.preprocessing import StandardScaler  # noqa: PLC0415

    random = np.random.default_rng(20240)
    rows = random.normal(size=(1000, len(FEATURES))) * 10 + 50
    answers = rows @ random.normal(size=len(FEATURES)) + random.normal(size=1000) * 20
    pipeline: Pipeline = make_pipeline(StandardScaler(), LogisticRegression())
    return pipeline.fit(rows, answers > np.median(answers))
