"""Tables of boards, tiers, chests and slabs; for sports and for show.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural import bases
from jobs.training.procedural.joinery import LYING, finish, four_legs, leg_style
from jobs.training.procedural.parts import between, chance, paint
from jobs.training.procedural.tabletop import add_drawers, add_top, draw_top, started
from jobs.training.shape import Shape


def boarded(random: Generator) -> Shape:
    """Side boards: a bridge, a waterfall, a box with or without shelves."""
    shape, top = started(random, rectangular=True)
    board = between(random, 0.02, 0.08)
    inset = between(random, 0, 0.25) * top.length / 2 if chance(random, 0.4) else 0.0
    at, deep = (top.length - board) / 2 - inset, top.depth * between(random, 0.85, 1.0)
    slant = between(random, -0.15, 0.15) if chance(random, 0.3) else 0.0
    for x in (-1, 1):
        shape.box((x * (at - slant / 2), top.under / 2, 0), (board, top.under + 0.01, deep), shear=(x * slant, 0))
    if chance(random, 0.35):
        shape.box((0, board / 2, 0), (2 * at, board, deep))
    shelves = int(random.choice([0, 0, 1, 1, 2, 3]))
    for n in range(shelves):
        level = top.under * (n + between(random, 0.8, 1.1)) / (shelves + 1)
        half = at - slant * (1 - level / top.under)  # where the boards are at this level
        shape.box((0, level, 0), (2 * half, max(0.026, 0.01 * top.length), deep * 0.97))
    if chance(random, 0.25):
        shape.box((0, top.under * 0.6, deep / 2 - 0.03), (2 * at - abs(slant), top.under * 0.8, 0.025))
    if chance(random, 0.2):
        for share in (0.0,) if chance(random, 0.5) else (-0.33, 0.33):
            shape.box((share * at, top.under / 2, 0), (0.025, top.under, deep * 0.97))
    return shape


def tiered(random: Generator) -> Shape:
    """Side tables and trolleys of several tops on posts or boards."""
    top = draw_top(random, plan=str(random.choice(["rectangle", "rectangle", "round", "rounded"])))
    top.length = min(top.length, between(random, 0.4, 0.9))
    top.depth = top.length if top.plan == "round" else min(top.depth, top.length) * between(random, 0.6, 1.0)
    shape = Shape(color=finish(random))
    tiers, high = int(random.integers(2, 4)), top.height
    for n in range(tiers):
        top.height = high * (n + between(random, 0.5, 0.55)) / (tiers - 0.45)
        add_top(shape, random, top)
    shape.color = finish(random) if chance(random, 0.4) else shape.color
    post, (half_x, half_z) = between(random, 0.022, 0.045), top.corner()
    style = leg_style(random, str(random.choice(["straight", "tapered", "turned"])))
    for x in (-1, 1):
        for z in (-1, 1):
            at = np.array([x * (half_x - post / 2), 0, z * (half_z - post / 2)])
            style.add(shape, at + np.array([0, top.under + 0.01, 0]), at, post)
    return shape


def chested(random: Generator) -> Shape:
    """A closed body under the top, on short legs: coffee chests, bedside tables, pool and gaming tables."""
    shape, top = started(random, rectangular=True)
    share = between(random, 0.35, 1.0)
    body = top.under * share
    wide, deep = top.length * between(random, 0.86, 0.99), top.depth * between(random, 0.86, 0.98)
    middle = top.under - body / 2 + 0.004
    shape.box((0, middle, 0), (wide, body, deep))
    rows, columns = max(1, round(body / 0.2)), max(1, round(wide / 0.5))
    kind = random.choice(["drawers", "open", "plain"])
    if kind == "open":
        cut = body - 0.05
        for n in range(columns):
            x = ((n + 0.5) / columns - 0.5) * (wide - 0.03)
            shape.box((x, middle, -deep / 2), (wide / columns - 0.05, cut, deep * 1.6), cut=True)
    elif kind == "drawers":
        add_drawers(shape, random, np.array([0, middle, -deep / 2]), wide * 0.96, body * 0.94, rows=min(rows, 3),
                    columns=min(columns, 3))  # fmt: skip
    under = top.under - body
    if under > 0.02:
        leg = between(random, 0.035, 0.12)
        four_legs(shape, random, wide / 2, deep / 2, under + 0.02, leg, stretched=0.1 if under > 0.15 else 0.0)
    return shape


def slab(random: Generator) -> Shape:
    """One sheet bent down at its ends, or a sculpted block."""
    shape = Shape(color=finish(random))
    top = draw_top(random, rectangular=True)
    half, high, t = top.length / 2, top.height, max(top.thick, 0.025)
    kind = random.choice(["waterfall", "z", "loop", "trapezium"])
    slope = between(random, -0.12, 0.12)
    if kind == "waterfall":
        outline = [(-half, high), (-half - slope, 0), (-half - slope + t, 0), (-half + t, high - t),
                   (half - t, high - t), (half + slope - t, 0), (half + slope, 0), (half, high)]  # fmt: skip
    elif kind == "z":
        outline = [(-half, high), (-half, high - t), (half - 2 * t, high - t), (-half, t), (-half, 0), (half, 0),
                   (half, t), (-half + 2 * t, t), (half, high - t), (half, high)]  # fmt: skip
    elif kind == "loop":
        outline = [(-half, high), (-half + slope, 0), (half - slope, 0), (half, high)]
    else:
        low = half * between(random, 0.5, 1.0)
        outline = [(-half, high), (-half, high - t), (-low, 0), (low, 0), (half, high - t), (half, high)]
    shape.extrude(outline, (0, 0, 0), top.depth)
    if kind == "loop":
        shape.box((0, high / 2, 0), (top.length - 2 * t - 2 * abs(slope), high - 2 * t, top.depth * 2), cut=True)
        if chance(random, 0.4):
            shape.box((0, high * between(random, 0.3, 0.7), 0), (top.length - 2 * abs(slope), 0.024, top.depth * 0.97))
    if kind == "trapezium" and chance(random, 0.5):
        shape.box((0, high * 0.35, 0), (half * 0.5, high * 0.72, top.depth * 2), cut=True)
    return shape


def sports(random: Generator) -> Shape:
    """Table tennis and folding tables: a broad thin top, a net or none, crossed or paired legs."""
    shape = Shape(color=paint(random))
    length, depth, height = between(random, 1.6, 2.7), between(random, 0.75, 1.5), between(random, 0.7, 0.78)
    thick = between(random, 0.03, 0.06)
    shape.box((0, height - thick / 2, 0), (length, thick, depth))
    if depth > 1.0:
        net = between(random, 0.1, 0.16)
        shape.box((0, height + net / 2 - 0.005, 0), (0.036, net, depth * 1.05))
    shape.color = finish(random)
    bar, under = between(random, 0.035, 0.06), height - thick
    if chance(random, 0.35):
        bases.crossed(shape, random, length * 0.8, depth * 0.9, under + 0.01, sideways=True)
        return shape
    at, half = length * between(random, 0.3, 0.42), depth * between(random, 0.35, 0.45)
    lean = between(random, -0.1, 0.15)
    level = under * between(random, 0.1, 0.5)
    for x in (-1, 1):
        for z in (-1, 1):
            shape.rod((x * at, under + 0.01, z * half), (x * (at + lean), 0, z * half), bar, exponent=np.inf)
        shape.box((x * (at + lean * (1 - level / under)), level, 0), (bar, bar, 2 * half))
        if chance(random, 0.5):
            shape.rod((x * (at + lean * 0.5), under / 2, 0), (x * at * 0.4, under + 0.01, 0), bar * 0.8)
            shape.box((x * (at + lean * 0.5), under / 2, 0), (bar, bar, 2 * half))
    shape.box((0, under - 0.01, 0), (2 * at, 0.04, 0.05))
    return shape


def gathered(random: Generator) -> Shape:
    """A kidney, boat or leaf-shaped top on a sculpted foot: low tables for show."""
    shape = Shape(color=finish(random))
    length, depth, height = between(random, 0.7, 1.4), between(random, 0.5, 0.9), between(random, 0.28, 0.5)
    thick = between(random, 0.015, 0.06)
    angles = np.arange(16) * 2 * np.pi / 16
    lobes, swing = int(random.integers(2, 4)), between(random, 0.05, 0.22)
    radius = 1 + swing * np.cos(lobes * angles + between(random, 0, 6))
    outline = [
        (float(r * np.cos(a) * length / 2), float(r * np.sin(a) * depth / 2))
        for r, a in zip(radius, angles, strict=True)
    ]
    shape.extrude(outline, (0, height - thick / 2, 0), thick, turn=LYING)
    shape.color = finish(random)
    under = height - thick + 0.008
    kind = random.choice(["fins", "balls", "legs", "arches"])
    if kind == "fins":
        reach = 0.3 * min(length, depth) + 0.05
        for n in range(3):
            angle = 2 * np.pi * n / 3 + 0.5
            out = np.array([np.cos(angle), 0, np.sin(angle)])
            turn = np.stack([out, [0, 1, 0], np.cross(out, [0, 1, 0])], axis=1)
            shape.extrude(
                [(0, 0), (reach, 0), (reach * between(random, 0.4, 1.1), under), (0, under)], (0, 0, 0), 0.04, turn=turn
            )
    elif kind == "balls":
        shape.ellipsoid((0, under * 0.5, 0), (depth * 0.55, under * 1.08, depth * 0.55))
        shape.box((0, 0.015, 0), (depth * 0.5, 0.03, depth * 0.5), exponent=2.0)
    elif kind == "arches":
        for z in (-1, 1):
            for x in (-1, 1):
                end = (x * length * 0.3, 0.02, z * depth * 0.25)
                shape.tube((0, under - 0.01, z * depth * 0.08), (x * length * 0.3, under, z * depth * 0.2), end, 0.04)
    else:
        for across, along in ((-0.28, -0.2), (0.28, -0.2), (0.0, 0.26)):
            foot = np.array([across * length * 1.2, 0, along * depth * 1.2])
            shape.rod((across * length, under, along * depth), foot, 0.045, end_thickness=0.025)
    return shape
