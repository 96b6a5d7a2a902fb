"""Cars of today: sedans, hatchbacks, coupés, sports cars, wagons, off-roaders, people carriers, convertibles.

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
    cabin,
    car_body,
    corners,
    fittings,
    lower,
    rack,
    stretch,
    wheels,
    wing,
)
from jobs.training.procedural.parts import between, chance, paint, tilt
from jobs.training.procedural.profiles import lacquer, shade, side
from jobs.training.shape import Shape


def _modern(random: Generator, body: Body, *, glass: float = 0.75) -> Shape:
    """What all closed cars share; the family adds its own."""
    shape = Shape(color=lacquer(random))
    lower(shape, random, body)
    if chance(random, 0.7):
        corners(shape, random, body)
    cabin(
        shape, random, body, glass=chance(random, glass),
        blend=between(random, 0.02, 0.15) if chance(random, 0.5) else 0.0,
    )  # fmt: skip
    wheels(shape, random, body)
    fittings(shape, random, body)
    return shape


def sedan(random: Generator) -> Shape:
    body = car_body(
        random, length=(4.3, 5.1), width=(1.7, 1.92), height=(1.38, 1.52), hood=(0.25, 0.32), cabin=(0.33, 0.42),
        trunk=(0.1, 0.19), rake=(0.9, 1.7), slope=(0.8, 1.6),
    )  # fmt: skip
    shape = _modern(random, body)
    if chance(random, 0.12):  # a taxi's sign or the police's lights
        shape.color = paint(random)
        wide = between(random, 0.3, 1.1)
        z = (body.screen + body.back) / 2
        shape.box((0, body.height + 0.04, z), (wide, 0.14, 0.22), round=0.03)
    return shape


def hatchback(random: Generator) -> Shape:
    body = car_body(
        random, length=(3.7, 4.4), width=(1.65, 1.82), height=(1.4, 1.55), hood=(0.2, 0.28), cabin=(0.34, 0.42),
        trunk=(0.01, 0.05), rake=(0.8, 1.6), slope=(0.25, 0.9),
    )  # fmt: skip
    shape = _modern(random, body)
    if chance(random, 0.4):
        rear = body.back - (body.height - body.belt) * body.slope
        shape.box((0, body.height - 0.06, rear + 0.08), (body.width * 0.62, 0.05, 0.3))
    return shape


def city(random: Generator) -> Shape:
    body = car_body(
        random, length=(2.5, 3.5), width=(1.45, 1.66), height=(1.4, 1.6), hood=(0.1, 0.22), cabin=(0.38, 0.48),
        trunk=(0.0, 0.03), rake=(0.4, 1.0), slope=(0.1, 0.6), wheel=(0.26, 0.31),
    )  # fmt: skip
    return _modern(random, body)


def wagon(random: Generator) -> Shape:
    body = car_body(
        random, length=(4.4, 5.1), width=(1.7, 1.9), height=(1.4, 1.55), hood=(0.24, 0.31), cabin=(0.34, 0.42),
        trunk=(0.0, 0.04), rake=(0.9, 1.6), slope=(0.1, 0.7),
    )  # fmt: skip
    shape = _modern(random, body)
    if chance(random, 0.5):
        rack(shape, random, body)
    return shape


def coupe(random: Generator) -> Shape:
    body = car_body(
        random, length=(4.2, 4.9), width=(1.75, 1.95), height=(1.26, 1.4), hood=(0.28, 0.36), cabin=(0.3, 0.38),
        trunk=(0.03, 0.15), rake=(1.2, 1.9), slope=(1.5, 2.9),
    )  # fmt: skip
    shape = _modern(random, body)
    if chance(random, 0.3):
        wing(shape, random, body, height=between(random, 0.08, 0.25))
    return shape


def sports(random: Generator) -> Shape:
    """Low and wide: the engine in front, or in the middle under a short nose; some with a racing wing."""
    middle = chance(random, 0.5)
    body = car_body(
        random, length=(3.9, 4.75), width=(1.8, 2.08), height=(1.05, 1.28),
        hood=(0.18, 0.26) if middle else (0.3, 0.42), cabin=(0.32, 0.42), trunk=(0.02, 0.14), rake=(1.3, 2.3),
        slope=(1.8, 3.2), floor=(0.09, 0.16), low=(0.05, 0.2), wheel=(0.3, 0.35),
    )  # fmt: skip
    body.hood = max(body.hood, 0.6)
    shape = Shape(color=lacquer(random))
    lower(shape, random, body)
    corners(shape, random, body)
    cabin(shape, random, body, glass=chance(random, 0.7), blend=between(random, 0.05, 0.25))
    axles = (body.nose + body.wheel + between(random, 0.4, 0.6), body.tail - body.wheel - between(random, 0.35, 0.6))
    if chance(random, 0.75):  # fenders that rise over the wheels
        bulge = between(random, 0.06, 0.16)
        for z in axles:
            for x in (-1, 1):
                shape.ellipsoid(
                    (x * (body.width / 2 - 0.16), body.wheel * 1.3, z),
                    (0.42, 2 * (0.85 * body.wheel + bulge), between(random, 1.1, 1.5)), blend=0.1,
                )  # fmt: skip
    wheels(shape, random, body, axles=axles)
    fittings(shape, random, body, bumpers=0.1)
    if chance(random, 0.45):
        wing(shape, random, body, height=between(random, 0.1, 0.4))
    if chance(random, 0.3):
        shape.color = RUBBER
        shape.box((0, body.floor, body.nose + 0.25), (body.width * 0.96, 0.05, 0.6))
    return shape


def offroader(random: Generator) -> Shape:
    """SUVs, from crossovers to upright ones with a spare wheel behind."""
    upright = chance(random, 0.4)
    body = car_body(
        random, length=(4.1, 5.2), width=(1.76, 2.05), height=(1.62, 1.95), hood=(0.22, 0.3),
        cabin=(0.36, 0.42) if not upright else (0.36, 0.45), trunk=(0.0, 0.03),
        rake=(0.3, 0.6) if upright else (0.8, 1.4), slope=(0.03, 0.2) if upright else (0.2, 0.8), wheel=(0.36, 0.44),
        floor=(0.24, 0.38), low=(0.0, 0.1),
    )  # fmt: skip
    shape = _modern(random, body)
    if chance(random, 0.5):
        rack(shape, random, body)
    if upright and chance(random, 0.6):
        shape.color = RUBBER
        z = body.tail + 0.06
        shape.rod((0, body.belt * 0.8, z - 0.15), (0, body.belt * 0.8, z + 0.1), 2 * body.wheel * 0.92)
    if chance(random, 0.3):
        shape.color = RUBBER if chance(random, 0.5) else CHROME
        shape.box(
            (0, body.floor + 0.02, 0), (body.width + between(random, 0.05, 0.2), 0.07, body.length * 0.45), round=0.02
        )
    return shape


def carrier(random: Generator) -> Shape:
    """People carriers: one line from the nose to the roof."""
    body = car_body(
        random, length=(4.2, 5.2), width=(1.7, 2.0), height=(1.6, 1.85), hood=(0.13, 0.22), cabin=(0.38, 0.46),
        trunk=(0.0, 0.03), rake=(0.9, 1.5), slope=(0.1, 0.5), low=(0.05, 0.2),
    )  # fmt: skip
    shape = _modern(random, body)
    if chance(random, 0.3):
        rack(shape, random, body)
    return shape


def muscle(random: Generator) -> Shape:
    """Long flat cars of the sixties and seventies, with bumpers that stand out; some stretched to limousines."""
    stretched = chance(random, 0.25)
    body = car_body(
        random, length=(4.7, 5.6), width=(1.82, 2.03), height=(1.3, 1.45), hood=(0.3, 0.36), cabin=(0.3, 0.38),
        trunk=(0.16, 0.26), rake=(0.8, 1.4), slope=(0.8, 2.0), low=(0.0, 0.06),
    )  # fmt: skip
    if stretched:
        stretch(random, body)
    shape = Shape(color=lacquer(random))
    lower(shape, random, body)
    cabin(shape, random, body, glass=chance(random, 0.6))
    wheels(shape, random, body)
    fittings(shape, random, body, mirrors=0.3, bumpers=0.9)
    if chance(random, 0.3):  # fins along the rear fenders
        tall = between(random, 0.08, 0.25)
        start, end = body.back - 0.3, body.tail - 0.03
        outline = [
            (start, body.belt - 0.1),
            (start, body.belt - 0.02),
            (end, body.belt + tall),
            (end - 0.1, body.belt - 0.1),
        ]
        for x in (-1, 1):
            side(shape, outline, 0.14, x=x * (body.width / 2 - 0.1))
    if chance(random, 0.3):
        scoop = between(random, 0.5, 0.8)
        shape.box((0, body.hood + 0.02, body.nose * 0.62), (scoop, 0.12, 0.9), round=0.04, taper=(0.2, 0.2))
    return shape


def limousine(random: Generator) -> Shape:
    body = car_body(
        random, length=(4.8, 5.2), width=(1.78, 1.95), height=(1.4, 1.52), hood=(0.27, 0.31), cabin=(0.34, 0.4),
        trunk=(0.13, 0.18), rake=(1.0, 1.5), slope=(0.7, 1.4),
    )  # fmt: skip
    stretch(random, body)
    return _modern(random, body)


def convertible(random: Generator) -> Shape:
    """Open cars: a cockpit cut out of the body, seats in it, a windscreen, sometimes bars behind the seats."""
    body = car_body(
        random, length=(3.7, 4.9), width=(1.65, 1.95), height=(1.2, 1.42), hood=(0.28, 0.4), cabin=(0.3, 0.4),
        trunk=(0.16, 0.3), rake=(0.7, 1.4), slope=(0.5, 1.0), floor=(0.12, 0.2), low=(0.0, 0.1),
    )  # fmt: skip
    shape = Shape(color=lacquer(random))
    lower(shape, random, body)
    if chance(random, 0.7):
        corners(shape, random, body)
    wheels(shape, random, body)
    color = shape.color
    front, rear = body.screen + 0.35, body.back - 0.05
    depth = body.belt - body.floor - 0.2
    shape.box(
        (0, body.belt - depth / 2 + 0.1, (front + rear) / 2), (body.width * 0.8, depth + 0.2, rear - front), round=0.08,
        cut=True,
    )  # fmt: skip
    shape.color = paint(random)
    floor = body.belt - depth
    rows = 2 if rear - front > 1.7 else 1
    for row in range(rows):
        z = front + (rear - front) * (row + 1) / (rows + 0.12) - 0.25
        for x in (-1, 1):
            seat = body.width * 0.34
            shape.box((x * body.width * 0.2, floor + 0.13, z - 0.22), (seat, 0.3, 0.5), round=0.06)
            shape.box(
                (x * body.width * 0.2, floor + 0.38, z + 0.05), (seat, 0.8, 0.2), round=0.08, turn=tilt(12),
                taper=(0.25, 0.2),
            )  # fmt: skip
    shape.color = GLASS if chance(random, 0.6) else color
    rise = body.height - body.belt
    turn = tilt(np.degrees(np.arctan(body.rake)))
    foot = np.array([0, body.belt - 0.03, body.screen + 0.3])
    tall = rise * between(random, 0.7, 1.0) * np.hypot(1, body.rake)
    shape.box(foot + turn @ [0, tall / 2, 0], (body.width * 0.8, tall, 0.06), turn=turn, taper=(0.14, 0))
    if chance(random, 0.3):
        shape.color = CHROME
        for x in (-1, 1):
            shape.tube(
                (x * 0.12, body.belt - 0.1, rear), (x * 0.3, body.belt + 0.55, rear), (x * 0.6, body.belt - 0.1, rear),
                0.06,
            )  # fmt: skip
    elif chance(random, 0.4):  # the hood folded behind
        shape.color = shade(paint(random), 0.4)
        shape.box((0, body.belt + 0.02, rear + 0.16), (body.width * 0.78, 0.2, 0.45), round=0.08)
    shape.color = color
    fittings(shape, random, body)
    return shape
