"""Who may bring code: nobody, who is pinned, who signs; and what a signature covers."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from tests.unit.bundle.vetting.conftest import judged, rules

from bedside.bundle.folder import open_bundle
from bedside.bundle.vetting import SitePolicy, judging, read_site_policy, signatures
from bedside.bundle.vetting.findings import Refused
from bedside.bundle.vetting.signatures import SIGNATURE, sign_bundle, verified_by
from bedside.errors import BundleError, ConfigurationError


@pytest.fixture
def coded(root: Path) -> Path:
    """Return a bundle with code of its own, which its configuration uses."""
    (root / "scripts").mkdir()
    (root / "scripts" / "net.py").write_text("import torch")
    path = root / "configs" / "inference.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "x": {"_target_": "scripts.net.Net"}}))
    return root


def write_key(folder: Path, name: str, password: str | None = None) -> tuple[Path, Path]:
    """Write a pair of elliptic-curve keys; return private and public."""
    from cryptography.hazmat.primitives import serialization  # noqa: PLC0415 - for the tests that sign only
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key = ec.generate_private_key(ec.SECP256R1())
    encryption: Any = serialization.NoEncryption()
    if password:
        encryption = serialization.BestAvailableEncryption(password.encode())
    private, public = folder / f"{name}.pem", folder / f"{name}.pub"
    encoding, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    private.write_bytes(key.private_bytes(encoding, pkcs8, encryption))
    public.write_bytes(key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo))
    return private, public


@pytest.fixture
def keys(tmp_path: Path) -> tuple[Path, Path]:
    """Return a private and a public key, or skip where signatures cannot be made."""
    pytest.importorskip("model_signing")
    return write_key(tmp_path, "key")


def test_code_is_refused_without_a_policy(coded: Path) -> None:
    """The trust level says why."""
    verdict = judged(coded)
    assert (verdict.admitted, verdict.trust) == (False, "unsigned_code")
    assert rules(verdict) == {"own_code", "target"}


@pytest.mark.parametrize(("scripts", "admitted"), [("never", False), ("pinned", True), ("signed", True)])
def test_a_pinned_digest_admits_code(coded: Path, scripts: Any, admitted: bool) -> None:  # noqa: FBT001 - a table
    """Where the site accepts pins; the findings stay, as reviewed."""
    policy = SitePolicy(scripts=scripts, allowed_digests=(judged(coded).digest,))
    verdict = judged(coded, policy)
    assert (verdict.admitted, verdict.trust) == (admitted, "pinned")
    assert rules(verdict, "reviewed") == ({"own_code", "target"} if admitted else set())


def test_a_pin_holds_for_these_bytes_only(coded: Path) -> None:
    """One letter more, and it is another bundle."""
    policy = SitePolicy(scripts="pinned", allowed_digests=(judged(coded).digest,))
    (coded / "scripts" / "net.py").write_text("import torch ")
    assert not judged(coded, policy).admitted


def test_a_signature_admits_code(coded: Path, keys: tuple[Path, Path]) -> None:
    """With a configured key, and where the site accepts signatures."""
    sign_bundle(coded, keys[0])
    verdict = judged(coded, SitePolicy(scripts="signed", public_keys=(keys[1],)))
    assert (verdict.admitted, verdict.trust, verdict.signer) == (True, "signed", "key.pub")
    assert not judged(coded, SitePolicy(scripts="pinned", public_keys=(keys[1],))).admitted


@pytest.mark.parametrize("change", ["scripts/net.py", "configs/inference.json", "models/model.pt", "scripts/more.py"])
def test_a_signature_covers_every_file(coded: Path, keys: tuple[Path, Path], change: str) -> None:
    """Also files that were not there."""
    sign_bundle(coded, keys[0])
    with (coded / change).open("ab") as stream:
        stream.write(b" ")
    verdict = judged(coded, SitePolicy(scripts="signed", public_keys=(keys[1],)))
    assert not verdict.admitted
    assert "signature" in rules(verdict)


def test_another_key_does_not_verify(coded: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    """The second of two configured keys does, when it is the signer's."""
    sign_bundle(coded, keys[0])
    other = write_key(tmp_path, "other")[1]
    with pytest.raises(Refused, match="no configured key"):
        verified_by(coded, [other])
    assert verified_by(coded, [other, keys[1]]) == keys[1]


def test_what_a_run_leaves_behind_does_not_break_a_signature(coded: Path, keys: tuple[Path, Path]) -> None:
    """Nor does signing twice."""
    sign_bundle(coded, keys[0])
    (coded / "scripts" / "__pycache__").mkdir()
    (coded / "scripts" / "__pycache__" / "net.pyc").write_bytes(b"\0")
    assert verified_by(coded, [keys[1]])
    sign_bundle(coded, keys[0])
    assert verified_by(coded, [keys[1]])


def test_a_signature_that_leaves_files_out_is_refused(coded: Path, keys: tuple[Path, Path]) -> None:
    """The signer's own tool can be told to ignore files; then they could be anything."""
    from model_signing import hashing, signing  # noqa: PLC0415 - optional library

    config = signing.Config().use_elliptic_key_signer(private_key=keys[0])
    ignored = [coded / SIGNATURE, coded / "scripts"]
    config.set_hashing_config(hashing.Config().set_ignored_paths(paths=ignored, ignore_git_paths=False))
    config.sign(coded, coded / SIGNATURE)
    with pytest.raises(Refused, match=r"leaves out scripts/net\.py"):
        verified_by(coded, [keys[1]])


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff", b'{"dsseEnvelope": 3}', b"[" * 9999])
def test_a_signature_of_other_bytes_is_refused(coded: Path, keys: tuple[Path, Path], content: bytes) -> None:
    """Whatever the library raises."""
    (coded / SIGNATURE).write_bytes(content)
    with pytest.raises(Refused):
        verified_by(coded, [keys[1]])


def test_a_genuine_signature_of_an_unknown_form_is_refused(coded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A later version of the library may write another one."""
    (coded / SIGNATURE).write_bytes(b"{}")
    monkeypatch.setattr(signatures, "_library", lambda _: None)
    monkeypatch.setattr(signatures, "_verifies", lambda *_: True)
    with pytest.raises(Refused, match="unknown form"):
        verified_by(coded, [coded / "key"])


def test_a_missing_signature_is_told(coded: Path, keys: tuple[Path, Path]) -> None:
    """By verify; for vet it is no signature at all."""
    with pytest.raises(Refused, match="no readable signature"):
        verified_by(coded, [keys[1]])
    assert "signature" not in rules(judged(coded, SitePolicy(scripts="signed", public_keys=(keys[1],))))


def test_a_configured_key_that_is_missing_stops_everything(coded: Path, keys: tuple[Path, Path]) -> None:
    """It is the operator's mistake, not the bundle's."""
    sign_bundle(coded, keys[0])
    with pytest.raises(ConfigurationError, match="public key"):
        judged(coded, SitePolicy(scripts="signed", public_keys=(keys[1].with_name("absent"),)))


def test_a_key_with_a_password_signs(coded: Path, keys: tuple[Path, Path], tmp_path: Path) -> None:
    """And with the wrong one does not."""
    private, public = write_key(tmp_path, "locked", "secret")
    with pytest.raises(ConfigurationError, match="key"):
        sign_bundle(coded, private, "wrong")
    sign_bundle(coded, private, "secret")
    assert verified_by(coded, [public]) == public


def test_what_cannot_be_signed_is_told(coded: Path, keys: tuple[Path, Path]) -> None:
    """Links, for example: a signature is over contents."""
    (coded / "models" / "link.pt").symlink_to("model.pt")
    with pytest.raises(BundleError, match="cannot be signed"):
        sign_bundle(coded, keys[0])


def test_without_the_library_signatures_are_told_and_refused(coded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the line that installs it."""
    monkeypatch.setitem(sys.modules, "model_signing", None)
    monkeypatch.delitem(sys.modules, "model_signing.verifying", raising=False)
    monkeypatch.delitem(sys.modules, "model_signing.signing", raising=False)
    (coded / SIGNATURE).write_text("{}")
    with pytest.raises(ConfigurationError, match="pip install"):
        sign_bundle(coded, coded / "key")
    verdict = judged(coded, SitePolicy(scripts="signed", public_keys=(coded / "key",)))
    assert "signing_library" in rules(verdict)


def test_a_bundle_that_changes_while_it_is_judged_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was judged is what was hashed."""
    looks = iter(("before", "after"))
    monkeypatch.setattr(judging, "fingerprint_if_readable", lambda _: next(looks))
    assert rules(judged(root)) == {"changed"}


def test_a_bundle_that_vanishes_while_it_is_judged_is_refused(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is left to hash."""

    def gone(_: Path) -> str:
        raise FileNotFoundError

    monkeypatch.setattr("bedside.bundle.folder.tree_fingerprint", gone)
    assert rules(judged(root)) == {"changed"}
    monkeypatch.setattr(judging, "open_bundle", gone)
    assert rules(judged(root)) == {"not_a_bundle"}


def test_weights_that_vanish_are_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rest is judged nevertheless."""
    real = Path.open

    def opened(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "gone.pt" and sys._getframe(1).f_code.co_name == "_head":
            raise FileNotFoundError
        return real(path, *arguments, **options)

    (root / "models" / "gone.pt").write_bytes(b"x")
    monkeypatch.setattr(Path, "open", opened)
    assert rules(judged(root)) == {"unreadable_file"}


def test_a_policy_too_large_to_read_is_refused(root: Path) -> None:
    """bedside.toml has the limit of a configuration."""
    (root / "bedside.toml").write_text("# " + "x" * 200_000)
    (finding,) = judged(root, config_bytes=100_000).refusals
    assert (finding.rule, finding.where) == ("config_too_large", "bedside.toml")


def test_a_signature_that_nobody_can_check_is_told(root: Path) -> None:
    """It proves nothing here, and harms nobody."""
    (root / SIGNATURE).write_text("{}")
    verdict = judged(root)
    assert verdict.admitted
    assert "signature_unchecked" in rules(verdict, "info")


def test_an_unreadable_configuration_is_told(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the operating system's error."""
    real = Path.open

    def opened(path: Path, *arguments: Any, **options: Any) -> Any:
        if path.name == "inference.json" and sys._getframe(1).f_code.co_name == "_text":
            raise PermissionError
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "open", opened)
    assert rules(judged(root)) == {"unreadable_file"}


def test_the_policy_file_is_read_once_and_completely(tmp_path: Path) -> None:
    """Keys are relative to the file."""
    path = tmp_path / "policy.toml"
    path.write_text(
        'targets = ["a.b", "c.*"]\nimports = ["pandas"]\nnames = ["open"]\nglobals = ["a.B"]\nscripts = "signed"\n'
        f'allowed_digests = ["sha256:{"0" * 64}"]\npublic_keys = ["keys/a.pub", "/etc/b.pub"]\n'
    )
    policy = read_site_policy(path)
    assert policy.public_keys == (tmp_path / "keys" / "a.pub", Path("/etc/b.pub"))
    assert policy.scripts == "signed"
    assert read_site_policy(None) == SitePolicy()


@pytest.mark.parametrize(
    "text",
    [
        'targets = ["*"]',
        'targets = ["torch*"]',
        'names = ["a b"]',
        'imports = [""]',
        'allowed_digests = ["sha256:00"]',
        'scripts = "always"',
        "unknown = 1",
        "x =",
        "\xff",
    ],
)
def test_a_policy_file_with_a_mistake_stops_the_server(tmp_path: Path, text: str) -> None:
    """Rather than admitting everything, or nothing, without a word."""
    path = tmp_path / "policy.toml"
    path.write_text(text, encoding="latin1")
    with pytest.raises(ConfigurationError):
        read_site_policy(path)


def test_a_policy_file_that_is_missing_stops_the_server(tmp_path: Path) -> None:
    """The setting is named."""
    with pytest.raises(ConfigurationError) as caught:
        read_site_policy(tmp_path / "absent.toml")
    assert caught.value.field == "admission.policy_file"


def test_the_digest_is_that_of_the_server(root: Path, tmp_path: Path) -> None:
    """Wherever the bundle lies, and whatever its folder is called."""
    copy = Path(shutil.copytree(root, tmp_path / "elsewhere" / "other"))
    assert judged(root).digest == open_bundle(root).digest == judged(copy).digest


def test_signing_imports_nothing_of_the_bundle(coded: Path, keys: tuple[Path, Path]) -> None:
    """In a process of its own, with the bundle as working directory."""
    code = (
        "import sys; from pathlib import Path; from bedside.bundle.vetting.signatures import sign_bundle\n"
        "sign_bundle(Path(sys.argv[1]), Path(sys.argv[2])); print('scripts' in sys.modules, 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code, str(coded), str(keys[0])]
    assert subprocess.run(command, capture_output=True, text=True, check=True, cwd=coded).stdout == "False False\n"
