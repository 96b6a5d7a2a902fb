"""Collections of 3D shapes in the forms that people have them in, behind one interface.

Works on: the layout of a folder, a prefix or a file. Knows nothing about what is made of the shapes. `recognise` says
which kind a place holds; `Source` is what every kind offers, one file a kind.
"""

import itertools
from collections.abc import Callable

from cluster.errors import RequestError
from cluster.store import Stores, canonical
from jobs.training.failure import ShapeError
from jobs.training.sources import hdf5, meshes, renderings, shapenet
from jobs.training.sources.files import Opened
from jobs.training.sources.source import AXES, Entry, Examples, Geometry, Options, Source, Split

__all__ = ["AXES", "KINDS", "Entry", "Examples", "Geometry", "Options", "Source", "Split", "open_source", "recognise"]

# In the order in which they are tried: ShapeNet is a folder of meshes too.
KINDS: dict[str, type[Source]] = {
    "shapenet-v2": shapenet.ShapeNetV2,
    "shapenet-v1": shapenet.ShapeNetV1,
    "hdf5": hdf5.Hdf5,
    "meshes": meshes.Meshes,
}
_LOOK_AT = 5000  # keys; a model of ShapeNetCore.v2 has some ten files, textures first


def open_source(uri: str, kind: str, stores: Stores, options: Options) -> Source:
    """The source of a `kind` at `uri`. Nothing is read until its entries are."""
    return KINDS[kind](canonical(uri), stores, options)


def recognise(uri: str, stores: Stores) -> str:
    """The kind of collection that lies at `uri`, by its layout. Raises RequestError where it is none, StoreError."""
    where = canonical(uri)
    if hdf5.is_hdf5(where):
        return hdf5.Hdf5.kind
    try:
        keys = [found.key for found in itertools.islice(Opened(where, stores).list(), _LOOK_AT)]
    except ShapeError as error:
        raise RequestError(f"SOURCE {uri} cannot be read: {error.message}") from error
    recognises: dict[str, Callable[[str], bool]] = {kind: source.recognises for kind, source in KINDS.items()}
    for kind, test in recognises.items():
        if any(map(test, keys)):
            return kind
    if any(map(renderings.recognises, keys)):
        raise RequestError(
            f"SOURCE {uri} holds pictures of shapes and no shapes; name the ShapeNet folder as SOURCE and this one as "
            "--renderings."
        )
    if not keys:
        raise RequestError(f"SOURCE {uri} does not exist or is empty; name a folder, prefix, zip archive or HDF5 file.")
    raise RequestError(f"SOURCE {uri} has none of the layouts that docs/datasets.md describes; see --kind there.")
