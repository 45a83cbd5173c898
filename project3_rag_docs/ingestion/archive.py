"""Unpack a ZIP archive whose members are documents, one at a time and with limits."""

import stat
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import PurePosixPath
from tempfile import SpooledTemporaryFile
from typing import BinaryIO, cast

from project3_rag_docs.ingestion.parsing.media_types import OFFICE_COMPRESSION, directory_bytes
from project3_rag_docs.settings import MIB
from shared.errors import InvalidRequest

_TAIL_BYTES = 64 * 1024 + 22  # the end record with the longest comment
_MAX_DIRECTORY_BYTES = 4 * MIB
_MAX_DEPTH = 16  # folders of a member
_MAX_RATIO = 200  # of a member's size to its packed size; text packs to a tenth
_RATIO_FROM_BYTES = MIB // 4  # smaller members may be more regular
_BLOCK = 256 * 1024
_DAMAGED = (zipfile.BadZipFile, zlib.error, EOFError, OSError, NotImplementedError, RuntimeError, ValueError)
_UTF8_FLAG, _ENCRYPTED_FLAG = 0x800, 0x1


@dataclass(frozen=True)
class ArchiveLimits:
    """Limits of an archive.

    Attributes:
        members: Maximum number of files.
        member_bytes: Maximum size of a file.
        total_bytes: Maximum size of all files.
    """

    members: int
    member_bytes: int
    total_bytes: int


class MemberRefused(Exception):
    """A member is not unpacked. The message explains why, for the user."""


@dataclass(frozen=True)
class Member:
    """A file in an archive, not unpacked yet.

    Attributes:
        path: The path in the archive, for reports only.
    """

    path: str
    archive: zipfile.ZipFile
    info: zipfile.ZipInfo
    limits: ArchiveLimits

    def unpack(self) -> BinaryIO:
        """Return the content. This blocks: call it in a thread. The caller closes the file.

        Raises:
            MemberRefused: if the member is damaged, encrypted, too large or no regular file.
        """
        self._check()
        file = cast("BinaryIO", SpooledTemporaryFile(max_size=MIB))  # noqa: SIM115  the caller closes it
        try:
            with self.archive.open(self.info) as source:  # which reads no more than the directory says
                while block := source.read(_BLOCK):
                    file.write(block)
        except _DAMAGED:
            file.close()
            raise MemberRefused("The file is damaged.") from None
        return file

    def _check(self) -> None:
        mode = self.info.external_attr >> 16
        if self.info.flag_bits & _ENCRYPTED_FLAG:
            raise MemberRefused("The file is protected by a password.")
        if self.info.compress_type not in OFFICE_COMPRESSION:
            raise MemberRefused("The file is packed in a way that is not supported; use the usual one (deflate).")
        if stat.S_IFMT(mode) not in (0, stat.S_IFREG):
            raise MemberRefused("This is a link or a device, not a file.")
        if len(PurePosixPath(self.path).parts) > _MAX_DEPTH:
            raise MemberRefused(f"The file is in more than {_MAX_DEPTH - 1} folders.")
        if self.info.file_size > self.limits.member_bytes:
            raise MemberRefused(f"The file is larger than {self.limits.member_bytes // MIB} MiB.")
        packed = max(1, self.info.compress_size)
        if self.info.file_size > max(_RATIO_FROM_BYTES, packed * _MAX_RATIO):
            raise MemberRefused(f"The file is packed to less than 1/{_MAX_RATIO} of its size.")


def members_of(file: BinaryIO, limits: ArchiveLimits) -> list[Member]:
    """Return the files of an archive in their order, without folders, hidden files and those of macOS.

    Raises:
        InvalidRequest: if it is no ZIP archive, or exceeds the limits on members and total bytes.
    """
    file.seek(0, 2)
    file.seek(max(0, file.tell() - _TAIL_BYTES))
    if not 0 < directory_bytes(file.read()) <= _MAX_DIRECTORY_BYTES:
        raise InvalidRequest("The file is no ZIP archive, or is damaged.")
    try:
        archive = zipfile.ZipFile(file)
    except _DAMAGED:
        raise InvalidRequest("The file is no ZIP archive, or is damaged.") from None
    members = [Member(_path(info), archive, info, limits) for info in archive.infolist() if not info.is_dir()]
    members = [member for member in members if not _is_hidden(member.path)]
    if len(members) > limits.members:
        raise InvalidRequest(f"The archive has more than {limits.members:,} files.")
    if sum(member.info.file_size for member in members) > limits.total_bytes:
        raise InvalidRequest(f"The files of the archive have more than {limits.total_bytes // MIB:,} MiB together.")
    return members


def _path(info: zipfile.ZipInfo) -> str:
    """Return the path of a member. Tools for Chinese write names in GB 18030 without saying so."""
    name = info.orig_filename
    if not info.flag_bits & _UTF8_FLAG:
        raw = name.encode("cp437")
        for encoding in ("utf-8", "gb18030"):
            try:
                name = raw.decode(encoding)
                break
            except UnicodeDecodeError:
                continue
    return name.replace("\\", "/").partition("\0")[0].lstrip("/")


def _is_hidden(path: str) -> bool:
    parts = PurePosixPath(path).parts
    return "__MACOSX" in parts or any(part.startswith(".") and part != ".." for part in parts) or "Thumbs.db" in parts
