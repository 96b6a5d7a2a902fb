"""The demo: the real job on embedded pictures, and what it made in pictures.

Works on: the pictures shipped in this package and the manifest of the run over them. Knows nothing about how the
job works.
"""

from collections.abc import Callable
from importlib.resources import as_file, files
from pathlib import Path

import numpy as np
from PIL import Image

from cluster.config import Config
from cluster.store import Stores, canonical
from jobs import manifest
from jobs.reconstruct import Result
from jobs.report.report import report
from jobs.report.sheets import Sheet, fetched, picture_of, views_of

_COLUMNS = 4  # images a row
_PAPER = np.array([255, 255, 255])


def run(output: str, config: Config, reconstruct: Callable[[str], Result]) -> tuple[Result, str]:
    """Reconstruct the embedded pictures through `reconstruct(catalog)`, draw `preview.png` and write the report,
    whose address is returned too."""
    with as_file(files("jobs.demo") / "images") as images:
        result = reconstruct(str(images))
        draw_sheet(output, config)
        return result, report(output, config).index


def draw_sheet(output: str, config: Config) -> None:
    """Each picture of a manifest beside two views of its mesh as OUTPUT/preview.png, for a README."""
    stores, limits = Stores(config.store), config.images
    rows = manifest.read(stores, output).sort_by("item_id").to_pylist()
    sheet = Sheet(0, rows, canonical(output), "", limits.max_bytes, limits.max_pixels)
    tiles = []
    for row, picture, mesh in fetched(sheet, stores):
        shown = [picture_of(picture, row, limits.max_pixels)[0], *views_of(mesh, row).tiles]
        tiles.append(np.concatenate([_on_paper(tile) for tile in shown], axis=1))
    while len(tiles) % _COLUMNS:
        tiles.append(np.full_like(tiles[0], 255))
    lines = [np.concatenate(tiles[start : start + _COLUMNS], axis=1) for start in range(0, len(tiles), _COLUMNS)]
    Image.fromarray(np.concatenate(lines)).save(Path(output) / "preview.png", optimize=True)


def _on_paper(rgba: np.ndarray) -> np.ndarray:
    alpha = rgba[..., 3:] / 255
    return np.round(rgba[..., :3] * alpha + _PAPER * (1 - alpha)).astype(np.uint8)
