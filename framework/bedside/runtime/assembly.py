"""From a folder and the facts of one real run to the contract."""

from dataclasses import replace
from math import inf

from bedside.bundle.contract import Contract, InputSpec, derive_inputs, derive_outputs
from bedside.bundle.folder import BundleFolder
from bedside.bundle.policy import Policy
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
        inputs=tuple(_bounded(spec, folder.policy) for spec in derive_inputs(metadata, facts.inputs)),
        outputs=derive_outputs(metadata, facts.outputs),
        metrics=metadata.eval_metrics,
        intended_use=metadata.intended_use,
        shims=facts.shims,
    )


def _bounded(spec: InputSpec, policy: Policy) -> InputSpec:
    spec = replace(
        spec, dicom=policy.dicom.model_copy(update={"modality": policy.dicom.modality or spec.dicom.modality})
    )
    bounds = policy.inputs.get(spec.name)
    if bounds is None:
        return spec
    return replace(spec, extent_mm=(bounds.least_extent_mm, bounds.greatest_extent_mm or inf))
