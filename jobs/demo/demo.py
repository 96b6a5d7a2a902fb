"""The demo: the real job on embedded pictures, and one sheet that shows each beside its mesh.

Works on: the pictures shipped in this package and the manifest of the run over them. Knows nothing about how the
job works.
"""

import io
from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
import trimesh
from PIL import Image

from cluster.config import StoreSettings
from cluster.store import Stores
from jobs import manifest
from jobs.reconstruct import Result
from workers.render import Camera, render, vertex_normals

_TILE, _COLUMNS = 200, 4  # pixels; pairs a row
_PAPER = np.array([255, 255, 255])


def run(output: str, reconstruct: Callable[[str], Result]) -> Result:
    """Reconstruct the embedded pictures through `reconstruct(catalog)` and draw the sheet."""
    with as_file(files("jobs.demo") / "images") as images:
        result = reconstruct(str(images))
    draw_sheet(output, sheet(output))
    return result


def sheet(output: str) -> Path:
    """Where the sheet lies."""
    return Path(output) / "preview.png"


def draw_sheet(output: str, target: Path) -> None:
    """Each picture of a manifest beside two views of its mesh, from the front right and from behind."""
    stores = Stores(StoreSettings())
    rows = manifest.read(stores, output).sort_by("item_id").to_pylist()
    tiles = []
    for row in rows:
        picture = _on_paper(np.asarray(_thumbnail(stores.open(row["source_uri"]).get(row["source_uri"]).data)))
        views = [np.full((_TILE, _TILE, 3), 235, np.uint8)] * 2
        if row["mesh_uri"]:
            data = stores.open(row["mesh_uri"]).get(row["mesh_uri"]).data
            mesh = trimesh.load_mesh(io.BytesIO(data), file_type=row["format"], process=False)
            normals = vertex_normals(mesh.vertices, mesh.faces)
            views = [
                _on_paper(render(mesh.vertices, mesh.faces, Camera(azimuth), _TILE, normals=normals))
                for azimuth in (35.0, 215.0)
            ]
        tiles.append(np.concatenate([picture, *views], axis=1))
    while len(tiles) % _COLUMNS:
        tiles.append(np.full_like(tiles[0], 255))
    lines = [np.concatenate(tiles[start : start + _COLUMNS], axis=1) for start in range(0, len(tiles), _COLUMNS)]
    Image.fromarray(np.concatenate(lines)).save(target, optimize=True)


def _thumbnail(data: bytes) -> Image.Image:
    with Image.open(io.BytesIO(data)) as image:
        small = image.convert("RGBA")
    small.thumbnail((_TILE, _TILE))
    tile = Image.new("RGBA", (_TILE, _TILE))
    tile.paste(small, ((_TILE - small.width) // 2, (_TILE - small.height) // 2))
    return tile


def _on_paper(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:] / 255
    return np.round(rgba[..., :3] * alpha + _PAPER * (1 - alpha)).astype(np.uint8)
