"""Made-up objects: the same from the same seed, in the project's frame, whole, and no two alike."""

from functools import cache

import numpy as np
import pytest
import torch
from scipy.ndimage import label

from jobs.training.contact_sheet import contact_sheet
from jobs.training.fields import Fields
from jobs.training.procedural import CATEGORIES, sample
from jobs.training.shape import Shape

SEEDS = range(50)
MOST_SOLIDS = 48  # a shape's share of the memory and time of a batch

every_category = pytest.mark.parametrize("category", CATEGORIES)


@cache
def samples(category: str) -> list[Shape]:
    return [sample(category, seed) for seed in SEEDS]


def occupied(shapes: list[Shape], resolution: int) -> np.ndarray:
    return (Fields(shapes).volume(torch.arange(len(shapes)), resolution) < 0).numpy()


@every_category
def test_a_seed_names_one_object(category: str) -> None:
    first, again, other = (occupied([sample(category, seed)], 32) for seed in (7, 7, 8))
    assert (first == again).all()
    assert (first != other).any()


@every_category
def test_objects_fill_the_frame(category: str) -> None:
    shapes, cell = samples(category)[:10], 1 / 64
    distances = Fields(shapes).volume(torch.arange(len(shapes)), 64).numpy()
    for near in distances < 0.87 * cell:  # half a cell's diagonal: however thin a part is, a sample is as near
        places = np.argwhere(near)
        low, high = places.min(axis=0) * cell - 0.5, (places.max(axis=0) + 1) * cell - 0.5
        assert np.abs(low + high).max() < 3 * cell
        assert np.linalg.norm(high - low) == pytest.approx(1, abs=6 * cell)


@every_category
def test_objects_are_in_one_piece(category: str) -> None:
    pieces = [label(inside, np.ones((3, 3, 3)))[1] for inside in occupied(samples(category)[:40], 128)]
    assert pieces == [1] * 40


@every_category
def test_no_two_objects_are_alike(category: str) -> None:
    inside = occupied(samples(category), 64).reshape(len(SEEDS), -1).astype(np.float32)
    both = inside @ inside.T
    size = inside.sum(axis=1)
    iou = both / (size[:, None] + size - both)
    np.fill_diagonal(iou, 0)
    assert iou.max() < 0.97


@every_category
def test_objects_are_of_few_solids(category: str) -> None:
    assert max(len(shape.solids) for shape in samples(category)) <= MOST_SOLIDS


def test_a_contact_sheet_shows_every_object() -> None:
    page = np.asarray(contact_sheet(["chair", "table"], 2, seed=3))
    assert page.shape == (2 * 96, 2 * 96, 3)
    tiles = page.reshape(2, 96, 2, 96, 3).swapaxes(1, 2)
    drawn = (tiles < 255).any(axis=-1).mean(axis=(2, 3))
    assert (drawn > 0.05).all()
    assert (drawn < 0.8).all()
