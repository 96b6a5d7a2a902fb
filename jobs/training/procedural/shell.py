"""Shells to sit in: tubs, bowls, eggs and moulded seats whose back and seat are one surface.

Works on: shapes being put together, in metres. Knows nothing about what carries the shell.

All but the moulded one are cut out, so they are the first thing made of a piece of furniture.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.joinery import LYING
from jobs.training.procedural.parts import between, chance, paint, tilt
from jobs.training.shape import Shape


def below(shape: Shape, level: float, z: float, degrees: float) -> None:
    """Keeps what is below a plane through (0, `level`, `z`) that rises to the rear by so many degrees."""
    turn = tilt(-degrees)
    shape.box(np.array([0, level, z]) + turn @ [0, 2, 0], (8, 4, 12), turn=turn, cut=True)


def tub(shape: Shape, random: Generator, width: float, depth: float, under: float, seat: float, soft: float) -> None:
    """A wall around the sitter, round or rounded in plan, from `under` up, and a cushion that reaches up to `seat`."""
    wall = between(random, 0.04, 0.15)
    tall = seat - under + between(random, 0.22, 0.45)
    section = float(random.choice([2.0, 2.0, 4.0]))
    flare = between(random, 0, 0.2)
    flip = tilt(180, "z")  # wider above
    shape.box((0, under + tall / 2, 0), (width, tall, depth), exponent=section, turn=flip, taper=(flare, flare),
              round=wall * between(random, 0.05, 0.4))  # fmt: skip
    shape.box((0, seat - 0.05 + tall / 2, 0), (width - 2 * wall, tall, depth - 2 * wall), exponent=section, cut=True)
    opened = chance(random, 0.65)
    if opened:
        gap = width - 2 * wall * between(random, 0.9, 1.5)
        shape.box((0, seat + 0.45, -depth / 2), (gap, 1, depth * between(random, 0.4, 0.9)), cut=True)
    if not opened or chance(random, 0.6):
        below(shape, seat + between(random, 0.06, 0.2), -depth * 0.35, between(random, 8, 45))
    shape.color = paint(random) if chance(random, 0.3) else shape.color
    inside = 1 - flare * (seat - under) / tall  # the wall's narrower foot
    shape.box((0, seat - soft * 0.6, 0), ((width - wall) * min(1, inside + 0.1), soft * 1.2, (depth - wall) * inside),
              exponent=section, round=0.35 * soft)  # fmt: skip


def bowl(shape: Shape, random: Generator, width: float, depth: float, under: float) -> float:
    """A hollow ellipsoid cut open by a leaning plane: a bowl, a ball or an egg. Answers the floor's thickness."""
    wall = between(random, 0.022, 0.05)
    egg = chance(random, 0.3)
    tall = between(random, 0.95, 1.3) if egg else between(random, 0.6, 0.95)
    lean = tilt(between(random, 0, 20))
    center, size = np.array([0, under + tall / 2, 0.0]), np.array([width, tall, depth])
    exponent = float(random.choice([2.0, 2.0, 4.0]))
    shape.ellipsoid(center, size, exponent=exponent, turn=lean)
    shape.ellipsoid(center - [0, 0, 0.01], size - 2 * wall, exponent=exponent, turn=lean, cut=True)
    if egg:
        below(shape, under + tall * between(random, 0.35, 0.5), -depth * 0.12, between(random, 60, 80))
    else:
        below(shape, under + tall * between(random, 0.3, 0.42), -depth * 0.1, between(random, 12, 55))
    shape.color = paint(random) if chance(random, 0.5) else shape.color
    seat, pad = between(random, 0.14, 0.26), between(random, 0.03, 0.08)
    across = (1 - (1 - 2 * seat) ** exponent) ** (1 / exponent)
    if chance(random, 0.75):
        shape.box((0, under + seat * tall, 0), (width * across - wall, pad + 0.04, depth * across - wall),
                  exponent=exponent, turn=lean, round=0.4 * pad)  # fmt: skip
    return wall


def moulded(shape: Shape, random: Generator, width: float, depth: float, under: float) -> None:
    """One sheet: a dished seat that turns up into a curved back, perhaps with sides that rise into arms."""
    sheet, rise = between(random, 0.018, 0.04), between(random, 0.3, 0.5)
    lean, dish = between(random, 6, 24), between(random, 0.3, 1.4)
    turn, seat = tilt(lean), under + sheet / 2 + between(random, 0.0, 0.02)
    edge, soft = 0.45 * sheet, between(random, 0.05, 0.16)
    slope = tilt(between(random, 0, 8))
    shape.box((0, seat, 0), (width, depth, sheet), turn=slope @ LYING, bend=dish, round=edge)
    foot = np.array([0, seat - sheet, depth / 2 - 0.03])
    wide = width * between(random, 0.85, 1.1)
    flip = tilt(180, "z") if chance(random, 0.3) else np.eye(3)
    shape.box(foot + turn @ [0, rise / 2, 0], (wide, rise, sheet), turn=turn @ flip, round=edge, blend=soft,
              bend=between(random, 0.6, 2.4), taper=(between(random, 0, 0.35), 0))  # fmt: skip
    if chance(random, 0.35):  # a gap above the seat, as in moulded plywood
        shape.box(foot + turn @ [0, rise * 0.3, 0], (wide * 0.55, rise * between(random, 0.15, 0.35), 0.3), turn=turn,
                  cut=True)  # fmt: skip
    elif chance(random, 0.55):  # arms of the same sheet
        high, out = between(random, 0.12, 0.24), between(random, 2, 20)
        for x in (-1, 1):
            side = tilt(x * -out, "z")
            center = np.array([x * (width / 2 - 0.005), seat, depth * 0.08]) + side @ [0, high / 2, 0]
            shape.box(center, (sheet, high, depth * between(random, 0.75, 0.9)), turn=side, taper=(0, 0.25), blend=soft,
                      shear=(0, depth * 0.1), round=edge)  # fmt: skip
    if chance(random, 0.5):  # the front edge falls
        shape.box((0, seat - 0.02, -depth / 2 + 0.01), (width * 0.92, sheet, 0.09), turn=tilt(-35), blend=soft / 2,
                  round=edge)  # fmt: skip
    if chance(random, 0.25):
        shape.color = paint(random)
        shape.box((0, seat + sheet / 2 + 0.01, -0.01), (width * 0.8, 0.035, depth * 0.8), round=0.012)
