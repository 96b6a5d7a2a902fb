"""Cars: sedans, hatchbacks, estates, vans, pick-ups and sports cars.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

from typing import Any

import numpy as np
from numpy.random import Generator

from jobs.training.fields import Shape
from jobs.training.procedural.parts import between, chance, paint


def car(random: Generator) -> Shape:
    """Sedans, hatchbacks, estates, vans, pick-ups and sports cars; the front is at −Z."""
    kind = random.choice(["sedan", "sedan", "hatchback", "estate", "van", "pickup", "sports"])
    length = between(random, 4.2, 5.0) - (0.6 if kind == "hatchback" else 0)
    width, radius = between(random, 1.7, 1.95), between(random, 0.31, 0.38)
    floor = between(random, 0.2, 0.32)
    belt = {"sports": between(random, 0.75, 0.85), "van": between(random, 0.95, 1.1)}.get(
        kind, between(random, 0.82, 0.98)
    )
    roof = belt + {"sports": between(random, 0.33, 0.42), "van": between(random, 0.8, 1.1)}.get(
        kind, between(random, 0.48, 0.68)
    )
    shape = Shape(color=paint(random))
    nose, tail = -length / 2, length / 2
    hood = belt - between(random, 0.05, 0.2)
    rounded = random.choice([4.0, np.inf])

    def block(low: float, high: float, front: float, back: float, wide: float, **options: Any) -> None:
        shape.box((0, (low + high) / 2, (front + back) / 2), (wide, high - low, back - front), **options)

    windscreen = nose + length * between(random, 0.26, 0.34)
    trunk = {"sedan": 0.18, "sports": 0.16, "pickup": 0.42, "hatchback": 0.02, "estate": 0.02, "van": 0.01}[kind]
    rear = tail - length * trunk * between(random, 0.8, 1.1)
    if kind == "van":
        windscreen = nose + length * between(random, 0.05, 0.16)
    block(floor, hood, nose, tail, width, taper=(0.06, 0.03), exponent=rounded)
    block(
        hood - 0.1,
        belt,
        windscreen - 0.25,
        tail if kind != "pickup" else rear,
        width * 0.97,
        taper=(0.05, 0.05),
    )
    if kind == "pickup":
        side = 0.12
        for x in (-1, 1):
            shape.box(
                (x * (width * 0.97 - side) / 2, (hood + belt) / 2 - 0.03, (rear + tail) / 2),
                (side, belt - hood + 0.14, tail - rear),
            )
        block(hood - 0.1, belt + 0.02, tail - 0.14, tail, width * 0.95)
    cabin = rear - windscreen
    rake = between(random, 0.1, 0.3) if kind in ("van", "pickup") else between(random, 0.3, 0.55)
    slope = rake + (0.25 if kind == "sports" else 0)
    back_rake = {"sedan": 0.5, "sports": 0.7}.get(kind, between(random, 0.05, 0.3))
    shrink = min((slope + back_rake) * (roof - belt) / cabin * 1.6, 0.75)
    shift = (slope - back_rake) * (roof - belt) * 0.8
    shape.color = tuple(0.5 * np.asarray(shape.color) + 0.05) if chance(random, 0.5) else shape.color
    block(
        belt - 0.05, roof, windscreen, rear, width * 0.92,
        taper=(between(random, 0.12, 0.28), shrink), shear=(0, shift), exponent=rounded,
    )  # fmt: skip
    shape.color = (0.15, 0.15, 0.16)
    axles = (nose + length * between(random, 0.17, 0.21), tail - length * between(random, 0.17, 0.23))
    thickness = between(random, 0.2, 0.28)
    for z in axles:
        for x in (-1, 1):
            outside = x * (width / 2 + 0.02)
            shape.rod((outside, radius, z), (outside - x * thickness, radius, z), 2 * radius)
    if kind == "sports" and chance(random, 0.5):
        shape.color = paint(random)
        shape.box((0, belt + 0.16, tail - 0.15), (width * 0.9, 0.05, 0.25))
        for x in (-1, 1):
            shape.box((x * width * 0.35, belt + 0.05, tail - 0.15), (0.06, 0.2, 0.12))
    return shape
