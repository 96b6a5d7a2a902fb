"""What sofas and armchairs are made of: a body with its back, arms, wings, cushions and feet.

Works on: shapes being put together, in metres, the floor at y = 0 and the front towards −Z. Knows nothing about which
piece of furniture they become.
"""

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.joinery import SIDEWAYS, cushion, finish, leg_style, path
from jobs.training.procedural.parts import between, chance, paint, tilt
from jobs.training.shape import Shape


@dataclass
class Upholstery:
    """Measures of a sofa: outer `width` and `depth`, the body's bottom at `lift`, its seat's top at `seat`.

    The arms are `arm` wide and reach up to `arm_top`, the back is `thick` and reaches up to `top`, leaning by `lean`
    degrees. `seats` cushions lie beside each other, each `soft` thick.
    """

    seats: int
    width: float
    depth: float
    lift: float
    seat: float
    soft: float
    arm: float
    arm_top: float
    thick: float
    top: float
    lean: float

    @property
    def inner(self) -> float:
        """The width between the arms."""
        return self.width - 2 * self.arm


def upholstery(random: Generator, seats: int) -> Upholstery:
    arm = between(random, 0.06, 0.26) if chance(random, 0.9) else 0.0
    lift = between(random, 0.05, 0.18) if chance(random, 0.65) else 0.0
    seat = between(random, 0.34, 0.48)
    arm_top = seat + between(random, 0.08, 0.28)
    top = between(random, 0.62, 0.98)
    if chance(random, 0.15):
        top = arm_top
    depth, thick = between(random, 0.66, 1.0), between(random, 0.1, 0.24)
    if seats == 1:
        depth, seat = between(random, 0.6, 0.9), between(random, 0.34, 0.46)
    return Upholstery(
        seats=seats,
        width=seats * between(random, 0.46, 0.74 if seats > 1 else 0.62) + 2 * arm,
        depth=depth,
        lift=lift,
        seat=seat,
        soft=between(random, 0.1, 0.19),
        arm=arm,
        arm_top=min(arm_top, top),
        thick=thick,
        top=max(top, arm_top),
        lean=between(random, 0, 14) if chance(random, 0.75) else 0.0,
    )


def add_body(shape: Shape, random: Generator, u: Upholstery, *, wing: bool = False, corner: bool = False) -> None:
    front, rear = -u.depth / 2, u.depth / 2
    turn = tilt(u.lean)
    foot = np.array([0, u.lift, rear - u.thick / 2 - np.tan(np.radians(u.lean)) * (u.top - u.lift) * 0.6])
    reach = (u.top - u.lift) / np.cos(np.radians(u.lean))
    floor = u.seat - u.soft
    loose = chance(random, 0.75)
    if not loose:
        floor = u.seat
    floor = max(floor, u.lift + 0.03)
    # The base reaches under the back.
    shape.box((0, (u.lift + floor) / 2, 0.02), (u.width - u.arm * 1.2, floor - u.lift, u.depth - 0.06),
              round=between(random, 0, 0.02))  # fmt: skip
    _back(shape, random, u, foot, turn, reach)
    back_front = foot[2] + np.tan(np.radians(u.lean)) * (u.seat - u.lift) - u.thick / 2 + 0.02
    if u.arm > 0:
        _arms(shape, random, u, front)
    if wing:
        _wings(shape, random, u, foot, turn, reach)
    accent = chance(random, 0.25)
    if accent:
        shape.color = paint(random)
    seats = u.seats if chance(random, 0.75) else 1
    ahead = between(random, 0.0, 0.05)
    deep = back_front - front + ahead
    if loose:
        each = u.inner / seats
        edge = between(random, 0.15, 0.45)
        for n in range(seats):
            x = (n + 0.5) * each - u.inner / 2
            shape.box((x, u.seat - u.soft / 2, back_front - deep / 2), (each * 0.985, u.soft + 0.02, deep),
                      round=edge * u.soft)  # fmt: skip
    if chance(random, 0.55):
        _back_cushions(shape, random, u, seats, foot, turn, reach)
    if corner:
        _corner(shape, random, u, front, floor)
    if u.seats > 1 and chance(random, 0.25):
        for _ in range(int(random.integers(1, 4))):
            x = between(random, -0.42, 0.42) * u.inner
            size = between(random, 0.3, 0.45)
            cushion(shape, random, (x, u.seat + size * 0.42, back_front - 0.08), (size, size, 0.13),
                    turn=tilt(between(random, 5, 25)))  # fmt: skip
    add_feet(shape, random, u)


def _back(shape: Shape, random: Generator, u: Upholstery, foot: np.ndarray, turn: np.ndarray, reach: float) -> None:
    width = u.width if u.arm == 0 or (u.top > u.arm_top + 0.06 and chance(random, 0.4)) else u.width - u.arm
    kind = random.choice(["box", "box", "box", "soft", "tapered", "rolled", "camel"])
    middle = foot + turn @ np.array([0, reach / 2, 0])
    size = (width, reach, u.thick)
    if kind == "camel":
        arch = between(random, 0.05, 0.16)
        half, shoulder = width / 2, reach - arch
        xs = np.linspace(1, -1, 9)
        peaked = chance(random, 0.5)
        crown = [
            (float(x * half), float(shoulder + arch * (np.cos(x * np.pi / 2) if peaked else 1 - x**4))) for x in xs
        ]
        shape.extrude(
            [(-half, 0), (half, 0), *crown], foot, u.thick, turn=turn, round=u.thick * between(random, 0.1, 0.4)
        )
    elif kind == "tapered":
        shape.box(middle, size, turn=turn, taper=(between(random, 0, 0.12), between(random, 0.2, 0.6)))
    else:
        edge = between(random, 0.05, 0.2) if kind == "box" else between(random, 0.3, 0.48)
        shape.box(middle, size, turn=turn, round=edge * u.thick)
        if kind == "rolled":
            roll = u.thick * between(random, 1.1, 1.6)
            center = foot + turn @ np.array([0, reach - roll * 0.3, (roll - u.thick) * 0.4])
            across = np.array([width / 2, 0, 0])
            shape.rod(center - across, center + across, roll)


def _arms(shape: Shape, random: Generator, u: Upholstery, front: float) -> None:
    kind = random.choice(["box", "box", "box", "soft", "rolled", "rolled", "sloped", "flared", "pillow", "swoop"])
    low, rear = (0.0 if u.lift == 0 else u.lift), u.depth / 2 - 0.03
    start = front + (between(random, 0.0, 0.12) if chance(random, 0.4) else 0.0)
    long, tall = rear - start, u.arm_top - low
    roll = u.arm * between(random, 1.0, 1.35)
    edge = between(random, 0.02, 0.2)
    for x in (-1, 1):
        at = x * (u.width - u.arm) / 2
        middle = np.array([at, low + tall / 2, (start + rear) / 2])
        if kind == "rolled":
            shape.box(middle - [0, roll * 0.2, 0], (u.arm * 0.85, tall - roll * 0.4, long * 0.98))
            level = u.arm_top - roll / 2
            out = x * (roll - u.arm) * 0.5
            shape.rod((at + out, level, start - 0.005), (at + out, level, rear), roll)
        elif kind in ("sloped", "swoop"):
            nose = low + tall * between(random, 0.5, 0.75)
            half = long / 2
            outline = [(-half, low), (half, low), (half, nose), (-half, u.arm_top)]
            if kind == "swoop":
                dip = nose + (u.arm_top - nose) * 0.25
                outline[3:] = [(half * 0.5, dip), (-half * 0.2, dip), (-half, u.top * 0.9)]
            shape.extrude(outline, (at, 0, (start + rear) / 2), u.arm, turn=SIDEWAYS, round=edge * u.arm)
        elif kind == "flared":
            shape.box(middle, (u.arm * 0.8, tall, long), shear=(x * between(random, 0.04, 0.1), 0), round=edge * u.arm)
        elif kind == "pillow":
            shape.box(middle - [0, tall * 0.15, 0], (u.arm * 0.8, tall * 0.7, long * 0.98))
            shape.box((at, u.arm_top - u.arm * 0.3, (start + rear) / 2), (u.arm * 1.1, u.arm * 0.75, long),
                      round=u.arm * 0.3)  # fmt: skip
        else:
            shape.box(middle, (u.arm, tall, long), round=(0.45 if kind == "soft" else edge) * u.arm)


def _wings(shape: Shape, random: Generator, u: Upholstery, foot: np.ndarray, turn: np.ndarray, reach: float) -> None:
    deep = between(random, 0.14, 0.3)
    low = (u.arm_top - u.lift) * 0.8
    board = between(random, 0.04, 0.09)
    outline = [(-u.thick / 2, low), (deep * 0.9, low), (deep * 1.1, (low + reach) * 0.55), (deep * 0.8, reach * 0.95),
               (deep * 0.2, reach), (-u.thick / 2, reach)]  # fmt: skip
    flare = between(random, -4, 14)
    for x in (-1, 1):
        at = foot + np.array([x * (u.width - u.arm - board) / 2, 0, 0])
        shape.extrude(outline, at, board, turn=tilt(x * flare, "y") @ turn @ SIDEWAYS, round=board * 0.3)


def _back_cushions(
    shape: Shape, random: Generator, u: Upholstery, seats: int, foot: np.ndarray, turn: np.ndarray, reach: float
) -> None:
    soft = between(random, 0.1, 0.2)
    low = u.seat - u.lift - 0.03
    high = reach + between(random, -0.1, 0.1) if u.lift + reach - u.seat > 0.25 else reach + 0.12
    each = u.inner / seats
    edge = between(random, 0.3, 0.48)
    more = between(random, 0, 8)
    for n in range(seats):
        x = (n + 0.5) * each - u.inner / 2
        center = foot + turn @ np.array([x, (low + high) / 2, -u.thick / 2 - soft * 0.4])
        shape.box(center, (each * 0.97, high - low, soft), turn=turn @ tilt(more), round=edge * soft)


def _corner(shape: Shape, random: Generator, u: Upholstery, front: float, floor: float) -> None:
    """One end goes on forward: a chaise, or with a back and a pillow of its own the other leg of an L."""
    side = int(random.choice([-1, 1]))
    wide = between(random, 0.6, 0.85)
    ahead = between(random, 0.5, 1.3)
    at = side * (u.width / 2 - wide / 2)
    shape.box((at, (u.lift + floor) / 2, front - ahead / 2 + 0.05), (wide, floor - u.lift, ahead + 0.1))
    shape.box((at, u.seat - u.soft / 2, front - ahead / 2 + 0.03), (wide * 0.97, u.soft + 0.02, ahead),
              round=0.25 * u.soft)  # fmt: skip
    if chance(random, 0.6):
        tall = u.top - u.lift
        outer = side * (u.width / 2 - u.thick / 2)
        shape.box((outer, u.lift + tall / 2, front - ahead / 2 + u.depth / 2), (u.thick, tall, ahead + u.depth - 0.05),
                  round=0.1 * u.thick)  # fmt: skip
        if chance(random, 0.5):
            inner = outer - side * u.thick * 0.8
            shape.box((inner, u.seat + 0.18, front - ahead / 2 + 0.1), (0.16, 0.4, ahead * 0.95), round=0.06)
    if u.lift > 0:
        for x in (-1, 1):
            shape.box((at + x * (wide / 2 - 0.06), u.lift / 2 + 0.01, front - ahead + 0.1), (0.06, u.lift + 0.02, 0.06))


def add_feet(shape: Shape, random: Generator, u: Upholstery) -> None:
    if u.lift == 0:
        return
    shape.color = finish(random)
    kind = random.choice(["legs", "legs", "legs", "plinth", "sled", "bun"])
    half_x, half_z = u.width / 2 - 0.6 * u.arm - between(random, 0.03, 0.1), u.depth / 2 - between(random, 0.09, 0.16)
    if kind == "plinth":
        shape.box((0, u.lift / 2 + 0.01, 0), (2 * half_x, u.lift + 0.02, 2 * half_z))
        return
    if kind == "sled" and u.lift > 0.08:
        bar = between(random, 0.012, 0.018) * (u.width + u.depth)
        for x in (-1, 1):
            path(shape, [(x * half_x, u.lift + 0.01, -half_z), (x * half_x, bar / 2, -half_z),
                         (x * half_x, bar / 2, half_z), (x * half_x, u.lift + 0.01, half_z)], bar, 0.02)  # fmt: skip
        return
    size = max(between(random, 0.035, 0.08), 0.016 * (u.width + u.depth))
    style = leg_style(random, str(random.choice(["straight", "tapered", "turned"])))
    splay = between(random, 0, 0.05) if chance(random, 0.4) else 0.0
    columns = [-1.0, 1.0] if u.width < 1.8 or chance(random, 0.5) else [-1.0, 0.0, 1.0]
    for column in columns:
        for z in (-1, 1):
            head = np.array([column * half_x, u.lift + 0.015, z * half_z])
            if kind == "bun":
                shape.ellipsoid(head * [1, 0, 1] + [0, u.lift / 2, 0], (size * 1.6, u.lift * 1.25, size * 1.6))
            else:
                style.add(
                    shape, head, head * [1, 0, 1] + [column * splay, 0, z * splay * (style.kind != "turned")], size
                )
