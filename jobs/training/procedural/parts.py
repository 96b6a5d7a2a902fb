"""What several families of objects are made with: random numbers, paints, turns and legs.

Works on: shapes being put together. Knows nothing about which object they become.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.fields import Shape


def between(random: Generator, low: float, high: float) -> float:
    return float(random.uniform(low, high))


def chance(random: Generator, share: float) -> bool:
    return bool(random.random() < share)


def paint(random: Generator) -> tuple[float, float, float]:
    """A plausible surface colour: mostly muted, from dark to light."""
    value = random.uniform(0.25, 0.95)
    tint = random.uniform(-1, 1, 3) * random.choice([0.04, 0.12, 0.3])
    red, green, blue = np.clip(value + tint * value, 0.08, 1)
    return float(red), float(green), float(blue)


def tilt(degrees: float, axis: str = "x") -> np.ndarray:
    """Rotation matrix about an axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    if axis == "y":
        return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def four_legs(shape: Shape, random: Generator, half_x: float, half_z: float, top: float, thickness: float) -> None:
    """Legs at the corners of a rectangle, from `top` down to 0: straight, tapered or splayed, square or round."""
    square = chance(random, 0.6)
    exponent = np.inf if square else 2.0
    foot = thickness * (between(random, 0.5, 0.9) if chance(random, 0.4) else 1.0)
    splay = between(random, 0.05, 0.16) * top if chance(random, 0.35) else 0.0
    for x in (-1, 1):
        for z in (-1, 1):
            head = (
                x * (half_x - thickness / 2 - splay * 0.3),
                top,
                z * (half_z - thickness / 2 - splay * 0.3),
            )
            toe = (
                x * (half_x - thickness / 2 + splay * 0.5),
                0.0,
                z * (half_z - thickness / 2 + splay * 0.5),
            )
            shape.rod(head, toe, thickness, end_thickness=foot, exponent=exponent)
    if chance(random, 0.3):  # a stretcher on each side
        level = between(random, 0.2, 0.5) * top
        for x in (-1, 1):
            reach = half_x - thickness / 2
            shape.box((x * reach, level, 0), (thickness * 0.6, thickness * 0.6, 2 * half_z - thickness))
