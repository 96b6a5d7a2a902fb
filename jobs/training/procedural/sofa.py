"""Sofas of one to four seats, corner sofas, chaises and day beds; also upholstered armchairs.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.joinery import SIDEWAYS, cushion, finish, path
from jobs.training.procedural.parts import between, chance, paint, tilt
from jobs.training.procedural.shell import tub
from jobs.training.procedural.upholstery import Upholstery, add_body, add_feet, upholstery
from jobs.training.shape import Shape


def sofa(random: Generator) -> Shape:
    """Any sofa; the front is at −Z."""
    kind = random.choice(
        ["straight", "corner", "chaise", "daybed", "frame", "curved", "boxed"],
        p=[0.56, 0.12, 0.06, 0.05, 0.1, 0.05, 0.06],
    )
    seats = int(random.choice([1, 2, 2, 3, 3, 3, 4]))
    if kind == "chaise":
        return _chaise(random)
    if kind == "daybed":
        return _daybed(random, seats)
    if kind == "curved":
        return _curved(random, max(seats, 2))
    if kind == "frame":
        return _on_frame(random, seats)
    u = upholstery(random, max(seats, 2) if kind == "corner" else seats)
    shape = Shape(color=paint(random))
    if kind == "boxed":  # back and arms of one height, thin
        u.top = u.arm_top = between(random, 0.6, 0.78)
        u.arm = u.thick = between(random, 0.06, 0.16)
        u.lean = 0.0
    add_body(shape, random, u, corner=kind == "corner")
    return shape


def club(random: Generator) -> Shape:
    """Armchairs: club, wing and barrel chairs."""
    u = upholstery(random, 1)
    shape = Shape(color=paint(random))
    if u.arm == 0 and chance(random, 0.8):
        u.arm = between(random, 0.06, 0.2)
        u.width += 2 * u.arm
    kind = random.choice(["club", "club", "club", "wing", "wing", "barrel", "barrel"])
    if kind == "barrel":
        u.width, u.depth = max(u.width, 0.62), max(u.depth, 0.6)
        tub(shape, random, u.width, u.depth, u.lift, u.seat, u.soft)
        u.width, u.depth = u.width * 0.78, u.depth * 0.78
        add_feet(shape, random, u)
        return shape
    if kind == "wing":
        u.top = between(random, 0.9, 1.2)
        u.arm_top = u.seat + between(random, 0.14, 0.24)
        u.lift = between(random, 0.08, 0.2)
        u.lean = between(random, 4, 14)
    add_body(shape, random, u, wing=kind == "wing")
    return shape


def _curved(random: Generator, seats: int) -> Shape:
    """A sofa bent around its sitters."""
    u = upholstery(random, seats)
    shape = Shape(color=paint(random))
    curve = between(random, 0.3, 0.8) / u.width
    low = u.lift
    deep = u.depth - u.thick
    shape.box((0, (low + u.seat) / 2, 0), (u.width, u.seat - low, u.depth), bend=curve, round=0.04)
    tall = u.top - low
    outward = u.depth / 2 - u.thick / 2
    shape.box((0, low + tall / 2, outward), (u.width * (1 + outward * curve), tall, u.thick),
              bend=curve / (1 + outward * curve), round=u.thick * between(random, 0.1, 0.45))  # fmt: skip
    if chance(random, 0.5):
        for x in (-1, 1):
            angle = x * u.width * curve / 2
            edge = np.array([np.sin(angle) / curve, 0, (np.cos(angle) - 1) / curve])
            arm = max(u.arm, 0.1)
            shape.box(edge * 0.985 + [0, (low + u.arm_top) / 2, 0], (arm, u.arm_top - low, deep), round=0.04,
                      turn=tilt(np.degrees(-angle), "y"))  # fmt: skip
    if low > 0:
        shape.color = finish(random)
        for share in (-0.8, -0.3, 0.3, 0.8):
            at = share * u.width / 2
            for z in (-1, 1):
                shape.rod((at, low + 0.02, z * u.depth * 0.36 - curve * at * at / 2),
                          (at, 0, z * u.depth * 0.36 - curve * at * at / 2), 0.06)  # fmt: skip
    return shape


def _chaise(random: Generator) -> Shape:
    """A long seat for one, to lie on, its back at an end or along a side."""
    shape = Shape(color=paint(random))
    width, long = between(random, 0.55, 0.8), between(random, 1.3, 1.8)
    seat, lift, soft = between(random, 0.34, 0.44), between(random, 0.06, 0.2), between(random, 0.1, 0.2)
    lean, reach = between(random, 10, 35), between(random, 0.4, 0.65)
    shape.box((0, (seat + lift) / 2, 0), (width, seat - lift, long), round=0.03)
    if chance(random, 0.6):
        shape.box((0, seat, -0.02), (width * 0.97, soft, long * 0.98), round=0.4 * soft)
    turn, foot = tilt(lean), np.array([0, seat - 0.05, long / 2 - soft])
    shape.box(foot + turn @ [0, reach / 2, 0], (width, reach, soft), turn=turn, round=0.35 * soft)
    if chance(random, 0.5):
        end = foot + turn @ [0, reach, 0]
        half = np.array([width / 2, 0, 0])
        shape.rod(end - half, end + half, soft * between(random, 1.0, 1.5))
    if chance(random, 0.4):
        side = int(random.choice([-1, 1]))
        outline = [(-long / 2, seat - 0.05), (long * 0.25, seat - 0.05), (-long * 0.1, seat + 0.22),
                   (-long / 2, seat + reach * 0.8)]  # fmt: skip
        shape.extrude(outline, (side * width / 2, 0, 0), 0.09, turn=SIDEWAYS)
    u = Upholstery(1, width, long, lift, seat, soft, 0.1, seat, soft, seat, lean)
    add_feet(shape, random, u)
    return shape


def _daybed(random: Generator, seats: int) -> Shape:
    """An ottoman or a day bed: a cushion on a base with one, two or no ends, or a low back."""
    shape = Shape(color=paint(random))
    u = upholstery(random, max(seats, 2))
    u.lift = between(random, 0.08, 0.2)
    shape.box((0, (u.lift + u.seat) / 2, 0), (u.width, u.seat - u.lift, u.depth), round=0.02)
    cushion(shape, random, (0, u.seat + u.soft * 0.4, 0), (u.width * 0.98, u.soft, u.depth * 0.98))
    ends = random.choice([0, 1, 2, 2])
    board, tall = between(random, 0.05, 0.16), u.seat + between(random, 0.15, 0.35) - u.lift
    rolled = chance(random, 0.5)
    for x in (-1, 1)[: int(ends)]:
        at = x * (u.width / 2 + board / 2 - 0.02)
        shape.box((at, u.lift + tall / 2, 0), (board, tall, u.depth), shear=(x * between(random, 0, 0.1), 0))
        if rolled:
            roll = board + between(random, 0.04, 0.1)
            level = u.lift + tall
            shape.rod((at + x * 0.06, level, -u.depth / 2), (at + x * 0.06, level, u.depth / 2), roll)
    if chance(random, 0.5):
        bolster = between(random, 0.16, 0.24)
        end = np.array([u.width * 0.48, u.seat + u.soft * 0.8 + bolster * 0.4, u.depth / 2 - bolster / 2])
        shape.rod(end * [-1, 1, 1], end, bolster)
    add_feet(shape, random, u)
    return shape


def _on_frame(random: Generator, seats: int) -> Shape:
    """Loose cushions on an open frame of wood or tube."""
    u = upholstery(random, seats)
    u.arm, u.lean = between(random, 0.04, 0.08), between(random, 6, 18)
    shape = Shape(color=finish(random))
    bar = between(random, 0.03, 0.06)
    floor, turn = u.seat - u.soft, tilt(u.lean)
    front, rear = -u.depth / 2, u.depth / 2
    shape.box((0, floor - bar / 2, 0), (u.width - u.arm, bar, u.depth * 0.96))
    kind = random.choice(["open", "loop", "board"])
    for x in (-1, 1):
        at = x * (u.width - u.arm) / 2
        if kind == "board":
            shape.box((at, u.arm_top / 2, 0), (u.arm, u.arm_top, u.depth))
        elif kind == "loop":
            path(shape, [(at, u.arm_top, rear), (at, bar / 2, rear), (at, bar / 2, front), (at, u.arm_top, front),
                         (at, u.arm_top, rear)], bar, 0.03, flat=u.arm)  # fmt: skip
        else:
            shape.rod((at, 0, front + bar), (at, u.arm_top, front + bar), bar, exponent=np.inf)
            shape.rod((at, 0, rear - bar), (at, u.arm_top, rear - bar), bar, exponent=np.inf)
            shape.box((at, u.arm_top, 0), (u.arm * 1.3, bar * 0.8, u.depth + 0.04))
            shape.box((at, floor - bar / 2, 0), (bar * 0.9, bar * 1.4, u.depth - 0.02))
    if kind == "loop":
        shape.box((0, floor - bar / 2, front + 0.06), (u.width - u.arm, bar, bar))
    foot = np.array([0, floor - bar / 2, rear - 0.05 - np.tan(np.radians(u.lean)) * (u.top - floor)])
    reach = (u.top - floor) / np.cos(np.radians(u.lean))
    top = foot + turn @ [0, reach, 0]
    count = int(random.integers(0, 7))
    for n in range(count):
        at = ((n + 0.5) / count - 0.5) * (u.width - u.arm)
        shape.box(foot + turn @ [at, reach / 2, 0], (0.05, reach, 0.025), turn=turn)
    shape.box(top - [0, 0.03, 0], (u.width - u.arm, 0.06, 0.03), turn=turn)
    for x in (-1, 1):
        at = x * (u.width - u.arm - 0.03) / 2
        out = np.array([at, 0, 0])
        shape.rod(foot + out, top + out, 0.035, exponent=np.inf)
    shape.color = paint(random)
    each = u.inner / u.seats
    deep = foot[2] - front + 0.05
    soft = between(random, 0.08, 0.16)
    edge = between(random, 0.15, 0.45)
    for n in range(u.seats):
        at = (n + 0.5) * each - u.inner / 2
        shape.box((at, u.seat - u.soft / 2 - 0.01, front + deep / 2), (each * 0.98, u.soft, deep), round=edge * u.soft)
        center = foot + turn @ [at, u.soft + (reach - u.soft) * 0.52, -soft / 2]
        shape.box(center, (each * 0.96, reach - u.soft, soft), turn=turn, round=0.4 * soft)
    return shape
