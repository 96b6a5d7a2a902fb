"""Chairs: dining chairs, armchairs, office chairs, cantilevers and sofa-like blocks.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.fields import Shape
from jobs.training.procedural.parts import between, chance, four_legs, paint, tilt


def chair(random: Generator) -> Shape:
    """Dining chairs, armchairs, office chairs, cantilevers and sofa-like blocks."""
    if chance(random, 0.15):
        return _armchair(random)
    shape = Shape(color=paint(random))
    width, depth = between(random, 0.40, 0.56), between(random, 0.38, 0.54)
    seat_height, seat = between(random, 0.38, 0.50), between(random, 0.035, 0.09)
    leg = between(random, 0.035, 0.06)
    kind = random.choice(["legs", "legs", "legs", "pedestal", "sled", "skirt"])
    if kind == "legs":
        four_legs(shape, random, width / 2, depth / 2, seat_height, leg)
    elif kind == "pedestal":
        shape.rod((0, 0.03, 0), (0, seat_height, 0), between(random, 0.05, 0.09))
        spread = between(random, 0.22, 0.30)
        if chance(random, 0.5):
            shape.rod((0, 0, 0), (0, 0.04, 0), 2 * spread, end_thickness=spread * between(random, 0.8, 2))
        else:
            for arm in range(5):
                angle = np.radians(72 * arm + 90)
                shape.rod((0, 0.06, 0), (spread * np.cos(angle), 0.02, spread * np.sin(angle)), 0.045)
    elif kind == "sled":
        for x in (-1, 1):
            side = x * (width / 2 - leg / 2)
            shape.box((side, leg / 2, 0), (leg, leg, depth))
            for z in (-1, 1):
                shape.box((side, seat_height / 2, z * (depth / 2 - leg / 2)), (leg, seat_height, leg))
    else:
        shape.box((0, seat_height / 2, 0), (width * 0.94, seat_height, depth * 0.94))
    shape.color = paint(random)
    rounded = chance(random, 0.3)
    shape.box((0, seat_height, 0), (width, seat, depth), exponent=4.0 if rounded else np.inf)

    back = between(random, 0.36, 0.58)
    lean = between(random, 2, 14)
    thick = between(random, 0.03, 0.06)
    turn = tilt(lean)
    foot = np.array([0, seat_height, depth / 2 - thick / 2])

    def on_back(x: float, height: float) -> np.ndarray:
        return foot + turn @ np.array([x, height, 0])

    style = random.choice(["panel", "panel", "round", "slats", "ladder", "floating"])
    if style == "panel":
        shape.box(on_back(0, back / 2), (width, back, thick), turn=turn, taper=(between(random, 0, 0.25), 0))
    elif style == "round":
        shape.box(
            on_back(0, back * 0.5),
            (width, thick, back),
            turn=turn @ tilt(90),
            exponent=random.choice([2.0, 4.0]),
        )
    else:
        post = max(thick, 0.035)
        for x in (-1, 1):
            shape.box(on_back(x * (width - post) / 2, back / 2), (post, back, post), turn=turn)
        if style == "slats":
            shape.box(on_back(0, back - 0.04), (width, 0.08, thick), turn=turn)
            count = int(random.integers(2, 5))
            for slat in range(count):
                across = width * ((slat + 1) / (count + 1) - 0.5)
                shape.box(on_back(across, back / 2), (0.035, back, thick * 0.8), turn=turn)
        elif style == "ladder":
            count = int(random.integers(2, 5))
            for rung in range(count):
                level = back * (rung + 1) / count - 0.035
                shape.box(on_back(0, level), (width, 0.07, thick * 0.8), turn=turn)
        else:
            part = between(random, 0.4, 0.65)
            shape.box(on_back(0, back * (1 - part / 2)), (width, back * part, thick), turn=turn)
    if chance(random, 0.3):
        rise, width_of_arm = between(random, 0.18, 0.26), between(random, 0.035, 0.06)
        for x in (-1, 1):
            side = x * (width / 2 - width_of_arm / 2 + 0.01)
            shape.box((side, seat_height + rise, 0), (width_of_arm, width_of_arm, depth))
            shape.box((side, seat_height + rise / 2, -depth / 2 + width_of_arm), (width_of_arm, rise, width_of_arm))
    return shape


def _armchair(random: Generator) -> Shape:
    shape = Shape(color=paint(random))
    width, depth = between(random, 0.6, 1.1), between(random, 0.55, 0.75)
    seat, arm = between(random, 0.28, 0.4), between(random, 0.09, 0.18)
    lift = between(random, 0.0, 0.1)
    shape.box((0, lift + (seat - lift) / 2, 0), (width, seat - lift, depth))
    arm_height = seat + between(random, 0.12, 0.24)
    for x in (-1, 1):
        shape.box((x * (width - arm) / 2, lift + (arm_height - lift) / 2, 0), (arm, arm_height - lift, depth))
    back = arm_height + between(random, 0.05, 0.3)
    thick = between(random, 0.12, 0.2)
    shape.box(
        (0, lift + (back - lift) / 2, (depth - thick) / 2),
        (width, back - lift, thick),
        taper=(0, between(random, 0, 0.4)),
    )
    if lift > 0.03:
        for x in (-1, 1):
            for z in (-1, 1):
                shape.rod(
                    (x * width * 0.42, lift + 0.01, z * depth * 0.4),
                    (x * width * 0.42, 0, z * depth * 0.4),
                    0.055,
                )
    return shape
