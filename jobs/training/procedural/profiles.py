"""What airplanes, cars, lamps and rifles are made with: outlines seen from the side, and the choice of a family.

Works on: shapes being put together. Knows nothing about which object they become.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.parts import between, chance, paint, tilt
from jobs.training.shape import Shape

Outline = Sequence[tuple[float, float]]
Family = Callable[[Generator], Shape]

SIDEWAYS = tilt(-90, "y")  # an outline's x becomes z, so that it is the object seen from the side
FLAT = tilt(90, "x")  # an outline's y becomes z, so that it is the object seen from above; an axis along y turns to z
ACROSS = tilt(-90, "z")  # an axis along y turns to x


def pick(random: Generator, families: Sequence[tuple[float, Family]]) -> Shape:
    """An object of one of the `families`, each with the weight of its share."""
    weights = np.array([weight for weight, _ in families], float)
    return families[int(random.choice(len(families), p=weights / weights.sum()))][1](random)


def side(shape: Shape, outline: Outline, width: float, *, x: float = 0.0, **options: Any) -> None:
    """An outline [(z, y), …] seen from the side, `width` wide along x about `x`."""
    shape.extrude(outline, (x, 0, 0), width, turn=SIDEWAYS, **options)


def disc(shape: Shape, center: tuple[float, float, float], diameter: float, width: float, **options: Any) -> None:
    """A wheel or drum about an axis along x."""
    x, y, z = center
    shape.rod((x - width / 2, y, z), (x + width / 2, y, z), diameter, **options)


def shade(color: tuple[float, float, float], share: float) -> tuple[float, float, float]:
    """The colour, darker by `share`."""
    red, green, blue = color
    return red * (1 - share), green * (1 - share), blue * (1 - share)


def lacquer(random: Generator) -> tuple[float, float, float]:
    """The colour of a machine: any, but more often near black or near white than other things."""
    if chance(random, 0.35):
        value = between(random, 0.05, 0.16) if chance(random, 0.4) else between(random, 0.85, 0.97)
        return value, value, value
    return paint(random)
