"""What several families of objects are made with: random numbers, paints and turns.

Works on: a random generator. Knows nothing about which object they become.
"""

from typing import TypeVar

import numpy as np
from numpy.random import Generator

T = TypeVar("T")


def between(random: Generator, low: float, high: float) -> float:
    return float(random.uniform(low, high))


def chance(random: Generator, share: float) -> bool:
    return bool(random.random() < share)


def pick(random: Generator, shares: dict[T, float]) -> T:
    """One of the keys, each as often as its share of the sum."""
    keys, weights = list(shares), np.array(list(shares.values()))
    return keys[int(random.choice(len(keys), p=weights / weights.sum()))]


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
