"""Lamps that stand on the floor or in the street.

Works on: a random generator. Knows nothing about pictures, points or networks.

In metres, the foot on y = 0.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.lamp_parts import (
    LIT,
    UP,
    cloth,
    frustum,
    grains,
    head,
    metal_paint,
    shade_paint,
    turned,
)
from jobs.training.procedural.parts import between, chance, paint, tilt
from jobs.training.procedural.profiles import lacquer
from jobs.training.shape import Shape


def floor(random: Generator) -> Shape:
    """A pole on a plate with one shade on top, or a bowl that shines upwards, now and then with a small table."""
    height, shade = between(random, 1.1, 1.75), between(random, 0.28, 0.55)
    grain = grains(height, shade, shade)
    shape = Shape(color=metal_paint(random))
    base, plate = between(random, 0.22, 0.36), between(random, 0.02, 0.05)
    pole = grain * between(random, 1.2, 2.2)
    kind = random.choice(["disc", "disc", "square", "turned", "cross"])
    if kind == "disc":
        frustum(shape, (0, 0, 0), plate, base, base * between(random, 0.3, 1))
    elif kind == "square":
        shape.box((0, plate / 2, 0), (base, plate, base))
    elif kind == "turned":
        turned(
            shape, random, between(random, 0.25, 0.9), base * 0.9, pole,
            kind=str(random.choice(["column", "stack", "vase", "cone", "pillar"])),
        )  # fmt: skip
    else:
        count = int(random.integers(3, 6))
        for leg in range(count):
            angle = 2 * np.pi * leg / count
            shape.tube(
                (0, between(random, 0.08, 0.25), 0), (0.12 * np.cos(angle), 0.12, 0.12 * np.sin(angle)),
                (base * 0.6 * np.cos(angle), pole / 2, base * 0.6 * np.sin(angle)), pole,
            )  # fmt: skip
    shape.rod((0, plate * 0.5, 0), (0, height * 0.9, 0), pole)
    style = random.choice(["shade", "shade", "shade", "up", "globe", "column"])
    color = shape.color
    if style == "shade":
        tall = between(random, 0.2, 0.38)
        tie = cloth(shape, random, height - tall, tall, shade, grain)
        shape.color = color
        shape.rod((0, height * 0.6, 0), (0, tie + grain, 0), pole)
    elif style == "up":
        deep = between(random, 0.08, 0.2)
        shape.color = color if chance(random, 0.5) else shade_paint(random)
        flare = between(random, 0.3, 0.8)
        t = np.linspace(0, 1, 6)
        outer = [(max(shade / 2 * float(s) ** flare, pole / 2), height - deep + deep * float(s)) for s in t]
        inner = [(max(x - 1.5 * grain, 0.0), y + 1.5 * grain * (1 - i / 5)) for i, (x, y) in enumerate(outer)]
        inside = [*inner[:0:-1], (0, height - deep + 2 * grain)] if chance(random, 0.5) else [(0, height)]
        shape.revolve([(0, height - deep), *outer, *inside], (0, 0, 0))
        shape.rod((0, height * 0.85, 0), (0, height - deep + grain, 0), pole)
    elif style == "globe":
        shape.color = LIT
        ball = shade * between(random, 0.5, 0.8)
        shape.ellipsoid((0, height * 0.9 + ball * 0.45, 0), (ball, ball, ball))
    else:  # a long paper or glass tube
        shape.color = shade_paint(random)
        low = between(random, 0.1, 0.5) * height
        wide = shade * between(random, 0.4, 0.7)
        shape.box((0, (low + height) / 2, 0), (wide, height - low, wide), exponent=float(random.choice([2.0, np.inf])))
    if chance(random, 0.12):
        shape.color = paint(random)
        shape.rod((0, height * 0.36, 0), (0, height * 0.36 + grain * 1.6, 0), between(random, 0.35, 0.5))
    return shape


def tripod(random: Generator) -> Shape:
    """A big shade on three splayed legs, as a floor lamp or a small one."""
    small = chance(random, 0.3)
    height = between(random, 0.35, 0.6) if small else between(random, 1.1, 1.6)
    shade = height * between(random, 0.28, 0.42)
    grain = grains(height, shade, shade)
    shape = Shape(color=paint(random))
    tall = height * between(random, 0.2, 0.3)
    knot, spread = height - tall * between(random, 0.8, 1.0), height * between(random, 0.16, 0.28)
    leg = grain * between(random, 1.3, 2.4)
    start = between(random, 0, 120)
    for third in range(3):
        angle = np.radians(start + 120 * third)
        shape.rod(
            (0.2 * leg * np.cos(angle), knot, 0.2 * leg * np.sin(angle)),
            (spread * np.cos(angle), 0, spread * np.sin(angle)), leg,
            end_thickness=max(leg * between(random, 0.6, 1.0), 1.2 * grain),
        )  # fmt: skip
    shape.rod((0, knot - leg, 0), (0, knot + leg, 0), leg * 2.2)
    color = shape.color
    if chance(random, 0.2):
        shape.ellipsoid((0, knot - height * 0.3, 0), (grain * 3, grain * 3, grain * 3))
        shape.rod((0, knot - height * 0.3, 0), (0, knot, 0), grain * 1.3)
    if chance(random, 0.8):
        tie = cloth(
            shape, random, height - tall, tall, shade, grain,
            kind=str(random.choice(["cone", "drum", "drum", "barrel"])),
        )  # fmt: skip
        shape.color = color
        shape.rod((0, knot, 0), (0, tie + grain, 0), leg)
    else:  # a searchlight
        out = np.array([0, between(random, -0.3, 0.3), -1.0])
        head(
            shape, random, np.array([0, knot + tall * 0.5, shade * 0.3]), out, shade, grain,
            kind=str(random.choice(["can", "cone", "dome"])),
        )  # fmt: skip
        shape.rod((0, knot, 0), (0, knot + tall * 0.5, shade * 0.25), leg)
    return shape


def arc(random: Generator) -> Shape:
    """A pole that bows far out over a room, with a heavy foot and a hanging shade."""
    reach, height = between(random, 0.7, 1.4), between(random, 1.4, 2.0)
    grain = grains(reach, height, 0.4)
    shape = Shape(color=metal_paint(random))
    base = between(random, 0.25, 0.4)
    pole = grain * between(random, 1.1, 1.8)
    block = chance(random, 0.4)
    if block:
        shape.box((0, 0.07, 0), (base, 0.14, base * 0.7), round=0.01)
    else:
        frustum(shape, (0, 0, 0), 0.05, base, base * 0.8)
    way = float(np.radians(between(random, -180, 180)))
    out = np.array([np.sin(way), 0, -np.cos(way)])
    rise = height * between(random, 0.3, 0.6)
    drop = between(random, 0.02, 0.25)
    end = out * reach + UP * (height * between(random, 0.75, 0.95))
    shape.rod((0, 0.03, 0), (0, rise, 0), pole)
    shape.tube((0, rise, 0), np.array([0, height * 1.25, 0]) + out * reach * 0.35, end, pole)
    shape.rod(end, end - UP * drop, max(pole * 0.8, grain))
    if chance(random, 0.5):
        shape.color = metal_paint(random)
    head(shape, random, end - UP * drop * 0.95, np.array([0, -1.0, 0]), between(random, 0.22, 0.42), grain)
    return shape


def several(random: Generator) -> Shape:
    """A pole with two to five heads on arms: reading lamps, trees of spots, candelabras."""
    desk_size = chance(random, 0.3)
    height = between(random, 0.4, 0.6) if desk_size else between(random, 1.3, 1.8)
    grain = grains(height)
    shape = Shape(color=metal_paint(random))
    base = height * between(random, 0.16, 0.24)
    pole = grain * between(random, 1.3, 2.0)
    frustum(shape, (0, 0, 0), height * 0.03, base, base * between(random, 0.4, 1))
    shape.rod((0, 0, 0), (0, height * 0.95, 0), pole)
    count = int(random.integers(2, 6))
    size = height * between(random, 0.1, 0.16)
    upward = chance(random, 0.4)
    kind = str(random.choice(["cone", "dome", "bell", "can", "globe"]))
    level_step = between(random, 0.0, 0.12) * height
    color = shape.color
    heads = shape.color if chance(random, 0.5) else metal_paint(random)
    turn = between(random, 0, 360)
    for arm in range(count):
        angle = np.radians(turn + 360 * arm / count)
        out = np.array([np.cos(angle), 0, np.sin(angle)])
        level = height * 0.93 - level_step * arm
        rise = between(random, 0.0, 0.08) if upward else between(random, -0.08, 0.05)
        end = out * height * between(random, 0.14, 0.26) + UP * (level + rise * height)
        sag = level - (0.12 if upward else -0.06) * height
        shape.color = color
        shape.tube((0, level - 0.04 * height, 0), out * height * 0.1 + UP * sag, end, pole * 0.9)
        shape.color = heads
        look = UP + out * between(random, 0, 0.4) if upward else out * between(random, 0, 0.8) - UP
        head(shape, random, end, look, size, grain, kind=kind)
    return shape


def street(random: Generator) -> Shape:
    """Street lamps and garden lamps: a tall post with a lantern, a ball or bent arms."""
    height = between(random, 1.6, 3.6)
    grain = grains(height)
    shape = Shape(color=lacquer(random))
    pole = grain * between(random, 1.6, 2.8)
    shape.revolve(
        [
            (0, 0), (pole * 1.5, 0), (pole * 1.4, height * 0.06), (pole * 0.8, height * 0.1),
            (pole * 0.5, height * 0.14), (pole * 0.4, height * 0.9), (0, height * 0.9),
        ],
        (0, 0, 0),
    )  # fmt: skip
    kind = random.choice(["lantern", "ball", "arms", "whip"])
    size = height * between(random, 0.1, 0.17)
    color = shape.color
    if kind == "lantern":
        level = height * 0.88
        turn = np.diag([1.0, -1.0, -1.0])
        shape.color = LIT
        sides = float(random.choice([np.inf, 2.0]))
        shape.box((0, level + size * 0.6, 0), (size, size * 1.2, size), taper=(0.4, 0.4), exponent=sides, turn=turn)
        shape.color = color
        shape.box((0, level + size * 1.4, 0), (size * 1.2, size * 0.5, size * 1.2), taper=(0.8, 0.8), exponent=sides)
    elif kind == "ball":
        shape.color = LIT
        shape.ellipsoid((0, height * 0.88 + size * 0.45, 0), (size, size, size))
    else:
        count = int(random.choice([1, 2, 2, 4])) if kind == "arms" else int(random.choice([1, 1, 2]))
        reach = height * (between(random, 0.14, 0.22) if kind == "arms" else between(random, 0.25, 0.45))
        for arm in range(count):
            angle = 2 * np.pi * arm / count
            out = np.array([np.sin(angle), 0, -np.cos(angle)])
            end = out * reach + UP * (height * (0.92 if kind == "arms" else 0.98))
            shape.color = color
            shape.tube((0, height * 0.82, 0), out * reach * 0.2 + UP * height * 1.05, end, pole * 0.75)
            if kind == "arms":
                head(
                    shape, random, end, np.array([0, -1.0, 0]), size, grain,
                    kind=str(random.choice(["globe", "bell", "dome"])),
                )  # fmt: skip
            else:
                shape.ellipsoid(
                    end + out * size * 0.5 - UP * size * 0.05, (size * 0.6, size * 0.4, size * 1.6),
                    turn=tilt(-np.degrees(angle), "y"),
                )  # fmt: skip
    return shape
