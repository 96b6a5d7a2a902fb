"""Cars that are not of one mould: vans, minibuses, pick-ups, jeeps and racing cars.

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
    tread,
    wheels,
)
from jobs.training.procedural.parts import between, chance, paint, tilt
from jobs.training.procedural.profiles import disc, lacquer, shade, side
from jobs.training.shape import Shape


def van(random: Generator) -> Shape:
    """Delivery vans and minibuses: one profile from the bumper to the upright back, windows set on it."""
    bus = chance(random, 0.35)
    tall = between(random, 1.85, 2.5)
    body = car_body(
        random, length=(4.3, 6.6) if tall > 2.1 else (3.9, 5.2), width=(1.75, 2.1), height=(tall, tall),
        hood=(0.04, 0.2), cabin=(0.4, 0.5), trunk=(0.0, 0.01), rake=(0.15, 0.9), slope=(0.0, 0.08), wheel=(0.32, 0.38),
        floor=(0.2, 0.32), low=(0.0, 0.15),
    )  # fmt: skip
    shape = Shape(color=lacquer(random))
    color = shape.color
    nose, tail, rise = body.nose, body.tail, body.height - body.belt
    front = min(body.screen + rise * body.rake, 0.0)
    crown = between(random, 0.02, 0.08)
    face = body.hood - between(random, 0.0, 0.25)
    outline = [
        (nose + 0.08, body.floor), (nose, body.floor + 0.25), (nose + between(random, 0.02, 0.1), face),
        (body.screen, body.belt), (front, body.height - crown), (front + 0.4, body.height), (tail - 0.3, body.height),
        (tail - rise * body.slope - 0.04, body.height - 0.06), (tail, body.belt), (tail, body.floor + 0.1),
        (tail - 0.15, body.floor),
    ]  # fmt: skip
    side(shape, outline, body.width, round=between(random, 0.04, 0.14))
    lean = between(random, 0.03, 0.14)
    for x in (-1, 1):
        turn = tilt(x * np.degrees(np.arctan(lean)), "z")
        foot = np.array([x * body.width / 2, body.belt, 0])
        shape.box(foot + turn @ [x * 0.3, rise, 0], (0.6, 2 * rise, body.length + 0.5), turn=turn, cut=True)
    if chance(random, 0.5):
        corners(shape, random, body)
    wheels(shape, random, body)
    shape.color = GLASS
    low, high = body.belt + 0.03, body.belt + rise * between(random, 0.6, 0.8)
    along = body.rake * (high - low)
    out = 0.03 * np.hypot(1, body.rake)
    start = body.screen + 0.03 * body.rake
    side(
        shape, [(start - out, low), (start + 0.1, low), (start + 0.1 + along, high), (start - out + along, high)],
        body.width * between(random, 0.75, 0.86),
    )  # fmt: skip
    doors = front + between(random, 0.5, 1.0)
    end = tail - between(random, 0.2, 0.5) if bus or chance(random, 0.2) else doors
    side(
        shape, [(start + 0.3, low), (end, low), (end, high), (start + 0.3 + along, high)],
        body.width - 2 * lean * (low - body.belt) - lean * (high - low) + 0.01,
    )  # fmt: skip
    shape.color = color
    fittings(shape, random, body)
    if chance(random, 0.25):
        rack(shape, random, body)
    if chance(random, 0.2):  # an air conditioner or lights
        shape.color = paint(random)
        z = between(random, front + 0.4, tail - 0.8)
        shape.box((0, body.height + 0.05, z), (between(random, 0.5, 1.3), 0.2, between(random, 0.2, 1.0)), round=0.04)
    return shape


def pickup(random: Generator) -> Shape:
    """Single and double cabs before an open bed, now and then a box or a rail on it."""
    double = chance(random, 0.5)
    body = car_body(
        random, length=(4.7, 5.9), width=(1.72, 2.05), height=(1.6, 1.95), hood=(0.23, 0.3), cabin=(0.35, 0.43),
        trunk=(0.28, 0.36) if double else (0.38, 0.48), rake=(0.5, 1.2), slope=(0.02, 0.25), wheel=(0.34, 0.44),
        floor=(0.24, 0.4), low=(0.0, 0.1),
    )  # fmt: skip
    shape = Shape(color=lacquer(random))
    lower(shape, random, body)
    cabin(shape, random, body, glass=chance(random, 0.7))
    start, end = body.back + 0.06, body.tail - 0.09
    depth = between(random, 0.35, 0.5)
    wheels(shape, random, body)
    shape.box(
        (0, body.belt - depth / 2 + 0.15, (start + end) / 2),
        (body.width - between(random, 0.16, 0.3), depth + 0.3, end - start), cut=True,
    )  # fmt: skip
    fittings(shape, random, body, bumpers=0.7)
    load = random.random()
    if load < 0.12:
        tall = between(random, 0.3, 0.9)
        shape.color = paint(random)
        shape.box(
            (0, body.belt + tall / 2 - 0.2, (start + end) / 2), (body.width * 0.94, tall + 0.4, end - start + 0.1),
            taper=(0.1, 0.03),
        )  # fmt: skip
    elif load < 0.3:
        shape.color = CHROME if chance(random, 0.5) else RUBBER
        for x in (-1, 1):
            post = x * (body.width / 2 - 0.1)
            shape.tube(
                (post, body.belt - 0.1, start), (post, body.height + 0.2, start), (post, body.belt - 0.05, start + 0.9),
                0.07,
            )  # fmt: skip
        shape.rod(
            (-body.width / 2 + 0.1, body.belt + 0.33, start + 0.16),
            (body.width / 2 - 0.1, body.belt + 0.33, start + 0.16), 0.07,
        )  # fmt: skip
    elif load < 0.45:
        shape.color = shade(paint(random), 0.5)
        shape.box((0, body.belt - 0.03, (start + end) / 2), (body.width * 0.93, 0.08, end - start + 0.1))
    return shape


def jeep(random: Generator) -> Shape:
    """Upright and boxy, with flat fenders: open, with a roll cage, a canvas top or a hard one."""
    width, length = between(random, 1.5, 1.95), between(random, 3.2, 4.7)
    wheel, floor = between(random, 0.35, 0.46), between(random, 0.32, 0.45)
    belt = between(random, 1.0, 1.2)
    height = belt + between(random, 0.55, 0.8)
    nose, tail = -length / 2, length / 2
    screen = nose + length * between(random, 0.3, 0.36)
    hood = belt - between(random, 0, 0.06)
    narrow = width * between(random, 0.6, 0.85)
    shape = Shape(color=lacquer(random))
    body = Body(length, width, height, floor, wheel, hood, belt, screen, tail, 0.1, 0.0)
    shape.box(
        (0, (floor + hood) / 2, (nose + 0.1 + screen + 0.2) / 2), (narrow, hood - floor, screen - nose + 0.1),
        round=0.04,
    )  # fmt: skip
    shape.box((0, (floor + belt) / 2, (screen + tail) / 2), (width * 0.9, belt - floor, tail - screen), round=0.04)
    axles = (nose + wheel + 0.12, tail - wheel - between(random, 0.1, 0.4))
    flat = wheel * 2 + between(random, 0.04, 0.1)
    for z in axles:
        outline = [
            (z - wheel * 1.5, flat - 0.3), (z - wheel, flat), (z + wheel, flat), (z + wheel * 1.6, floor + 0.1),
            (z + wheel * 1.45, floor + 0.05), (z + wheel * 0.9, flat - 0.07), (z - wheel * 0.9, flat - 0.07),
        ]  # fmt: skip
        side(shape, outline, width)
    for z in axles:
        disc(shape, (0, wheel, z), 2 * wheel * 1.08, width + 0.5, cut=True)
    shape.color = RUBBER
    thick = between(random, 0.2, 0.28)
    shape.box((0, (floor + 0.4 + wheel) / 2, (axles[0] + axles[1]) / 2), (width - 2 * thick + 0.1, 0.3, length - 0.6))
    tread(shape, random, [(x * (width - thick) / 2, wheel, z) for z in axles for x in (-1, 1)], wheel, thick)
    shape.color = paint(random) if chance(random, 0.4) else shade(paint(random), 0.6)
    top = random.choice(["open", "cage", "canvas", "hard"])
    wide = width * 0.88
    if top in ("open", "cage"):
        deck = max(belt - 0.55, floor + 0.12)
        shape.box(
            (0, (deck + belt + 0.2) / 2, (screen + 0.25 + tail - 0.1) / 2),
            (width * 0.78, belt + 0.2 - deck, tail - screen - 0.35), cut=True,
        )  # fmt: skip
        for x in (-1, 1):
            shape.box((x * width * 0.2, deck + 0.13, screen + 0.95), (width * 0.3, 0.35, 0.5), round=0.05)
            shape.box((x * width * 0.2, deck + 0.4, screen + 1.2), (width * 0.3, 0.85, 0.16), turn=tilt(8), round=0.05)
        shape.box(
            (0, (belt + height) / 2 - 0.08, screen + 0.14), (wide, height - belt + 0.1, 0.07),
            turn=tilt(between(random, 5, 18)),
        )  # fmt: skip
        if top == "cage":
            back = screen + (tail - screen) * between(random, 0.55, 0.9)
            for x in (-1, 1):
                post = x * wide * 0.44
                shape.rod((post, belt - 0.2, back), (post, height, back - 0.05), 0.075)
                shape.rod((post, height - 0.03, back - 0.05), (post, height - 0.06, screen + 0.2), 0.075)
            shape.rod((-wide * 0.46, height - 0.02, back - 0.05), (wide * 0.46, height - 0.02, back - 0.05), 0.075)
    else:
        lean = between(random, 0.05, 0.2)
        outline = [
            (screen + 0.05, belt - 0.1), (screen + 0.05 + lean, height - 0.04), (screen + 0.15 + lean, height),
            (tail - 0.1 - lean * between(random, 0, 1), height - between(random, 0, 0.06)), (tail - 0.03, belt - 0.1),
        ]  # fmt: skip
        side(shape, outline, wide, round=0.03 if top == "hard" else 0.1)
    if chance(random, 0.6):
        shape.color = RUBBER
        shape.rod((0, belt - 0.1, tail - 0.06), (0, belt - 0.1, tail + 0.22), 2 * wheel * 0.9)
    fittings(shape, random, body, mirrors=0.0, bumpers=0.9)
    return shape


def formula(random: Generator) -> Shape:
    """Single-seaters with open wheels, wings in front and behind."""
    length = between(random, 3.9, 5.2)
    width = between(random, 1.75, 2.0)
    nose, tail = -length / 2, length / 2
    wheel = between(random, 0.3, 0.34)
    modern = chance(random, 0.7)
    shape = Shape(color=lacquer(random))
    color = shape.color
    tub, cockpit = between(random, 0.5, 0.62), between(random, -0.2, 0.2)
    level = between(random, 0.36, 0.44)
    front, rear = nose + wheel + between(random, 0.45, 0.8), tail - wheel - between(random, 0.15, 0.35)
    tip = between(random, 0.16, 0.3)
    shape.rod(
        (0, level + 0.02, cockpit + 0.2), (0, level - between(random, 0.0, 0.14), nose), tub, end_thickness=tip,
        exponent=4.0,
    )  # fmt: skip
    shape.box(
        (0, 0.36, (cockpit + tail - 0.4) / 2), (width * between(random, 0.55, 0.75), 0.46, tail - 0.4 - cockpit),
        round=0.14, blend=0.1,
    )  # fmt: skip
    shape.box((0, 0.12, 0.1), (width * 0.62, 0.08, length * 0.6))
    spine = between(random, 0.85, 1.05)
    side(
        shape,
        [
            (cockpit + 0.35, 0.3), (cockpit + 0.35, spine), (cockpit + 0.6, spine), (tail - 0.35, 0.55),
            (tail - 0.35, 0.3),
        ],
        between(random, 0.22, 0.34), round=0.08, blend=0.1,
    )  # fmt: skip
    shape.box((0, level + 0.3, cockpit), (0.42, 0.5, 0.7), round=0.1, cut=True)
    shape.color = paint(random)
    shape.ellipsoid((0, level + 0.22, cockpit + 0.12), (0.28, 0.32, 0.3))
    shape.rod((0, level - 0.1, cockpit + 0.12), (0, level + 0.15, cockpit + 0.12), 0.26)
    shape.color = color if chance(random, 0.5) else paint(random)
    if modern:
        chord = between(random, 0.35, 0.5)
        shape.box((0, level - 0.17, nose + chord / 2 - 0.02), (width * 0.95, 0.05, chord), turn=tilt(4))
        shape.box((0, level - 0.14, nose + chord / 2), (tip, 0.16, chord * 0.8))
        for x in (-1, 1):
            shape.box((x * width * 0.475, level - 0.1, nose + chord / 2), (0.04, 0.24, chord))
        high = between(random, 0.75, 1.0)
        wide = width * between(random, 0.5, 0.8)
        shape.box((0, high, tail - 0.2), (wide, 0.06, 0.36), turn=tilt(between(random, 5, 18)))
        for x in (-1, 1):
            shape.box((x * wide / 2, high - 0.12, tail - 0.2), (0.04, 0.36, 0.4))
        shape.box((0, (high + 0.3) / 2, tail - 0.3), (0.1, high - 0.25, 0.3))
        shape.box((0, 0.4, tail - 0.45), (0.3, 0.2, 0.3))
    shape.color = RUBBER
    thick = between(random, 0.28, 0.4)
    for z in (front, rear):
        for lift in (-0.07, 0.08):
            shape.rod((-width / 2 + 0.1, wheel + lift, z), (width / 2 - 0.1, wheel + lift, z), 0.055)
    shape.box((0, wheel, rear), (0.3, 0.3, 0.6))
    tread(shape, random, [(x * (width - thick) / 2, wheel, z) for z in (front, rear) for x in (-1, 1)], wheel, thick)
    return shape
