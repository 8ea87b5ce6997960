"""A sampler is tried in one of its steps (docs/decisions/0038): the others repeat it, and may take half an hour."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial, wraps
from typing import Any

from monai.networks.schedulers import Scheduler

ONE_STEP = "sampler-tried-in-one-step"


@contextmanager
def one_step() -> Iterator[list[Callable[[], None]]]:
    """Have MONAI's noise schedulers, and those derived from them, offer their first time step within the block.

    Those that were set within it offer all of theirs behind it: a configuration sets them once, for all requests.

    Yields:
        One entry for each that was shortened.
    """
    whole: list[Callable[[], None]] = []
    originals = [(kind, kind.set_timesteps) for kind in _kinds(Scheduler) if "set_timesteps" in vars(kind)]
    for kind, original in originals:
        kind.set_timesteps = _shortened(original, whole)
    try:
        yield whole
    finally:
        for kind, original in originals:
            kind.set_timesteps = original
        for set_again in whole:
            set_again()


def _kinds(kind: Any) -> Iterator[Any]:
    for derived in kind.__subclasses__():
        yield derived
        yield from _kinds(derived)


def _shortened(original: Callable[..., None], whole: list[Callable[[], None]]) -> Callable[..., None]:
    @wraps(original)
    def set_timesteps(self: Any, *args: Any, **options: Any) -> None:
        original(self, *args, **options)
        whole.append(partial(original, self, *args, **options))
        self.timesteps = self.timesteps[:1]

    return set_timesteps
