"""Lamps that hang from a ceiling, sit on it or on a wall, and lanterns.

Works on: a random generator. Knows nothing about pictures, points or networks.

In metres, +Y up; the wall of a wall lamp is behind it, towards +Z.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.lamp_parts import LIT, UP, cloth, frustum, grains, head, metal_paint, shade_paint
from jobs.training.procedural.parts import between, chance, tilt
from jobs.training.procedural.profiles import ACROSS, lacquer
from jobs.training.shape import Shape


def pendant(random: Generator) -> Shape:
    """A canopy, a rod or cord, and one shade."""
    shade = between(random, 0.2, 0.6)
    drop = between(random, 0.15, 1.1)
    tall = shade * between(random, 0.4, 1.1)
    grain = grains(drop + tall, shade, shade)
    shape = Shape(color=metal_paint(random))
    top, cord = drop + tall, grain * between(random, 1.1, 1.6)
    cup = max(between(random, 0.08, 0.15), cord * 2)
    frustum(shape, (0, top, 0), -between(random, 0.02, 0.05), cup, cup * between(random, 0.3, 1.0))
    shape.rod((0, top - 0.01, 0), (0, tall * 0.97, 0), cord)
    color = shape.color
    kind = random.choice(["head", "head", "cloth", "bowl", "stacked", "saucer"])
    if kind == "head":
        if chance(random, 0.5):
            shape.color = shade_paint(random)
        head(shape, random, np.array([0, tall, 0]), np.array([0, -1.0, 0]), shade, grain)
    elif kind == "cloth":
        tie = cloth(shape, random, 0.0, tall, shade, grain)
        shape.color = color
        shape.rod((0, min(tie, tall) - grain, 0), (0, tall + grain, 0), cord)
    elif kind == "bowl":  # a bowl that hangs by three rods
        shape.color = shade_paint(random)
        deep = shade * between(random, 0.2, 0.35)
        t = np.linspace(0, np.pi / 2, 7)
        shape.revolve(
            [(0, deep), *[(shade / 2 * float(np.cos(a)), deep * (1 - float(np.sin(a)))) for a in t]], (0, 0, 0)
        )
        shape.color = color
        for third in range(3):
            angle = 2 * np.pi * third / 3
            shape.rod(
                (0, tall, 0), (shade * 0.45 * np.cos(angle), deep * 0.8, shade * 0.45 * np.sin(angle)), grain * 1.1
            )
    elif kind == "stacked":  # discs and cones below each other
        shape.color = shade_paint(random)
        shape.rod((0, tall, 0), (0, 0.06 * tall, 0), cord * 2)
        count = int(random.integers(2, 5))
        for level in range(count):
            wide = shade * between(random, 0.5, 1.0)
            y = tall * (0.9 - 0.85 * level / count)
            frustum(shape, (0, y, 0), -tall * 0.8 / count, wide * between(random, 0.15, 0.8), wide)
    else:
        shape.color = shade_paint(random)
        shape.ellipsoid((0, tall * 0.6, 0), (shade, tall * between(random, 0.3, 0.8), shade))
        shape.rod((0, tall, 0), (0, tall * 0.6, 0), cord * 1.5)
    return shape


def cluster(random: Generator) -> Shape:
    """Several small pendants on a bar or a plate."""
    count = int(random.integers(2, 6))
    bar = chance(random, 0.65)
    wide = between(random, 0.6, 1.2) if bar else between(random, 0.25, 0.45)
    drop = between(random, 0.3, 0.9)
    grain = grains(wide, drop + 0.2, 0.2 if bar else wide)
    shape = Shape(color=metal_paint(random))
    color, cord = shape.color, grain * 1.2
    size = between(random, 0.1, 0.2) if bar else between(random, 0.08, 0.14)
    thick = max(0.03, grain * 1.5)
    if bar:
        shape.box((0, 0, 0), (wide, thick, between(random, 0.05, 0.12)), round=0.005)
    else:
        shape.rod((0, -thick / 2, 0), (0, thick / 2, 0), wide)
    kind = str(random.choice(["cone", "dome", "bell", "can", "globe"]))
    glass = shade_paint(random)
    uneven = between(random, 0, 0.5)
    for place in range(count):
        if bar:
            x, z = wide * ((place + 0.5) / count - 0.5) * 0.95, 0.0
        else:
            angle = 2 * np.pi * place / count
            x, z = wide * 0.36 * np.cos(angle), wide * 0.36 * np.sin(angle)
        end = np.array([x, -drop * (1 - uneven * random.random()), z])
        shape.color = color
        shape.rod((x, 0, z), end, cord)
        shape.color = glass
        head(shape, random, end + UP * grain, np.array([0, -1.0, 0]), size, grain, kind=kind)
    return shape


def chandelier(random: Generator) -> Shape:
    """Arms in a ring around a turned column, with candles, bowls, bells or shades, below a rod."""
    count = int(random.integers(3, 9))
    reach = between(random, 0.25, 0.5)
    tall = reach * between(random, 0.8, 1.6)
    drop = between(random, 0.05, 0.5)
    grain = grains(2 * reach, 2 * reach, tall + drop)
    shape = Shape(color=metal_paint(random))
    color = shape.color
    thick = grain * between(random, 1.3, 1.9)
    heights = np.linspace(0, tall, 9)
    swell = np.clip(random.uniform(0.1, 1.0, 9), 0.2, 1) * reach * between(random, 0.1, 0.25)
    shape.revolve(
        [(0, 0), *[(max(float(s), thick / 2), float(h)) for s, h in zip(swell, heights, strict=True)], (0, tall)],
        (0, 0, 0),
    )  # fmt: skip
    shape.rod((0, tall * 0.95, 0), (0, tall + drop, 0), thick)
    frustum(shape, (0, tall + drop, 0), -0.03, between(random, 0.1, 0.16), 0.06)
    kind = random.choice(["candle", "candle", "bell", "shade", "globe"])
    sag, start = between(random, 0.0, 0.5), between(random, 0.1, 0.5) * tall
    rise = between(random, -0.05, 0.4) * tall
    glass, size = shade_paint(random), min(between(random, 0.22, 0.4) * reach, 2.2 * reach / count)
    for arm in range(count):
        angle = 2 * np.pi * arm / count
        out = np.array([np.cos(angle), 0, np.sin(angle)])
        end = out * reach + UP * (start + rise)
        shape.color = color
        shape.tube((0, start, 0), out * reach * 0.7 + UP * (start - sag * reach), end, thick)
        if kind == "candle":
            frustum(shape, end - UP * thick * 0.3, thick * 0.3 + grain * 1.2, size * 0.5, size * 0.75)
            shape.color = LIT
            shape.rod(
                end, end + UP * (size * between(random, 0.9, 1.0)), max(size * 0.25, grain * 1.4),
                end_thickness=grain * 0.9,
            )  # fmt: skip
        elif kind == "shade":
            shape.rod(end, end + UP * size * 0.5, grain * 1.2)
            shape.color = glass
            frustum(shape, end + UP * size * 0.3, size * 0.7, size, size * 0.6)
        else:
            shape.color = glass
            look = np.array([0, 1.0 if kind == "globe" or arm < 0 else -1.0, 0])
            head(shape, random, end, look, size, grain, kind=str(kind))
    if chance(random, 0.3):
        shape.color = color
        shape.ellipsoid((0, 0, 0), (reach * 0.2, reach * 0.25, reach * 0.2))
    return shape


def ring(random: Generator) -> Shape:
    """A ring or a disc of light below a canopy, on three cords."""
    reach, drop = between(random, 0.25, 0.5), between(random, 0.2, 0.8)
    grain = grains(2 * reach, 2 * reach, drop)
    shape = Shape(color=metal_paint(random))
    tall, deep = grain * between(random, 1.6, 6), reach * between(random, 0.08, 0.35)
    shape.rod((0, drop, 0), (0, drop - 0.03, 0), between(random, 0.12, 0.22))
    for third in range(3):
        angle = 2 * np.pi * third / 3
        x, z = (reach - deep / 2) * np.cos(angle), (reach - deep / 2) * np.sin(angle)
        shape.rod((0.02 * np.cos(angle), drop - 0.01, 0.02 * np.sin(angle)), (x, tall / 2, z), grain * 1.3)
    shape.color = shade_paint(random)
    shape.revolve([(reach, 0), (reach, tall), (reach - deep, tall), (reach - deep, 0)], (0, 0, 0))
    if chance(random, 0.25):
        shape.revolve([(0, 0), (reach * 0.98, 0), (reach * 0.98, tall * 0.6), (0, tall * 0.6)], (0, 0, 0))
    return shape


def ceiling(random: Generator) -> Shape:
    """Flat on the ceiling: domes, drums and boxes, and bars with spots."""
    shape = Shape(color=metal_paint(random))
    if chance(random, 0.45):
        wide, count = between(random, 0.4, 0.9), int(random.integers(2, 5))
        grain = grains(wide)
        shape.box((0, 0, 0), (wide, max(0.025, 1.5 * grain), between(random, 0.05, 0.1)))
        size = wide * between(random, 0.12, 0.2)
        for place in range(count):
            x = wide * ((place + 0.5) / count - 0.5)
            end = np.array([x, -size * 0.6, 0])
            shape.rod((x, 0, 0), end, grain * 1.5)
            look = np.array([between(random, -0.8, 0.8), -1.0, between(random, -0.8, 0.8)])
            head(shape, random, end, look, size, grain, kind=str(random.choice(["cone", "can", "bell"])))
        return shape
    wide, tall = between(random, 0.25, 0.5), between(random, 0.06, 0.18)
    rim = wide * between(random, 0.85, 1.1)
    square = float(random.choice([2.0, 2.0, np.inf]))
    shape.box((0, 0.015, 0), (rim, 0.03, rim), exponent=square)
    shape.color = shade_paint(random)
    if square == 2.0 and chance(random, 0.6):
        t = np.linspace(0, np.pi / 2, 7)
        shape.revolve(
            [(0, 0.01), *[(wide / 2 * float(np.cos(a)), 0.01 - tall * float(np.sin(a))) for a in t]], (0, 0, 0)
        )
    else:
        shape.box((0, -tall / 2 + 0.01, 0), (wide * 0.92, tall, wide * 0.92), exponent=square, round=0.01)
    if chance(random, 0.4):
        shape.color = metal_paint(random)
        shape.rod((0, -tall - 0.02, 0), (0, 0, 0), 0.03, end_thickness=0.02)
    return shape


def wall(random: Generator) -> Shape:
    """A plate at the wall, an arm, and a shade, a bowl, a candle or a spot; some with two arms."""
    shape = Shape(color=metal_paint(random))
    reach, size = between(random, 0.1, 0.35), between(random, 0.1, 0.22)
    grain = grains(size, 0.3, reach + size / 2)
    plate, tall = between(random, 0.07, 0.14), between(random, 0.1, 0.3)
    arm = grain * between(random, 1.4, 2.2)
    exponent = float(random.choice([2.0, np.inf]))
    shape.box((0, 0, 0), (plate, max(0.02, grain * 1.5), tall), exponent=exponent, turn=tilt(90))
    color = shape.color
    kind = random.choice(["sconce", "arm", "arm", "swing", "half"])
    if kind == "half":  # half a bowl or half a cone against the wall
        shape.color = shade_paint(random)
        wide, deep = size * 1.6, between(random, 0.1, 0.3)
        low = between(random, 0.0, 0.6)
        shape.revolve(
            [(0, -deep / 2), (wide / 2 * low + 0.01, -deep / 2), (wide / 2, deep / 2), (0, deep / 2)], (0, 0, 0)
        )
        shape.box((0, 0, wide / 2 + 0.01), (wide * 1.2, deep * 1.2, wide), cut=True)
        shape.box((0, 0, 0.0), (plate, tall, 0.03))
        return shape
    light = shade_paint(random) if chance(random, 0.5) else color
    upward = kind == "sconce" or chance(random, 0.4)
    cup = upward and chance(random, 0.5)
    model = str(random.choice(["cone", "dome", "bell", "can", "globe"]))
    level, dip, slant = between(random, -0.05, 0.05), between(random, 0.0, 0.6), between(random, -0.4, 0.1)
    tall, slim = size * between(random, 0.7, 1.2), size * between(random, 0.45, 0.9)
    for x in (-1, 1) if chance(random, 0.25) else (0,):
        aside = x * size * 0.75
        end = np.array([aside, level, -reach])
        shape.color = color
        if kind == "swing":
            elbow = np.array([aside + between(random, -0.5, 0.5) * reach, 0.0, -reach * 0.5])
            shape.rod((0, 0, 0), elbow, arm)
            shape.rod(elbow, end, arm)
            shape.rod(elbow - UP * arm, elbow + UP * arm, arm * 1.6)
        else:
            shape.tube((0, 0, 0), (aside, -dip * reach, -reach * 0.8), end, arm)
        shape.color = light
        if cup:
            frustum(shape, end - UP * arm * 0.5, tall, size * 0.9, slim)
        else:
            head(shape, random, end, np.array([0, 1.0 if upward else -1.0, slant]), size, grain, kind=model)
    return shape


def lantern(random: Generator) -> Shape:
    """A cage of posts around a light, a roof and a floor, hung by a ring or standing; some at a wall."""
    shape = Shape(color=metal_paint(random))
    wide = between(random, 0.14, 0.26)
    tall = wide * between(random, 1.1, 2.0)
    hang = random.choice(["ring", "chain", "wall", "none"])
    drop = between(random, 0.2, 0.6) if hang == "chain" else 0.0
    grain = grains(wide, tall * 1.5 + drop, wide)
    round_ = chance(random, 0.35)
    exponent = 2.0 if round_ else np.inf
    plate = grain * between(random, 2, 5)
    color = shape.color
    shape.box((0, plate / 2, 0), (wide * 1.1, plate, wide * 1.1), exponent=exponent)
    shrink = between(random, 0.5, 0.95)
    roof = wide * between(random, 0.25, 0.7)
    shape.box((0, tall + roof / 2, 0), (wide * 1.2, roof, wide * 1.2), taper=(shrink, shrink), exponent=exponent)
    post = grain * between(random, 1.3, 2.2)
    count = int(random.integers(4, 7)) if round_ else 4
    for side in range(count):
        angle = 2 * np.pi * (side + 0.5) / count
        x, z = (np.cos(angle), np.sin(angle)) if round_ else (np.sign(np.cos(angle)), np.sign(np.sin(angle)))
        shape.rod(
            (x * wide * 0.44, plate * 0.5, z * wide * 0.44),
            (x * wide * 0.44, tall + max(2 * grain, roof * 0.2), z * wide * 0.44),
            post,
        )
    shape.color = LIT
    if chance(random, 0.4):  # panes
        shape.box((0, tall / 2, 0), (wide * 0.88, tall, wide * 0.88), exponent=exponent)
    else:
        candle = wide * between(random, 0.2, 0.4)
        shape.rod((0, plate * 0.5, 0), (0, tall * between(random, 0.4, 0.7), 0), candle)
    shape.color = color
    top = tall + roof
    shape.rod((0, top - grain * 3, 0), (0, top + grain * 3, 0), grain * 3)
    if hang == "ring":
        size = wide * between(random, 0.2, 0.5)
        for x in (-1, 1):
            shape.tube(
                (0, top + grain * 2, 0), (x * size * 1.2, top + size * 0.6, 0), (0, top + size * 1.1, 0), grain * 1.3
            )
    elif hang == "chain":
        shape.rod((0, top, 0), (0, top + drop, 0), grain * 1.4)
        shape.rod((0, top + drop, 0), (0, top + drop - 0.03, 0), wide * 0.5)
    elif hang == "wall":
        back = wide * between(random, 0.8, 1.2)
        shape.tube((0, top, 0), (0, top + wide * 0.7, back * 0.5), (0, top * 0.6, back), grain * 1.6)
        shape.box((0, top * 0.6, back), (wide * 0.5, wide, grain * 2))
    return shape


def neon(random: Generator) -> Shape:
    """A tube of light with caps in a housing, across."""
    long, size = between(random, 0.5, 1.2), between(random, 0.04, 0.09)
    shape = Shape(color=lacquer(random))
    shape.box((0, size * 0.7, 0), (long, size * 0.8, size * between(random, 1.2, 3.0)), taper=(0, 0.3))
    shape.color = LIT
    count = int(random.choice([1, 2]))
    for place in range(count):
        z = (place - (count - 1) / 2) * size * 1.1
        shape.box((0, 0.1 * size, z), (size * 0.9, long * 0.92, size * 0.9), exponent=2.0, turn=ACROSS)
    shape.color = lacquer(random)
    for x in (-1, 1):
        shape.box((x * long * 0.48, size * 0.2, 0), (long * 0.04, size * 1.5, size * (1.2 + (count - 1))))
    if chance(random, 0.5):
        drop = between(random, 0.2, 0.6)
        for x in (-1, 1):
            shape.rod((x * long * 0.35, size * 0.8, 0), (x * long * 0.35, drop, 0), long * 0.014)
        shape.box((0, drop, 0), (long * 0.8, long * 0.015, size))
    return shape
