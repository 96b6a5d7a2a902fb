"""From the bytes of an ordinary image file to the picture that the encoder sees.

Works on: PNG, JPEG, WebP, TIFF, BMP and GIF bytes, and arrays of pixels. Knows nothing about where the bytes
came from, about the network, or about Ray. Whatever is wrong with an image is an `ItemError`.

Pixel (0, 0) is the top left corner. Colour profiles and gamma tags are ignored: the training data had none.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageFile
from pydantic import BaseModel, ConfigDict, Field
from scipy import ndimage

from workers import bombs
from workers.failure import ErrorCode, ItemError

# The first bytes decide which single Pillow plugin ever sees the file: the others are never reachable.
_SIGNATURES = {
    "PNG": re.compile(rb"\x89PNG\r\n\x1a\n"),
    "JPEG": re.compile(rb"\xff\xd8\xff"),
    "WEBP": re.compile(rb"RIFF.{4}WEBP", re.DOTALL),
    "TIFF": re.compile(rb"II[\x2a\x2b]\x00|MM\x00[\x2a\x2b]"),
    "BMP": re.compile(rb"BM"),
    "GIF": re.compile(rb"GIF8[79]a"),
}
EXTENSIONS = frozenset({".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".gif"})

# Fax compressions are left out: libtiff writes a line to the log for each damaged row, 120 MB for a file of 6.
_TIFF_COMPRESSIONS = frozenset(
    {"raw", "packbits", "tiff_lzw", "tiff_deflate", "tiff_adobe_deflate", "jpeg", "tiff_jpeg", "zstd", "lzma"}
)
_ORIENTATIONS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

# Shares and distances of `key_out`, all on the 0–255 scale or as a part of one.
_OPAQUE = 250  # antialiasing and lossy alpha leave "opaque" pixels a little below 255
_CUT_OUT_SHARE = 0.001  # fewer transparent pixels than this are an accident, not a cut-out
_VISIBLE = 10  # alpha at or below this is dust from lossy compression
_TOLERANCE = 20  # JPEG noise on a plain wall stays within it; a shadow's core does not
_ROUGH_TOLERANCE = 64  # how far a gentle gradient may lead away from the border's median
_BORDER_SHARE = 0.9  # an object may touch the border, with up to a tenth of it
_SPECK_SHARE = 0.002  # of the largest part: smaller ones are noise and would spoil the bounding box

# 3D-R2N2's renderings are 137 pixels wide and IM-NET crops the middle 128, from pixel 4 on
# (github.com/czq142857/IM-NET, modelSVR: `offset = int(crop_edge / 2)`).
_RENDERED, _CROPPED, _OFFSET = 137, 128, 4


@dataclass(frozen=True, eq=False, slots=True)
class Picture:
    """Decoded pixels: `rgba` is uint8[height, width, 4], straight (not premultiplied) alpha, upright."""

    rgba: NDArray[np.uint8]

    @property
    def width(self) -> int:
        return int(self.rgba.shape[1])

    @property
    def height(self) -> int:
        return int(self.rgba.shape[0])


class Framing(BaseModel):
    """How a picture is placed in the network's square; part of a bundle's configuration.

    `crop` is the paper's: the picture's longer side spans 137 units, of which the middle 128 are kept.
    `fit` scales the visible part until its longer side takes up `fill` of the square, and centres it.
    Of what the network sees of an opaque pixel, `silhouette` says that there is something and the rest how dark it
    is; without, as in the paper, a white object is not there.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["crop", "fit"] = "crop"
    fill: float = Field(default=0.85, gt=0, le=1, description="share of the square, for mode 'fit' only")
    silhouette: float = Field(default=0.0, ge=0, le=1, description="share of the ink that any opaque pixel has")


def count_pixels(data: bytes, *, max_pixels: int) -> int:
    """Width times height, from the header alone. Raises as `decode` does."""
    with _open(data, max_pixels) as image:
        return image.width * image.height


def decode(data: bytes, *, max_pixels: int) -> Picture:
    """Decode one image file; of an animation, the first frame. Applies the EXIF orientation.

    `max_pixels` is compared with the header before anything is decoded. Samples of 16 bits are scaled to 8.
    Takes up to 16 bytes of memory a pixel on the way; `key_out` takes up to 35.
    Raises ItemError: EMPTY_FILE, NOT_AN_IMAGE, TOO_MANY_PIXELS, CORRUPT_IMAGE. MemoryError.
    """
    with _open(data, max_pixels) as image:
        return Picture(np.asarray(_as_rgba(image)))


@contextmanager
def _open(data: bytes, max_pixels: int) -> Iterator[ImageFile.ImageFile]:
    """The image, opened but not loaded. What Pillow raises in here becomes an ItemError, but for MemoryError."""
    if not data:
        raise ItemError(ErrorCode.EMPTY_FILE, "The file is empty (0 bytes).")
    name = next((name for name, signature in _SIGNATURES.items() if signature.match(data)), None)
    if name is None:
        supported = ", ".join(_SIGNATURES)
        raise ItemError(ErrorCode.NOT_AN_IMAGE, f"The bytes are none of the supported formats: {supported}.")
    try:
        bombs.check(name, data)
        with Image.open(bombs.Pieces(data), formats=[name]) as image:
            if image.width * image.height > max_pixels:
                raise _too_many_pixels(f"{image.width} × {image.height} pixels are", max_pixels)
            yield image
    except (ItemError, MemoryError):
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _too_many_pixels("The header announces", max_pixels) from error
    except Exception as error:  # fuzzing draws almost every built-in exception out of Pillow's parsers
        reason = re.sub(r"\s*<\S+ object at \S+>|[^ -~]", "", str(error))[:200] or type(error).__name__
        if "out of memory" in reason:  # how Pillow's own decoders say it
            raise MemoryError(reason) from error
        message = f"The {name} file is truncated or malformed ({reason})."
        raise ItemError(ErrorCode.CORRUPT_IMAGE, message) from error


def key_out(picture: Picture) -> Picture:
    """Make a plain background transparent; a picture that is cut out already is returned as it is.

    The background's colour is a plane over the picture (a gentle gradient is still plain), fitted to a frame
    of border pixels. Only pixels of that colour which are connected with the border become transparent: the
    same colour inside the object stays, and so does a background seen through a closed hole.
    Raises ItemError: BACKGROUND_NOT_UNIFORM, NOTHING_VISIBLE.
    """
    alpha = picture.rgba[..., 3]
    if np.count_nonzero(alpha < _OPAQUE) >= max(1, _CUT_OUT_SHARE * alpha.size):
        keyed = picture
    else:
        rgba = picture.rgba.copy()
        rgba[..., 3][_background(picture.rgba)] = 0
        keyed = Picture(rgba)
    if not (keyed.rgba[..., 3] > _VISIBLE).any():
        raise ItemError(ErrorCode.NOTHING_VISIBLE, "Every pixel is transparent, or of the background's colour.")
    return keyed


def prepare(picture: Picture, framing: Framing, size: int) -> NDArray[np.float32]:
    """The network's input: float32[size, size], C-contiguous, 0 = background, 1 = opaque black.

    That is ink = alpha · (s + (1 − s) · (1 − luma)), where s is the framing's `silhouette` and luma ITU-R BT.601's (as
    Pillow rounds it). With s = 0 it is 1 − grey, where grey is the luma composited over white. Resampled in this
    premultiplied form, hidden colours leave no halo.
    A 137×137 picture in mode `crop` at size 128 is not resampled at all.
    Raises ItemError NOTHING_VISIBLE where mode `fit` finds nothing to fit.
    """
    rgba = picture.rgba
    if framing.mode == "fit":
        rgba = rgba[_visible_window(rgba)]
        longer, canvas_size = size * framing.fill, size
    else:
        longer = canvas_size = round(size * _RENDERED / _CROPPED)
    height, width = rgba.shape[:2]
    scale = longer / max(height, width)
    new_width, new_height = max(1, round(width * scale)), max(1, round(height * scale))
    ink = Image.fromarray(_ink(rgba, framing.silhouette)).resize((new_width, new_height), Image.Resampling.BILINEAR)

    canvas = np.zeros((canvas_size, canvas_size), np.float32)
    top, left = (canvas_size - new_height) // 2, (canvas_size - new_width) // 2
    canvas[top : top + new_height, left : left + new_width] = np.asarray(ink)
    offset = 0 if framing.mode == "fit" else round(_OFFSET * size / _CROPPED)
    return np.ascontiguousarray(np.clip(canvas[offset : offset + size, offset : offset + size], 0, 1))


def _too_many_pixels(what: str, max_pixels: int) -> ItemError:
    bound = min(max_pixels, 2 * (Image.MAX_IMAGE_PIXELS or max_pixels))  # Pillow's own refusal comes at twice
    return ItemError(ErrorCode.TOO_MANY_PIXELS, f"{what} more than the limit of {bound} pixels.")


def _as_rgba(image: ImageFile.ImageFile) -> Image.Image:
    """8-bit RGBA, upright, of whatever mode Pillow opened. Loads the image."""
    if image.mode in ("I", "F"):
        bits = "32-bit or floating-point samples, whose white is unknown: save it with 8 or 16 bits a channel"
        raise ItemError(ErrorCode.NOT_AN_IMAGE, f"The {image.format} file has {bits}.")
    compression = image.info.get("compression")
    if image.format == "TIFF" and compression not in _TIFF_COMPRESSIONS:
        advice = "which is not read here: save it with LZW or deflate"
        raise ItemError(ErrorCode.NOT_AN_IMAGE, f"The TIFF file is compressed as {compression}, {advice}.")
    transparency = image.info.get("transparency")
    if image.format == "PNG" and transparency is not None and image.tile:
        # tRNS is in the file's sample units; Pillow scales the samples of these three kinds, but not tRNS.
        match image.tile[0].args:
            case "L;2":
                image.info["transparency"] = transparency * 85
            case "L;4":
                image.info["transparency"] = transparency * 17
            case "RGB;16B":
                image.info["transparency"] = tuple(sample >> 8 for sample in transparency)
    image.load()
    bombs.check("TIFF", image.info.get("exif", b"").removeprefix(b"Exif\0\0"))  # EXIF is a TIFF in all but pixels
    # Not `ImageOps.exif_transpose`: that copies the picture, and writes the whole of a stranger's EXIF anew.
    method = _ORIENTATIONS.get(image.getexif().get(ExifTags.Base.Orientation, 1))
    upright: Image.Image = image if method is None else image.transpose(method)
    if upright.mode.startswith("I;16"):
        samples = np.asarray(upright)
        grey = Image.fromarray((samples >> 8).astype(np.uint8))
        opaque = np.full(samples.shape, 255, np.uint8) if transparency is None else samples != transparency
        return Image.merge("RGBA", (grey, grey, grey, Image.fromarray(opaque).convert("L")))
    if upright.mode == "La":
        upright = upright.convert("LA")
    return upright.convert("RGBA")


def _background(rgba: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """bool[H, W]: the plain background, connected with the border; raises BACKGROUND_NOT_UNIFORM."""
    height, width = rgba.shape[:2]
    edge = max(1, min(height, width) // 128)
    frame = np.ones((height, width), np.bool_)
    frame[edge:-edge, edge:-edge] = False
    rows, columns = np.nonzero(frame)
    border = rgba[rows, columns, :3].astype(np.float64)

    # y and x run over [-1, 1], which keeps the least-squares problem well conditioned.
    y, x = np.linspace(-1, 1, height), np.linspace(-1, 1, width)
    terms = np.stack([np.ones_like(y[rows]), y[rows], x[columns]], axis=1)
    plane = np.zeros((3, 3))
    plane[0] = np.median(border, axis=0)
    for tolerance in (_ROUGH_TOLERANCE, _TOLERANCE):  # the second fit is free of what touches the border
        plain = np.abs(border - terms @ plane).max(axis=1) <= tolerance
        if plain.mean() >= _BORDER_SHARE / 2:
            fitted = terms[plain]  # the normal equations: 3×3, and singular for one row or column of pixels
            plane = np.linalg.lstsq(fitted.T @ fitted, fitted.T @ border[plain], rcond=None)[0]
    share = (np.abs(border - terms @ plane).max(axis=1) <= _TOLERANCE).mean()
    if share < _BORDER_SHARE:
        raise ItemError(
            ErrorCode.BACKGROUND_NOT_UNIFORM,
            f"The picture is opaque and only {share:.0%} of its border has one colour: cut the object out "
            f"or photograph it before a plain background ({_BORDER_SHARE:.0%} are needed).",
        )

    plane, y, x = plane.astype(np.float32), y.astype(np.float32), x.astype(np.float32)
    similar = np.ones((height, width), np.bool_)
    for channel in range(3):
        colour = (plane[0, channel] + plane[1, channel] * y)[:, None] + (plane[2, channel] * x)[None, :]
        similar &= np.abs(rgba[..., channel] - colour) <= _TOLERANCE
    labels, count = ndimage.label(similar)
    reached = np.zeros(count + 1, np.bool_)
    for side in (labels[0], labels[-1], labels[:, 0], labels[:, -1]):
        reached[side] = True
    reached[0] = False  # label 0 is what is not similar
    background = reached[labels]

    labels, count = ndimage.label(~background, structure=np.ones((3, 3)))
    if count > 1:
        areas = np.bincount(labels.ravel())
        areas[0] = 0
        background |= (areas < _SPECK_SHARE * areas.max())[labels]
    return background


def _visible_window(rgba: NDArray[np.uint8]) -> tuple[slice, slice]:
    visible = rgba[..., 3] > _VISIBLE
    rows, columns = np.flatnonzero(visible.any(axis=1)), np.flatnonzero(visible.any(axis=0))
    if not rows.size:
        raise ItemError(ErrorCode.NOTHING_VISIBLE, "Every pixel is transparent.")
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def _ink(rgba: NDArray[np.uint8], silhouette: float) -> NDArray[np.float32]:
    """float32[H, W]: alpha · (s + (1 − s) · (1 − luma)) for a `silhouette` s."""
    image = Image.fromarray(np.ascontiguousarray(rgba))
    luma = np.asarray(image.convert("RGB").convert("L"))
    ink = rgba[..., 3].astype(np.float32)
    ink *= np.float32(255 * silhouette) + np.float32(1 - silhouette) * (255 - luma)
    ink *= np.float32(1 / (255 * 255))
    return ink
