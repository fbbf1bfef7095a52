"""Data sets from where their makers keep them: resumed, checked by size and hash, unpacked."""

import hashlib
import http.client
import os
import shutil
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from data.source import DataError

BLOCK = 2**20
TIMEOUT = 60  # s without a byte
_COCO = "http://images.cocodataset.org"
_CYCLEGAN = "http://efrosgans.eecs.berkeley.edu/cyclegan/datasets"


@dataclass(frozen=True)
class Archive:
    url: str
    size: int  # bytes
    md5: str = ""  # "" where its makers give none; the archive's own checksums are looked at while it is unpacked

    @property
    def file_name(self) -> str:
        return self.url.rpartition("/")[2]


ARCHIVES = {
    "coco-val2017": Archive(f"{_COCO}/zips/val2017.zip", 815_585_330, "442b8da7639aecaf257c1dceb8ba8c80"),
    "coco-train2017": Archive(f"{_COCO}/zips/train2017.zip", 19_336_861_798, "cced6f7f71b7629ddf16f17bbcfab6b2"),
    "coco-annotations2017": Archive(
        f"{_COCO}/annotations/annotations_trainval2017.zip", 252_907_541, "f4bbac642086de4f52a3fdda2de5fa2c"
    ),
    "monet2photo": Archive(f"{_CYCLEGAN}/monet2photo.zip", 305_231_073),
}


def fetch(archive: Archive, folder: Path, advance: Callable[[int], object] = lambda count: None) -> Path:
    """Download into `folder`, from where an earlier start was stopped; a whole archive that is there is taken.

    Args:
        advance: called with the number of bytes that have come since.

    Raises:
        DataError: no network, an answer that is not the archive, a wrong hash, a full disk.
    """
    path = folder / archive.file_name
    partial = folder / f"{archive.file_name}.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if path.exists():
            return _checked(archive, path, advance)
        _receive(archive, partial, advance, _by_hand(archive, path))
        os.replace(_checked(archive, partial, lambda count: None), path)
        return path
    except urllib.error.HTTPError as error:
        raise DataError(
            f"{archive.url}: the server says {error.code} {error.reason}. {_by_hand(archive, path)}"
        ) from error
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise DataError(f"{archive.url}: cannot be reached ({reason}). {_by_hand(archive, path)}") from error
    except OSError as error:
        raise DataError(
            f"{folder}: cannot be written ({error.strerror}); what has come stays for the next start"
        ) from error


def unpack(path: Path, folder: Path) -> int:
    """Unpack a zip into the folder; returns its number of files. What is there in full is not written again, and what
    else is there under the same name is not replaced.

    Raises:
        DataError: the archive is damaged, a file is in the way, or a name in it leads out of the folder.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            members = [member for member in archive.infolist() if not member.is_dir()]
            for member in members:
                _unpack_one(archive, member, folder)
    except (zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise DataError(f"{path}: is damaged ({error}); delete it and start again") from error
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); mend it, then start again") from error
    return len(members)


def _receive(archive: Archive, partial: Path, advance: Callable[[int], object], by_hand: str) -> None:
    there = partial.stat().st_size if partial.exists() else 0
    if there >= archive.size:
        return  # whole, or too long: the check will tell
    request = urllib.request.Request(archive.url, headers={"Range": f"bytes={there}-"} if there else {})
    with urllib.request.urlopen(request, timeout=TIMEOUT) as answer:
        if there and answer.status != 206:  # the server starts from the beginning
            there = 0
        length = answer.headers.get("Content-Length")
        if length and int(length) != archive.size - there:
            raise DataError(f"{archive.url}: answers with {length} bytes, which is not the archive. {by_hand}")
        advance(there)
        with partial.open("ab" if there else "wb") as file:
            while block := answer.read(BLOCK):
                file.write(block)
                advance(len(block))


def _checked(archive: Archive, path: Path, advance: Callable[[int], object]) -> Path:
    size = path.stat().st_size
    if size < archive.size and path.suffix == ".part":
        raise DataError(f"{path}: {size} of {archive.size} bytes have come; start again to go on")
    digest = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
            advance(len(block))
    if size != archive.size or (archive.md5 and digest.hexdigest() != archive.md5):
        expected = f"{archive.size} bytes" + (f", MD5 {archive.md5}" if archive.md5 else "")
        raise DataError(
            f"{path}: is not {archive.file_name} as released ({size} bytes, MD5 {digest.hexdigest()}; "
            f"expected {expected}); delete it and start again"
        )
    return path


def _unpack_one(archive: zipfile.ZipFile, member: zipfile.ZipInfo, folder: Path) -> None:
    target = folder / member.filename
    if not target.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"{archive.filename}: {member.filename} leads out of {folder}; the archive is not to be trusted"
        )
    if target.exists():
        if target.stat().st_size != member.file_size:
            raise DataError(f"{target}: is in the way, and is not what {archive.filename} holds; choose another folder")
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.part")
    with archive.open(member) as source, temporary.open("wb") as file:
        shutil.copyfileobj(source, file, BLOCK)
    os.replace(temporary, target)


def _by_hand(archive: Archive, path: Path) -> str:
    return f"Without a network: bring {archive.file_name} ({archive.size} bytes) to {path}, then start again"
