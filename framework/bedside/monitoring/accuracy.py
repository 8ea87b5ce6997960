"""How right a model was, of the answers whose truth has come: per version, in the measures that clinicians read."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from math import fsum
from typing import Any

from bedside.types import Quantity

Told = tuple[str, str, str, str, int, float]
"""Version, digest, predicted class, true class, how many, mean probability of the predicted class."""
ToldNumber = tuple[str, str, Quantity, float]
"""Version, digest, what was answered, its truth."""


def summaries(told: Iterable[Told], numbers: Iterable[ToldNumber]) -> list[dict[str, Any]]:
    """Return one summary for each version and digest that truth has come for, classes first."""
    classes: dict[tuple[str, str], list[Told]] = defaultdict(list)
    for row in told:
        classes[row[0], row[1]].append(row)
    errors: dict[tuple[str, str], dict[tuple[str, str], list[float]]] = defaultdict(lambda: defaultdict(list))
    for version, digest, answered, true in numbers:
        errors[version, digest][answered.kind, answered.name].append(answered.number - true)
    found = [{"version": of[0], "digest": of[1], **_of_classes(rows)} for of, rows in sorted(classes.items())]
    return found + [{"version": of[0], "digest": of[1], **_of_numbers(by)} for of, by in sorted(errors.items())]


def _of_classes(rows: Iterable[Told]) -> dict[str, Any]:
    matrix: Counter[tuple[str, str]] = Counter()
    sure = 0.0
    for _, _, predicted, true, count, probability in rows:
        matrix[predicted, true] += count
        sure += count * probability
    total = matrix.total()
    names = sorted({name for pair in matrix for name in pair})
    right = sum(matrix[name, name] for name in names)
    return {
        "truths": total,
        "accuracy": round(right / total, 4),
        # Above the accuracy, the model is surer than it should be (calibration in the large).
        "mean_probability": round(sure / total, 4),
        "classes": {name: _of_class(name, matrix, total) for name in names},
        "confusion": {
            true: {predicted: matrix[predicted, true] for predicted in names if matrix[predicted, true]}
            for true in names
        },
    }


def _of_class(name: str, matrix: Mapping[tuple[str, str], int], total: int) -> dict[str, Any]:
    hit = matrix.get((name, name), 0)
    said = sum(count for (predicted, _), count in matrix.items() if predicted == name)
    true = sum(count for (_, so), count in matrix.items() if so == name)
    shares = {
        "sensitivity": (hit, true),
        "specificity": (total - said - true + hit, total - true),
        "positive_predictive_value": (hit, said),
    }
    return {"truths": true} | {measure: round(part / of, 4) for measure, (part, of) in shares.items() if of}


def _of_numbers(by: Mapping[tuple[str, str], list[float]]) -> dict[str, Any]:
    return {
        "truths": max(map(len, by.values())),
        "quantities": {
            name: {
                "kind": kind,
                "truths": len(errors),
                "mean_absolute_error": round(fsum(map(abs, errors)) / len(errors), 6),
                "mean_error": round(fsum(errors) / len(errors), 6),
            }
            for (kind, name), errors in by.items()
        },
    }
