"""Any folder, prefix or zip archive of meshes by category: `<category>/…/name.obj`, or `.glb .gltf .stl .ply .off`.

Works on: keys of that layout. Knows nothing about meshes' insides. The files do not say which way is front, and those
of CAD programs are often +Z up: `Options` does. A folder `train`, `test`, `val` or `validation` right below the
category is a split, as in ModelNet.
"""

import posixpath
from collections.abc import Iterator

from cluster.errors import RequestError
from cluster.store import Stores
from jobs.catalog import item_id_for
from jobs.training.failure import ShapeError
from jobs.training.sources.files import Opened
from jobs.training.sources.geometry import SUFFIXES, load_mesh, turned
from jobs.training.sources.source import Entry, Geometry, Options, Source, Split, rotation

_SPLITS: dict[str, Split] = {"train": "train", "test": "test", "val": "validation", "validation": "validation"}
_NO_CATEGORY = "object"  # of files at the top


class Meshes(Source):
    """Meshes by category."""

    kind = "meshes"

    def __init__(self, uri: str, stores: Stores, options: Options) -> None:
        super().__init__(uri, stores, options)
        self._files = Opened(uri, stores)
        self._rotation = rotation(options.up, options.front)

    @staticmethod
    def recognises(key: str) -> bool:
        return _is_mesh(key)

    def entries(self) -> Iterator[Entry]:
        try:
            for found in self._files.list():
                if not _is_mesh(found.key):
                    continue
                top = found.key.partition("/")[0] if "/" in found.key else _NO_CATEGORY
                yield Entry(item_id_for(found.key), item_id_for(top), found.address, found.size, found.etag)
        except ShapeError as error:
            raise RequestError(f"SOURCE {self.uri} cannot be read: {error.message}") from error

    def load(self, entry_id: str, address: str) -> Geometry:
        files, key = self._files.at(address)
        return turned(load_mesh(files, key, self.options.max_bytes, self.options.max_faces), self._rotation)

    def split(self, address: str) -> Split | None:
        folders = self._files.at(address)[1].split("/")[:-1]
        return _SPLITS.get(folders[1]) if len(folders) > 1 else None


def _is_mesh(key: str) -> bool:
    hidden = any(part.startswith(".") for part in key.split("/"))
    return not hidden and posixpath.splitext(key)[1].lower() in SUFFIXES
