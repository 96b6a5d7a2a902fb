"""Bolt-action and lever-action rifles, sniper rifles, shotguns and muskets.

Works on: a random generator. Knows nothing about pictures, points or networks.

In metres, upright, the muzzle at −Z and the bore along y = 0.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.parts import between, chance
from jobs.training.procedural.profiles import side
from jobs.training.procedural.rifle_parts import (
    barrel,
    bipod,
    butt,
    frame_stock,
    furniture,
    grip,
    guard,
    magazine,
    metal,
    scope,
    sights,
    tube_stock,
)
from jobs.training.shape import Shape


def _sporting(random: Generator, *, length: float, thick: float, tip: float, fore: float, scoped: float) -> Shape:
    """What bolt-action rifles share: one stock from the butt to the forearm, an action and a barrel bedded in it."""
    grain = 0.012 * length
    steel = metal(random)
    shape = Shape(color=furniture(random, steel))
    muzzle, end = -length * 0.6, length * 0.4
    wide = max(between(random, 0.038, 0.05), 2.4 * grain)
    back = end - between(random, 0.33, 0.38)
    bore = max(thick, 1.3 * grain)
    top = between(random, 0.0, 0.008)
    fore_end = muzzle + (back - muzzle) * (1 - fore)
    belly = -between(random, 0.038, 0.05)
    outline = [
        (back + 0.04, top), (fore_end, top), (fore_end - 0.012, top - 0.012),
        (fore_end + 0.01, -bore * 0.5 - between(random, 0.008, 0.016)), (back - 0.2, belly), (back + 0.03, belly),
    ]  # fmt: skip
    side(shape, outline, wide, round=wide * 0.3)
    butt(
        shape, random, back, end, top=top, deep=top - belly, drop=between(random, 0.015, 0.06), wide=wide,
        tall=between(random, 0.11, 0.14), pistol=chance(random, 0.75),
    )  # fmt: skip
    shape.color = steel
    receiver = bore * between(random, 1.15, 1.4)
    shape.rod((0, 0.006, back + 0.02), (0, 0.006, back - between(random, 0.18, 0.24)), receiver)
    barrel(shape, back - 0.15, muzzle, bore * 1.25, tip=max(tip / 1.25, 1.2 * grain / (bore * 1.25)))
    knob = np.array([between(random, 0.04, 0.06), between(random, -0.03, 0.01), back - between(random, 0.0, 0.04)])
    shape.rod((0, 0.008, knob[2] - 0.005), knob, max(0.011, 1.1 * grain))  # the bolt's handle
    shape.ellipsoid(knob, (0.024, 0.024, 0.024))
    guard(shape, back - 0.075, back + 0.02, belly, grain)
    if chance(random, 0.4):
        magazine(
            shape, random, back - 0.13, belly, wide=max(0.026, 2 * grain),
            kind="straight" if chance(random, 0.7) else "raked",
        )  # fmt: skip
    if chance(random, scoped):
        scope(shape, random, back - between(random, 0.06, 0.14), receiver / 2 + 0.002, grain)
    else:
        sights(shape, random, back - 0.2, muzzle + 0.03, receiver / 2, grain, bore=bore / 2)
    return shape


def hunting(random: Generator) -> Shape:
    return _sporting(
        random, length=between(random, 1.0, 1.2), thick=between(random, 0.016, 0.022), tip=between(random, 0.75, 1),
        fore=between(random, 0.45, 0.62), scoped=0.6,
    )  # fmt: skip


def service(random: Generator) -> Shape:
    """Of the world wars: wood almost to the muzzle, bands around it, sometimes a bayonet."""
    length = between(random, 1.0, 1.3)
    shape = _sporting(
        random, length=length, thick=between(random, 0.016, 0.02), tip=0.9, fore=between(random, 0.78, 0.92),
        scoped=0.15,
    )  # fmt: skip
    grain, muzzle = 0.012 * length, -length * 0.6
    shape.color = metal(random)
    for place in (0.12, 0.3):
        z = muzzle + length * place * between(random, 0.8, 1.2)
        shape.rod((0, -0.008, z), (0, -0.008, z + 0.025), max(0.045, 2.5 * grain))
    if chance(random, 0.3):
        blade = between(random, 0.2, 0.4)
        shape.box((0, -0.022, muzzle - blade / 2 + 0.06), (grain, 1.7 * grain, blade + 0.08), round=grain * 0.2)
        shape.box((0, -0.012, muzzle + 0.05), (1.5 * grain, 0.04, 0.05))
    return shape


def sniper(random: Generator) -> Shape:
    """Long and heavy, with a scope and mostly a bipod; the stock solid, or a chassis with a pistol grip."""
    length = between(random, 1.1, 1.4)
    grain = 0.012 * length
    if chance(random, 0.5):
        shape = _sporting(
            random, length=length, thick=between(random, 0.022, 0.028), tip=0.9, fore=between(random, 0.4, 0.55),
            scoped=1.0,
        )  # fmt: skip
        muzzle = -length * 0.6
        back = length * 0.4 - 0.35
    else:
        steel = metal(random)
        shape = Shape(color=steel)
        muzzle, end = -length * 0.6, length * 0.4
        back, wide = end - between(random, 0.3, 0.36), between(random, 0.045, 0.055)
        top, low = between(random, 0.03, 0.04), -between(random, 0.03, 0.045)
        front = back - between(random, 0.5, 0.62)
        side(
            shape,
            [
                (front, 0.02), (back - 0.26, 0.024), (back - 0.25, top), (back, top), (back + 0.02, 0), (back, low),
                (back - 0.24, low), (front, -0.02),
            ],
            wide, round=0.008,
        )  # fmt: skip
        barrel(shape, front + 0.1, muzzle, max(between(random, 0.024, 0.032), 1.5 * grain), tip=0.9)
        grip(shape, random, back - 0.01, low, wide=max(0.034, 2 * grain))
        at = back - between(random, 0.15, 0.2)
        magazine(shape, random, at, low, wide=max(0.03, 1.8 * grain), kind="straight")
        guard(shape, at + 0.04, back - 0.02, low, grain)
        scope(shape, random, back - 0.12, top, grain)
        shape.color = furniture(random, steel)
        if chance(random, 0.5):
            frame_stock(shape, random, back, end, y=0.01, grain=grain)
            shape.box((0, 0.022, (back + end) / 2 + 0.04), (0.034, 0.034, 0.15), round=0.01)
        else:
            butt(shape, random, back, end, top=top - 0.01, deep=0.06, drop=0.01, wide=0.042, tall=0.13, pistol=False)
    shape.color = (0.12, 0.12, 0.12)
    if chance(random, 0.6):
        long = between(random, 0.05, 0.09) if chance(random, 0.6) else between(random, 0.18, 0.25)
        barrel(shape, muzzle + long * 0.8, muzzle - long * 0.2, max(0.036, 2.2 * grain))
    if chance(random, 0.75):
        bipod(shape, random, back - between(random, 0.36, 0.46), -0.025, grain)
    return shape


def shotgun(random: Generator) -> Shape:
    """A pump below one barrel and a tube, or two barrels side by side or one above the other."""
    length = between(random, 0.95, 1.2)
    grain = 0.012 * length
    steel = metal(random)
    wood = furniture(random, steel)
    shape = Shape(color=steel)
    muzzle, end = -length * 0.62, length * 0.38
    bore = max(between(random, 0.022, 0.026), 1.5 * grain)
    back, wide = end - between(random, 0.33, 0.38), max(between(random, 0.036, 0.046), 2.2 * grain)
    kind = random.choice(["pump", "pump", "beside", "above"])
    front = back - (between(random, 0.2, 0.25) if kind == "pump" else between(random, 0.08, 0.13))
    low = -between(random, 0.045, 0.06)
    side(
        shape,
        [
            (front, 0.018), (back - 0.02, 0.02), (back + 0.02, 0.004), (back + 0.02, -0.036), (back - 0.04, low),
            (front, low),
        ],
        wide, round=0.008,
    )  # fmt: skip
    if kind == "pump":
        tube = max(0.022, 1.4 * grain)
        barrel(shape, front + 0.05, muzzle, bore)
        shape.rod((0, -0.03, front + 0.03), (0, -0.03, muzzle + length * between(random, 0.03, 0.2)), tube)
        shape.box((0, -0.015, muzzle + length * 0.21), (0.016, 0.04, 0.02))
        shape.color = wood
        z = front - between(random, 0.06, 0.16)
        shape.rod(
            (0, -0.03, z), (0, -0.03, z - between(random, 0.14, 0.2)), between(random, 0.042, 0.052),
            exponent=float(random.choice([2.0, 4.0])),
        )  # fmt: skip
    else:
        for x, y in (
            ((bore * 0.48, 0.0), (-bore * 0.48, 0.0)) if kind == "beside" else ((0.0, 0.004), (0.0, 0.004 - bore))
        ):
            shape.rod((x, y, front + 0.05), (x, y, muzzle), bore)
        shape.color = wood
        fore = front - between(random, 0.2, 0.28)
        deep = -0.03 if kind == "beside" else -0.045
        side(
            shape,
            [
                (front + 0.01, 0.0), (fore, 0.0), (fore + 0.01, deep + 0.012), (front - 0.08, deep - 0.004),
                (front + 0.01, deep),
            ],
            wide, round=0.012,
        )  # fmt: skip
    shape.color = wood
    tactical = kind == "pump" and chance(random, 0.3)
    if tactical:
        grip(shape, random, back - 0.005, low * 0.7, wide=max(0.034, 2 * grain))
        tube_stock(shape, random, back, end, y=-0.012, grain=grain)
    else:
        butt(
            shape, random, back + 0.01, end, top=0.012, deep=0.05, drop=between(random, 0.03, 0.07), wide=wide,
            tall=between(random, 0.11, 0.14), pistol=chance(random, 0.6),
        )  # fmt: skip
    shape.color = steel
    guard(shape, back - 0.085, back - 0.005, low + 0.006, grain)
    if chance(random, 0.5):
        shape.ellipsoid((0, bore * 0.55, muzzle + 0.01), (1.2 * grain, 1.5 * grain, 1.5 * grain))
    return shape


def lever(random: Generator) -> Shape:
    """Lever action: a tube below the barrel, a receiver with flat sides, a loop behind the guard."""
    length = between(random, 0.9, 1.12)
    grain = 0.012 * length
    steel = metal(random) if chance(random, 0.75) else (0.72, 0.58, 0.28)
    wood = furniture(random, steel)
    shape = Shape(color=steel)
    muzzle, end = -length * 0.62, length * 0.38
    back = end - between(random, 0.3, 0.34)
    front, low = back - between(random, 0.15, 0.2), -between(random, 0.05, 0.06)
    wide = max(0.034, 2.1 * grain)
    side(
        shape, [(front, 0.02), (back - 0.03, 0.022), (back + 0.02, 0.0), (back + 0.02, low * 0.75), (front, low)], wide,
        round=0.004,
    )  # fmt: skip
    bore = max(between(random, 0.018, 0.022), 1.3 * grain)
    shape.color = (0.2, 0.2, 0.22)
    octagonal = float(random.choice([2.0, 4.0]))
    shape.rod((0, 0, front + 0.04), (0, 0, muzzle), bore, exponent=octagonal)
    shape.rod((0, -bore, front + 0.04), (0, -bore, muzzle + length * between(random, 0.02, 0.15)), bore * 0.9)
    shape.color = wood
    fore = front - between(random, 0.2, 0.28)
    side(
        shape, [(front + 0.01, 0.004), (fore, 0.002), (fore, -0.034), (front + 0.01, -0.044)], wide * 1.05, round=0.012
    )
    butt(
        shape, random, back + 0.01, end, top=0.004, deep=0.042, drop=between(random, 0.03, 0.06), wide=wide,
        tall=between(random, 0.1, 0.13), pistol=False,
    )  # fmt: skip
    shape.color = steel
    guard(shape, back - 0.09, back - 0.01, low + 0.004, grain)
    thin, loop = grain * 1.2, between(random, 0.05, 0.09)
    shape.tube((0, low, back - 0.015), (0, low - loop * 1.3, back + 0.02), (0, low - loop * 0.4, back + 0.115), thin)
    shape.tube((0, low - loop * 0.4, back + 0.115), (0, low + 0.005, back + 0.1), (0, low + 0.01, back), thin)
    shape.rod((0, -0.01, back - 0.01), (0, 0.036, back + 0.025), 1.4 * grain)  # the hammer
    sights(shape, random, front - 0.06, muzzle + 0.03, bore / 2, grain, bore=bore / 2)
    return shape


def musket(random: Generator) -> Shape:
    """Flintlocks and percussion guns: long, thin, with a lock at the side, a curved cock and a ramrod."""
    length = between(random, 1.1, 1.5)
    grain = 0.012 * length
    steel = metal(random)
    shape = Shape(color=furniture(random, steel))
    muzzle, end = -length * 0.66, length * 0.34
    back, wide = end - between(random, 0.3, 0.36), max(0.04, 2.2 * grain)
    fore = muzzle + length * between(random, 0.04, 0.3)
    bore = max(0.02, 1.4 * grain)
    side(
        shape, [(back + 0.04, 0.004), (fore, 0.0), (fore, -bore * 0.8), (back - 0.16, -0.036), (back + 0.03, -0.046)],
        wide * 0.9, round=0.012,
    )  # fmt: skip
    butt(
        shape, random, back, end, top=0.004, deep=0.048, drop=between(random, 0.05, 0.1), wide=wide,
        tall=between(random, 0.1, 0.13), pistol=False,
    )  # fmt: skip
    shape.color = steel
    barrel(shape, back, muzzle, bore * 1.2, tip=0.85)
    shape.rod((0, -bore * 0.9, back - 0.2), (0, -bore * 0.9, muzzle + 0.04), grain)
    lock = wide / 2
    shape.box((lock, -0.01, back - 0.03), (0.012, 0.03, 0.13), round=0.003)
    shape.tube((lock, 0.0, back), (lock, 0.07, back + 0.03), (lock, 0.055, back - 0.035), grain * 1.2)
    shape.rod((lock, 0.0, back - 0.07), (lock * 0.7, 0.035, back - 0.065), grain * 1.2)
    guard(shape, back - 0.08, back + 0.03, -0.04, grain)
    if chance(random, 0.4):
        for place in (0.2, 0.5):
            z = fore + (back - fore) * place
            shape.rod((0, -0.006, z), (0, -0.006, z + 0.03), max(0.044, 2.4 * grain))
    return shape
