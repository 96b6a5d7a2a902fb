"""Lamps that stand on a table or a desk.

Works on: a random generator. Knows nothing about pictures, points or networks.

In metres, the foot on y = 0.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.lamp_parts import (
    LIT,
    METAL,
    UP,
    cloth,
    frustum,
    grains,
    head,
    metal_paint,
    shade_paint,
    turned,
)
from jobs.training.procedural.parts import between, chance, tilt
from jobs.training.procedural.profiles import lacquer
from jobs.training.shape import Shape


def table(random: Generator) -> Shape:
    """A base from a vase to a square column, a stem, a shade."""
    shape = Shape(color=lacquer(random))
    height = between(random, 0.2, 0.5)
    wide = height * between(random, 0.25, 0.85)
    shade, tall = between(random, 0.2, 0.48), between(random, 0.14, 0.36)
    grain = grains(height + tall, shade, shade)
    neck = grain * between(random, 1.3, 2.4)
    foot = shape.color
    bottom = height + tall * between(random, -0.15, 0.12)
    tie = cloth(shape, random, bottom, tall, max(shade, wide * 0.8), grain)
    shape.color = foot  # after the shade: what hollows that would hollow the base too
    turned(shape, random, height, wide, neck)
    shape.color = METAL if chance(random, 0.5) else foot
    top = tie + grain
    if chance(random, 0.3):  # a knob above the shade
        top = bottom + tall * 1.08
        shape.ellipsoid((0, top, 0), (grain * 3, grain * 3.5, grain * 3))
    shape.rod((0, height * 0.95, 0), (0, top, 0), max(neck * 0.8, 1.2 * grain))
    if chance(random, 0.12):  # handles of an amphora
        shape.color = foot
        for x in (-1, 1):
            shape.tube(
                (x * wide * 0.3, height * 0.45, 0), (x * wide * 0.95, height * 0.75, 0),
                (x * neck * 0.3, height * 0.9, 0), grain * 1.5,
            )  # fmt: skip
    return shape


def glowing(random: Generator) -> Shape:
    """Lamps that are all shade: a ball, a box or a tube on a low foot, a mushroom, a lava lamp."""
    shape = Shape(color=metal_paint(random))
    kind = random.choice(["ball", "box", "tube", "mushroom", "lava", "egg"])
    wide = between(random, 0.16, 0.4)
    tall = wide * (between(random, 0.85, 1.05) if kind == "ball" else between(random, 1.0, 3.0))
    foot = between(random, 0.02, 0.08)
    if kind == "mushroom":
        stem = wide * between(random, 0.25, 0.5)
        tall = wide * between(random, 0.8, 1.3)
        flare = between(random, 0.8, 1.8)
        shape.revolve([(0, 0), (stem / 2 * flare, 0), (stem / 2, tall * 0.2), (stem / 2, tall), (0, tall)], (0, 0, 0))
        shape.color = shade_paint(random)
        cap = wide * between(random, 0.35, 0.6)
        arc = np.linspace(0, np.pi / 2, 8)
        dome = [(wide / 2 * float(np.cos(a)), tall - cap * 0.5 + cap * float(np.sin(a))) for a in arc]
        shape.revolve([(0, tall - cap * 0.5), *dome], (0, 0, 0))
        return shape
    if kind == "lava":
        r = wide * 0.3
        tall = r * between(random, 5, 8)
        shape.revolve(
            [(0, 0), (r * 1.1, 0), (r * 0.6, tall * 0.2), (r * 0.95, tall * 0.36), (0, tall * 0.36)], (0, 0, 0)
        )
        shape.revolve([(0, tall * 0.85), (r * 0.5, tall * 0.85), (r * 0.3, tall), (0, tall)], (0, 0, 0))
        shape.color = shade_paint(random)
        shape.revolve([(0, tall * 0.3), (r * 0.9, tall * 0.35), (r * 0.5, tall * 0.87), (0, tall * 0.87)], (0, 0, 0))
        return shape
    base = wide * between(random, 0.45, 0.8)
    square = np.inf if kind == "box" else 2.0
    shape.box((0, foot / 2, 0), (base, foot, base), exponent=square)
    shape.color = LIT if chance(random, 0.5) else shade_paint(random)
    middle = (0, foot * 0.7 + tall / 2, 0)
    if kind in ("ball", "egg"):
        shape.ellipsoid((0, foot * 0.7 + tall / 2 - wide * 0.03, 0), (wide, tall, wide))
    else:
        taper = between(random, 0, 0.5) if chance(random, 0.4) else 0.0
        shape.box(middle, (wide, tall, wide), taper=(taper, taper), exponent=square, round=wide * 0.03)
        if kind == "box" and chance(random, 0.5):  # a frame along the edges
            shape.color = (0.15, 0.1, 0.08)
            post = wide * 0.07
            for x in (-1, 1):
                for z in (-1, 1):
                    low = (x * wide / 2, foot * 0.7, z * wide / 2)
                    shape.rod(
                        low, (low[0] * (1 - taper), foot * 0.7 + tall, low[2] * (1 - taper)), post, exponent=np.inf
                    )
    return shape


def desk(random: Generator) -> Shape:
    """Task lamps: two arms with joints, a goose neck, or one bent tube, and a reflector that looks down."""
    shape = Shape(color=metal_paint(random))
    reach, height = between(random, 0.22, 0.45), between(random, 0.3, 0.55)
    grain = grains(reach + 0.2, height, 0.2)
    arm = grain * between(random, 1.3, 2.2)
    base = between(random, 0.14, 0.22)
    size = between(random, 0.1, 0.2)
    plate = between(random, 0.015, 0.05)
    kind = random.choice(["round", "round", "square", "dome", "clamp"])
    way = float(np.radians(between(random, -180, 180)))
    out = np.array([np.sin(way), 0, -np.cos(way)])
    if kind == "round":
        frustum(shape, (0, 0, 0), plate, base, base * between(random, 0.6, 1))
    elif kind == "square":
        shape.box(
            (0, plate / 2, 0), (base, plate, base * between(random, 0.8, 1.2)), turn=tilt(-np.degrees(way), "y"),
            round=plate * 0.2,
        )  # fmt: skip
    elif kind == "dome":
        shape.ellipsoid((0, 0, 0), (base, plate * 3, base))
        shape.box((0, -plate, 0), (base * 1.2, plate * 2, base * 1.2), cut=True)
        shape.rod((0, 0, 0), (0, plate * 1.5, 0), base * 0.3)
    else:
        plate = 0.07
        shape.box((0, plate / 2, 0), (0.04, plate, 0.05))
        for level in (0.01, plate - 0.01):
            shape.box(out * 0.03 + UP * level, (0.09, 0.02, 0.09))
    if chance(random, 0.5):
        shape.color = metal_paint(random)
    style = random.choice(["two", "two", "goose", "bow"])
    foot = np.array([0, plate * 0.7, 0])
    if style == "two":
        back = between(random, -0.25, 0.3)
        elbow = foot - out * reach * back + UP * (height * between(random, 0.55, 0.9))
        wrist = out * reach * between(random, 0.7, 1.1) + UP * (height * between(random, 0.7, 1.1))
        double = chance(random, 0.35)
        across = np.cross(out, [0, 1, 0]) * arm * 0.9
        for offset in (across, -across) if double else (0 * across,):
            shape.rod(foot + offset, elbow + offset, arm)
            shape.rod(elbow + offset, wrist + offset, arm)
        for joint in (foot, elbow, wrist):
            wide = arm * (2.4 if double else 1.3) / 2
            side = np.cross(out, [0, 1, 0])
            shape.rod(joint - side * wide, joint + side * wide, arm * between(random, 1.6, 2.4))
        if chance(random, 0.3):  # a counterweight
            past = elbow + (elbow - wrist) * 0.3
            shape.rod(elbow, past, arm)
            shape.rod(past, past + (past - elbow) * 0.5, arm * 2.5)
    elif style == "goose":
        wrist = out * reach + UP * (height * between(random, 0.6, 0.9))
        middle = foot + UP * (height * between(random, 0.35, 0.6))
        shape.rod(foot, middle, arm)
        shape.tube(middle, middle + [0, (height - middle[1]) * 1.6, 0] + out * reach * 0.3, wrist, arm)
    else:
        wrist = out * reach + UP * (height * between(random, 0.8, 1.0))
        shape.tube(foot, foot - out * reach * between(random, 0, 0.5) + UP * height * 1.2, wrist, arm)
    if chance(random, 0.5):
        shape.color = metal_paint(random)
    look = out * between(random, -0.2, 0.9) - UP
    if chance(random, 0.15):  # a flat bar of light
        shape.box(
            wrist + out * 0.02, (0.05, 0.025, between(random, 0.18, 0.32)), turn=tilt(-np.degrees(way), "y"),
            round=0.008,
        )  # fmt: skip
    else:
        head(
            shape, random, wrist, look, size, grain,
            kind=str(random.choice(["cone", "dome", "bell", "can", "cone", "dome"])),
        )  # fmt: skip
    return shape


def banker(random: Generator) -> Shape:
    """A foot, a stem and a shade like half a roll, lying across."""
    shape = Shape(color=metal_paint(random))
    height, wide = between(random, 0.26, 0.42), between(random, 0.22, 0.36)
    base, r = between(random, 0.14, 0.2), between(random, 0.06, 0.09)
    exponent = float(random.choice([2.0, np.inf]))
    shape.box((0, 0.015, 0), (base * 1.2, 0.03, base * 0.8), exponent=exponent)
    shape.tube((0, 0.02, 0.03), (0, height * 0.7, 0.06), (0, height + r * 0.42, 0), 0.018)
    for x in (-1, 1):
        shape.tube(
            (0, height * 0.7, 0.03),
            (x * wide * 0.4, height * 0.72, 0.03),
            (x * wide * 0.42, height + r * 0.42, 0),
            0.014,
        )
    shape.color = shade_paint(random)
    arc = [(r * float(np.cos(a)), r * float(np.sin(a))) for a in np.linspace(0, np.pi, 8)]
    inner = [(x * 0.8, y * 0.8) for x, y in arc[::-1]]
    solid = chance(random, 0.4)
    shape.extrude(arc if solid else [*arc, *inner], (0, height - r * 0.5, 0), wide, turn=tilt(90, "y"), round=0.004)
    return shape
