"""Chairs on four legs: dining chairs, Windsor chairs, horseshoe backs, bar stools and wooden loungers.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural import bases
from jobs.training.procedural.backs import add_back
from jobs.training.procedural.joinery import LYING, cushion, finish, four_legs, leg_style, silhouette
from jobs.training.procedural.parts import between, chance, paint, tilt
from jobs.training.procedural.seating import Measures, add_arms, add_seat, measures, slats
from jobs.training.shape import Shape


def framed(random: Generator) -> Shape:
    """Four legs, the rear ones often going on as posts of the back; perhaps arms."""
    m = measures(random)
    if chance(random, 0.1):
        m.round, m.rear = True, 1.0
    if chance(random, 0.12):  # low and deep, or high
        m.height = between(random, 0.26, 0.38)
        m.width, m.depth = m.width + 0.1, m.depth + 0.1
    shape = Shape(color=finish(random))
    add_back(shape, random, m)
    _legs(shape, random, m)
    if chance(random, 0.45) and not m.round:
        add_arms(shape, random, m)
    if chance(random, 0.7):
        shape.color = paint(random)
    add_seat(shape, random, m)
    return shape


def _legs(shape: Shape, random: Generator, m: Measures, stretched: float = 0.4) -> None:
    leg = max(between(random, 0.024, 0.055), m.bar * 0.9)
    style = leg_style(random)
    rear = style
    if style.kind in ("turned", "cabriole") and chance(random, 0.7):
        rear = leg_style(random, str(random.choice(["straight", "sabre"])))
    if m.round:
        half_x, half_z = m.width * 0.36, m.depth * 0.36
        out = (between(random, 0, 0.2) * m.under, between(random, 0.0, 0.2) * m.under)
        four_legs(shape, random, half_x, half_z, m.under + 0.01, leg, style=style, splay=out)
        return
    apron = between(random, 0.03, 0.07) if chance(random, 0.35) else 0.0
    top = m.under + min(0.6 * m.thick, 0.05)
    if m.rear < 0.98:  # the rear legs stand closer
        splay = between(random, 0, 0.12) * m.under if chance(random, 0.6) else 0.0
        for z, half in ((-1, m.width / 2), (1, m.width / 2 * m.rear)):
            for x in (-1, 1):
                used, outward = (style, -0.4) if z < 0 else (rear, 1.0)
                head = np.array([x * (half - leg / 2), top, z * (m.depth / 2 - leg / 2)])
                toe = head * [1, 0, 1] + [0, 0, 0 if used.kind == "turned" else splay * outward]
                used.add(shape, head, toe, leg)
        if splay == 0 and {style.kind, rear.kind} <= {"straight", "tapered"} and chance(random, stretched):
            level = between(random, 0.15, 0.5) * m.under
            for x in (-1, 1):
                front = np.array([x * (m.width - leg) / 2, level, (leg - m.depth) / 2])
                shape.rod(front, (x * (m.width * m.rear - leg) / 2, level, (m.depth - leg) / 2), leg * 0.7)
        return
    half_x, half_z = m.width / 2, m.depth / 2
    four_legs(shape, random, half_x, half_z, top, leg, style=style, rear=rear, stretched=stretched)
    if apron:
        shape.box((0, m.under - apron / 2 + 0.004, 0), (m.width - leg * 0.9, apron + 0.01, m.depth - leg * 0.9))


def windsor(random: Generator) -> Shape:
    """A thick saddle seat on splayed legs under spindles, a bow or a fan; perhaps rockers."""
    m = measures(random, thick=between(random, 0.03, 0.05), rise=between(random, 0.4, 0.7), rear=1.0)
    shape = Shape(color=finish(random))
    add_back(shape, random, m, str(random.choice(["spindles", "spindles", "bow", "bow", "slats", "fan", "ladder"])))
    add_seat(shape, random, m, str(random.choice(["shaped", "dished", "flat"])))
    style = leg_style(random, str(random.choice(["tapered", "straight"])))
    rocking = chance(random, 0.45)
    splay = (between(random, 0.05, 0.16), between(random, 0.05, 0.2))
    half_x, half_z = m.width * 0.43, m.depth * 0.42
    four_legs(
        shape, random, half_x, half_z, m.under + 0.6 * m.thick, 0.034,
        style=style, splay=splay, stretched=0.8, floor=0.055 if rocking else 0.0,
    )  # fmt: skip
    if rocking:
        bases.rockers(shape, random, half_x + splay[0] / 2 - 0.017, half_z + splay[1] / 2)
    if chance(random, 0.5):
        add_arms(shape, random, m, str(random.choice(["post", "swept", "raked"])))
    return shape


def horseshoe(random: Generator) -> Shape:
    """A rail that is the back and both arms in one curve, on posts or spindles."""
    m = measures(random, width=between(random, 0.48, 0.64), lean=0.0, rise=between(random, 0.2, 0.36))
    m.depth, m.rear = m.width * between(random, 0.85, 1.0), 1.0
    shape = Shape(color=finish(random))
    rail = between(random, 0.026, 0.05)
    level, high = m.height + m.rise * between(random, 0.7, 1.0), m.height + m.rise
    half, rear = m.width / 2 + between(random, 0, 0.05), m.depth / 2 + between(random, 0.0, 0.06)
    tip = np.array([half, level, -m.depth / 2 * between(random, 0.1, 1.0)])
    side, back = np.array([half, (level + high) / 2, 0.0]), np.array([0, high, rear])
    corner = np.array([half, high, rear])
    for x in (-1, 1):
        flip = np.array([x, 1, 1])
        shape.rod(tip * flip, side * flip, rail)
        shape.tube(side * flip, corner * flip, back, rail)
    if chance(random, 0.3):  # a crest on it
        shape.box((0, high + 0.04, rear - 0.01), (m.width * 0.7, 0.1, rail), bend=1 / m.width, round=0.3 * rail)

    def on_rail(t: float) -> np.ndarray:
        return (1 - t) ** 2 * side + 2 * t * (1 - t) * corner + t * t * back

    stand = random.choice(["posts", "spindles", "panel", "splat"])
    post = between(random, 0.022, 0.035)
    for x in (-1, 1):
        flip = np.array([x, 1, 1])
        foot = np.array([m.width / 2 - post, m.under + 0.3 * m.thick, min(tip[2] + 0.05, 0.0)])
        shape.rod(foot * flip, (tip + np.array([0, 0, 0.03])) * flip, post)
        spots = {"posts": [0.45], "spindles": [0.0, 0.25, 0.45, 0.62, 0.8], "panel": [0.4], "splat": [0.35]}[str(stand)]
        for t in spots:
            head = on_rail(t)
            low = head * [0.88, 0, 0.84] + [0, m.under + 0.3 * m.thick, 0]
            low[0], low[2] = min(low[0], m.width / 2 - 0.03), min(low[2], m.depth / 2 - 0.03)
            shape.rod(low * flip, head * flip, post if len(spots) == 1 else 0.018)
    if stand in ("panel", "splat"):
        wide = m.width * (0.75 if stand == "panel" else between(random, 0.12, 0.3))
        bottom = m.under + (0 if stand == "splat" else between(random, 0.1, 0.16))
        z = m.depth / 2 - 0.015 if stand == "splat" else rear - 0.02
        tall = high - bottom
        shape.box((0, bottom + tall / 2, z), (wide, tall, 0.03), shear=(0, max(rear - 0.01 - z, 0)),
                  bend=0.8 / m.width if stand == "panel" else 0.0)  # fmt: skip
    shape.color = paint(random) if chance(random, 0.6) else shape.color
    add_seat(shape, random, m, str(random.choice(["flat", "soft", "shaped", "topped"])))
    if chance(random, 0.8):
        shape.color = finish(random)
        _legs(shape, random, m)
    else:
        bases.skirt(shape, random, m.width, m.depth, m.under + 0.01)
    return shape


def stool(random: Generator) -> Shape:
    """Bar stools on tall legs, their rails a foot rest; mostly with a low back."""
    m = measures(random, width=between(random, 0.32, 0.45), height=between(random, 0.58, 0.82))
    m.depth, m.rear, m.rise = m.width * between(random, 0.9, 1.1), 1.0, between(random, 0.12, 0.42)
    m.round = chance(random, 0.3)
    shape = Shape(color=finish(random))
    if chance(random, 0.8):
        add_back(shape, random, m)
    if chance(random, 0.3):
        shape.color = paint(random)
    on_sled = chance(random, 0.2)
    add_seat(shape, random, m, "soft" if on_sled else None)
    shape.color = finish(random)
    if on_sled:
        bases.sled(shape, random, m.width, m.depth, m.under + 0.012)
        return shape
    leg = between(random, 0.022, 0.042)
    splay = (between(random, 0, 0.12), between(random, 0, 0.12))
    inset = 0.8 if m.round else 1.0
    style, top = leg_style(random, str(random.choice(["straight", "tapered"]))), m.under + min(0.6 * m.thick, 0.05)
    half_x, half_z = m.width / 2 * inset, m.depth / 2 * inset
    four_legs(shape, random, half_x, half_z, top, leg, style=style, splay=splay, stretched=1.0)
    return shape


def draped(random: Generator) -> Shape:
    """Fully upholstered dining chairs: a padded seat and back in one, on short or long legs or a skirt."""
    m = measures(random, rear=1.0)
    m.thick, m.bar = between(random, 0.08, 0.18), between(random, 0.05, 0.11)
    shape = Shape(color=paint(random))
    add_back(shape, random, m, str(random.choice(["panel", "panel", "curved", "curved", "outlined", "oval", "scroll"])))
    add_seat(shape, random, m, str(random.choice(["soft", "soft", "topped", "flat", "fall"])))
    if chance(random, 0.25):
        add_arms(shape, random, m, str(random.choice(["panel", "swept", "post"])))
    shape.color = finish(random)
    if chance(random, 0.15):
        bases.skirt(shape, random, m.width, m.depth, m.under + 0.01)
    else:
        m.bar = between(random, 0.03, 0.055)
        _legs(shape, random, m, stretched=0.2)
    return shape


def crest_outline(random: Generator) -> Shape:
    """Chairs with a tall outlined board for a back, cut through: a ballroom, hall or children's chair."""
    m = measures(random, rise=between(random, 0.4, 0.75), lean=between(random, 0, 12))
    shape = Shape(color=finish(random))
    thick, span = between(random, 0.02, 0.045), m.span()
    shape.extrude(silhouette(random, m.width * m.rear, span), m.on_back(0, 0), thick, turn=tilt(m.lean))
    holes = int(random.integers(0, 4))
    for n in range(holes):
        center = m.on_back(0, span * (0.35 + 0.5 * (n + 0.5) / holes))
        wide, tall = m.width * between(random, 0.12, 0.4), span * between(random, 0.15, 0.35) / holes
        shape.box(center, (wide, 4 * thick, tall), turn=tilt(m.lean) @ LYING, exponent=2.0, cut=True)
    add_seat(shape, random, m)
    _legs(shape, random, m)
    if chance(random, 0.3):
        add_arms(shape, random, m)
    return shape


def lounge(random: Generator) -> Shape:
    """A low wooden frame with a thick seat cushion and back cushion, and wooden arms."""
    m = measures(random, width=between(random, 0.52, 0.7), height=between(random, 0.34, 0.44), rear=1.0)
    m.depth, m.thick, m.lean = between(random, 0.52, 0.7), between(random, 0.03, 0.06), between(random, 10, 26)
    m.rise = between(random, 0.34, 0.55)
    shape = Shape(color=finish(random))
    add_back(shape, random, m, str(random.choice(["slats", "ladder", "panel", "spindles", "floating"])))
    (slats if chance(random, 0.4) else _plain_seat)(shape, random, m)
    leg = between(random, 0.03, 0.05)
    four_legs(shape, random, m.width / 2, m.depth / 2, m.under + 0.02, leg, stretched=0.25,
              style=leg_style(random, str(random.choice(["straight", "tapered"]))))  # fmt: skip
    if chance(random, 0.85):
        add_arms(shape, random, m, str(random.choice(["post", "post", "raked", "swept"])))
    shape.color = paint(random)
    soft = between(random, 0.07, 0.14)
    cushion(shape, random, (0, m.height + soft / 2 - 0.01, -0.02), (m.width * 0.9, soft, m.depth * 0.92))
    if chance(random, 0.85):
        low, back = soft, between(random, 0.06, 0.13)
        span = m.span()
        cushion(shape, random, m.on_back(0, (low + span) / 2, -m.bar / 2 - back / 2 + 0.01),
                (m.width * 0.88, span - low * 0.8, back), turn=tilt(m.lean))  # fmt: skip
    return shape


def _plain_seat(shape: Shape, random: Generator, m: Measures) -> None:
    add_seat(shape, random, m, "flat")
