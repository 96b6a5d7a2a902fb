"""Tables: dining tables, desks, coffee and side tables.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.fields import Shape
from jobs.training.procedural.joinery import four_legs
from jobs.training.procedural.parts import between, chance, paint


def table(random: Generator) -> Shape:
    """Dining tables, desks, coffee and side tables."""
    shape = Shape(color=paint(random))
    height, thick = between(random, 0.35, 0.8), between(random, 0.03, 0.08)
    length = between(random, 0.6, 1.5)
    depth = length if chance(random, 0.25) else between(random, 0.45, 0.95) * min(length, 1.0)
    round_top = chance(random, 0.3)
    exponent = random.choice([2.0, 4.0]) if round_top else np.inf
    shape.box((0, height - thick / 2, 0), (length, thick, depth), exponent=exponent)
    under = height - thick
    inset = 0.68 if round_top and exponent == 2.0 else between(random, 0.85, 1.0)
    shape.color = paint(random) if chance(random, 0.6) else shape.color
    kind = random.choice(["legs", "legs", "legs", "pedestal", "panels", "trestle", "desk"])
    if round_top and kind in ("panels", "desk"):
        kind = "pedestal"
    leg = between(random, 0.045, 0.09)
    if kind == "legs":
        four_legs(shape, random, length / 2 * inset, depth / 2 * inset, under + 0.01, leg)
        if chance(random, 0.4):
            apron = between(random, 0.06, 0.12)
            shape.box((0, under - apron / 2, 0), (length * inset * 0.94, apron, depth * inset * 0.94))
        if chance(random, 0.2):
            level = between(random, 0.2, 0.5) * under
            shape.box((0, level, 0), (length * inset * 0.95, 0.035, depth * inset * 0.95))
    elif kind == "pedestal":
        shape.rod((0, 0, 0), (0, under + 0.01, 0), between(random, 0.08, 0.16))
        foot = between(random, 0.5, 0.8) * min(length, depth)
        shape.rod((0, 0, 0), (0, 0.05, 0), foot, end_thickness=foot * between(random, 0.4, 1))
    elif kind == "panels":
        for x in (-1, 1):
            shape.box((x * (length * inset - leg) / 2, under / 2, 0), (leg, under, depth * inset))
        if chance(random, 0.4):
            shape.box((0, between(random, 0.2, 0.6) * under, 0), (length * inset, 0.04, depth * inset))
    elif kind == "trestle":
        for x in (-1, 1):
            side = x * length * 0.36
            shape.box((side, under / 2, 0), (leg, under, leg * 1.6))
            shape.box((side, 0.03, 0), (leg, 0.06, depth * 0.85))
            shape.box((side, under - 0.025, 0), (leg, 0.05, depth * 0.7))
        shape.box((0, under * between(random, 0.25, 0.5), 0), (length * 0.72, leg, leg * 0.7))
    else:
        side = between(random, 0.24, 0.34) * length
        shape.box((length / 2 * 0.97 - side / 2, under / 2 + 0.02, 0), (side, under - 0.02, depth * 0.92))
        if chance(random, 0.4):
            shape.box((-length / 2 * 0.97 + side / 2, under / 2 + 0.02, 0), (side, under - 0.02, depth * 0.92))
        else:
            shape.box((-length / 2 * 0.97 + leg / 2, under / 2, 0), (leg, under, depth * 0.92))
    return shape
