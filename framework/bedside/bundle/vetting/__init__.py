"""Decides about a bundle before anything of it is imported, evaluated or unpickled.

MONAI evaluates every ``$`` expression and calls every ``_target_`` as Python, and a pickle calls what it names: a
bundle is a program. ``vet`` says whether it may be loaded here (docs/admission.md), :func:`pure_configuration` whether
it is so plain that it may run inside the server.
"""

from bedside.bundle.folder import BundleFolder
from bedside.bundle.vetting.configuration import judge_configuration
from bedside.bundle.vetting.documents import read_document
from bedside.bundle.vetting.findings import Finding, Refused, Verdict
from bedside.bundle.vetting.judging import vet
from bedside.bundle.vetting.site_policy import SitePolicy, read_site_policy
from bedside.settings import AdmissionSettings

__all__ = ["Finding", "SitePolicy", "Verdict", "may_run_inline", "pure_configuration", "read_site_policy", "vet"]


def may_run_inline(folder: BundleFolder) -> bool:
    """Tell whether a bundle takes records, which have no spatial shape, and is configuration only."""
    inputs = folder.metadata.inputs.values()
    return bool(inputs) and all(not tensor.spatial_shape for tensor in inputs) and pure_configuration(folder)


def pure_configuration(folder: BundleFolder) -> bool:
    """Tell whether a bundle is configuration only: no code of its own, known components, harmless expressions.

    Stricter than :func:`vet`: no site policy, and nothing that even deserves a warning. What is not pure costs a bundle
    nothing but a process of its own.
    """
    if (folder.root / "scripts").exists():
        return False
    # MONAI makes metadata.json a part of the configuration, as "_meta_".
    paths = (*folder.config_files, folder.root / "configs" / "metadata.json")
    try:
        documents = [read_document(path, AdmissionSettings(), unique=path.stem != "metadata") for path in paths]
    except Refused:
        return False
    return not any(True for document in documents for _ in judge_configuration(document, "", SitePolicy()))
