"""What is evaluated: pictures of objects whose shape is known.

Works on: collections of examples, and folders of pictures beside voxels. Knows nothing about networks or measures.
"""

import io
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Final

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy import ndimage

from cluster.config import Config
from cluster.errors import RequestError
from cluster.store import StoreError, Stores, canonical
from jobs.evaluation.shapes import LatticeTruth, Truth, VoxelTruth
from jobs.training.collection import Collection, collect
from jobs.training.plan import HELD_OUT
from workers.encoder import IMAGE_SIZE
from workers.failure import ItemError
from workers.images import EXTENSIONS, Framing, decode, key_out, prepare

PROCEDURAL: Final = "procedural"
SEED = HELD_OUT + HELD_OUT // 5  # validation begins at HELD_OUT, the demo's pictures at twice that
OBJECTS = 256

_MODEL = "model.binvox"
_MOST_BINVOX_BYTES = 1 << 24
_MOST_SIDE = 256  # voxels an axis
_HEADER = re.compile(rb"#binvox 1\n(?:[a-z#].*\n)*?dim (\d{1,4}) (\d{1,4}) (\d{1,4})\n")

# What a framing makes of each picture: float32[128, 128], or why it is none.
Pictures = Callable[[Framing], "list[NDArray[np.float32] | ItemError]"]


@dataclass(frozen=True, eq=False)
class Example:
    """One picture of an object; `view` counts those of the same object."""

    id: str
    category: str
    view: int
    truth: Truth


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples and their pictures, in one order. `about` is a sentence that says what they are."""

    about: str
    examples: list[Example]
    pictures: Pictures

    @property
    def categories(self) -> list[str]:
        """In order of appearance."""
        return list(dict.fromkeys(example.category for example in self.examples))


def procedural(
    categories: Sequence[str], objects: int, framing: Framing, *, device: str = "cpu", processes: int = 1
) -> Examples:
    """One view each of `objects` made-up objects with seeds that training never sees, of the categories in turn.

    They are drawn for `framing`, and again for another one that is asked for.
    """

    def made(wanted: Framing) -> Collection:
        return collect(categories, objects, 1, wanted, seed=SEED, device=device, processes=processes)

    about = f"{objects} made-up objects with seeds from {SEED:,} on, which training never sees, one view of each"
    return _of_collection(about, made, framing, range(SEED, SEED + objects))


def renderings(uri: str, config: Config, objects: int | None, categories: Sequence[str]) -> Examples | None:
    """Pictures with voxels beside them, as 3D-R2N2 has them: `<category>/<id>/NN.png` and `model.binvox` there.

    At most `objects` of them, of the categories in turn; of `categories`, if there are any. Pictures without voxels
    are left out. None where nothing below the address is called so. Raises RequestError.
    """
    stores = Stores(config.store)
    views, models = _listed(uri, stores)
    if not models:
        return None
    if unknown := set(categories) - {category for category, _ in models}:
        there = ", ".join(sorted({category for category, _ in models}))
        raise RequestError(f"--category {min(unknown)}: {uri} has {there}.")
    by_category: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for key in sorted(models):
        if views[key] and (not categories or key[0] in categories):
            by_category[key[0]].append(key)
    chosen = list(filter(None, chain(*zip_longest(*by_category.values()))))[:objects]
    if not chosen:
        raise RequestError(f"--data {uri}: no {_MODEL} has a picture beside it.")
    examples, files = [], []
    for category, name in chosen:
        truth = _read_voxels(models[category, name], stores)
        for view, file in enumerate(sorted(views[category, name])):
            examples.append(Example(name, category, view, truth))
            files.append(file)

    def pictures(framing: Framing) -> list[NDArray[np.float32] | ItemError]:
        return [_read_picture(file, stores, config, framing) for file in files]

    side = len(truth.voxels)
    about = f"{len(examples)} pictures of {len(chosen)} objects in {uri}, compared with their voxels at {side}³"
    return Examples(about, examples, pictures)


def _of_collection(
    about: str, made: Callable[[Framing], Collection], framing: Framing, seeds: Sequence[int] | None
) -> Examples:
    """The first view of every object; `seeds` are those of made-up ones."""
    first = made(framing)

    def pictures(wanted: Framing) -> list[NDArray[np.float32] | ItemError]:
        seen = first if wanted == framing else made(wanted)
        return list(inks(seen))

    examples = []
    for place, truth in enumerate(truths(first, seeds)):
        category = first.names[int(first.categories[place])]
        examples.append(Example(first.ids[place], category, 0, truth))
    return Examples(about, examples, pictures)


def inks(collection: Collection) -> NDArray[np.float32]:
    """float32[count, 128, 128]: the first view of each object as a network takes it."""
    return collection.views[:, 0].numpy().astype(np.float32) / np.float32(255)


def truths(collection: Collection, seeds: Sequence[int] | None) -> list[LatticeTruth]:
    """The shape of each object; with the `seeds` of made-up ones, their exact surfaces."""
    made: list[tuple[str, int] | None] = [None] * len(collection)
    if seeds is not None:
        names = [collection.names[index] for index in collection.categories.tolist()]
        made = list(zip(names, seeds, strict=True))
    return [LatticeTruth(voxels.numpy(), one) for voxels, one in zip(collection.voxels, made, strict=True)]


def _listed(uri: str, stores: Stores) -> tuple[dict[tuple[str, str], list[str]], dict[tuple[str, str], str]]:
    """The addresses of pictures and of voxels below a folder, by category and object."""
    views: dict[tuple[str, str], list[str]] = defaultdict(list)
    models: dict[tuple[str, str], str] = {}
    root = canonical(uri).rstrip("/") + "/"
    try:
        for found in stores.open(root).list(root):
            parts = found.uri.removeprefix(root).split("/")
            if len(parts) == 3 and parts[2] == _MODEL:
                models[parts[0], parts[1]] = found.uri
            elif len(parts) == 3 and "." + parts[2].rpartition(".")[2].lower() in EXTENSIONS:
                views[parts[0], parts[1]].append(found.uri)
    except StoreError as error:
        raise RequestError(f"--data {uri}: cannot be read: {error}.") from error
    return views, models


def _read_picture(uri: str, stores: Stores, config: Config, framing: Framing) -> NDArray[np.float32] | ItemError:
    limits = config.images
    try:
        data = stores.open(uri).get(uri, max_bytes=limits.max_bytes).data
        return prepare(key_out(decode(data, max_pixels=limits.max_pixels)), framing, IMAGE_SIZE)
    except ItemError as error:
        return error
    except StoreError as error:
        raise RequestError(f"--data: {uri} cannot be read: {error}.") from error


def _read_voxels(uri: str, stores: Stores) -> VoxelTruth:
    try:
        data = stores.open(uri).get(uri, max_bytes=_MOST_BINVOX_BYTES).data
    except StoreError as error:
        raise RequestError(f"--data: {uri} cannot be read: {error}.") from error
    header = _HEADER.match(data)
    side = {int(size) for size in header.groups()} if header else set()
    if len(side) != 1 or not 8 <= min(side) <= _MOST_SIDE:
        raise RequestError(f"--data: {uri} is no binvox file of a cube of 8 to {_MOST_SIDE} voxels an axis.")
    try:
        matrix = np.asarray(trimesh.exchange.binvox.load_binvox(io.BytesIO(data)).matrix, np.bool_)
    except Exception as error:  # whatever its parser meets in a stranger's bytes
        raise RequestError(f"--data: {uri} is a damaged binvox file ({type(error).__name__}).") from error
    if not matrix.any():
        raise RequestError(f"--data: {uri} has no voxel that is filled.")
    return VoxelTruth(ndimage.binary_fill_holes(matrix))
