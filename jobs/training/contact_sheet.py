"""A page of made-up objects to look at: a row for each category.

Works on: categories and seeds. Knows nothing about networks or training. `python -m jobs.training.contact_sheet FILE`
writes the page of all categories that the documentation shows.
"""

import argparse

import numpy as np
import torch
from PIL import Image

from jobs.training.collection import draw
from jobs.training.procedural import CATEGORIES, sample
from workers.render import Camera

_TILE = 96  # pixels
_PALETTE = 96  # colours of the page: a third of the bytes of all of them


def contact_sheet(categories: list[str], columns: int, *, seed: int = 0) -> Image.Image:
    """RGB picture, 96 pixels an object: of each category the objects `seed`, `seed` + 1, …, from the front left."""
    page = Image.new("RGB", (columns * _TILE, len(categories) * _TILE), "white")
    for row, category in enumerate(categories):
        for column in range(columns):
            number = seed + column
            look = np.random.default_rng([number, row])
            picture = draw(sample(category, number), Camera(325, 22, 2.6, 23), look, 2 * _TILE)
            tile = Image.fromarray(picture.rgba, "RGBA").resize((_TILE, _TILE), Image.Resampling.LANCZOS)
            page.paste(tile, (column * _TILE, row * _TILE), tile)
    return page


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("file", help="where to write the picture, by its ending a PNG or another kind")
    parser.add_argument("--columns", type=int, default=10, help="objects of each category")
    parser.add_argument("--seed", type=int, default=0, help="the first object's number")
    request = parser.parse_args()
    with torch.inference_mode():
        page = contact_sheet(list(CATEGORIES), request.columns, seed=request.seed)
    page.quantize(_PALETTE).save(request.file, optimize=True)


if __name__ == "__main__":
    main()
