"""Unpacks a bundle's archive that has been checked, member by member, into a fresh folder."""

import stat
import zipfile
from pathlib import Path
from typing import IO

from bedside.bundle.vetting.findings import Refused, shown
from bedside.bundle.vetting.tars import is_tar, unpack_tar
from bedside.bundle.vetting.zips import open_zip
from bedside.settings import AdmissionSettings

_CHUNK_BYTES = 1 << 20


def unpack(path: Path, into: Path, limits: AdmissionSettings) -> Path:
    """Unpack a zip or tar archive; return the bundle's root in it: ``into``, or the one folder below it.

    Raises:
        Refused: the archive is not plain or too large, or holds no bundle, or more than one.
    """
    with path.open("rb") as stream:
        if is_tar(stream):
            unpack_tar(stream, into, limits)
        else:
            _unpack_zip(stream, into, limits)
    roots = [root for root in (into, *sorted(into.iterdir())) if (root / "configs" / "metadata.json").is_file()]
    if len(roots) != 1:
        raise Refused(
            "not_a_bundle", f"holds {len(roots) or 'no'} folder(s) with configs/metadata.json, instead of one"
        )
    return roots[0]


def _unpack_zip(stream: IO[bytes], into: Path, limits: AdmissionSettings) -> None:
    with open_zip(stream, limits) as archive:
        _refuse_files_as_folders(archive)
        for member in archive.infolist():
            if not member.is_dir():
                _unpack_member(archive, member, into / member.filename)


def _refuse_files_as_folders(archive: zipfile.ZipFile) -> None:
    files = {member.filename for member in archive.infolist() if not member.is_dir()}
    for name in archive.namelist():
        parts = name.split("/")
        if any("/".join(parts[:count]) in files for count in range(1, len(parts))):
            raise Refused("archive_member", f"'{shown(name)}' lies in a file as if it were a folder")


def _unpack_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with archive.open(member) as source, target.open("xb") as copy:
        left = member.file_size  # the directory's word; a member that goes on after it is cut by zipfile, too
        while chunk := source.read(min(_CHUNK_BYTES, left + 1)):
            left -= len(chunk)
            if left < 0:
                raise Refused("archive_ratio", f"'{shown(member.filename)}' is larger than it says")
            copy.write(chunk)
    target.chmod(stat.S_IRUSR | stat.S_IWUSR)
