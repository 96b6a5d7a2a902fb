"""Desks and workbenches: tops on cupboards, drawers and boards.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.joinery import finish, four_legs, leg_style
from jobs.training.procedural.parts import between, chance
from jobs.training.procedural.tabletop import add_drawers
from jobs.training.shape import Shape


def cupboard_desk(random: Generator) -> Shape:
    """A writing desk: drawers on one side or both, or legs on one; perhaps a hutch above."""
    shape = Shape(color=finish(random))
    length, depth, height = between(random, 0.9, 1.9), between(random, 0.45, 0.85), between(random, 0.7, 0.8)
    thick, board = between(random, 0.02, 0.05), between(random, 0.022, 0.05)
    under = height - thick
    shape.box((0, height - thick / 2, 0), (length, thick, depth))
    if chance(random, 0.35):
        shape.color = finish(random)
    wide, deep = between(random, 0.22, 0.34) * length, depth * between(random, 0.85, 0.97)
    lift = between(random, 0.03, 0.15) if chance(random, 0.5) else 0.0
    sides: list[int] = list(random.choice([[-1, 1], [-1, 0], [0, 1], [0, 0]]))
    overhang = between(random, 0.0, 0.04)
    rows = int(random.integers(1, 5))
    for place, side in zip((-1, 1), sides, strict=True):
        if side:
            at = place * (length / 2 - overhang - wide / 2)
            tall = under - lift if chance(random, 0.8) else 0.45 * under
            shape.box((at, under - tall / 2 + 0.004, 0), (wide, tall, deep))
            add_drawers(shape, random, np.array([at, under - tall / 2, -deep / 2]), wide * 0.94, tall * 0.95, rows=rows)
            if under - tall > 0.01:
                for x in (-1, 1):
                    for z in (-1, 1):
                        foot = np.array([at + x * (wide / 2 - 0.03), 0, z * (deep / 2 - 0.03)])
                        shape.rod(foot, foot + np.array([0, under - tall + 0.01, 0]), 0.04, exponent=np.inf)
        elif chance(random, 0.5):
            shape.box((place * (length / 2 - overhang - board / 2), under / 2, 0), (board, under + 0.01, deep))
        else:
            style = leg_style(random, str(random.choice(["straight", "tapered", "turned"])))
            for z in (-1, 1):
                foot = np.array([place * (length / 2 - overhang - board), 0, z * (deep / 2 - board)])
                style.add(shape, foot + np.array([0, under + 0.01, 0]), foot, between(random, 0.035, 0.06))
    if chance(random, 0.5):
        low = between(random, 0.1, 0.6) * under
        shape.box((0, (low + under) / 2, deep / 2 - 0.03), (length - 2 * overhang - board, under - low + 0.01, 0.024))
    elif chance(random, 0.5):
        apron = between(random, 0.06, 0.12)
        shape.box((0, under - apron / 2 + 0.004, 0), (length - 2 * overhang - 2 * board, apron, deep * 0.9))
    if chance(random, 0.2):
        _hutch(shape, random, length, depth, height)
    return shape


def _hutch(shape: Shape, random: Generator, length: float, depth: float, height: float) -> None:
    rise, deep, board = between(random, 0.15, 0.6), between(random, 0.18, 0.3), 0.026
    z = depth / 2 - deep / 2
    bays = int(random.integers(1, 4))
    for n in range(bays + 1):
        x = (length - board) * (n / bays - 0.5)
        shape.box((x, height + rise / 2 - 0.004, z), (board, rise, deep))
    shape.box((0, height + rise, z), (length, board, deep))
    if rise > 0.35:
        shape.box((0, height + rise * 0.55, z), (length, 0.022, deep))
    if chance(random, 0.5):
        shape.box((0, height + rise / 2, depth / 2 - 0.012), (length, rise, 0.024))


def corner_desk(random: Generator) -> Shape:
    """An L: a desk and its return, on boards or legs."""
    shape = Shape(color=finish(random))
    length, depth, height = between(random, 1.3, 1.9), between(random, 0.5, 0.7), between(random, 0.7, 0.78)
    ahead, thick = between(random, 0.5, 1.1), between(random, 0.025, 0.04)
    side, wide = int(random.choice([-1, 1])), between(random, 0.45, 0.65)
    under = height - thick
    shape.box((0, height - thick / 2, 0), (length, thick, depth))
    at = side * (length - wide) / 2
    shape.box((at, height - thick / 2, -depth / 2 - ahead / 2 + 0.01), (wide, thick, ahead + 0.02))
    board = between(random, 0.025, 0.05)
    front = -depth / 2 - ahead + board
    legged = chance(random, 0.4)
    spots = [(-side * (length - board) / 2, 0.0, depth * 0.95), (side * (length - board) / 2, 0.0, depth * 0.95)]
    for x, z, deep in spots:
        if legged:
            for end in (-1, 1):
                shape.box((x - np.sign(x) * 0.02, under / 2, z + end * deep * 0.46), (0.05, under + 0.01, 0.05))
        else:
            shape.box((x, under / 2, z), (board, under + 0.01, deep))
    if legged:
        for end in (-1, 1):
            shape.box((at + end * (wide / 2 - 0.04), under / 2, front), (0.05, under + 0.01, 0.05))
    else:
        shape.box((at, under / 2, front), (wide * 0.97, under + 0.01, board))
    if chance(random, 0.6):
        drop = between(random, 0.3, 0.6)
        shape.box((0, under - drop / 2 + 0.005, depth / 2 - 0.03), (length - board, drop + 0.01, 0.026))
    if chance(random, 0.5):
        tall = under - 0.03
        z = -depth / 2 - ahead * 0.55
        shape.box((at, under - tall / 2 + 0.004, z), (wide * 0.85, tall, min(ahead * 0.8, 0.5)))
    if chance(random, 0.3):
        _hutch(shape, random, length, depth, height)
    return shape


def workbench(random: Generator) -> Shape:
    """A thick top on stout legs with a shelf; perhaps a vice, drawers or a wall of tools behind."""
    shape = Shape(color=finish(random))
    length, depth, height = between(random, 1.0, 2.0), between(random, 0.5, 0.8), between(random, 0.75, 0.95)
    thick, leg = between(random, 0.05, 0.12), between(random, 0.07, 0.12)
    under = height - thick
    shape.box((0, height - thick / 2, 0), (length, thick, depth))
    half_x, half_z = length / 2 * between(random, 0.85, 1.0), depth / 2 * between(random, 0.85, 1.0)
    style = leg_style(random, "straight")
    four_legs(shape, random, half_x, half_z, under + 0.01, leg, style=style, splay=(0, 0), stretched=0.5)
    if chance(random, 0.7):
        shape.box((0, between(random, 0.12, 0.35) * under, 0), (2 * half_x - leg, 0.04, 2 * half_z - leg * 0.6))
    if chance(random, 0.4):
        shape.box((length * 0.3, height - 0.05, -depth / 2 - 0.05), (0.24, 0.12, 0.1))
    if chance(random, 0.4):
        tall = between(random, 0.14, 0.22)
        wide = (2 * half_x - 2 * leg) * between(random, 0.5, 1.0)
        shape.box((0, under - tall / 2 + 0.005, 0), (2 * half_x - leg, tall, depth * 0.85))
        add_drawers(shape, random, np.array([0, under - tall / 2, -depth * 0.425]), wide, tall * 0.9, rows=1, columns=2)
    if chance(random, 0.35):
        rise = between(random, 0.2, 0.7)
        shape.box((0, height + rise / 2 - 0.01, depth / 2 - 0.02), (length, rise, 0.035))
        if chance(random, 0.5):
            shape.box((0, height + rise * 0.7, depth / 2 - 0.1), (length, 0.03, 0.18))
    return shape
