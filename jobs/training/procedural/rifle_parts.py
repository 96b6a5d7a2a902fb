"""What rifles are put together from: stocks, grips, magazines, barrels, sights and what is fitted to them.

Works on: shapes being put together. Knows nothing about which rifle they become.

In metres, upright, the muzzle at −Z and the bore along y = 0. `grain` is the least that a thin part measures: 1.2 % of
the length, since a 64³ lattice, which networks learn on, has cells of 1.6 % of the diagonal.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.parts import between, chance
from jobs.training.procedural.profiles import side
from jobs.training.shape import Shape

Color = tuple[float, float, float]


def metal(random: Generator) -> Color:
    """Blued, grey or bare steel, now and then sand or olive."""
    if chance(random, 0.12):
        return 0.5, 0.46, 0.34
    value = between(random, 0.1, 0.36) if chance(random, 0.65) else between(random, 0.4, 0.75)
    return value, value, value * 1.05


def furniture(random: Generator, of_metal: Color) -> Color:
    """Wood, black plastic, or the metal's own colour."""
    share = random.random()
    if share < 0.5:
        value = between(random, 0.22, 0.6)
        return value, value * between(random, 0.55, 0.75), value * between(random, 0.25, 0.5)
    return of_metal if share < 0.7 else (0.12, 0.12, 0.12)


def barrel(shape: Shape, start: float, muzzle: float, thick: float, *, y: float = 0.0, tip: float = 1.0) -> None:
    """A round barrel from `start` to the `muzzle`, where the share `tip` of its thickness is left."""
    shape.rod((0, y, start), (0, y, muzzle), thick, end_thickness=thick * tip)


def butt(
    shape: Shape, random: Generator, front: float, end: float, *, top: float, deep: float, drop: float, wide: float,
    tall: float, pistol: bool,
) -> None:  # fmt: skip
    """A wooden or plastic stock from the receiver (z = `front`, y = `top` and `deep` below) to the butt plate at `end`.

    `drop` is how much lower the heel lies, `tall` the height of the butt plate, `pistol` gives a curved grip.
    """
    long = end - front
    heel = top - drop
    wrist = between(random, 0.2, 0.3) * long
    comb = top - drop * between(random, 0.1, 0.5)
    neck = top - between(random, 0.0, 0.02)
    under = neck - between(random, 0.036, 0.046)
    outline = [
        (front - 0.03, top - 0.003), (front + 0.02, neck), (front + wrist, neck - drop * 0.3),
        (front + wrist * 1.5, comb),
    ]  # fmt: skip
    outline += [(end - 0.01, heel), (end, heel - tall * 0.4), (end - 0.01, heel - tall)]
    if pistol:
        low = under - between(random, 0.03, 0.07)
        outline += [
            (front + wrist * 1.8, low + 0.02), (front + wrist * 1.35, low), (front + wrist * 0.9, low),
            (front + wrist * 0.35, under - 0.01),
        ]  # fmt: skip
    else:
        outline += [(front + wrist * 1.6, under - drop * 0.4), (front + wrist * 0.7, under - drop * 0.15)]
    outline += [(front - 0.03, top - deep)]
    side(shape, outline, wide, round=wide * between(random, 0.2, 0.4))


def tube_stock(shape: Shape, random: Generator, front: float, end: float, *, y: float, grain: float) -> None:
    """A buffer tube with a shoulder piece on it."""
    shape.rod((0, y, front - 0.02), (0, y, end - 0.02), between(random, 0.028, 0.036))
    long = end - front
    ahead, tall = front + long * between(random, 0.25, 0.5), between(random, 0.1, 0.14)
    outline = [
        (ahead, y + 0.022), (end, y + between(random, 0.02, 0.03)), (end, y + 0.025 - tall),
        (end - 0.03, y + 0.025 - tall), (end - between(random, 0.06, 0.12), y - 0.03), (ahead, y - 0.022),
    ]  # fmt: skip
    side(shape, outline, max(between(random, 0.03, 0.045), 2 * grain), round=0.008)


def frame_stock(shape: Shape, random: Generator, front: float, end: float, *, y: float, grain: float) -> None:
    """A folding stock of two bars and a plate, or of one bent wire."""
    bar, tall = grain * between(random, 1.3, 1.8), between(random, 0.1, 0.13)
    drop = between(random, 0.0, 0.05)
    shape.rod((0, y, front - 0.03), (0, y - drop * 0.5, end), bar, exponent=4.0)
    if chance(random, 0.6):
        shape.rod((0, y - 0.05, front - 0.03), (0, y - drop - tall + bar, end), bar, exponent=4.0)
    shape.box((0, y + 0.012 - drop * 0.5 - tall / 2, end), (0.035, tall, bar * 1.1), round=bar * 0.3)


def grip(shape: Shape, random: Generator, z: float, y: float, *, wide: float) -> None:
    """A pistol grip below (z, y), leaning back."""
    long, lean, deep = between(random, 0.09, 0.12), between(random, 0.02, 0.055), between(random, 0.036, 0.05)
    outline = [
        (z - deep / 2, y + 0.02), (z + deep / 2, y + 0.02), (z + deep / 2 + lean * 0.4, y - long * 0.45),
        (z + deep * 0.55 + lean, y - long), (z - deep * 0.45 + lean, y - long * 1.02),
        (z - deep * 0.45 + lean * 0.3, y - long * 0.45),
    ]  # fmt: skip
    side(shape, outline, wide, round=wide * 0.3)


def guard(shape: Shape, front: float, end: float, y: float, grain: float) -> None:
    """A trigger and the bow around it, below y."""
    middle = (front + end) / 2
    shape.tube((0, y + 0.004, front), (0, y - 0.085, middle), (0, y + 0.004, end), grain * 1.15)
    shape.rod((0, y + 0.02, middle + 0.006), (0, y - 0.028, middle - 0.004), grain * 1.3)


def magazine(shape: Shape, random: Generator, z: float, y: float, *, wide: float, kind: str | None = None) -> None:
    """A magazine below (z, y): straight, raked, curved, or a drum."""
    kind = kind or str(random.choice(["straight", "raked", "curved", "curved"]))
    deep, long = between(random, 0.05, 0.075), between(random, 0.09, 0.2)
    if kind == "drum":
        size = between(random, 0.1, 0.15)
        across = chance(random, 0.5)
        half = size * 0.2
        center = np.array([0, y - size * 0.45, z])
        axis = np.array([0, 0, half]) if across else np.array([half, 0, 0])
        shape.rod(center - axis, center + axis, size)
        shape.box((0, y - 0.01, z), (wide, 0.06, deep))
        return
    bend = between(random, 0.25, 0.6) if kind == "curved" else 0.0
    slant = between(random, 0.1, 0.35) if kind == "raked" else 0.05
    t = np.linspace(0, 1, 5)
    shift = -long * (slant * t + bend * t**2)
    back = [(z + deep / 2 + float(s), y + 0.02 - (long + 0.02) * float(h)) for s, h in zip(shift, t, strict=True)]
    turn = (slant + 2 * bend) * 0.5 * deep  # the floor plate stands square to the curve
    front = [(along - deep, down + turn * float(h)) for (along, down), h in zip(back, t, strict=True)]
    side(shape, [*back, *front[::-1]], wide, round=0.004)


def scope(shape: Shape, random: Generator, z: float, y: float, grain: float) -> None:
    """A telescopic sight above y on two rings, or a short reflex sight."""
    if chance(random, 0.25):
        shape.box((0, y + 0.025, z), (0.036, 0.055, between(random, 0.05, 0.1)), round=0.006)
        return
    long, thick = between(random, 0.2, 0.36), max(between(random, 0.024, 0.03), 1.6 * grain)
    level = y + thick / 2 + between(random, 0.012, 0.025)
    front, end = z - long / 2, z + long / 2
    wide = thick * between(random, 1.3, 2.0)
    shape.rod((0, level, front), (0, level, end), thick)
    shape.rod((0, level, front + long * 0.3), (0, level, front), wide * 0.75, end_thickness=wide)
    shape.rod((0, level, end - long * 0.25), (0, level, end), thick, end_thickness=thick * 1.4)
    if chance(random, 0.7):  # turrets
        shape.rod((0, level, z), (0, level + thick, z), thick * 0.8)
        shape.rod((-thick, level, z), (thick, level, z), thick * 0.7)
    for mount in (z - long * 0.18, z + long * 0.2):
        shape.box((0, (y + level) / 2 - 0.008, mount), (thick * 0.8, level - y + 0.016, 0.02))


def bipod(shape: Shape, random: Generator, z: float, y: float, grain: float) -> None:
    """Two legs below the barrel, spread; or folded along it."""
    leg, long = grain * between(random, 1.5, 1.9), between(random, 0.2, 0.28)
    shape.box((0, y, z), (0.05, 0.035, 0.035), round=0.006)
    down = np.array([0.45, -1.0, between(random, -0.15, 0.3)])
    down /= np.linalg.norm(down)
    for x in (-1, 1):
        shape.rod((x * 0.012, y, z), np.array([x * 0.012, y, z]) + long * down * [x, 1, 1], leg)


def sights(
    shape: Shape, random: Generator, rear: float, front: float, top: float, grain: float, *, bore: float
) -> None:
    """Iron sights: a leaf on the receiver at y = `top`, a post on the barrel, whose radius is `bore`."""
    tall = between(random, 0.015, 0.04)
    shape.box((0, top + tall * 0.4, rear), (2 * grain, tall, between(random, 0.02, 0.05)), taper=(0, 0.3))
    high = max(top + tall * 0.7, bore + 0.01)
    shape.box((0, high / 2, front), (grain * 1.2, high, between(random, 0.02, 0.04)), taper=(0, 0.5))
