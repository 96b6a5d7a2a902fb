"""Pictures beside voxels in a folder or an S3 prefix, as 3D-R2N2 has them.

Works on: picture files and binvox files, of whoever made them. Knows nothing about networks or measures.
"""

import io
import re
from collections import defaultdict
from collections.abc import Sequence

import numpy as np
import trimesh
from numpy.typing import NDArray
from scipy import ndimage

from cluster.config import Config
from cluster.errors import RequestError
from cluster.store import StoreError, Stores, canonical
from jobs.evaluation.examples import Example, Examples, Made, in_turn
from jobs.evaluation.shapes import VoxelTruth
from workers.encoder import IMAGE_SIZE
from workers.failure import ItemError
from workers.images import EXTENSIONS, Framing, decode, key_out, prepare

_MODEL = "model.binvox"
_MOST_BINVOX_BYTES = 1 << 24
_MOST_SIDE = 256  # voxels an axis
_HEADER = re.compile(rb"#binvox 1\n(?:[a-z#].*\n)*?dim (\d{1,4}) (\d{1,4}) (\d{1,4})\n")


def renderings(uri: str, config: Config, objects: int | None, categories: Sequence[str], made: Made) -> Examples | None:
    """Pictures with voxels beside them: `<category>/<id>/NN.png` and `model.binvox` there.

    At most `objects` of them, of the categories in turn; of `categories`, if there are any. Pictures without voxels
    are left out. The baselines know objects that are `made` up. None where nothing below the address is called so.
    Raises RequestError.
    """
    stores = Stores(config.store)
    views, models = _listed(uri, stores)
    if not models:
        return None
    if unknown := set(categories) - {category for category, _ in models}:
        there = ", ".join(sorted({category for category, _ in models}))
        raise RequestError(f"--category {min(unknown)}: {uri} has {there}.")
    usable = [key for key in sorted(models) if views[key] and (not categories or key[0] in categories)]
    chosen = [usable[place] for place in in_turn([category for category, _ in usable], objects)]
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
    return Examples(about, examples, pictures, made.training)


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
