"""Users of a model while it is changed: requests at a steady rate, each on a connection of its own."""

import random
import ssl
import threading
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

VALUES: dict[str, Sequence[int]] = {
    "age": range(29, 78),
    "sex": range(2),
    "cp": range(1, 5),
    "trestbps": range(94, 201),
    "chol": range(126, 565),
    "fbs": range(2),
    "restecg": range(3),
    "thalach": range(71, 203),
    "exang": range(2),
    "oldpeak": range(7),
    "slope": range(1, 4),
    "ca": range(4),
    "thal": (3, 6, 7),
}
PER_SECOND = 50.0


def record(chance: random.Random) -> dict[str, Any]:
    """Return somebody's values."""
    return {name: chance.choice(values) for name, values in VALUES.items()}


class Caller(threading.Thread):
    """Calls until it is stopped.

    Attributes:
        lost: what went wrong, by kind; a call is made once, and not again.
        answered: answers by digest of the model.
    """

    def __init__(self, url: str, certificate: Path, token: str, model: str) -> None:
        super().__init__(name="caller", daemon=True)
        self._headers = {"authorization": f"Bearer {token}"}
        self._path = f"/v1/models/{model}/predict"
        # A new connection for each call: none is reused at the moment in which a server closes it.
        once = httpx.Limits(max_keepalive_connections=0)
        verify = ssl.create_default_context(cafile=str(certificate))
        self._client = httpx.Client(base_url=url, verify=verify, limits=once, timeout=60.0, trust_env=False)
        self._end = threading.Event()
        self.lost: Counter[str] = Counter()
        self.answered: Counter[str] = Counter()

    @property
    def made(self) -> int:
        """Return how many calls have ended."""
        return self.answered.total() + self.lost.total()

    def run(self) -> None:
        """Call at a steady rate; one that is late makes up for nothing."""
        chance = random.Random(1)  # noqa: S311 - not for secrets
        while not self._end.wait(1.0 / PER_SECOND):
            self.call(record(chance))

    def call(self, values: dict[str, Any]) -> None:
        """Make one call and note what became of it."""
        try:
            response = self._client.post(self._path, json=values, headers=self._headers)
        except httpx.HTTPError as error:
            self.lost[type(error).__name__] += 1
            return
        if response.status_code != httpx.codes.OK:
            self.lost[str(response.status_code)] += 1
            return
        self.answered[response.headers["bedside-model-digest"]] += 1

    def stop(self) -> None:
        """End after the call that is under way."""
        self._end.set()
        self.join()
        self._client.close()
