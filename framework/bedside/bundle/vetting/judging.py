"""The verdict over one bundle. The steps and their numbers are those of docs/admission.md."""

import tempfile
from collections.abc import Iterator
from dataclasses import replace
from os.path import relpath
from pathlib import Path, PurePosixPath
from typing import Any

from bedside.bundle.folder import BundleFolder, fingerprint_if_readable, open_bundle
from bedside.bundle.vetting.archives import unpack
from bedside.bundle.vetting.code import is_code, judge_code
from bedside.bundle.vetting.configuration import judge_configuration
from bedside.bundle.vetting.documents import read_document
from bedside.bundle.vetting.findings import Finding, Refused, TrustLevel, Verdict, shown
from bedside.bundle.vetting.rules import RULES
from bedside.bundle.vetting.signatures import SIGNATURE, verified_by
from bedside.bundle.vetting.site_policy import SitePolicy
from bedside.bundle.vetting.tree import Tree, judge_tree
from bedside.bundle.vetting.weights import judge_weights
from bedside.errors import BundleError, InvalidBundle
from bedside.settings import AdmissionSettings

_METADATA = "configs/metadata.json"
_POLICY = "bedside.toml"


def vet(path: Path, limits: AdmissionSettings, policy: SitePolicy) -> Verdict:
    """Judge a bundle's folder, or an archive with one in it. Nothing of it is imported, evaluated or unpickled.

    Raises:
        InvalidBundle: there is nothing at ``path``.
        ConfigurationError: a key of the policy cannot be read.
    """
    if path.is_dir():
        return _vet_folder(path.resolve(), limits, policy)
    if not path.is_file():
        raise InvalidBundle("there is neither a folder nor an archive", field="path")
    with tempfile.TemporaryDirectory(prefix="bedside-") as folder:
        into = Path(folder) / (path.stem or "bundle")
        into.mkdir()
        try:
            return _vet_folder(unpack(path, into, limits), limits, policy)  # 1 archive
        except Refused as refused:
            return _refused(path.stem, [refused.at(shown(path.name))])
        except OSError as error:
            unreadable = Finding("archive_unreadable", shown(path.name), f"cannot be unpacked ({type(error).__name__})")
            return _refused(path.stem, [unreadable])


def _vet_folder(root: Path, limits: AdmissionSettings, policy: SitePolicy) -> Verdict:
    tree = judge_tree(root, limits)  # 2 tree
    if tree.refused:  # reading it could hang, or lead elsewhere
        return _refused(root.name, tree.findings)
    too_much = _before_opening(root, limits)
    if too_much is not None:
        return _refused(root.name, [*tree.findings, too_much])
    before = fingerprint_if_readable(root)
    try:
        folder = open_bundle(root)  # 3 bundle
    except (BundleError, OSError) as error:
        detail = error.detail if isinstance(error, BundleError) else type(error).__name__
        return _refused(root.name, [*tree.findings, Finding("not_a_bundle", ".", shown(detail, 300))])
    findings = [*tree.findings, *_configurations(folder, tree, limits, policy), *_files(folder, tree, limits, policy)]
    signer, told = _signature(root, policy)  # 7 signature
    findings += told
    if not before or fingerprint_if_readable(root) != before:  # 8 digest: what was judged is what was hashed
        findings.append(Finding("changed", ".", "its files have changed while it was judged"))
    return _verdict(folder, findings, signer, policy)


def _before_opening(root: Path, limits: AdmissionSettings) -> Finding | None:
    """Return what keeps us from reading metadata and policy at all."""
    policy = root / _POLICY
    if policy.is_file() and policy.stat().st_size > limits.config_bytes:
        return Finding("config_too_large", _POLICY, f"has more than {limits.config_bytes} bytes")
    try:
        if (root / _METADATA).is_file():
            read_document(root / _METADATA, limits, unique=False)
    except Refused as refused:
        return refused.at(_METADATA)
    return None


def _configurations(
    folder: BundleFolder, tree: Tree, limits: AdmissionSettings, policy: SitePolicy
) -> Iterator[Finding]:
    """Judge what MONAI will merge, metadata included (as ``_meta_``); name the rest."""  # 4 configuration
    judged = {_METADATA}
    for path in folder.config_files:
        name = f"configs/{path.name}"
        if path.parent != folder.root / "configs" or name not in tree.files:
            yield Finding("config_outside", _POLICY, f"config_files names '{shown(relpath(path, folder.root))}'")
        else:
            judged.add(name)
    for name in sorted(judged):
        try:
            yield from judge_configuration(_document(tree, name, limits), name, policy)
        except Refused as refused:
            yield refused.at(name)
    for name in sorted(set(tree.files) - judged):
        if name.startswith("configs/") and not is_code(name):
            yield Finding("config_not_judged", name, "is not among the files that the server merges")


def _document(tree: Tree, name: str, limits: AdmissionSettings) -> dict[Any, Any]:
    # Metadata in the wild repeat keys of their change log; nothing is built from them.
    return read_document(tree.files[name], limits, unique=name != _METADATA)


def _files(folder: BundleFolder, tree: Tree, limits: AdmissionSettings, policy: SitePolicy) -> Iterator[Finding]:
    for name, path in sorted(tree.files.items()):
        if is_code(name):
            yield judge_code(name, path)  # 5 code
        if PurePosixPath(name).suffix != ".py":
            yield from judge_weights(name, path, folder.root, policy, limits)  # 6 weights


def _signature(root: Path, policy: SitePolicy) -> tuple[str, list[Finding]]:
    if not (root / SIGNATURE).is_file():
        return "", []
    if not policy.public_keys:
        return "", [Finding("signature_unchecked", SIGNATURE, "the site's policy names no public_keys")]
    try:
        return verified_by(root, policy.public_keys).name, []
    except Refused as refused:
        return "", [refused.at(SIGNATURE)]


def _verdict(folder: BundleFolder, findings: list[Finding], signer: str, policy: SitePolicy) -> Verdict:
    trust = _trust(folder.digest, findings, signer, policy)
    accepted = (trust, policy.scripts) in {("pinned", "pinned"), ("pinned", "signed"), ("signed", "signed")}
    if accepted:
        findings = [replace(f, reviewed=RULES[f.rule].code and f.severity == "refused") for f in findings]
    return Verdict(folder.name, folder.metadata.version, folder.digest, trust, tuple(findings), signer)


def _trust(digest: str, findings: list[Finding], signer: str, policy: SitePolicy) -> TrustLevel:
    if not any(finding.severity == "refused" for finding in findings):
        return "data_only"
    if digest in policy.allowed_digests:
        return "pinned"
    return "signed" if signer else "unsigned_code"


def _refused(name: str, findings: list[Finding]) -> Verdict:
    return Verdict(name, "", "", "unsigned_code", tuple(findings))
