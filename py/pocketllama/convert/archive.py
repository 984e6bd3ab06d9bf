"""The zip files that torch.save writes, and only those: members stored as they are, none compressed or encrypted.

Python's zipfile reads much more than that, and each thing more is something a hostile file can use. Here a member is a
range of bytes inside the file that no other member shares, under a name that stays in its folder, there once.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import UnsafeFile
from .range_file import RangeFile

_END = struct.Struct("<4s4H2LH")  # end of central directory
_END64 = struct.Struct("<4sQ2H2L4Q")
_LOCATOR64 = struct.Struct("<4sLQL")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_MAX_COMMENT = 65535
_MAX_DIRECTORY = 32 << 20  # bytes; 100 a member
_MAX_MEMBERS = 1 << 17
_ENCRYPTED = 1  # a flag bit
_CHUNK = 1 << 20


@dataclass(frozen=True)
class Member:
    """A file inside the archive: its name, where its bytes lie, and their CRC-32."""

    name: str
    offset: int
    size: int
    crc: int


class Archive(RangeFile):
    """An open archive. `members` maps names to Members. Raises ModelInvalid if damaged, UnsafeFile if hostile."""

    def _parse(self) -> None:
        self.members = {m.name: m for m in self._read_members()}

    def unsafe(self, what: str) -> UnsafeFile:
        return UnsafeFile(
            f"{self.path.name} is refused: {what}.", remedy="torch.save writes no such file; do not trust this one."
        )

    def read_member(self, name: str, most: int) -> bytes:
        """A small member's bytes, its CRC checked; ModelInvalid where it is missing, longer than `most`, or damaged."""
        member = self.members.get(name)
        if member is None:
            raise self.damaged(f"it has no member {name!r}")
        if member.size > most:
            raise self.damaged(f"its member {name!r} has {member.size} bytes, at most {most} were expected")
        self.check(member)
        return self.read(member.offset, member.size)

    def check(self, member: Member) -> None:
        """Read a member once and compare its CRC-32; ModelInvalid if it differs."""
        crc = 0
        for at in range(0, member.size, _CHUNK):
            crc = zlib.crc32(self.read(member.offset + at, min(_CHUNK, member.size - at)), crc)
        if crc != member.crc:
            raise self.damaged(f"the CRC-32 of its member {member.name!r} is {crc:08x}, {member.crc:08x} was recorded")

    def _read_members(self) -> list[Member]:
        directory, size, count = self._find_directory()
        data = self.read(directory, size)
        members = [self._locate(*entry) for entry in self._entries(data, count)]
        names: set[str] = set()
        for m in members:
            if m.name in names:
                raise self.unsafe(f"its member {m.name!r} is there twice")
            names.add(m.name)
        end, before = 0, ""
        for m in sorted(members, key=lambda m: (m.offset, m.size)):
            if m.offset < end:
                raise self.unsafe(f"its members {before!r} and {m.name!r} share bytes")
            end, before = m.offset + m.size, m.name
            if end > directory:
                raise self.damaged(f"its member {m.name!r} reaches byte {end}, the directory begins at {directory}")
        return members

    def _find_directory(self) -> tuple[int, int, int]:
        """(offset, size in bytes, number of members) of the central directory."""
        start = max(0, self.size - _END.size - _MAX_COMMENT)
        tail = self.read(start, self.size - start)
        at = tail.rfind(b"PK\5\6", 0, max(0, len(tail) - _END.size + 4))
        if at < 0:
            raise self.damaged("it has no zip directory at its end, so it was cut off or is no zip file")
        _, disk, disk_of_directory, _, count, size, offset, _ = _END.unpack_from(tail, at)
        if disk not in (0, 0xFFFF) or disk_of_directory not in (0, 0xFFFF):
            raise self.unsafe("it is one part of a zip file of several")
        if count == 0xFFFF or 0xFFFFFFFF in (size, offset):
            offset, size, count = self._find_directory64(start + at)
        if count > _MAX_MEMBERS or size > _MAX_DIRECTORY or offset + size > start + at:
            raise self.damaged(f"its directory of {count} members in {size} bytes at {offset} cannot be one")
        return offset, size, count

    def _find_directory64(self, end: int) -> tuple[int, int, int]:
        """The same from the zip64 records that lie before byte `end`."""
        if end < _LOCATOR64.size:
            raise self.damaged("its zip64 directory is missing")
        magic, _, at, _ = _LOCATOR64.unpack(self.read(end - _LOCATOR64.size, _LOCATOR64.size))
        if magic != b"PK\6\7" or at > self.size - _END64.size:
            raise self.damaged("its zip64 directory is missing")
        magic, _, _, _, _, _, _, count, size, offset = _END64.unpack(self.read(at, _END64.size))
        if magic != b"PK\6\6":
            raise self.damaged("its zip64 directory is missing")
        return offset, size, count

    def _entries(self, data: bytes, count: int) -> Iterator[tuple[str, int, int, int]]:
        """The central directory's (name, size, crc, offset of the local header)."""
        pos = 0
        for i in range(count):
            if pos + _CENTRAL.size > len(data) or data[pos : pos + 4] != b"PK\1\2":
                raise self.damaged(f"entry {i} of its directory is missing")
            fields = _CENTRAL.unpack_from(data, pos)
            flags, method, crc, packed, size = fields[3], fields[4], fields[7], fields[8], fields[9]
            n_name, n_extra, n_comment, offset = fields[10], fields[11], fields[12], fields[16]
            pos += _CENTRAL.size
            if pos + n_name + n_extra + n_comment > len(data):
                raise self.damaged(f"entry {i} of its directory is cut off")
            name = self._name(data[pos : pos + n_name])
            extra = data[pos + n_name : pos + n_name + n_extra]
            pos += n_name + n_extra + n_comment
            size, packed, offset = self._zip64(extra, [size, packed, offset])
            if flags & _ENCRYPTED:
                raise self.unsafe(f"its member {name!r} is encrypted")
            if method != 0 or packed != size:
                raise self.unsafe(f"its member {name!r} is compressed ({packed} bytes for {size})")
            yield name, size, crc, offset

    def _zip64(self, extra: bytes, values: list[int]) -> list[int]:
        """Replace each value of 2^32-1 by the next of the zip64 field, where there is one."""
        pos = 0
        while pos + 4 <= len(extra):
            kind, n = struct.unpack_from("<HH", extra, pos)
            if kind == 1:
                field = extra[pos + 4 : pos + 4 + n]
                wide = iter(struct.unpack(f"<{len(field) // 8}Q", field[: len(field) // 8 * 8]))
                return [next(wide, v) if v == 0xFFFFFFFF else v for v in values]
            pos += 4 + n
        return values

    def _name(self, raw: bytes) -> str:
        try:
            name = raw.decode()
        except UnicodeDecodeError:
            raise self.unsafe(f"the name of its member {raw!r} is not UTF-8") from None
        parts = name.split("/")
        if not name or "\\" in name or ":" in parts[0] or "\0" in name or {"", ".", ".."} & set(parts):
            raise self.unsafe(f"its member {name!r} would leave its folder")
        return name

    def _locate(self, name: str, size: int, crc: int, offset: int) -> Member:
        """Follow a directory entry to the member's own header and past it, where the bytes begin."""
        if offset + _LOCAL.size > self.size:
            raise self.damaged(f"its member {name!r} is said to begin at byte {offset}, behind the end")
        fields = _LOCAL.unpack(self.read(offset, _LOCAL.size))
        if fields[0] != b"PK\3\4":
            raise self.damaged(f"its member {name!r} is not at byte {offset}")
        n_name, n_extra = fields[9], fields[10]
        own = self.read(offset + _LOCAL.size, n_name)
        if own != name.encode() or fields[3] != 0:
            raise self.unsafe(f"its member {name!r} calls itself {own[:100]!r}, or is compressed after all")
        return Member(name, offset + _LOCAL.size + n_name + n_extra, size, crc)
