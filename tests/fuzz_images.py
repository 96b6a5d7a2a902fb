"""A fuzzer of image files: valid ones of every supported kind, damaged by a seed, through the whole preparation.

    python -m tests.fuzz_images --count 20000 --seed 1        # 0 crashes, 0 hangs, 0 exceptions, or exit status 1
    python -m tests.fuzz_images --seed 1 --write FOLDER       # the same files, for a run of the main job
    python -m tests.fuzz_images --seed 1 --case 1234          # one case alone, in this process

Works on: bytes and seeds. Knows nothing about catalogs, actors or rows. A case is a function of the seed and its
number alone. A worker process prepares them one by one; when it dies or is silent, the case that it was at is named
and another worker goes on behind it.
"""

import argparse
import io
import itertools
import multiprocessing
import random
import resource
import struct
import sys
import time
import warnings
import zlib
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from workers.failure import ErrorCode, ItemError
from workers.images import EXTENSIONS, Framing, decode, key_out, prepare

MAX_PIXELS = 4_000_000
SECONDS = 20.0  # of silence that are a hang; the slowest case takes a hundredth of it
MEMORY_BYTES = 2 << 30  # of private memory: what a worker may take for one case
SIZE = 128

_INTEGERS = (0, 1, 2, 3, 4, 7, 8, 127, 128, 255, 256, 32767, 32768, 65535, 65536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)
_WORDS = (
    b"II*\0",
    b"MM\0*",
    b"IHDR",
    b"IDAT",
    b"acTL",
    b"fcTL",
    b"VP8X",
    b"ANMF",
    b"Exif\0\0",
    b"\xff\xda",
    b"\xff\xc2",
)


@dataclass
class Report:
    """What became of the cases: outcomes by code, and what must not happen, each by the number of its case."""

    outcomes: Counter[str] = field(default_factory=Counter)
    crashes: list[str] = field(default_factory=list)
    hangs: list[str] = field(default_factory=list)
    exceptions: list[str] = field(default_factory=list)
    slowest: tuple[float, int] = (0.0, -1)
    peak_bytes: int = 0

    @property
    def clean(self) -> bool:
        """True where no case crashed, hung, or raised anything but an ItemError."""
        return not (self.crashes or self.hangs or self.exceptions)


def _saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@cache
def corpus() -> dict[str, tuple[bytes, ...]]:
    """Valid files by format: every mode, compression and extra that Pillow can write."""

    def disc(size: int = 48, colour: str = "red", background: object = (0, 0, 0, 0)) -> Image.Image:
        image = Image.new("RGBA", (size, size), background)
        ImageDraw.Draw(image).ellipse([size // 4, size // 4, 3 * size // 4, 3 * size // 4], colour)
        return image

    cut_out, plain = disc(), disc(background="white").convert("RGB")
    grey, palette = plain.convert("L"), cut_out.quantize(8, Image.Quantize.FASTOCTREE)
    frames = [disc(colour=colour) for colour in ("blue", "green")]
    deep = Image.fromarray(np.asarray(grey).astype(np.uint16) * 257)
    text, exif = PngImagePlugin.PngInfo(), Image.Exif()
    text.add_text("comment", "x" * 400, zip=True)
    text.add_itxt("title", "ü" * 20, "de", "Titel", zip=True)
    exif[0x0112], exif[0x010E] = 6, "a disc"
    exif.get_ifd(0x8769)[0x9286] = b"ASCII\0\0\0text"
    profile = {"icc_profile": bytes(range(256)) * 4}
    animated = {"save_all": True, "append_images": frames, "duration": 40, "loop": 0}
    compressions = ("raw", "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma")
    return {
        "PNG": (
            *(_saved(image, "PNG") for image in (cut_out, palette, plain, grey, plain.convert("1"), deep)),
            _saved(cut_out.convert("LA"), "PNG"),
            _saved(cut_out, "PNG", pnginfo=text, exif=exif, **profile),
            _saved(plain, "PNG", transparency=(255, 255, 255)),
            _saved(cut_out, "PNG", **animated),
        ),
        "JPEG": (
            _saved(plain, "JPEG", quality=90, exif=exif, comment=b"c" * 50, **profile),
            _saved(plain, "JPEG", progressive=True),
            _saved(grey, "JPEG", progressive=True, optimize=True),
            _saved(plain.convert("CMYK"), "JPEG"),
            _saved(plain, "JPEG", restart_marker_rows=1, subsampling=0),
        ),
        "WEBP": (
            _saved(cut_out, "WEBP", lossless=True, exif=exif, **profile),
            _saved(cut_out, "WEBP", quality=80),
            _saved(plain, "WEBP", quality=40),
            _saved(cut_out, "WEBP", **animated),
        ),
        "TIFF": (
            *(_saved(plain, "TIFF", compression=kind) for kind in compressions),
            *(_saved(image, "TIFF") for image in (cut_out, palette.convert("P"), deep, plain.convert("CMYK"))),
            _saved(cut_out.convert("LA"), "TIFF", compression="tiff_lzw", exif=exif, **profile),
            _saved(plain, "TIFF", save_all=True, append_images=frames, compression="tiff_adobe_deflate"),
            _saved(plain, "TIFF", big_tiff=True),
        ),
        "BMP": (
            *(_saved(image, "BMP") for image in (plain, palette.convert("P"), grey, plain.convert("1"), cut_out)),
            _rle(),
        ),
        "GIF": (_saved(cut_out, "GIF"), _saved(grey, "GIF", interlace=1), _saved(cut_out, "GIF", **animated)),
    }  # fmt: skip


def _rle() -> bytes:
    """An 8-bit BMP with run-length encoding, which Pillow reads but does not write: white, with a black square."""
    plain, square = b"\x30\x00\0\0", b"\x10\x00\x10\x01\x10\x00\0\0"
    rows = plain * 16 + square * 16 + plain * 15 + b"\x30\x00\0\x01"
    head = struct.pack("<IiiHHIIiiII", 40, 48, 48, 1, 8, 1, len(rows), 2835, 2835, 256, 0)
    palette = b"\xff\xff\xff\0" + bytes(4 * 255)
    start = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + head + palette + rows


def case(seed: int, number: int) -> tuple[str, bytes]:
    """The name of the format that it began as, and the bytes, of one damaged file."""
    chance = random.Random(f"{seed} {number}")
    kind = chance.choice(sorted(corpus()))
    data = chance.choice(corpus()[kind])
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        informed = _INFORMED.get(kind)
        data = (informed if informed and chance.random() < 0.5 else _anything)(chance, data)
    return kind, data


def _anything(chance: random.Random, data: bytes) -> bytes:
    """Damage that knows no format: bits, integers, words; pieces cut, doubled, moved or taken from another file."""
    if not data:
        return data
    near = min(len(data), 128) if chance.random() < 0.6 else len(data)  # headers are where parsers break
    at = chance.randrange(near)
    length = min(chance.choice((1, 2, 4, 8, 32, 256, 2048)), len(data) - at)
    match chance.randrange(9):
        case 0:
            patch = bytes([data[at] ^ 1 << chance.randrange(8)])
        case 1:
            patch = chance.randbytes(chance.choice((1, 2, 4, 8)))
        case 2 | 3:
            width = chance.choice((1, 2, 4, 8))
            number = chance.choice(_INTEGERS) % (1 << 8 * width)
            patch = number.to_bytes(width, chance.choice(("big", "little")))
        case 4:
            patch = chance.choice(_WORDS)
        case 5:
            return data[:at] + data[at + length :]
        case 6:
            return data[:at] + data[at : at + length] * chance.choice((2, 3, 50)) + data[at + length :]
        case 7:
            other = chance.choice(corpus()[chance.choice(sorted(corpus()))])
            start = chance.randrange(len(other))
            return data[:at] + other[start : start + length] + data[at + length * chance.randrange(2) :]
        case _:
            return data[: chance.randrange(len(data))]
    return data[:at] + patch + data[at + len(patch) :]


def _png(chance: random.Random, data: bytes) -> bytes:
    """Damage behind the checksums, and in the pixels behind their compression."""
    chunks, at = [], 8
    while at + 12 <= len(data):
        length = int.from_bytes(data[at : at + 4], "big")
        chunks.append((data[at + 4 : at + 8], data[at + 8 : at + 8 + length]))
        at += 12 + length
    if not chunks:
        return _anything(chance, data)
    index = chance.randrange(len(chunks))
    name, body = chunks[index]
    match chance.randrange(6):
        case 0 | 1:
            chunks[index] = name, _anything(chance, body)
        case 2 if name in (b"IDAT", b"fdAT"):
            try:
                plain = zlib.decompress(body)
            except zlib.error:
                plain = body
            grown = plain * chance.choice((1, 1, 100)) if chance.random() < 0.5 else _anything(chance, plain)
            chunks[index] = name, zlib.compress(grown)
        case 3:
            names = (b"tRNS", b"PLTE", b"iCCP", b"zTXt", b"iTXt", b"eXIf", b"acTL", b"fcTL", b"fdAT", b"cHRM", b"pHYs")
            chunks.insert(index, (chance.choice(names), chance.randbytes(chance.randrange(64))))
        case 4:
            chunks.insert(chance.randrange(len(chunks)), chunks[index])
        case _:
            chunks[index] = chance.choice(chunks)[0], body
    out = [data[:8]]
    for name, body in chunks:
        out += [struct.pack(">I", len(body)), name, body, struct.pack(">I", zlib.crc32(name + body))]
    return b"".join(out)


def _tiff(chance: random.Random, data: bytes) -> bytes:
    """Damage in one entry of a directory: its tag, type, count or value, or where the next directory lies."""
    order = "<" if data[:2] == b"II" else ">"
    if len(data) < 16 or data[2:4] in (b"+\0", b"\0+"):
        return _anything(chance, data)
    (start,) = struct.unpack(order + "I", data[4:8])
    (count,) = struct.unpack(order + "H", data[start : start + 2].ljust(2, b"\0"))
    entry = start + 2 + 12 * chance.randrange(max(1, min(count, 64)) + 1)  # one beyond the last: the next directory
    offset, width = chance.choice(((0, 2), (2, 2), (4, 4), (8, 4), (8, 2)))
    number = chance.choice((*_INTEGERS, start, len(data), 254, 256, 257, 258, 259, 273, 277, 279, 34665)) % (
        1 << 8 * width
    )
    patch = number.to_bytes(width, "little" if order == "<" else "big")
    at = entry + offset
    return data[:at] + patch + data[at + width :]


def _jpeg(chance: random.Random, data: bytes) -> bytes:
    """Segments that are doubled, dropped, damaged or put in, and scans that are repeated: a progressive bomb."""
    segments, at = [], 2
    while at + 4 <= len(data) and data[at] == 0xFF and data[at + 1] != 0xDA:
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        segments.append(data[at : at + 2 + length])
        at += 2 + length
    scan = data[at:]
    if not segments:
        return _anything(chance, data)
    index = chance.randrange(len(segments))
    match chance.randrange(5):
        case 0:
            segments[index] = segments[index][:4] + _anything(chance, segments[index][4:])
        case 1:
            segments.insert(index, segments[index] * chance.choice((1, 1, 40)))
        case 2:
            del segments[index]
        case 3:
            body = chance.choice(
                (b"Exif\0\0II*\0", b"ICC_PROFILE\0", b"JFIF\0", b"Adobe", b"MPF\0")
            ) + chance.randbytes(40)
            marker = bytes([0xFF, chance.choice((0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0xDB, 0xC4))])
            segments.insert(index, marker + struct.pack(">H", len(body) + 2) + body)
        case _:
            scan = scan[:-2] * chance.choice((2, 30)) + scan[-2:]
    return data[:2] + b"".join(segments) + scan


def _riff(chance: random.Random, data: bytes) -> bytes:
    """Damage in one chunk, with its length and the file's put right."""
    chunks, at = [], 12
    while at + 8 <= len(data):
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        chunks.append((data[at : at + 4], data[at + 8 : at + 8 + length]))
        at += 8 + length + length % 2
    if not chunks:
        return _anything(chance, data)
    index = chance.randrange(len(chunks))
    name, body = chunks[index]
    match chance.randrange(4):
        case 0 | 1:
            chunks[index] = name, _anything(chance, body)
        case 2:
            chunks.insert(chance.randrange(len(chunks)), chunks[index])
        case _:
            chunks[index] = (
                chance.choice((b"VP8 ", b"VP8L", b"VP8X", b"ALPH", b"ANIM", b"ANMF", b"ICCP", b"EXIF")),
                body,
            )
    content = b"".join(name + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2) for name, body in chunks)
    return b"RIFF" + struct.pack("<I", len(content) + 4) + b"WEBP" + content


_INFORMED: dict[str, Callable[[random.Random, bytes], bytes]] = {
    "PNG": _png,
    "TIFF": _tiff,
    "JPEG": _jpeg,
    "WEBP": _riff,
}


def outcome(data: bytes, max_pixels: int = MAX_PIXELS) -> str:
    """`ok`, or the code of the ItemError. Raises AssertionError for an answer that nobody could use."""
    try:
        picture = decode(data, max_pixels=max_pixels)
        assert 0 < picture.width * picture.height <= max_pixels, (picture.width, picture.height)
        assert picture.rgba.shape == (picture.height, picture.width, 4)
        assert picture.rgba.dtype == np.uint8
        keyed = key_out(picture)
        for framing in (Framing(mode="fit"), Framing(mode="crop")):
            view = prepare(keyed, framing, SIZE)
            assert view.shape == (SIZE, SIZE)
            assert view.dtype == np.float32
            assert 0 <= view.min() <= view.max() <= 1  # which NaN is not
    except ItemError as error:
        return _checked(error)
    return "ok"


def _checked(error: ItemError) -> str:
    assert error.code in set(ErrorCode) - {ErrorCode.INTERNAL_ERROR}
    assert error.message.isprintable(), error.message
    assert error.message.endswith(".")
    assert len(error.message) <= 500
    return error.code.value


def fuzz(
    seed: int, count: int, seconds: float = SECONDS, first: int = 0, examine: Callable[[bytes], str] = outcome
) -> Report:
    """Examine the cases `first` … `first + count - 1` of a seed in a worker process, a new one for each lost."""
    report = Report()
    context = multiprocessing.get_context("spawn")
    following = first
    while following < first + count:
        ours, theirs = context.Pipe()
        worker = context.Process(target=_work, args=(theirs, examine, seed, following, first + count), daemon=True)
        worker.start()
        theirs.close()
        try:
            following = _collect(ours, report, following, first + count, seconds)
            if following < first + count:
                worker.join(seconds)
                report.crashes.append(f"case {following} (exit status {worker.exitcode})")
        except TimeoutError as error:
            (following,) = error.args
            report.hangs.append(f"case {following}")
        following += 1
        worker.kill()
        worker.join()
    return report


def _collect(answers: Connection, report: Report, following: int, end: int, seconds: float) -> int:
    """Take answers until all are there, or the worker is dead: the case without an answer. TimeoutError has it too."""
    try:
        answers.recv()  # a new process imports its libraries first, however long that takes
        while following < end:
            if not answers.poll(seconds):
                raise TimeoutError(following)
            number, result, took, peak = answers.recv()
            if result.startswith("!"):
                report.exceptions.append(f"case {number}: {result[1:]}")
            else:
                report.outcomes[result] += 1
            report.slowest = max(report.slowest, (took, number))
            report.peak_bytes = max(report.peak_bytes, peak)
            following = number + 1
    except EOFError:
        pass
    return following


def _work(answers: Connection, examine: Callable[[bytes], str], seed: int, first: int, end: int) -> None:
    warnings.simplefilter("ignore")
    bound_memory()
    answers.send("ready")
    for number in range(first, end):
        _, data = case(seed, number)
        started = time.process_time()
        try:
            result = examine(data)
        except Exception as error:
            result = f"!{type(error).__name__}: {error}"
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        answers.send((number, result, time.process_time() - started, peak))


def bound_memory() -> None:
    """Let this process take `MEMORY_BYTES` of private memory, and no more."""
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY_BYTES, resource.RLIM_INFINITY))


def write(folder: Path, seed: int, count: int) -> None:
    """The cases as files of the main job's catalog; one in ten under the name of another format."""
    suffixes = sorted(EXTENSIONS)
    for number in range(count):
        kind, data = case(seed, number)
        own = {"JPEG": ".jpg", "TIFF": ".tif"}.get(kind, f".{kind.lower()}")
        suffix = own if number % 10 else suffixes[number // 10 % len(suffixes)]
        path = folder / f"{number // 1000:03d}" / f"{number:06d}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def main() -> int:
    """The command: prints the report, and returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz_images")
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--case", type=int, help="only this one, in this process")
    parser.add_argument("--write", type=Path, help="only write the files, into this folder")
    options = parser.parse_args()
    if options.write:
        write(options.write, options.seed, options.count)
        return 0
    if options.case is not None:
        bound_memory()
        kind, data = case(options.seed, options.case)
        print(f"{kind}, {len(data)} bytes: {outcome(data)}")
        return 0
    started = time.monotonic()
    report = fuzz(options.seed, options.count, first=options.first)
    print(
        f"{report.outcomes.total()} of {options.count} cases in {time.monotonic() - started:.0f} s, seed {options.seed}"
    )
    for code, number in report.outcomes.most_common():
        print(f"{number:8d} {code}")
    took, number = report.slowest
    print(f"slowest: case {number}, {took:.2f} s of CPU; peak memory {report.peak_bytes >> 20} MiB")
    for name in ("crashes", "hangs", "exceptions"):
        found = getattr(report, name)
        print(f"{name}: {len(found)}")
        print(*itertools.islice((f"  {line}" for line in found), 40), sep="\n", end="\n" if found else "")
    return 0 if report.clean else 1


if __name__ == "__main__":
    sys.exit(main())
