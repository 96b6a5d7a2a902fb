"""Image files from people who mean harm: built to cost much, or damaged at random by the thousand."""

import io
import os
import struct
import subprocess
import sys
import threading
import time
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import fuzz_images
import numpy as np
import pytest
from PIL import Image
from ray_fixtures import ray_session  # noqa: F401
from test_images import code_of, disc, saved
from test_reconstruct import convert, rows_of, sample

from cluster.config import ImageSettings, StoreSettings
from cluster.metrics import DriverMetrics
from workers import reconstructor
from workers.failure import ErrorCode
from workers.images import Framing, Picture, count_pixels, decode
from workers.messages import Failure, Recipe, Source
from workers.reconstructor import Reconstructor

LIMIT = 64_000_000


def chunk(name: bytes, body: bytes = b"") -> bytes:
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))


def tiff(*entries: tuple[int, int, int, int], tail: bytes = b"", big: bool = False) -> bytes:
    """A TIFF of one directory: (tag, type, count, value or offset)."""
    entry = struct.Struct("<HHQQ" if big else "<HHII")
    body = struct.pack("<Q" if big else "<H", len(entries)) + b"".join(entry.pack(*one) for one in sorted(entries))
    return (
        (b"II+\0\x08\0\0\0" + struct.pack("<Q", 16) if big else b"II*\0" + struct.pack("<I", 8))
        + body
        + bytes(8)
        + tail
    )


def flat(height: int, count: int, big: bool = False) -> bytes:
    """A grey TIFF, one pixel wide, that claims `count` strips, all at one place."""
    where = (16 + 8 + 9 * 20 + 8) if big else (8 + 2 + 9 * 12 + 8)
    return tiff(
        (256, 3, 1, 1), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 3, count, where),
        (277, 3, 1, 1), (278, 3, 1, 1), (279, 3, count, where), tail=bytes(2 * count), big=big,
    )  # fmt: skip


def progressive(scans: int) -> bytes:
    """A JPEG whose last scan, of 31 bytes, stands there so many times more."""
    data = saved(Image.new("L", (2000, 2000), 255), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * scans + data[-2:]


PNG, JPEG, GIF = saved(disc(), "PNG"), saved(disc(background="white").convert("RGB"), "JPEG"), saved(disc(), "GIF")
BEHIND_GIF_HEADER = 13 + 3 * (2 << (GIF[10] & 7))
EXIF_OF_VALUES = tiff((0x0112, 3, 300_000, 26), tail=bytes(600_000))

BOMBS = {
    "png of 400,000 texts": PNG[:33] + chunk(b"tEXt", b"a\0b") * 400_000 + PNG[33:],
    "png with a profile of 500 MB": PNG[:33] + chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(5 * 10**8), 1)) + PNG[33:],
    "png whose exif has 300,000 orientations": PNG[:33] + chunk(b"eXIf", EXIF_OF_VALUES) + PNG[33:],
    "jpeg of 200 scans": progressive(200),
    "jpeg of a million comments": JPEG[:2] + b"\xff\xfe\0\2" * 1_000_000 + JPEG[2:],
    "jpeg of fill bytes": JPEG[:2] + b"\xff" * 1_000_000 + JPEG[2:],
    "jpeg with 18 MB of exif": JPEG[:2] + (b"\xff\xe1\xff\xffExif\0\0" + bytes(65527)) * 280 + JPEG[2:],
    "tiff of 300,000 strips": flat(300_000, 300_000),
    "tiff with more values than pixels": flat(1, 300_000),
    "big tiff of 300,000 strips": flat(300_000, 300_000, big=True),
    "gif of 400,000 extensions": GIF[:BEHIND_GIF_HEADER] + b"\x21\xfe\x01a\0" * 400_000 + GIF[BEHIND_GIF_HEADER:],
}  # fmt: skip


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_by_counting(name: str) -> None:
    assert code_of(decode, BOMBS[name], max_pixels=LIMIT) is ErrorCode.CORRUPT_IMAGE


def test_what_an_honest_encoder_may_do_is_not_refused() -> None:
    pixels = np.zeros((300, 300, 4), np.uint8)
    pixels[50:150, 50:150] = np.random.default_rng(0).integers(0, 256, (100, 100, 4))
    image = Image.fromarray(pixels)
    whole = saved(image, "PNG")
    start, end = whole.index(b"IDAT") + 4, whole.rindex(b"IEND") - 8
    pieces = b"".join(chunk(b"IDAT", whole[at : min(at + 10, end)]) for at in range(start, end, 10))
    files = {
        "png in pieces of ten bytes": whole[: start - 8] + pieces + whole[end + 4 :],
        "progressive jpeg": progressive(20),
        "jpeg that ends in a film": JPEG + np.random.default_rng(1).bytes(20_000_000),
        "jpeg with a large profile": saved(image.convert("RGB"), "JPEG", icc_profile=bytes(4_000_000)),
        "tiff of strips": saved(image, "TIFF", compression="tiff_lzw"),
        "tiff of as many strips as rows": flat(20_000, 20_000),
        "gif of 500 frames": saved(image, "GIF", save_all=True, append_images=[disc(size=300)] * 500),
        "apng of 500 frames": saved(image, "PNG", save_all=True, append_images=[disc(size=300)] * 500),
        "bmp by runs": fuzz_images.corpus()["BMP"][-1],
    }  # fmt: skip
    for name, data in files.items():
        picture = decode(data, max_pixels=LIMIT)
        assert picture.width * picture.height == count_pixels(data, max_pixels=LIMIT), name


def test_a_fax_is_refused_before_it_fills_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    white = Image.new("1", (64, 4000), 1)
    for compression in ("group3", "group4", "tiff_ccitt"):
        data = bytearray(saved(white, "TIFF", compression=compression))
        with Image.open(io.BytesIO(bytes(data))) as image:
            pieces = list(zip(image.tag_v2[273], image.tag_v2[279], strict=True))
        for start, size in pieces:
            data[start : start + size] = np.random.default_rng(0).bytes(size)
        assert code_of(decode, bytes(data), max_pixels=LIMIT) is ErrorCode.NOT_AN_IMAGE
    assert capfd.readouterr().err == ""


def test_a_shortage_of_memory_is_not_called_a_corrupt_image() -> None:
    """A picture that is good, in a process that has no room for it."""
    program = """
import io, sys
from PIL import Image
from cluster import memory
from workers.images import decode
buffer = io.BytesIO()
Image.new("RGB", (6000, 6000), "red").save(buffer, "PNG", compress_level=1)
assert memory.limit(100 << 20)
try:
    decode(buffer.getvalue(), max_pixels=10**8)
except MemoryError:
    print("MemoryError")
"""
    root = Path(__file__).resolve().parents[1]
    done = subprocess.run([sys.executable, "-c", program], cwd=root, capture_output=True, text=True, timeout=120)
    assert done.stdout == "MemoryError\n", done.stderr


def test_pictures_that_come_together_are_decoded_within_one_ration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nine pictures of 40,000 pixels and a ration of 100,000: two at once, and never three."""
    sources = []
    for number in range(9):
        path = tmp_path / f"{number}.png"
        path.write_bytes(saved(disc(size=200), "PNG"))
        sources.append(Source(str(number), str(path), None, "", ""))
    recipe = Recipe(16, exact=False, format="glb", batch_size=4, chunk_points=256)
    actor = Reconstructor(StoreSettings(), ImageSettings(max_pixels=100_000), {}, recipe, threads=1)
    lock, decoding, most = threading.Lock(), 0, 0

    def watched(data: bytes, *, max_pixels: int) -> Picture:
        nonlocal decoding, most
        with lock:
            decoding += 1
            most = max(most, decoding)
        time.sleep(0.05)
        try:
            return decode(data, max_pixels=max_pixels)
        finally:
            with lock:
                decoding -= 1

    monkeypatch.setattr(reconstructor, "decode", watched)
    with ThreadPoolExecutor(9) as threads:
        results = list(threads.map(lambda source: actor._read(source, source.uri, Framing(mode="fit")), sources))
    assert not any(isinstance(result, Failure) for result in results)
    assert most == 2


def test_messages_hold_no_address_of_memory() -> None:
    with pytest.raises(Exception, match="malformed") as caught:
        decode(b"BM" + bytes(60), max_pixels=LIMIT)
    assert " object at " not in str(caught.value)


def test_fuzzed_files_become_arrays_or_codes() -> None:
    report = fuzz_images.fuzz(seed=1, count=3000)
    assert report.clean, report
    assert report.outcomes.total() == 3000
    assert set(report.outcomes) <= {"ok", *ErrorCode}
    assert report.outcomes["ok"] > 300  # the damage is not so great that nothing is reached
    assert report.outcomes["corrupt_image"] > 300
    assert {fuzz_images.case(1, number)[0] for number in range(100)} == set(fuzz_images.corpus())


def misbehave(data: bytes) -> str:
    """What a decoder with three defects would do, by the third case."""
    match zlib.crc32(data) % 3:
        case 0:
            os._exit(3)
        case 1:
            time.sleep(60)
    raise KeyError("an exception that is no ItemError")


def test_the_fuzzer_finds_crashes_hangs_and_exceptions() -> None:
    wanted = [zlib.crc32(fuzz_images.case(6, number)[1]) % 3 for number in range(3)]
    assert sorted(wanted) == [0, 1, 2]
    report = fuzz_images.fuzz(seed=6, count=3, seconds=0.5, examine=misbehave)
    for found, kind in zip((report.crashes, report.hangs, report.exceptions), range(3), strict=True):
        assert len(found) == 1
        assert found[0].startswith(f"case {wanted.index(kind)}")
    assert not report.clean


@pytest.mark.usefixtures("ray_session")
def test_a_run_over_fuzzed_files_loses_no_row_and_no_actor(small: dict[str, Any], tmp_path: Path) -> None:
    count = 150
    fuzz_images.write(tmp_path / "in", seed=7, count=count)
    metrics = DriverMetrics()
    settings = small | {
        "reconstruct.resolution": 8,
        "reconstruct.batch_size": 16,
        "reconstruct.shard_size": 64,
        "reconstruct.max_failed_percent": None,
    }
    result = convert(tmp_path / "in", tmp_path / "out", settings, metrics=metrics)
    rows = rows_of(tmp_path / "out")
    assert {row["source_uri"] for row in rows.values()} == {str(path) for path in (tmp_path / "in").rglob("*.*")}
    assert result.images == len(rows) == count
    assert result.ok > 10
    assert sample(metrics, "isofleet_actor_restarts_total") == 0
    assert set(result.errors) <= set(ErrorCode) - {ErrorCode.INTERNAL_ERROR, ErrorCode.KILLED_WORKER}
    assert all(row["error_message"].isprintable() for row in rows.values() if row["error_code"])
