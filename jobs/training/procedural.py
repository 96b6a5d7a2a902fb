"""Endless made-up objects of a few categories, from a seed.

Works on: families of real objects, each a program that puts solid primitives together with random proportions.
Knows nothing about pictures, points or networks.

Every program builds with +Y up and the front towards −Z, in units that suit it; `sample` normalises. The same
category and seed always give the same object, on any machine.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.random import Generator

from jobs.training.solids import Shape


def sample(category: str, seed: int) -> Shape:
    """The object number `seed` of a category in `CATEGORIES`, in the project's frame."""
    random = np.random.default_rng([seed, *category.encode()])
    return CATEGORIES[category](random).normalised()


def _between(random: Generator, low: float, high: float) -> float:
    return float(random.uniform(low, high))


def _chance(random: Generator, share: float) -> bool:
    return bool(random.random() < share)


def _paint(random: Generator) -> tuple[float, float, float]:
    """A plausible surface colour: mostly muted, from dark to light."""
    value = random.uniform(0.25, 0.95)
    tint = random.uniform(-1, 1, 3) * random.choice([0.04, 0.12, 0.3])
    red, green, blue = np.clip(value + tint * value, 0.08, 1)
    return float(red), float(green), float(blue)


def _tilt(degrees: float, axis: str = "x") -> np.ndarray:
    """Rotation matrix about an axis."""
    c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    if axis == "x":
        return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
    if axis == "y":
        return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]])


def _four_legs(shape: Shape, random: Generator, half_x: float, half_z: float, top: float, thickness: float) -> None:
    """Legs at the corners of a rectangle, from `top` down to 0: straight, tapered or splayed, square or round."""
    square = _chance(random, 0.6)
    exponent = np.inf if square else 2.0
    foot = thickness * (_between(random, 0.5, 0.9) if _chance(random, 0.4) else 1.0)
    splay = _between(random, 0.05, 0.16) * top if _chance(random, 0.35) else 0.0
    for x in (-1, 1):
        for z in (-1, 1):
            head = (
                x * (half_x - thickness / 2 - splay * 0.3),
                top,
                z * (half_z - thickness / 2 - splay * 0.3),
            )
            toe = (
                x * (half_x - thickness / 2 + splay * 0.5),
                0.0,
                z * (half_z - thickness / 2 + splay * 0.5),
            )
            shape.rod(head, toe, thickness, end_thickness=foot, exponent=exponent)
    if _chance(random, 0.3):  # a stretcher on each side
        level = _between(random, 0.2, 0.5) * top
        for x in (-1, 1):
            reach = half_x - thickness / 2
            shape.box((x * reach, level, 0), (thickness * 0.6, thickness * 0.6, 2 * half_z - thickness))


def chair(random: Generator) -> Shape:
    """Dining chairs, armchairs, office chairs, cantilevers and sofa-like blocks."""
    if _chance(random, 0.15):
        return _armchair(random)
    shape = Shape(color=_paint(random))
    width, depth = _between(random, 0.40, 0.56), _between(random, 0.38, 0.54)
    seat_height, seat = _between(random, 0.38, 0.50), _between(random, 0.035, 0.09)
    leg = _between(random, 0.035, 0.06)
    kind = random.choice(["legs", "legs", "legs", "pedestal", "sled", "skirt"])
    if kind == "legs":
        _four_legs(shape, random, width / 2, depth / 2, seat_height, leg)
    elif kind == "pedestal":
        shape.rod((0, 0.03, 0), (0, seat_height, 0), _between(random, 0.05, 0.09))
        spread = _between(random, 0.22, 0.30)
        if _chance(random, 0.5):
            shape.rod((0, 0, 0), (0, 0.04, 0), 2 * spread, end_thickness=spread * _between(random, 0.8, 2))
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
    shape.color = _paint(random)
    rounded = _chance(random, 0.3)
    shape.box((0, seat_height, 0), (width, seat, depth), exponent=4.0 if rounded else np.inf)

    back = _between(random, 0.36, 0.58)
    lean = _between(random, 2, 14)
    thick = _between(random, 0.03, 0.06)
    turn = _tilt(lean)
    foot = np.array([0, seat_height, depth / 2 - thick / 2])

    def on_back(x: float, height: float) -> np.ndarray:
        return foot + turn @ np.array([x, height, 0])

    style = random.choice(["panel", "panel", "round", "slats", "ladder", "floating"])
    if style == "panel":
        shape.box(on_back(0, back / 2), (width, back, thick), turn=turn, taper=(_between(random, 0, 0.25), 0))
    elif style == "round":
        shape.box(
            on_back(0, back * 0.5),
            (width, thick, back),
            turn=turn @ _tilt(90),
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
            part = _between(random, 0.4, 0.65)
            shape.box(on_back(0, back * (1 - part / 2)), (width, back * part, thick), turn=turn)
    if _chance(random, 0.3):
        rise, width_of_arm = _between(random, 0.18, 0.26), _between(random, 0.035, 0.06)
        for x in (-1, 1):
            side = x * (width / 2 - width_of_arm / 2 + 0.01)
            shape.box((side, seat_height + rise, 0), (width_of_arm, width_of_arm, depth))
            shape.box((side, seat_height + rise / 2, -depth / 2 + width_of_arm), (width_of_arm, rise, width_of_arm))
    return shape


def _armchair(random: Generator) -> Shape:
    shape = Shape(color=_paint(random))
    width, depth = _between(random, 0.6, 1.1), _between(random, 0.55, 0.75)
    seat, arm = _between(random, 0.28, 0.4), _between(random, 0.09, 0.18)
    lift = _between(random, 0.0, 0.1)
    shape.box((0, lift + (seat - lift) / 2, 0), (width, seat - lift, depth))
    arm_height = seat + _between(random, 0.12, 0.24)
    for x in (-1, 1):
        shape.box((x * (width - arm) / 2, lift + (arm_height - lift) / 2, 0), (arm, arm_height - lift, depth))
    back = arm_height + _between(random, 0.05, 0.3)
    thick = _between(random, 0.12, 0.2)
    shape.box(
        (0, lift + (back - lift) / 2, (depth - thick) / 2),
        (width, back - lift, thick),
        taper=(0, _between(random, 0, 0.4)),
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


def table(random: Generator) -> Shape:
    """Dining tables, desks, coffee and side tables."""
    shape = Shape(color=_paint(random))
    height, thick = _between(random, 0.35, 0.8), _between(random, 0.03, 0.08)
    length = _between(random, 0.6, 1.5)
    depth = length if _chance(random, 0.25) else _between(random, 0.45, 0.95) * min(length, 1.0)
    round_top = _chance(random, 0.3)
    exponent = random.choice([2.0, 4.0]) if round_top else np.inf
    shape.box((0, height - thick / 2, 0), (length, thick, depth), exponent=exponent)
    under = height - thick
    inset = 0.68 if round_top and exponent == 2.0 else _between(random, 0.85, 1.0)
    shape.color = _paint(random) if _chance(random, 0.6) else shape.color
    kind = random.choice(["legs", "legs", "legs", "pedestal", "panels", "trestle", "desk"])
    if round_top and kind in ("panels", "desk"):
        kind = "pedestal"
    leg = _between(random, 0.045, 0.09)
    if kind == "legs":
        _four_legs(shape, random, length / 2 * inset, depth / 2 * inset, under + 0.01, leg)
        if _chance(random, 0.4):
            apron = _between(random, 0.06, 0.12)
            shape.box((0, under - apron / 2, 0), (length * inset * 0.94, apron, depth * inset * 0.94))
        if _chance(random, 0.2):
            level = _between(random, 0.2, 0.5) * under
            shape.box((0, level, 0), (length * inset * 0.95, 0.035, depth * inset * 0.95))
    elif kind == "pedestal":
        shape.rod((0, 0, 0), (0, under + 0.01, 0), _between(random, 0.08, 0.16))
        foot = _between(random, 0.5, 0.8) * min(length, depth)
        shape.rod((0, 0, 0), (0, 0.05, 0), foot, end_thickness=foot * _between(random, 0.4, 1))
    elif kind == "panels":
        for x in (-1, 1):
            shape.box((x * (length * inset - leg) / 2, under / 2, 0), (leg, under, depth * inset))
        if _chance(random, 0.4):
            shape.box((0, _between(random, 0.2, 0.6) * under, 0), (length * inset, 0.04, depth * inset))
    elif kind == "trestle":
        for x in (-1, 1):
            side = x * length * 0.36
            shape.box((side, under / 2, 0), (leg, under, leg * 1.6))
            shape.box((side, 0.03, 0), (leg, 0.06, depth * 0.85))
            shape.box((side, under - 0.025, 0), (leg, 0.05, depth * 0.7))
        shape.box((0, under * _between(random, 0.25, 0.5), 0), (length * 0.72, leg, leg * 0.7))
    else:
        side = _between(random, 0.24, 0.34) * length
        shape.box((length / 2 * 0.97 - side / 2, under / 2 + 0.02, 0), (side, under - 0.02, depth * 0.92))
        if _chance(random, 0.4):
            shape.box((-length / 2 * 0.97 + side / 2, under / 2 + 0.02, 0), (side, under - 0.02, depth * 0.92))
        else:
            shape.box((-length / 2 * 0.97 + leg / 2, under / 2, 0), (leg, under, depth * 0.92))
    return shape


def car(random: Generator) -> Shape:
    """Sedans, hatchbacks, estates, vans, pick-ups and sports cars; the front is at −Z."""
    kind = random.choice(["sedan", "sedan", "hatchback", "estate", "van", "pickup", "sports"])
    length = _between(random, 4.2, 5.0) - (0.6 if kind == "hatchback" else 0)
    width, radius = _between(random, 1.7, 1.95), _between(random, 0.31, 0.38)
    floor = _between(random, 0.2, 0.32)
    belt = {"sports": _between(random, 0.75, 0.85), "van": _between(random, 0.95, 1.1)}.get(
        kind, _between(random, 0.82, 0.98)
    )
    roof = belt + {"sports": _between(random, 0.33, 0.42), "van": _between(random, 0.8, 1.1)}.get(
        kind, _between(random, 0.48, 0.68)
    )
    shape = Shape(color=_paint(random))
    nose, tail = -length / 2, length / 2
    hood = belt - _between(random, 0.05, 0.2)
    rounded = random.choice([4.0, np.inf])

    def block(low: float, high: float, front: float, back: float, wide: float, **options: Any) -> None:
        shape.box((0, (low + high) / 2, (front + back) / 2), (wide, high - low, back - front), **options)

    windscreen = nose + length * _between(random, 0.26, 0.34)
    trunk = {"sedan": 0.18, "sports": 0.16, "pickup": 0.42, "hatchback": 0.02, "estate": 0.02, "van": 0.01}[kind]
    rear = tail - length * trunk * _between(random, 0.8, 1.1)
    if kind == "van":
        windscreen = nose + length * _between(random, 0.05, 0.16)
    block(floor, hood, nose, tail, width, taper=(0.06, 0.03), exponent=rounded)
    block(
        hood - 0.1,
        belt,
        windscreen - 0.25,
        tail if kind != "pickup" else rear,
        width * 0.97,
        taper=(0.05, 0.05),
    )
    if kind == "pickup":
        side = 0.12
        for x in (-1, 1):
            shape.box(
                (x * (width * 0.97 - side) / 2, (hood + belt) / 2 - 0.03, (rear + tail) / 2),
                (side, belt - hood + 0.14, tail - rear),
            )
        block(hood - 0.1, belt + 0.02, tail - 0.14, tail, width * 0.95)
    cabin = rear - windscreen
    rake = _between(random, 0.1, 0.3) if kind in ("van", "pickup") else _between(random, 0.3, 0.55)
    slope = rake + (0.25 if kind == "sports" else 0)
    back_rake = {"sedan": 0.5, "sports": 0.7}.get(kind, _between(random, 0.05, 0.3))
    shrink = min((slope + back_rake) * (roof - belt) / cabin * 1.6, 0.75)
    shift = (slope - back_rake) * (roof - belt) * 0.8
    shape.color = tuple(0.5 * np.asarray(shape.color) + 0.05) if _chance(random, 0.5) else shape.color
    block(
        belt - 0.05, roof, windscreen, rear, width * 0.92,
        taper=(_between(random, 0.12, 0.28), shrink), shear=(0, shift), exponent=rounded,
    )  # fmt: skip
    shape.color = (0.15, 0.15, 0.16)
    axles = (nose + length * _between(random, 0.17, 0.21), tail - length * _between(random, 0.17, 0.23))
    thickness = _between(random, 0.2, 0.28)
    for z in axles:
        for x in (-1, 1):
            outside = x * (width / 2 + 0.02)
            shape.rod((outside, radius, z), (outside - x * thickness, radius, z), 2 * radius)
    if kind == "sports" and _chance(random, 0.5):
        shape.color = _paint(random)
        shape.box((0, belt + 0.16, tail - 0.15), (width * 0.9, 0.05, 0.25))
        for x in (-1, 1):
            shape.box((x * width * 0.35, belt + 0.05, tail - 0.15), (0.06, 0.2, 0.12))
    return shape


def airplane(random: Generator) -> Shape:
    """Airliners, light propeller planes, gliders and jets with swept or delta wings; the nose is at −Z."""
    kind = random.choice(["liner", "liner", "liner", "light", "fighter"])
    shape = Shape(color=_paint(random))
    length = 10.0
    body = _between(random, 0.9, 1.25) if kind != "fighter" else _between(random, 0.8, 1.1)
    nose, tail = -length / 2, length / 2
    front, rear = nose + body * _between(random, 0.8, 1.6), tail - length * _between(random, 0.25, 0.4)
    shape.rod((0, 0, front), (0, 0, rear), body)
    shape.ellipsoid((0, 0, front), (body, body, 2 * (front - nose)))
    shape.rod((0, 0, rear), (0, body * 0.2, tail), body, end_thickness=body * _between(random, 0.2, 0.4))

    def wing(
        root: tuple[float, float, float],
        chord: float,
        span: float,
        sweep: float,
        tip: float,
        thick: float,
        dihedral: float,
    ) -> None:
        """A wing from the body to +X, built standing and then laid down; `tip` is the share of the chord left."""
        lay = _tilt(-90 + dihedral, "z")
        center = np.asarray(root) + lay @ np.array([0, span / 2, sweep / 2])
        shape.box(
            center,
            (thick, span, chord),
            taper=(0.4, 1 - tip),
            shear=(0, sweep),
            turn=lay,
            exponent=random.choice([2.0, np.inf]),
        )

    if _chance(random, 0.4):
        shape.color = _paint(random)
    thick = _between(random, 0.26, 0.42)  # stout, so that a 64³ lattice holds them
    wing_z = _between(random, -0.6, 0.7)
    if kind == "light":
        level = body * random.choice([-0.35, 0.45])
        chord, span, sweep, tip = (
            _between(random, 1.3, 1.8),
            _between(random, 4.2, 5.6),
            _between(random, -0.2, 0.3),
            _between(random, 0.6, 1),
        )
    elif kind == "fighter":
        level = body * _between(random, -0.2, 0.1)
        chord, span, sweep, tip = (
            _between(random, 3.2, 4.6),
            _between(random, 2.6, 3.6),
            _between(random, 1.4, 2.2),
            _between(random, 0.1, 0.3),
        )
        wing_z += 0.8
    else:
        level = body * _between(random, -0.35, -0.1)
        chord, span, sweep, tip = (
            _between(random, 1.8, 2.6),
            _between(random, 4.0, 5.4),
            _between(random, 1.2, 2.8),
            _between(random, 0.25, 0.45),
        )
    dihedral = _between(random, 0, 7)
    wing((0.1, level, wing_z), chord, span, sweep, tip, thick, dihedral)
    engines = int(random.choice([1, 1, 2])) if kind == "liner" else 0
    for engine in range(engines):
        along = (0.32 if engines == 1 else 0.28 + 0.28 * engine) * span
        size = body * _between(random, 0.38, 0.5)
        z = wing_z + sweep * along / span - chord * 0.45
        drop = level - size * 0.6 + along * np.sin(np.radians(dihedral))
        shape.rod((along, drop, z - 0.5), (along, drop, z + 0.7), size, end_thickness=size * 0.75)
    tail_chord = _between(random, 1.0, 1.4)
    high_tail = kind == "liner" and _chance(random, 0.2)
    fin = _between(random, 1.4, 2.0)
    tail_level = body * 0.2 + (fin * 0.95 if high_tail else 0)
    tail_shift = 0.8 if high_tail else 0.0
    wing(
        (0.02, tail_level, tail - tail_chord * 0.6 + tail_shift),
        tail_chord,
        _between(random, 1.6, 2.1),
        _between(random, 0.4, 1.0),
        0.5,
        thick * 0.8,
        2,
    )
    shape.mirrored(0)
    if _chance(random, 0.5):
        shape.color = _paint(random)
    rake = _between(random, 0.6, 1.2)
    shape.box(
        (0, body * 0.1 + fin / 2, tail - tail_chord * 0.7 + rake / 2), (thick * 0.9, fin, tail_chord * 1.3),
        taper=(0.3, 0.5), shear=(0, rake),
    )  # fmt: skip
    if kind == "light":
        shape.rod((0, 0, nose - 0.05), (0, 0, nose + 0.1), _between(random, 0.3, 0.4))
        shape.box((0, 0, nose), (0.25, 2.2, 0.12), turn=_tilt(_between(random, 0, 180), "z"))
    if kind == "fighter" or _chance(random, 0.3):
        shape.ellipsoid((0, body * 0.45, nose + 2.3), (body * 0.6, body * 0.55, 1.9))
    return shape


CATEGORIES: dict[str, Callable[[Generator], Shape]] = {
    "airplane": airplane,
    "car": car,
    "chair": chair,
    "table": table,
}
