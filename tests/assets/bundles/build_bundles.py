"""Makes the small bundles that the tests serve, each named after what it shows. Random weights, fixed seed.

``python -m tests.assets.bundles.build_bundles FOLDER`` writes them all.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from tests.assets.bundles import faulty, unusual, usual

BUNDLES: dict[str, Callable[[Path], None]] = {
    "volume_segmentation": usual.volume_segmentation,
    "plane_classification": usual.plane_classification,
    "record_classification": usual.record_classification,
    "misbehaving": faulty.misbehaving,
    "scripts_adding_one": faulty.scripts_adding(1.0),
    "scripts_adding_nine": faulty.scripts_adding(9.0),
    "missing_package": faulty.missing_package,
    "missing_weights": faulty.missing_weights,
    "broken_configuration": faulty.broken_configuration,
    "writing_files": unusual.writing_files,
    "planes_of_a_volume": unusual.planes_of_a_volume,
    "fragile_pictures": faulty.fragile_pictures,
    "pictures_compared": faulty.pictures_compared,
    "frames_by_bare_path": unusual.frames_by_bare_path,
    "four_files": unusual.four_files,
    "clicks": unusual.clicks,
    "prompt_shown": unusual.prompt_shown,
    "label_wanted": unusual.label_wanted,
    "image_with_mask": unusual.image_with_mask,
    "latent": unusual.latent,
    "own_dataset": unusual.own_dataset,
    "stream_of_pairs": unusual.stream_of_pairs,
    "sampler": unusual.sampler,
    "needs_cuda": faulty.needs_cuda,
}


def build_all(folder: Path) -> None:
    """Write every bundle below ``folder``."""
    for name, make in BUNDLES.items():
        make(folder / name)


if __name__ == "__main__":
    build_all(Path(sys.argv[1]))
