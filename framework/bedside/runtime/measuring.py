"""Measures, in a model's process, what memory its runs take; see ``memory.MemoryNeed``."""

import resource
from time import perf_counter

from bedside.bundle.contract import derive_inputs
from bedside.bundle.folder import BundleFolder
from bedside.bundle.sample import sample_inputs, with_spacing
from bedside.errors import ModelFailure
from bedside.runtime.engine import BundleEngine
from bedside.runtime.facts import LoadedFacts
from bedside.runtime.loading import staged
from bedside.runtime.memory import MemoryNeed, fit, voxels
from bedside.runtime.peak import forget_peak, status_bytes
from bedside.runtime.staging import Staging
from bedside.settings import MEBIBYTE
from bedside.types import DecodedImage, ValidatedInputs

_STRETCHES = (1, 2, 4, 8, 16, 32, 64)
_COARSE_MM = 2.0
_LEAST_PER_VOXEL = 8.0  # the image and its result, as float32: what small runs take is lost in what libraries keep


def limit_memory(mib: int) -> None:
    """Let this process take ``mib`` more than it has, and no more: an allocation beyond raises MemoryError.

    Data, not address space: libraries reserve far more addresses than they ever use.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    limit = status_bytes("VmData") + mib * MEBIBYTE
    if hard == resource.RLIM_INFINITY or limit < hard:
        resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))


def measure(
    engine: BundleEngine, folder: BundleFolder, facts: LoadedFacts, staging: Staging, seconds: float, before: int
) -> MemoryNeed | None:
    """Run inputs of growing size, for about ``seconds`` in all, and fit a line through their peaks.

    A model so slow that not even one more run has time keeps the peak of its first run, which was made anyhow.

    Args:
        engine: warm.
        folder: its bundle.
        facts: its inputs.
        staging: where inputs go.
        seconds: what all runs may take; a size is left out when it would take longer.
        before: resident bytes before anything was loaded.

    Returns:
        None where the kernel does not tell, or the bundle takes no image, or takes slides: what a region takes says
        nothing of the whole.
    """
    specs = derive_inputs(folder.metadata, facts.inputs)
    if not any(spec.kind == "image" for spec in specs) or any(spec.is_slide for spec in specs):
        return None
    points: list[tuple[int, int]] = []
    by_volume = False
    try:
        idle = status_bytes("VmRSS")
        by_volume = _resamples(engine, sample_inputs(specs, folder.metadata), staging)
        begin, expected = perf_counter(), engine.first_seconds
        for stretch in _STRETCHES:
            if perf_counter() - begin + expected > seconds:
                break
            sample = sample_inputs(specs, folder.metadata, stretch=stretch)
            started = perf_counter()
            peak = _peak(engine, sample, staging)
            expected = 2 * (perf_counter() - started)
            points.append((voxels(sample, by_volume=by_volume), max(0, peak - idle)))
    except ModelFailure:
        pass  # a network of a fixed size; what was measured until here holds
    except OSError:
        return None
    if not points:
        sample = sample_inputs(specs, folder.metadata)
        points = [(voxels(sample, by_volume=by_volume), max(0, engine.first_peak - idle))]
    base, slope = fit(points)
    guessed = len({count for count, _ in points}) < 2
    return MemoryNeed(max(0, idle - before), base, max(slope, _LEAST_PER_VOXEL), by_volume, guessed)


def _peak(engine: BundleEngine, sample: ValidatedInputs, staging: Staging) -> int:
    forget_peak()
    with staged(sample, staging) as item:
        engine.run(item)
    return status_bytes("VmHWM")


def _resamples(engine: BundleEngine, sample: ValidatedInputs, staging: Staging) -> bool:
    """Tell whether voxels of twice the size come out of the preprocessing as more of them."""
    image = next((item for item in sample.items if isinstance(item, DecodedImage) and item.suffix == ".nii"), None)
    if image is None:
        return False
    coarse = with_spacing(sample, image, _COARSE_MM)
    with staged(sample, staging) as fine_item, staged(coarse, staging) as coarse_item:
        return engine.prepared_shape(fine_item, image.name) != engine.prepared_shape(coarse_item, image.name)
