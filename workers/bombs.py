"""Image files that are built to cost a decoder far more time or memory than their bytes and pixels are worth.

Works on: the bytes of PNG, JPEG, TIFF and GIF files. Knows nothing about pixels: those are counted elsewhere.
Everything here is found by counting, before a decoder allocates for it. What each bound is against was measured with
Pillow 13.0 on one core: an honest picture of the same size takes a second.
"""

import io
import re
import struct

# Pillow reads the header in pieces, in Python. 15 million empty JPEG comments (60 MB) took 25 s and 1 GB; as many GIF
# extension blocks 2 GB. The largest honest files are read in some ten thousand pieces; a run-length encoded BMP in
# three for each run.
_MAX_READS = 1_000_000
# Each scan of a progressive JPEG may touch every pixel and yet be 31 bytes long: 2 million of them would take hours.
# Encoders write up to about twenty.
_MAX_SCANS = 100
# Pillow joins Exif segments one by one: 900 of them (58 MB) took 50 s. Depth maps in XMP take some megabytes.
_MAX_JPEG_HEADER = 16 << 20
_MAX_JPEG_MARKERS = 100_000
# Pillow makes a Python object of about 250 bytes for every strip or tile, and of 40 for any other value. This is
# 64 million pixels in tiles of 16 × 16, the smallest that the format allows.
_MAX_TIFF_VALUES = 1 << 18

_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)  # neither stuffing nor a restart: these are data
_START_OF_SCAN, _END_OF_IMAGE, _ALONE = 0xDA, 0xD9, (0x01, 0xD8)
_TEXT_OR_BYTES = {1, 2, 6, 7}  # TIFF types whose values stay one string of bytes


class Bomb(ValueError):  # noqa: N818
    """The file is put together of more pieces than any honest one; half a sentence says which."""


class Pieces(io.BytesIO):
    """A file in memory that is read in a bounded number of pieces; the one beyond raises Bomb."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self._left = _MAX_READS

    def read(self, size: int | None = -1, /) -> bytes:
        """As BytesIO's. Raises Bomb."""
        self._left -= 1
        if self._left < 0:
            raise Bomb(f"it has more than {_MAX_READS} pieces")
        return super().read(size)


def check(kind: str, data: bytes) -> None:
    """Raises Bomb for a file that `Pieces` alone does not bound. Files that are merely broken pass."""
    if kind == "JPEG":
        _check_jpeg(data)
    elif kind == "TIFF":
        _check_tiff(data)


def _check_jpeg(data: bytes) -> None:
    at, scans, markers = 2, 0, 0
    while found := _MARKER.search(data, at):
        marker, at = found[1][0], found.end()
        markers += 1 + at - found.start() - 2  # a fill byte costs what a marker costs
        if marker == _END_OF_IMAGE:
            return
        scans += marker == _START_OF_SCAN
        if scans > _MAX_SCANS:
            raise Bomb(f"it has more than {_MAX_SCANS} scans")
        if markers > _MAX_JPEG_MARKERS or (not scans and at > _MAX_JPEG_HEADER):
            raise Bomb(f"its header has more than {_MAX_JPEG_HEADER >> 20} MiB or {_MAX_JPEG_MARKERS} segments")
        if marker not in _ALONE:
            at += int.from_bytes(data[at : at + 2], "big")


def _check_tiff(data: bytes) -> None:
    """Look at the first directory, the only one that is read."""
    order = "<" if data[:2] == b"II" else ">"
    big = data[2:4] in (b"+\0", b"\0+")
    start, entry = (struct.Struct(order + layout) for layout in (("Q", "HHQ8x") if big else ("I", "HHI4x")))
    first = 8 if big else 4
    if len(data) < first + start.size:
        return
    (offset,) = start.unpack_from(data, first)
    at = offset + (8 if big else 2)
    count = int.from_bytes(data[offset:at], "little" if order == "<" else "big")
    directory = data[at : at + min(count, 1 << 16) * entry.size]
    for _, kind, values in entry.iter_unpack(directory[: len(directory) // entry.size * entry.size]):
        if kind not in _TEXT_OR_BYTES and values > _MAX_TIFF_VALUES:
            raise Bomb(f"one of its tags has {values} values, more than {_MAX_TIFF_VALUES}")
