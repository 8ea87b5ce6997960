"""A bundle's own savers, with memory for a disk.

``SaveImage`` decides much of what an answer is: element type, squeezed axes, the grid it is resampled to. So it is
run, up to the moment of writing: its writers are replaced by ones that keep what they would have written. The answer
is then the file of ``python -m monai.bundle run``, voxel for voxel, and no file is made.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from monai.data import ITKWriter, NibabelWriter, PILWriter
from monai.transforms import Compose, SaveClassificationd, SaveImaged

from bedside.types import OutputArray


class Kept:
    """What the savers of one bundle would have written, in order; cleared by :meth:`take`."""

    def __init__(self) -> None:
        self._name = ""
        self._items: list[OutputArray] = []  # may hold a name twice
        self.postprocessed = False

    def re_point(self, postprocessing: Any) -> None:
        """Have the savers of ``postprocessing`` keep what they would have written; those that do already go on."""
        self.postprocessed = postprocessing is not None
        for transform in transforms_of(postprocessing):
            if isinstance(transform, SaveImaged):
                if not isinstance(transform.key_iterator, _Naming):
                    _re_point(transform, self)
            elif isinstance(transform, SaveClassificationd):
                # Collects every prediction until the end of a run that never ends here.
                transform.saver = _NullSaver()

    def name_next(self, name: str) -> None:
        """Say what the next write is called."""
        self._name = name

    def add(self, array: np.ndarray[Any, Any], affine: Any) -> None:
        """Keep one result under the name just said."""
        geometry = None if affine is None else np.asarray(affine, dtype=np.float64)
        self._items.append(OutputArray(self._name, np.asarray(array, order="C"), geometry))

    def take(self) -> list[OutputArray]:
        """Return what was kept since the last call."""
        (items,) = self.take_each(1)
        return items

    def take_each(self, count: int) -> list[list[OutputArray]]:
        """Return what was kept since the last call for each of ``count`` items, which the savers met in turn.

        Raises:
            ValueError: they did not keep as much of each.
        """
        items, self._items = self._items, []
        each, rest = divmod(len(items), count)
        if rest:
            raise ValueError("the savers kept more of one item than of another")
        return [_named(items[start * each : (start + 1) * each]) for start in range(count)]


def _named(items: list[OutputArray]) -> list[OutputArray]:
    """Number those without a name, and the second one of a name."""
    taken: set[str] = set()
    named = []
    for number, item in enumerate(items):
        name = item.name if item.name and item.name not in taken else f"output{number}"
        taken.add(name)
        named.append(item._replace(name=name))
    return named


def transforms_of(transform: Any) -> Iterator[Any]:
    """Yield the leaves of nested ``Compose`` objects, in order."""
    if isinstance(transform, Compose):
        for inner in transform.transforms:
            yield from transforms_of(inner)
    elif transform is not None:
        yield transform


def postprocessing_of(evaluator: Any) -> Any:
    """Return the transform that the evaluator applies to results; only its handler's closure holds it."""
    for handlers in evaluator._event_handlers.values():  # noqa: SLF001
        for handler, _, _ in handlers:
            if getattr(handler, "__name__", "") == "_run_postprocessing":
                function = getattr(handler, "__wrapped__", handler)
                return dict(zip(function.__code__.co_freevars, function.__closure__ or (), strict=True))[
                    "posttrans"
                ].cell_contents
    return None


class _NullSaver:
    def save(self, *_: Any, **__: Any) -> None:
        """Drop class probabilities: they are in the output already."""

    def finalize(self) -> None:
        """Write nothing."""


def _re_point(transform: SaveImaged, kept: Kept) -> None:
    saver = transform.saver
    saver.writers = tuple(_keeping(writer, kept) for writer in saver.writers)
    saver.write_kwargs["verbose"] = False
    if hasattr(saver.folder_layout, "makedirs") and all(hasattr(writer, "kept") for writer in saver.writers):
        saver.folder_layout.makedirs = False
    transform.key_iterator = _Naming(transform.key_iterator, kept)


class _Naming:
    """An iteration over a saver's keys that says which of them is about to be saved."""

    def __init__(self, iterate: Callable[..., Iterator[Any]], kept: Kept) -> None:
        self._iterate = iterate
        self._kept = kept

    def __call__(self, *args: Any) -> Iterator[Any]:
        for found in self._iterate(*args):
            self._kept.name_next(str(found[0]))
            yield found


def _keeping(writer: type[Any], kept: Kept) -> type[Any]:
    for base, write in ((NibabelWriter, _keep_nibabel), (PILWriter, _keep_pil), (ITKWriter, _keep_plain)):
        if issubclass(writer, base):
            return type(f"Keeping{writer.__name__}", (writer,), {"write": _emptied(write), "kept": kept})
    return writer  # a writer of the bundle's own writes its file; see engine.collect_files


def _emptied(write: Callable[..., None]) -> Callable[..., None]:
    """Have a writer let go of what it wrote: a saver keeps its last writer, and so somebody's result, and memory."""

    def written(self: Any, *args: Any, **kwargs: Any) -> None:
        write(self, *args, **kwargs)
        self.data_obj = None

    return written


def _keep_nibabel(self: Any, filename: Any, verbose: bool = False, **kwargs: Any) -> None:  # noqa: ARG001, FBT001, FBT002
    image = self.create_backend_obj(self.data_obj, affine=self.affine, dtype=self.output_dtype, **kwargs)
    self.kept.add(np.asanyarray(image.dataobj), image.affine)


def _keep_pil(self: Any, filename: Any, verbose: bool = False, **kwargs: Any) -> None:  # noqa: ARG001, FBT001, FBT002
    image = self.create_backend_obj(
        self.data_obj,
        dtype=self.output_dtype,
        reverse_indexing=kwargs.pop("reverse_indexing", True),
        image_mode=kwargs.pop("image_mode", None),
        scale=self.scale,
        **kwargs,
    )
    self.kept.add(np.asarray(image), None)


def _keep_plain(self: Any, filename: Any, verbose: bool = False, **kwargs: Any) -> None:  # noqa: ARG001, FBT001, FBT002
    array = np.asarray(self.data_obj)
    self.kept.add(array if self.output_dtype is None else array.astype(self.output_dtype), self.affine)
