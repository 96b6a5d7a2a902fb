"""3D-R2N2's renderings: 24 pictures of 137 × 137 pixels of each of ShapeNet's models, instead of our own.

Works on: `<synset>/<model>/rendering/`, whose `renderings.txt` names the pictures. Knows nothing about shapes. The
pictures are what github.com/chrischoy/3D-R2N2 offers as ShapeNetRendering.tgz, unpacked.
"""

import re

from cluster.store import Stores, canonical
from jobs.training.failure import ShapeCode, ShapeError
from jobs.training.sources.files import Opened
from workers.failure import ItemError
from workers.images import Framing, decode, prepare

VIEWS = 24
_PICTURE_BYTES = 4 << 20
_MAX_PIXELS = 1024 * 1024
_PICTURE = re.compile(r"(?:^|/)\d{8}/[^/]+/rendering/\d\d\.png$")


def recognises(key: str) -> bool:
    """Whether a file of this name is one of the pictures."""
    return _PICTURE.search(key) is not None


class Renderings:
    """The pictures below a folder, a prefix or in a zip archive."""

    def __init__(self, uri: str, stores: Stores) -> None:
        self._files = Opened(canonical(uri), stores)

    def of(self, synset: str, model: str) -> tuple[bytes, ...]:
        """The pictures of a model, PNG files. Raises ShapeError: VIEWS_MISSING, or what the store fails with."""
        folder = f"{synset}/{model}/rendering"
        files = self._files.root
        try:
            names = files.read(f"{folder}/renderings.txt", _PICTURE_BYTES).decode("ascii", "replace").split()
        except KeyError:
            names = [f"{number:02d}.png" for number in range(VIEWS)]
        pictures = []
        for name in names[:VIEWS]:
            try:
                data = files.read(files.beside(f"{folder}/", name), _PICTURE_BYTES)
                prepare(decode(data, max_pixels=_MAX_PIXELS), Framing(mode="fit"), 8)  # something is visible
                pictures.append(data)
            except KeyError as error:
                raise _missing(f"--renderings has no {folder}/{name}") from error
            except ItemError as error:
                raise _missing(f"{folder}/{name} cannot be used: {error.message.rstrip('.')}") from error
        if len(pictures) < VIEWS:
            raise _missing(f"{folder} has {len(pictures)} pictures, and {VIEWS} are needed")
        return tuple(pictures)


def _missing(reason: str) -> ShapeError:
    return ShapeError(ShapeCode.VIEWS_MISSING, f"{reason}.")
