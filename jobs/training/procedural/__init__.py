"""Endless made-up objects of a few categories, from a seed.

Works on: families of real objects, each a program that puts solid primitives together with random proportions; a file a
category. Knows nothing about pictures, points or networks.

Every program builds with +Y up and the front towards −Z, in units that suit it; `sample` normalises. The same
category and seed always give the same object, on any machine.
"""

from collections.abc import Callable

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.airplane import airplane
from jobs.training.procedural.bench import bench
from jobs.training.procedural.car import car
from jobs.training.procedural.chair import chair
from jobs.training.procedural.lamp import lamp
from jobs.training.procedural.rifle import rifle
from jobs.training.procedural.sofa import sofa
from jobs.training.procedural.table import table
from jobs.training.shape import Shape

CATEGORIES: dict[str, Callable[[Generator], Shape]] = {
    "airplane": airplane,
    "bench": bench,
    "car": car,
    "chair": chair,
    "lamp": lamp,
    "rifle": rifle,
    "sofa": sofa,
    "table": table,
}


def sample(category: str, seed: int) -> Shape:
    """The object number `seed` of a category in `CATEGORIES`, in the project's frame."""
    random = np.random.default_rng([seed, *category.encode()])
    return CATEGORIES[category](random).normalised()
