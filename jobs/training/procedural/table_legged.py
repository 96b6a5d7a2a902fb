"""Tables on legs, columns, trestles and frames of bars.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural import bases
from jobs.training.procedural.joinery import four_legs, leg_style, path
from jobs.training.procedural.parts import between, chance
from jobs.training.procedural.tabletop import add_drawers, started
from jobs.training.shape import Shape


def legged(random: Generator) -> Shape:
    """Three or four legs; aprons, rails, a shelf or drawers."""
    shape, top = started(random)
    leg = between(random, 0.025, 0.09) * (0.7 + 0.3 * top.length)
    style = leg_style(random)
    half_x, half_z = top.corner()
    inset = between(random, 0.85, 1.0) if chance(random, 0.6) or top.plan != "rectangle" else 1.0
    half_x, half_z = half_x * inset, half_z * inset
    if top.plan == "triangle" or (top.plan == "round" and chance(random, 0.3)):
        angles = np.radians([90, 210, 330] if chance(random, 0.5) else [-90, 30, 150])
        reach = min(top.length, top.depth) * (0.22 if top.plan == "triangle" else 0.36)
        out = between(random, 1.0, 1.5) if chance(random, 0.6) else 1.0
        for angle in angles:
            spot = np.array([np.cos(angle), 0, np.sin(angle)]) * reach
            style.add(
                shape, spot + np.array([0, top.under + 0.01, 0]), spot * (1 if style.kind == "turned" else out), leg
            )
        if out == 1.0 and chance(random, 0.5) and style.kind in ("straight", "tapered"):
            level = between(random, 0.15, 0.6) * top.under
            shape.box((0, level, 0), (2 * reach, 0.03, 2 * reach), exponent=2.0)
        return shape
    splay = None if chance(random, 0.5) else (0.0, 0.0)
    ends = four_legs(shape, random, half_x, half_z, top.under + 0.01, leg, style=style, splay=splay, stretched=0.25)
    head_x, head_z = abs(ends[1, 1][0][0]), abs(ends[1, 1][0][2])
    if chance(random, 0.5):
        apron = between(random, 0.05, 0.13)
        solid = chance(random, 0.5)
        if solid or top.under < 0.3:
            size = (2 * head_x + leg * 0.5, apron, 2 * head_z + leg * 0.5)
            shape.box((0, top.under - apron / 2 + 0.004, 0), size)
            if chance(random, 0.4):
                add_drawers(
                    shape, random, np.array([0, top.under - apron / 2, -size[2] / 2]), size[0] * 0.94, apron, rows=1
                )
        else:
            board = max(0.022, leg * 0.4)
            for z in (-1, 1):
                shape.box((0, top.under - apron / 2 + 0.004, z * head_z), (2 * head_x, apron, board))
            for x in (-1, 1):
                shape.box((x * head_x, top.under - apron / 2 + 0.004, 0), (board, apron, 2 * head_z))
    if chance(random, 0.25) and style.kind in ("straight", "tapered", "turned"):
        shelves = int(random.choice([1, 1, 1, 2]))
        for n in range(shelves):
            share = between(random, 0.12, 0.4) + 0.35 * n
            at_x, at_z = (abs(ends[1, 1][1][k] * (1 - share) + ends[1, 1][0][k] * share) for k in (0, 2))
            shape.box((0, share * top.under, 0), (2 * at_x + leg * 0.4, 0.028, 2 * at_z + leg * 0.4))
    return shape


def columned(random: Generator) -> Shape:
    """One column, or two on a long table: on a plate, a trumpet, a star, or on three or four curved feet."""
    shape, top = started(random, plan=None if chance(random, 0.4) else "round")
    reach = min(top.length, top.depth) / 2
    if top.length > 1.6 * top.depth and chance(random, 0.8):
        thick, at = between(random, 0.06, 0.12), top.length * between(random, 0.25, 0.33)
        exponent = float(random.choice([2.0, np.inf]))
        foot = between(random, 0.6, 0.9) * top.depth
        for x in (-1, 1):
            shape.rod((x * at, 0.02, 0), (x * at, top.under + 0.01, 0), thick, exponent=exponent)
            shape.box((x * at, 0.025, 0), (thick * 1.3, 0.05, foot))
            shape.box((x * at, top.under - 0.02, 0), (thick, 0.05, foot * 0.9))
        if chance(random, 0.6):
            shape.box((0, between(random, 0.15, 0.7) * top.under, 0), (2 * at, 0.07, 0.035))
        return shape
    kind = random.choice(["disc", "disc", "star", "feet", "feet", "drum", "boards"])
    if kind == "disc":
        bases.disc(shape, random, top.under + 0.01, reach * between(random, 0.45, 0.8))
    elif kind == "star":
        bases.star(shape, random, top.under + 0.01, reach * between(random, 0.6, 0.95), casters=False)
    elif kind == "drum":
        wide = reach * between(random, 0.7, 1.5)
        section, taper = float(random.choice([2.0, np.inf])), between(random, 0, 0.5)
        size = (wide, top.under + 0.01, wide)
        shape.box((0, top.under / 2 + 0.005, 0), size, exponent=section, taper=(taper, taper))
    elif kind == "boards":  # two crossing boards
        board = between(random, 0.03, 0.06)
        for wide, deep in ((2 * reach * 0.75, board), (board, 2 * reach * 0.75)):
            shape.box((0, top.under / 2 + 0.005, 0), (wide, top.under + 0.01, deep))
    else:
        column = between(random, 0.025, 0.05)
        low = top.under * between(random, 0.12, 0.25)
        profile = bases.turned(random, top.under + 0.01 - low, column, 2.4 * column, int(random.integers(5, 12)))
        shape.revolve(profile, (0, low, 0))
        feet, thick = int(random.choice([3, 4, 4])), between(random, 0.035, 0.065)
        shape.rod((0, low * 0.6, 0), (0, low + 0.05, 0), 3 * column)
        for n in range(feet):
            angle = 2 * np.pi * (n + 0.5) / feet
            out = np.array([np.cos(angle), 0, np.sin(angle)])
            tip = out * reach * between(random, 0.66, 0.7) + [0, thick * 0.4, 0]
            bulge = out * reach * 0.5 + [0, low * between(random, 1.2, 1.25), 0]
            shape.tube((0, low, 0), bulge, tip, thick, end_thickness=thick * 0.7)
    return shape


def trestle(random: Generator) -> Shape:
    """Two frames joined by a beam: posts on feet, A-frames, X-frames or T-shaped steel legs."""
    shape, top = started(random, rectangular=True)
    at, bar = top.length * between(random, 0.3, 0.42), between(random, 0.035, 0.09)
    kind = random.choice(["posts", "a", "x", "t", "t", "u"])
    half = top.depth * between(random, 0.36, 0.48)
    wide = bar * between(random, 1.0, 1.8)
    back = between(random, 0, 0.5) * half if kind == "t" and chance(random, 0.4) else 0.0
    for x in (-1, 1):
        if kind in ("posts", "t"):
            post = (bar, top.under, wide if kind == "t" else wide * 1.4)
            shape.box((x * at, top.under / 2 + 0.004, back), post)
            shape.box((x * at, 0.025, 0), (bar, 0.05, 2 * half), taper=(0, between(random, 0, 0.3)))
            shape.box((x * at, top.under - 0.015, 0), (bar, 0.04, 2 * half * 0.9))
            if kind == "t" and chance(random, 0.5):
                for z in (-1, 1):
                    shape.rod((x * at, 0, z * (half - 0.03)), (x * at, 0.03, z * (half - 0.03)), 0.045)
        elif kind == "u":
            path(shape, [(x * at, top.under, -half), (x * at, bar / 2, -half), (x * at, bar / 2, half),
                         (x * at, top.under, half)], bar, 0.04, flat=wide)  # fmt: skip
        else:
            lean = half if kind == "x" else half * 0.3
            for z in (-1, 1):
                offset = x * bar * 0.4 * (z > 0) if kind == "x" else 0.0
                head = (x * at + offset, top.under + 0.005, -z * lean if kind == "x" else z * lean)
                shape.rod((x * at + offset, 0, z * half), head, bar, exponent=np.inf)
            if kind == "a":
                level = between(random, 0.3, 0.55)
                shape.box((x * at, level * top.under, 0), (bar * 0.8, bar * 0.8, 2 * (half + (lean - half) * level)))
    if kind in ("posts", "x", "t") and (back == 0 or kind == "t"):
        level = between(random, 0.2, 0.85) * top.under if kind != "x" else top.under / 2
        shape.box((0, level, back), (2 * at, between(random, 0.04, 0.14), 0.035))
    return shape


def barred(random: Generator) -> Shape:
    """A frame of bars along all edges, sleds of bar or tube, hairpins, or a C that stands beside a sofa."""
    shape, top = started(random, rectangular=True)
    bar = between(random, 0.02, 0.05) * (0.7 + 0.3 * top.length)
    half_x, half_z, high = (top.length - bar) / 2, (top.depth - bar) / 2, top.under
    kind = random.choice(["cube", "cube", "sled", "sled", "c", "hairpin", "cross", "ends"])
    if kind == "cube":
        for x in (-1, 1):
            for z in (-1, 1):
                shape.box((x * half_x, high / 2 + 0.004, z * half_z), (bar, high, bar))
        for level in (bar / 2, high - bar / 2):
            for x in (-1, 1):
                shape.box((x * half_x, level, 0), (bar, bar, 2 * half_z))
                shape.box((0, level, x * half_z), (2 * half_x, bar, bar))
        if chance(random, 0.3):
            shape.box((0, between(random, 0.1, 0.6) * high, 0), (2 * half_x, 0.022, 2 * half_z))
    elif kind == "sled":
        bases.sled(shape, random, top.length * between(random, 0.7, 1.0), top.depth, high + 0.01)
    elif kind == "ends":
        high += 0.006
        at = top.length * between(random, 0.32, 0.48)
        for x in (-1, 1):
            corners = [(x * at, high - bar / 2, -half_z), (x * at, bar / 2, -half_z), (x * at, bar / 2, half_z),
                       (x * at, high - bar / 2, half_z), (x * at, high - bar / 2, -half_z)]  # fmt: skip
            path(shape, corners, bar, 0, flat=bar * between(random, 1.0, 2.5))
        shape.box((0, high - bar / 2, 0), (2 * at, bar, bar))
    elif kind == "c":
        high += 0.008
        for z in (-1, 1):
            at = z * half_z * 0.85
            corners = [(half_x * 0.9, high - bar / 2, at), (-half_x * 0.95, high - bar / 2, at),
                       (-half_x * 0.95, bar / 2, at), (half_x * 0.8, bar / 2, at)]  # fmt: skip
            path(shape, corners, bar, 0.03)
        shape.box((-half_x * 0.95, bar / 2, 0), (bar, bar, 2 * half_z * 0.85))
    elif kind == "hairpin":
        pin = bar * 0.5 + 0.01
        for x in (-1, 1):
            for z in (-1, 1):
                foot = np.array([x * half_x * 0.92, pin / 2, z * half_z * 0.9])
                for head in ((0.66, 0.9), (0.9, 0.55)):
                    shape.rod(foot, (x * half_x * head[0], high + 0.008, z * half_z * head[1]), pin)
    else:
        bases.crossed(shape, random, top.length * 0.94, top.depth * 0.9, high + 0.008, sideways=chance(random, 0.7))
    return shape
