"""The HDF5 files of IM-NET's authors, which hold everything prepared: pictures, voxels and labelled points.

Works on: `pixels` uint8[N, 24, 137, 137], `voxels` uint8[N, 64, 64, 64, 1], `points_R` uint8[N, P, 3] and `values_R`
uint8[N, P, 1] for R = 16, 32, 64, and the list of names that lies beside a file as `<file>.txt`. Knows nothing about
meshes.

Facts, from the authors' repositories (github.com/czq142857/IM-NET, and implicit-decoder before it):

- Axes: `voxels[n, i, j, k]` is at x, y, z in ShapeNetCore.v2's frame, the project's: their scripts have turned v1's
  voxels into it (`point_sampling/`, np.flip(np.transpose(v, (2, 1, 0)), 2)). Nothing is turned here.
- IM-NET's points are voxels of a 256³ grid, 4,096, 4,096 and 16,384 of them for R = 16, 32, 64: index i lies at
  (i + 0.5)/256 − 0.5. implicit-decoder's are cells of the R³ grid, 4,096, 8,192 and 32,768: (i + 0.5)/R − 0.5. An
  index of R or more tells the first from the second, and `points_16` has one point in each of the 16³ cells, so in the
  first its largest index is 240 or more.
- A value of IM-NET's belongs to its point's own voxel. One of implicit-decoder's says whether any of the cell's finer
  voxels is inside, so its 16³ points are of no use here: the points of the cube come from the 64³ voxels instead.
- Pictures are 3D-R2N2's renderings over white, as grey (`3_gather_img.py`). What is white was background, as far as
  anyone can tell.
- The first 80 % of each category's sorted names are in `…_train.hdf5`, the rest in `…_test.hdf5`.
"""

import io
import posixpath
import re
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cluster.errors import RequestError
from cluster.store import NotFound, StoreError, Stores
from jobs.catalog import item_id_for
from jobs.training.failure import ShapeCode, ShapeError
from jobs.training.sources.files import Ranged
from jobs.training.sources.shapenet import category_of
from jobs.training.sources.source import Entry, Examples, Options, Source, Split

VOXELS, VIEW = 64, 137
_FINE = 256
_NEEDED = {
    "pixels": (24, VIEW, VIEW),
    "voxels": (VOXELS, VOXELS, VOXELS, 1),
    "points_16": (None, 3),
    "points_64": (None, 3),
}
_LEVELS = (16, 64)
_NAMES_BYTES = 64 << 20
_SPLITS: dict[str, Split] = {"_train": "train", "_test": "test", "_val": "validation"}


def is_hdf5(name: str) -> bool:
    """Whether a name is that of an HDF5 file."""
    return name.lower().endswith((".hdf5", ".h5"))


class Hdf5(Source):
    """One such file, or all of a folder."""

    kind = "hdf5"

    def __init__(self, uri: str, stores: Stores, options: Options) -> None:
        super().__init__(uri, stores, options)
        self._opened: OrderedDict[str, Any] = OrderedDict()

    @staticmethod
    def recognises(key: str) -> bool:
        return is_hdf5(key)

    def entries(self) -> Iterator[Entry]:
        for uri in self._uris():
            try:
                file = self._open(uri)
            except ShapeError as error:
                raise RequestError(f"SOURCE {error.message}") from error
            stem = posixpath.splitext(posixpath.basename(uri))[0]
            names = self._names(uri, len(file["voxels"]))
            own = re.match(r"\d{8}", stem)
            for row, name in enumerate(names or [f"{number:06d}" for number in range(len(file["voxels"]))]):
                synset, _, model = name.rpartition("/")
                synset = synset or (own[0] if own else "")
                category = category_of(synset) if synset else item_id_for(stem)
                entry_id = item_id_for(f"{synset or stem}/{model}")
                yield Entry(entry_id, category, f"{uri}#{row}", None, file.attrs_etag)

    def load(self, entry_id: str, address: str) -> Examples:
        uri, _, row = address.rpartition("#")
        file = self._open(uri)
        try:
            taken = {name: file[name][int(row)] for name in file.names}
        except (OSError, StoreError, ValueError) as error:
            reason = str(error).partition("\n")[0]
            raise ShapeError(ShapeCode.SOURCE_UNREADABLE, f"Row {row} of {uri} cannot be read: {reason}.") from error
        return _examples(taken, file.fine)

    def split(self, address: str) -> Split | None:
        stem = posixpath.splitext(posixpath.basename(address.rpartition("#")[0]))[0].lower()
        return next((split for ending, split in _SPLITS.items() if stem.endswith(ending)), None)

    def _uris(self) -> Iterator[str]:
        if is_hdf5(self.uri):
            yield self.uri
            return
        for info in self.stores.open(self.uri).list(self.uri):
            if is_hdf5(info.key):
                yield info.uri

    def _names(self, uri: str, rows: int) -> list[str] | None:
        beside = f"{posixpath.splitext(uri)[0]}.txt"
        try:
            text = self.stores.open(beside).get(beside, max_bytes=_NAMES_BYTES).data.decode("utf-8")
        except NotFound:
            return None
        except UnicodeDecodeError as error:
            raise RequestError(f"{beside} is not text; it should have a line for each row of the HDF5 file.") from error
        names = text.split()
        if len(names) != rows:
            raise RequestError(f"{beside} has {len(names)} names for the {rows} rows of {uri}; mend or remove it.")
        return names

    def _open(self, uri: str) -> "_File":
        if uri not in self._opened:
            self._opened[uri] = _File(uri, self.stores)
            if len(self._opened) > 4:
                self._opened.popitem(last=False)
        self._opened.move_to_end(uri)
        return self._opened[uri]


class _File:
    """An open file that has what is needed. Raises ShapeError (SOURCE_UNREADABLE) else, RequestError without h5py."""

    def __init__(self, uri: str, stores: Stores) -> None:
        try:
            import h5py
        except ImportError as error:
            raise RequestError("HDF5 files need the package h5py: pip install 'isofleet[train]'.") from error
        try:
            raw = Ranged(uri, stores)
            self._file = h5py.File(raw, "r")
        except NotFound as error:
            raise RequestError(f"there is no file at {uri}; name one that exists.") from error
        except (OSError, StoreError) as error:
            reason = str(error).partition("\n")[0]
            raise ShapeError(ShapeCode.SOURCE_UNREADABLE, f"{uri} is not a readable HDF5 file ({reason}).") from error
        self.attrs_etag = raw.info.etag
        self.names = [*_NEEDED, *(f"values_{level}" for level in _LEVELS)]
        rows = None
        for name in self.names:
            found = self._file.get(name)
            shape = getattr(found, "shape", None)
            wanted = _NEEDED.get(name, (None, 1))
            if shape is None:
                raise ShapeError(ShapeCode.SOURCE_UNREADABLE, f"{uri} has no dataset {name!r}.")
            rows = shape[0] if rows is None and shape else rows
            good = len(shape) == len(wanted) + 1 and shape[0] == rows
            if not good or any(side not in (None, have) for side, have in zip(wanted, shape[1:], strict=True)):
                sides = ", ".join("P" if side is None else str(side) for side in wanted)
                raise ShapeError(
                    ShapeCode.SOURCE_UNREADABLE, f"{uri}: {name!r} is {list(shape)} and should be [N, {sides}]."
                )
        self.fine = bool(rows) and int(np.max(self._file["points_16"][0])) >= _LEVELS[0]

    def __getitem__(self, name: str) -> Any:
        return self._file[name]


def _examples(row: dict[str, NDArray], fine: bool) -> Examples:
    """Raises ShapeError (BAD_EXAMPLE)."""
    for name in ("voxels", "values_16", "values_64"):
        if not np.isin(row[name], (0, 1)).all():
            raise _bad(f"{name} has values other than 0 and 1")
    voxels = row["voxels"][..., 0].astype(np.bool_)
    if not voxels.any():
        raise _bad("none of its voxels is inside")
    side = {level: _FINE if fine else level for level in _LEVELS}
    for level in _LEVELS:
        if int(row[f"points_{level}"].max()) >= side[level]:
            raise _bad(f"points_{level} has an index of {row[f'points_{level}'].max()} on a grid of {side[level]}³")
        if len(row[f"points_{level}"]) != len(row[f"values_{level}"]):
            raise _bad(f"points_{level} and values_{level} differ in number")
    if fine:
        anywhere, anywhere_inside = _places(row["points_16"], _FINE), row["values_16"][:, 0].astype(np.bool_)
    else:
        cells = np.stack(np.meshgrid(*[np.arange(VOXELS)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
        anywhere, anywhere_inside = _places(cells, VOXELS), voxels.reshape(-1)
    if (white := (row["pixels"] == 255).all(axis=(1, 2))).any():
        raise _bad(f"picture {int(np.argmax(white))} is white all over")
    near = _places(row["points_64"], side[64])
    views = tuple(_picture(grey) for grey in row["pixels"])
    return Examples(views, voxels, anywhere, anywhere_inside, near, row["values_64"][:, 0].astype(np.bool_))


def _places(indices: NDArray, side: int) -> NDArray[np.float32]:
    return ((indices.astype(np.float32) + 0.5) / side - 0.5).astype(np.float32)


def _picture(grey: NDArray[np.uint8]) -> bytes:
    """A PNG of grey and alpha: opaque where it is not white."""
    alpha = np.where(grey < 255, 255, 0).astype(np.uint8)
    sink = io.BytesIO()
    Image.fromarray(np.stack([grey, alpha], axis=-1), "LA").save(sink, "PNG")
    return sink.getvalue()


def _bad(reason: str) -> ShapeError:
    return ShapeError(ShapeCode.BAD_EXAMPLE, f"Of its row, {reason}.")
