"""Cars of former times: with free fenders and an upright cabin, then with fenders grown into a rounded body.

Works on: a random generator. Knows nothing about pictures, points or networks.

In metres, on the ground at y = 0, the nose at −Z.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.car_parts import (
    CHROME,
    GLASS,
    RUBBER,
    Body,
    tread,
    wheels,
)
from jobs.training.procedural.parts import between, chance, paint, tilt
from jobs.training.procedural.profiles import lacquer, shade, side
from jobs.training.shape import Shape


def vintage(random: Generator) -> Shape:
    """Before the war: a narrow bonnet, free fenders joined by running boards, an upright cabin or an open one."""
    length, width = between(random, 3.6, 5.2), between(random, 1.6, 1.9)
    wheel, floor = between(random, 0.36, 0.46), between(random, 0.34, 0.46)
    belt, height = between(random, 1.05, 1.25), between(random, 1.6, 1.85)
    nose, tail = -length / 2, length / 2
    screen = nose + length * between(random, 0.36, 0.46)
    front, rear = nose + wheel + between(random, 0.05, 0.25), tail - wheel - between(random, 0.1, 0.45)
    narrow, wide = width * between(random, 0.4, 0.52), width * between(random, 0.68, 0.82)
    shape = Shape(color=lacquer(random))
    color = shape.color
    grille = front - between(random, -0.1, 0.15)
    exponent = np.inf if chance(random, 0.5) else 4.0
    shape.box((0, floor + 0.05, 0), (narrow * 0.9, 0.14, length - 0.5))
    shape.box(
        (0, (floor + belt) / 2, (grille + screen) / 2 + 0.05), (narrow, belt - floor - 0.04, screen - grille + 0.2),
        round=0.08,
    )  # fmt: skip
    back = tail - between(random, 0.1, 0.5)
    shape.box(
        (0, (floor + belt) / 2, (screen + back) / 2), (wide, belt - floor, back - screen), exponent=exponent, round=0.05
    )
    style = random.choice(["closed", "closed", "roadster", "tourer"])
    shape.color = shade(color, between(random, 0.3, 0.9)) if chance(random, 0.6) else color
    if style == "closed":
        slope = between(random, 0.05, 0.5)
        outline = [
            (screen + 0.02, belt - 0.15), (screen + between(random, 0.03, 0.15), height - 0.05), (screen + 0.3, height),
            (back - slope - 0.2, height - 0.02), (back - slope * 0.5, height - 0.2), (back - 0.02, belt - 0.15),
        ]  # fmt: skip
        side(shape, outline, wide * between(random, 0.9, 1.0), round=between(random, 0.04, 0.12))
    else:
        shape.box((0, belt, (screen + 0.35 + back) / 2), (wide * 0.82, 0.7, back - screen - 0.7), cut=True)
        for row in range(2 if back - screen > 1.9 else 1):
            z = screen + 1.1 + row * 0.85
            shape.box((0, belt - 0.15, min(z, back - 0.15)), (wide * 0.8, 0.6, 0.2), round=0.06, turn=tilt(8))
        shape.box((0, belt + 0.16, screen + 0.12), (wide * 0.94, 0.5, 0.06), turn=tilt(8))
        if style == "tourer":
            shape.box((0, height, (screen + back) / 2 + 0.1), (wide, 0.08, back - screen - 0.2), round=0.03)
            for x in (-1, 1):
                shape.rod((x * wide * 0.45, belt - 0.1, back - 0.2), (x * wide * 0.45, height, back - 0.5), 0.06)
                shape.rod((x * wide * 0.45, belt + 0.1, screen + 0.1), (x * wide * 0.45, height, screen + 0.16), 0.06)
    shape.color = paint(random) if chance(random, 0.4) else color
    track = width / 2 - 0.13
    board = floor - 0.02
    crest = 2 * wheel + between(random, 0.06, 0.16)
    flow = between(random, 0.3, 1.0)
    for x in (-1, 1):
        shape.tube(
            (x * track, wheel * 0.9, front - wheel - 0.1), (x * track, 2 * crest - wheel - 0.1, front - 0.05),
            (x * track, board + 0.03, front + wheel + 0.3 + flow * 0.4), 0.26, end_thickness=0.2,
        )  # fmt: skip
        shape.tube(
            (x * track, board + 0.03, rear - wheel - 0.3), (x * track, 2 * crest - wheel + 0.05, rear),
            (x * track, wheel * 0.9, rear + wheel + 0.12), 0.22, end_thickness=0.26,
        )  # fmt: skip
        shape.box((x * (track - 0.05), board, (front + rear) / 2), (0.3, 0.06, rear - front - 0.9))
    shape.box((0, board + 0.02, (front + rear) / 2), (2 * track, 0.07, between(random, 0.3, 1.2)))
    for z in (front, rear):
        shape.rod((-track, wheel, z), (track, wheel, z), 0.12)
    thick = between(random, 0.13, 0.19)
    tread(shape, random, [(x * (track + 0.01), wheel, z) for z in (front, rear) for x in (-1, 1)], wheel, thick)
    shape.color = CHROME
    shape.box((0, (floor + belt) / 2 + 0.03, grille - 0.03), (narrow * 0.9, belt - floor, 0.14), round=0.03)
    if chance(random, 0.8):
        level = belt - between(random, 0.12, 0.25)
        shape.rod((-narrow * 0.75, level, grille), (narrow * 0.75, level, grille), 0.06)
        for x in (-1, 1):
            shape.ellipsoid((x * narrow * 0.75, level, grille - 0.02), (0.25, 0.25, 0.25))
    if chance(random, 0.5):
        shape.color = RUBBER
        shape.rod((0, floor + 0.5, back - 0.1), (0, floor + 0.42, back + 0.2), 2 * wheel * 0.92)
    if chance(random, 0.5):
        shape.color = CHROME
        for z in (nose + 0.05, tail - 0.05):
            shape.box((0, wheel + 0.05, z), (width * 0.8, 0.1, 0.08))
            shape.box((0, wheel + 0.05, z * 0.9), (narrow * 0.6, 0.1, length * 0.14))
    return shape


def rounded(random: Generator) -> Shape:
    """Of the thirties to the fifties, and beetles: a rounded body with fenders grown into it."""
    length, width = between(random, 3.7, 5.2), between(random, 1.55, 1.9)
    wheel, floor = between(random, 0.31, 0.38), between(random, 0.2, 0.28)
    height = between(random, 1.42, 1.68)
    nose, tail = -length / 2, length / 2
    belt = height * between(random, 0.58, 0.65)
    beetle = chance(random, 0.4)
    shape = Shape(color=lacquer(random))
    color = shape.color
    front, rear = nose + wheel + between(random, 0.25, 0.5), tail - wheel - between(random, 0.3, 0.6)
    narrow = width * between(random, 0.6, 0.78)
    hood = belt - between(random, 0.0, 0.12)
    screen = nose + length * between(random, 0.32, 0.38)
    outline = [
        (nose + 0.3, floor + 0.05), (nose + 0.08, floor + 0.3), (nose + 0.18, hood - 0.22), (nose + 0.5, hood - 0.05),
        (screen, hood + 0.02), (screen + 0.3, height - 0.12), (screen + 0.75, height), (length * 0.12, height - 0.03),
        (length * 0.27, height - 0.25 if beetle else belt + 0.1),
        (length * 0.4, belt - 0.02 if not beetle else belt - 0.1), (tail - 0.06, floor + 0.3),
        (tail - 0.3, floor + 0.05),
    ]  # fmt: skip
    side(shape, outline, narrow, round=between(random, 0.08, 0.18))
    melt = between(random, 0.05, 0.2)
    shape.box(
        (0, (floor + belt) / 2, (front + rear) / 2),
        (width * between(random, 0.8, 0.95), belt - floor, rear - front - wheel), round=0.12, blend=melt,
    )  # fmt: skip
    for z, long in ((front, between(random, 1.1, 1.6)), (rear, between(random, 1.1, 1.7))):
        for x in (-1, 1):
            shape.ellipsoid(
                (x * (width / 2 - 0.2), wheel * 1.1, z), (0.46, 2.4 * wheel + 0.06, long), exponent=2.5, blend=melt
            )
    body = Body(length, width, height, floor, wheel, belt, belt, screen, tail, 0.7, 0.5)
    wheels(shape, random, body, axles=(front, rear))
    shape.color = CHROME
    for end in (-1, 1):
        shape.box(
            (0, floor + 0.18, end * (length / 2 - 0.1)), (width * between(random, 0.8, 0.95), 0.12, 0.16), round=0.05
        )
    for x in (-1, 1):
        shape.ellipsoid((x * (width / 2 - 0.2), wheel * 2, front - between(random, 0.3, 0.4)), (0.24, 0.24, 0.3))
    shape.color = GLASS if chance(random, 0.6) else color
    low, high = belt + 0.04, height - 0.14
    side(
        shape,
        [(screen + 0.2, low), (screen + 0.4, high), (length * 0.12, high), (length * (0.26 if beetle else 0.2), low)],
        narrow + 0.02,
    )  # fmt: skip
    return shape
