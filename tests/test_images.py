"""Image files of every supported kind, whole and damaged, through `workers.images`."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageDraw, ImageFile, PngImagePlugin

from workers.failure import ErrorCode, ItemError
from workers.images import Framing, Picture, decode, key_out, prepare

SHARED = Path(__file__).resolve().parents[2] / "shared"
LIMIT = 4_000_000


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png(width: int, height: int, depth: int, colour: int, rows: bytes, extra: tuple[bytes, bytes] = ()) -> bytes:
    """A PNG put together by hand, for the kinds that Pillow cannot write."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    middle = chunk(*extra) if extra else b""
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + middle
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def disc(size: int = 64, colour: str = "red", background: object = (0, 0, 0, 0)) -> Image.Image:
    image = Image.new("RGBA", (size, size), background)
    ImageDraw.Draw(image).ellipse([size // 4, size // 4, 3 * size // 4, 3 * size // 4], colour)
    return image


def code_of(call: object, *arguments: object, **options: object) -> ErrorCode:
    with pytest.raises(ItemError) as caught:
        call(*arguments, **options)
    assert caught.value.message.endswith(".")
    assert "\n" not in caught.value.message
    return caught.value.code


def test_every_format_and_mode_decodes_to_the_same_disc() -> None:
    cut_out, plain = disc(), disc(background="white").convert("RGB")
    grey = plain.convert("L")
    palette = cut_out.quantize(8, Image.Quantize.FASTOCTREE)
    files = {
        "png": saved(cut_out, "PNG"),
        "png palette": saved(palette, "PNG"),
        "png 1 bit": saved(plain.convert("1"), "PNG"),
        "png grey": saved(grey, "PNG"),
        "png grey alpha": saved(cut_out.convert("LA"), "PNG"),
        "png grey 16": saved(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "PNG"),
        "jpeg": saved(plain, "JPEG", quality=95),
        "jpeg grey": saved(grey, "JPEG", quality=95),
        "jpeg cmyk": saved(plain.convert("CMYK"), "JPEG", quality=95),
        "jpeg progressive": saved(plain, "JPEG", quality=95, progressive=True),
        "webp": saved(cut_out, "WEBP", lossless=True),
        "webp lossy": saved(cut_out, "WEBP", quality=90),
        "tiff": saved(cut_out, "TIFF"),
        "tiff lzw": saved(plain, "TIFF", compression="tiff_lzw"),
        "tiff 16": saved(Image.fromarray(np.asarray(grey).astype(np.uint16) * 257), "TIFF"),
        "tiff cmyk": saved(plain.convert("CMYK"), "TIFF"),
        "bmp": saved(plain, "BMP"),
        "gif": saved(cut_out, "GIF"),
        "gif animated": saved(cut_out, "GIF", save_all=True, append_images=[disc(colour="blue")]),
    }
    for name, data in files.items():
        picture = decode(data, max_pixels=LIMIT)
        assert picture.rgba.shape == (64, 64, 4), name
        assert picture.rgba.dtype == np.uint8, name
        assert (picture.width, picture.height) == (64, 64)
        centre, corner = picture.rgba[32, 32].astype(int), picture.rgba[2, 2].astype(int)
        assert centre[3] == 255, name
        red = "grey" not in name and "16" not in name and "1 bit" not in name
        assert abs(centre[0] - (255 if red else 76)) <= 12 or "1 bit" in name, (name, centre)
        assert corner[3] == 0 or corner[:3].min() >= 245, (name, corner)


def test_sixteen_bits_are_scaled_and_a_transparent_sample_is_honoured() -> None:
    def pixels(data: bytes) -> list[list[int]]:
        return decode(data, max_pixels=LIMIT).rgba[0].tolist()

    grey16 = png(2, 1, 16, 0, b"\0" + struct.pack(">HH", 0x8000, 0x80FF), (b"tRNS", struct.pack(">H", 0x80FF)))
    assert pixels(grey16) == [[128, 128, 128, 255], [128, 128, 128, 0]]
    colour16 = struct.pack(">6H", 1000, 2000, 3000, 65535, 32768, 0)
    assert pixels(png(2, 1, 16, 2, b"\0" + colour16, (b"tRNS", colour16[:6]))) == [
        [3, 7, 11, 0],
        [255, 128, 0, 255],
    ]
    assert pixels(png(1, 1, 16, 6, b"\0" + struct.pack(">4H", 65535, 32768, 0, 0x4000))) == [[255, 128, 0, 64]]
    assert pixels(png(1, 1, 16, 4, b"\0" + struct.pack(">2H", 0x8000, 0x4000))) == [[128, 128, 128, 64]]
    for depth, byte in ((1, 0b10), (2, 0b1100), (4, 0xF0)):
        row = bytes([0, byte << (8 - 2 * depth)])
        data = png(2, 1, depth, 0, row, (b"tRNS", struct.pack(">H", 2**depth - 1)))
        assert pixels(data) == [[255, 255, 255, 0], [0, 0, 0, 255]], depth
    big_endian = Image.frombytes("I;16B", (2, 1), struct.pack(">HH", 0x1234, 0xFFFF))
    assert pixels(saved(big_endian, "TIFF")) == [[0x12] * 3 + [255], [255] * 4]


def test_orientation_is_applied() -> None:
    image = Image.new("RGB", (30, 20), "white")
    image.paste("black", (0, 0, 10, 10))  # top left
    corners = {1: (2, 2), 2: (2, -3), 3: (-3, -3), 4: (-3, 2), 5: (2, 2), 6: (2, -3), 7: (-3, -3), 8: (-3, 2)}
    for orientation, (row, column) in corners.items():
        exif = Image.Exif()
        exif[0x0112] = orientation
        for kind in ("JPEG", "PNG", "WEBP", "TIFF"):
            picture = decode(saved(image, kind, exif=exif), max_pixels=LIMIT)
            assert (picture.width, picture.height) == ((20, 30) if orientation >= 5 else (30, 20))
            assert picture.rgba[row, column, 0] < 40, (kind, orientation)
            assert (picture.rgba[..., 0] < 128).sum() == pytest.approx(100, abs=30)


def test_what_is_not_an_image_says_so() -> None:
    assert code_of(decode, b"", max_pixels=LIMIT) is ErrorCode.EMPTY_FILE
    for data in (
        b"not an image\n",
        b"\0" * 4096,
        b"RIFF\0\0\0\0WAVE",
        b"%!PS-Adobe-3.0 EPSF",
        b"P6 1 1 255 abc",
    ):
        assert code_of(decode, data, max_pixels=LIMIT) is ErrorCode.NOT_AN_IMAGE
    floats = saved(Image.fromarray(np.ones((4, 4), np.float32)), "TIFF")
    assert code_of(decode, floats, max_pixels=LIMIT) is ErrorCode.NOT_AN_IMAGE


@pytest.mark.parametrize("size", [(3000, 3000), (30_000, 30_000), (2**31 - 1, 2**31 - 1)])
def test_too_many_pixels_are_refused_from_the_header(size: tuple[int, int]) -> None:
    bomb = png(*size, 8, 6, b"\0" * 10_000)
    assert len(bomb) < 500
    assert code_of(decode, bomb, max_pixels=LIMIT) is ErrorCode.TOO_MANY_PIXELS


def test_too_many_pixels_in_other_formats() -> None:
    small = Image.new("RGB", (8, 8), "red")
    bmp = bytearray(saved(small, "BMP"))
    bmp[18:26] = struct.pack("<ii", 30_000, 30_000)
    gif = bytearray(saved(small, "GIF"))
    gif[6:10] = struct.pack("<HH", 30_000, 30_000)
    inner = saved(disc(), "WEBP", lossless=True)[12:]
    canvas = (30_000 - 1).to_bytes(3, "little") * 2
    webp = b"WEBPVP8X" + struct.pack("<I", 10) + b"\x10\0\0\0" + canvas + inner
    webp = b"RIFF" + struct.pack("<I", len(webp)) + webp
    for data in (bmp, gif, webp):
        assert code_of(decode, bytes(data), max_pixels=LIMIT) is ErrorCode.TOO_MANY_PIXELS


def test_a_text_bomb_is_a_corrupt_image() -> None:
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "x" * 30_000_000, zip=True)
    data = saved(disc(), "PNG", pnginfo=text)
    assert len(data) < 100_000
    assert code_of(decode, data, max_pixels=LIMIT) is ErrorCode.CORRUPT_IMAGE


WHOLE = {
    "png": saved(disc(), "PNG"),
    "png palette": saved(disc().quantize(8, Image.Quantize.FASTOCTREE), "PNG"),
    "jpeg": saved(disc(background="white").convert("RGB"), "JPEG"),
    "jpeg cmyk": saved(disc(background="white").convert("CMYK"), "JPEG"),
    "webp": saved(disc(), "WEBP", lossless=True),
    "webp lossy": saved(disc(), "WEBP"),
    "tiff": saved(disc(), "TIFF"),
    "tiff deflate": saved(disc(), "TIFF", compression="tiff_adobe_deflate"),
    "bmp": saved(disc(background="white").convert("RGB"), "BMP"),
    "gif": saved(disc(), "GIF"),
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
def test_a_truncated_file_is_corrupt_and_never_half_decoded() -> None:
    assert ImageFile.LOAD_TRUNCATED_IMAGES is False
    for name, data in WHOLE.items():
        for length in (len(data) // 2, 20, 12):
            code = code_of(decode, data[:length], max_pixels=LIMIT)
            assert code is ErrorCode.CORRUPT_IMAGE, (name, length)


@settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    name=st.sampled_from(sorted(WHOLE)),
    edits=st.lists(st.tuples(st.integers(0, 1 << 16), st.binary(min_size=1, max_size=8)), max_size=6),
    cut=st.integers(0, 1 << 16),
    early=st.booleans(),
)
@pytest.mark.filterwarnings("ignore")
def test_damaged_bytes_decode_or_fail_with_a_code(
    name: str, edits: list[tuple[int, bytes]], cut: int, early: bool
) -> None:
    data = bytearray(WHOLE[name])
    for position, patch in edits:
        start = position % (min(len(data), 80) if early else len(data))  # headers are where parsers break
        data[start : start + len(patch)] = patch
    if cut % 4 == 0:
        del data[cut % (len(data) + 1) :]
    outcome: object
    try:
        outcome = decode(bytes(data), max_pixels=LIMIT)
    except ItemError as error:  # anything else is the failure this test looks for
        outcome = error.code
    if isinstance(outcome, Picture):
        assert outcome.width * outcome.height <= LIMIT
    else:
        assert outcome in {
            ErrorCode.EMPTY_FILE,
            ErrorCode.NOT_AN_IMAGE,
            ErrorCode.TOO_MANY_PIXELS,
            ErrorCode.CORRUPT_IMAGE,
        }


def test_a_cut_out_is_left_alone_and_a_plain_background_goes() -> None:
    cut_out = Picture(np.asarray(disc()))
    assert key_out(cut_out) is cut_out

    image = disc(200, "red", (120, 130, 140, 255))
    ImageDraw.Draw(image).rectangle([95, 95, 105, 105], (120, 130, 140))  # the background's colour, inside
    alpha = key_out(Picture(np.asarray(image))).rgba[..., 3]
    assert alpha[0, 0] == 0
    assert alpha[100, 100] == 255
    expected = np.asarray(disc(200).getchannel("A")) > 0
    assert ((alpha > 0) == expected).all()


def test_keying_stands_noise_gradients_and_an_object_at_the_border() -> None:
    rng = np.random.default_rng(3)
    image = np.asarray(disc(256, "darkgreen", "white")).astype(np.float64)
    image[..., :3] -= np.linspace(10, 60, 256)[:, None, None]  # a gradient wider than the tolerance
    image[..., :3] += rng.normal(0, 6, (256, 256, 3))  # specks beyond the tolerance
    image[200:, 100:140, :3] = 20  # touches the border
    keyed = key_out(Picture(image.clip(0, 255).astype(np.uint8))).rgba[..., 3] > 0
    expected = np.asarray(disc(256).getchannel("A")) > 0
    expected[200:, 100:140] = True
    assert (keyed != expected).mean() < 0.002
    assert keyed.any(axis=0).argmax() == pytest.approx(64, abs=3)  # no speck widens the bounding box


def test_a_busy_background_and_an_empty_picture_are_refused() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 4), dtype=np.uint8)
    noise[..., 3] = 255
    assert code_of(key_out, Picture(noise)) is ErrorCode.BACKGROUND_NOT_UNIFORM
    halves = np.full((64, 64, 4), 255, np.uint8)
    halves[:, :32, :3] = 0
    assert code_of(key_out, Picture(halves)) is ErrorCode.BACKGROUND_NOT_UNIFORM
    for shape in ((64, 64, 4), (1, 1, 4), (1, 9, 4), (2, 3, 4)):
        assert code_of(key_out, Picture(np.zeros(shape, np.uint8))) is ErrorCode.NOTHING_VISIBLE
        assert code_of(key_out, Picture(np.full(shape, 255, np.uint8))) is ErrorCode.NOTHING_VISIBLE
    clear = Picture(np.zeros((9, 9, 4), np.uint8))
    assert code_of(prepare, clear, Framing(mode="fit"), 128) is ErrorCode.NOTHING_VISIBLE
    assert not prepare(clear, Framing(mode="crop"), 128).any()


def test_crop_is_the_papers_for_its_own_size() -> None:
    rgba = np.random.default_rng(1).integers(0, 256, (137, 137, 4), dtype=np.uint8)
    red, green, blue, alpha = np.moveaxis(rgba.astype(np.float64), 2, 0)
    luma = 0.299 * red + 0.587 * green + 0.114 * blue
    over_white = luma * alpha / 255 + 255 - alpha
    expected = 1 - over_white[4:132, 4:132] / 255
    result = prepare(Picture(rgba), Framing(mode="crop"), 128)
    assert result.dtype == np.float32
    assert result.flags.c_contiguous
    np.testing.assert_allclose(result, expected, atol=0.51 / 255)  # half a grey level: Pillow rounds the luma


def test_crop_scales_other_sizes_to_the_same_view() -> None:
    small = prepare(Picture(np.asarray(disc(137))), Framing(mode="crop"), 128)
    large = prepare(Picture(np.asarray(disc(137 * 4))), Framing(mode="crop"), 128)
    assert np.abs(small - large).mean() < 0.01
    wide = Image.new("RGBA", (400, 200))
    wide.paste("black", (0, 0, 400, 200))
    result = prepare(Picture(np.asarray(wide)), Framing(mode="crop"), 128)
    assert result[64, 0] == 1  # the longer side spans the view
    assert result[0, 64] == 0
    assert (result[:, 64] > 0.5).sum() == pytest.approx(137 / 2, abs=1)


@settings(max_examples=60, deadline=None)
@given(
    width=st.integers(1, 90),
    height=st.integers(1, 90),
    left=st.integers(0, 60),
    top=st.integers(0, 60),
    fill=st.floats(0.1, 1),
)
def test_fit_fills_its_share_wherever_the_object_lies(
    width: int, height: int, left: int, top: int, fill: float
) -> None:
    rgba = np.zeros((160, 170, 4), np.uint8)
    rgba[..., :3] = 255  # a colour under the transparent pixels must not show
    rgba[top : top + height, left : left + width] = (0, 0, 0, 255)
    result = prepare(Picture(rgba), Framing(mode="fit", fill=fill), 128)
    assert set(np.unique(result)) <= {0.0, 1.0}  # no halo
    rows, columns = np.flatnonzero(result.any(axis=1)), np.flatnonzero(result.any(axis=0))
    assert max(rows.size, columns.size) == pytest.approx(128 * fill, abs=1)
    assert abs(rows[0] - (127 - rows[-1])) <= 1
    assert abs(columns[0] - (127 - columns[-1])) <= 1
    if width >= height:
        assert rows.size == pytest.approx(columns.size * height / width, abs=1)


@settings(max_examples=30, deadline=None)
@given(silhouette=st.floats(0, 1), seed=st.integers(0, 99), mode=st.sampled_from(["crop", "fit"]))
def test_a_silhouette_lies_between_the_papers_ink_and_the_alpha(silhouette: float, seed: int, mode: str) -> None:
    random = np.random.default_rng(seed)
    rgba = random.integers(0, 256, (random.integers(2, 60), random.integers(2, 60), 4), dtype=np.uint8)
    rgba[0, 0, 3] = 255  # something to fit
    black = rgba.copy()
    black[..., :3] = 0
    shades, alpha = (prepare(Picture(pixels), Framing(mode=mode), 64) for pixels in (rgba, black))
    result = prepare(Picture(rgba), Framing(mode=mode, silhouette=silhouette), 64)
    np.testing.assert_allclose(result, silhouette * alpha + (1 - silhouette) * shades, atol=1e-5)
    white = rgba | np.uint8([255, 255, 255, 0])
    seen = prepare(Picture(white), Framing(mode=mode, silhouette=silhouette), 64)
    np.testing.assert_allclose(seen, silhouette * alpha, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 300_000), (300_000, 1), (1, 1), (5000, 7)])
@pytest.mark.parametrize("mode", ["crop", "fit"])
def test_no_shape_of_picture_is_too_odd(shape: tuple[int, int], mode: str) -> None:
    rgba = np.full((*shape, 4), (0, 0, 0, 255), np.uint8)
    result = prepare(Picture(rgba), Framing(mode=mode), 64)
    assert result.shape == (64, 64)
    assert 0 <= result.min() <= result.max() <= 1
    assert result.max() > 0
    assert result.tobytes() == prepare(Picture(rgba), Framing(mode=mode), 64).tobytes()


def test_real_pictures() -> None:
    if not (SHARED / "photos" / "chair.png").exists():
        pytest.skip(f"no photographs at {SHARED / 'photos'}")
    for name, share in (("chair.png", 0.28), ("teapot-grey-background.png", 0.32)):
        picture = key_out(decode((SHARED / "photos" / name).read_bytes(), max_pixels=LIMIT))
        assert (picture.rgba[..., 3] > 128).mean() == pytest.approx(share, abs=0.06), name
        view = prepare(picture, Framing(mode="fit"), 128)
        assert not view[:9].any()
        assert not view[:, :9].any()
        assert 0.1 < view.mean() < 0.5
