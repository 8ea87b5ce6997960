"""From a folder and the facts of one real run to the contract."""

from bedside.bundle.contract import Contract, derive_inputs, derive_outputs
from bedside.bundle.folder import BundleFolder
from bedside.runtime.facts import LoadedFacts


def assemble(folder: BundleFolder, facts: LoadedFacts) -> Contract:
    """Return the contract of a loaded bundle."""
    metadata = folder.metadata
    return Contract(
        model=folder.name,
        version=metadata.version,
        digest=folder.digest,
        task=metadata.task,
        description=metadata.description,
        inputs=derive_inputs(metadata, facts.inputs),
        outputs=derive_outputs(metadata, facts.outputs),
        metrics=metadata.eval_metrics,
        intended_use=metadata.intended_use,
    )
