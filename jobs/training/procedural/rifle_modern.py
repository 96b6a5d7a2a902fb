"""Assault rifles, bullpups, submachine and machine guns.

Works on: a random generator. Knows nothing about pictures, points or networks.

In metres, upright, the muzzle at −Z and the bore along y = 0.
"""

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


def assault(random: Generator) -> Shape:
    """A receiver with a pistol grip, a box magazine, a handguard; a solid, sliding or folding stock."""
    length = between(random, 0.78, 1.02)
    grain = 0.012 * length
    steel = metal(random)
    shape = Shape(color=steel)
    wood = furniture(random, steel)
    muzzle, end = -length * 0.56, length * 0.44
    wide = between(random, 0.036, 0.05)
    front, back = between(random, -0.1, -0.04), between(random, 0.16, 0.22)
    top, low = between(random, 0.025, 0.04), -between(random, 0.035, 0.05)
    step = between(random, 0.0, 0.015)
    side(
        shape,
        [
            (front, top - step), (front + 0.04, top), (back - 0.02, top), (back, top - 0.015), (back, low * 0.6),
            (back - 0.03, low), (front, low),
        ],
        wide, round=0.006,
    )  # fmt: skip
    bore = max(between(random, 0.016, 0.022), 1.3 * grain)
    barrel(shape, front + 0.05, muzzle, bore)
    if chance(random, 0.7):  # a muzzle brake or a suppressor
        long = between(random, 0.04, 0.07) if chance(random, 0.8) else between(random, 0.12, 0.2)
        barrel(shape, muzzle + long * 0.9, muzzle - 0.005, bore * between(random, 1.25, 1.7))
    hand = front - between(random, 0.16, 0.3)
    hand = max(hand, muzzle + 0.08)
    if chance(random, 0.5):  # a gas tube above the barrel
        shape.rod((0, bore + 0.008, front + 0.03), (0, bore + 0.008, hand - 0.03), max(0.016, 1.1 * grain))
        shape.box((0, bore * 0.5, hand - 0.03), (0.022, bore + 0.03, 0.03))
    shape.color = wood
    deep = between(random, 0.045, 0.062)
    style = random.choice(["box", "round", "swell"])
    if style == "round":
        shape.rod((0, 0.004, front + 0.01), (0, 0.004, hand), deep, end_thickness=deep * between(random, 0.8, 1))
    elif style == "box":
        shape.box((0, 0.0, (front + hand) / 2 + 0.005), (wide * 0.98, deep, front - hand + 0.01), round=0.008)
    else:
        side(
            shape, [(front + 0.01, 0.02), (hand, 0.016), (hand, -0.02), (front - 0.06, -0.036), (front + 0.01, -0.03)],
            wide * 0.95, round=0.012,
        )  # fmt: skip
    gripping = back - between(random, 0.02, 0.05)
    grip(shape, random, gripping, low * 0.8, wide=max(0.03, 2 * grain))
    shape.color = steel
    at = front + between(random, 0.05, 0.1)
    magazine(shape, random, at, low, wide=max(between(random, 0.024, 0.032), 1.8 * grain))
    guard(shape, at + 0.03, gripping - 0.005, low * 0.85, grain)
    shape.color = wood if chance(random, 0.6) else (0.12, 0.12, 0.12)
    kind = random.choice(["butt", "butt", "tube", "tube", "frame"])
    if kind == "butt":
        butt(
            shape, random, back, end, top=top - 0.008, deep=0.05, drop=between(random, 0.0, 0.05),
            wide=max(0.036, 2.2 * grain), tall=between(random, 0.11, 0.14), pistol=False,
        )  # fmt: skip
    elif kind == "tube":
        tube_stock(shape, random, back, end, y=0.0, grain=grain)
    else:
        frame_stock(shape, random, back, end, y=0.0, grain=grain)
    shape.color = steel
    if chance(random, 0.3):  # a handle above the receiver
        mid = (front + back) / 2
        shape.box((0, top + 0.045, mid), (max(0.018, 1.4 * grain), 0.018, 0.16))
        for z in (mid - 0.07, mid + 0.07):
            shape.box((0, top + 0.022, z), (max(0.018, 1.4 * grain), 0.055, 0.025))
    elif chance(random, 0.5):
        scope(shape, random, (front + back) / 2, top, grain)
    sights(shape, random, back - 0.04, hand - between(random, 0.01, 0.05), top, grain, bore=bore / 2)
    if chance(random, 0.2):  # a launcher or a second grip below
        if chance(random, 0.5):
            shape.rod((0, -0.042, front - 0.02), (0, -0.042, hand - 0.03), 0.046)
        else:
            grip(shape, random, (front + hand) / 2, -0.02, wide=max(0.028, 2 * grain))
    return shape


def bullpup(random: Generator) -> Shape:
    """The magazine behind the grip, the action in the stock."""
    length = between(random, 0.68, 0.82)
    grain = 0.012 * length
    steel = metal(random)
    shape = Shape(color=furniture(random, steel))
    muzzle, end = -length * 0.5, length * 0.5
    wide = between(random, 0.042, 0.055)
    front = muzzle + length * between(random, 0.25, 0.38)
    top, low = between(random, 0.03, 0.045), -between(random, 0.03, 0.045)
    heel, toe = top - between(random, 0.0, 0.02), -between(random, 0.09, 0.12)
    outline = [
        (front, top - 0.02), (front + 0.05, top), (end - 0.02, heel), (end, heel - 0.02), (end, toe + 0.01),
        (end - 0.05, toe), (end - 0.12, low - 0.02), (end - 0.22, low - 0.01), (front + 0.1, low), (front, low + 0.01),
    ]  # fmt: skip
    side(shape, outline, wide, round=0.012)
    at = front + between(random, 0.16, 0.2)
    grip(shape, random, at, low, wide=max(0.032, 2 * grain))
    if chance(random, 0.4):
        grip(shape, random, front + 0.05, low + 0.01, wide=max(0.028, 2 * grain))
    shape.color = steel
    bore = max(between(random, 0.018, 0.024), 1.4 * grain)
    barrel(shape, front + 0.06, muzzle, bore)
    barrel(shape, muzzle + 0.05, muzzle - 0.004, bore * 1.4)
    magazine(
        shape, random, end - between(random, 0.16, 0.2), low, wide=max(0.026, 1.8 * grain),
        kind=str(random.choice(["straight", "curved"])),
    )  # fmt: skip
    guard(shape, at - 0.08, at - 0.015, low * 0.9, grain)
    if chance(random, 0.6):
        mid = front + between(random, 0.12, 0.2)
        shape.box((0, top + 0.05, mid), (max(0.022, 1.6 * grain), 0.022, 0.2), round=0.005)
        for z in (mid - 0.085, mid + 0.085):
            shape.box((0, top + 0.025, z), (max(0.02, 1.5 * grain), 0.06, 0.03))
    else:
        scope(shape, random, front + 0.18, top, grain)
    return shape


def submachine(random: Generator) -> Shape:
    """Short: a tube or a box, a magazine before the grip or in it, a folded, wire or wooden stock or none."""
    length = between(random, 0.45, 0.8)
    grain = 0.012 * length * 1.1
    steel = metal(random)
    shape = Shape(color=steel)
    stock = random.choice(["none", "frame", "butt", "tube"])
    muzzle = -length * 0.5
    back = length * (0.45 if stock == "none" else 0.12)
    end = length * 0.5
    front = muzzle + length * between(random, 0.15, 0.3)
    wide = max(between(random, 0.036, 0.048), 2.4 * grain)
    top, low = between(random, 0.022, 0.032), -between(random, 0.025, 0.045)
    if chance(random, 0.4):
        top = wide * 0.52
        shape.rod((0, 0, front), (0, 0, back), 2 * top)
        shape.box((0, low * 0.7, (front + back) / 2 + 0.05), (wide * 0.7, abs(low), (back - front) * 0.6), round=0.005)
    else:
        side(
            shape,
            [(front, top), (back - 0.01, top), (back, top - 0.01), (back, low * 0.8), (back - 0.05, low), (front, low)],
            wide, round=0.006,
        )  # fmt: skip
    bore = max(between(random, 0.016, 0.024), 1.4 * grain)
    if chance(random, 0.4):  # a jacket around the barrel
        barrel(shape, front + 0.03, muzzle, max(wide * 0.75, bore * 1.4))
    else:
        barrel(shape, front + 0.05, muzzle, bore)
    gripping = back - (length * between(random, 0.3, 0.45) if stock == "none" else between(random, 0.03, 0.06))
    within = chance(random, 0.3)
    shape.color = furniture(random, steel)
    grip(shape, random, gripping, low, wide=max(0.032, 2.2 * grain))
    if chance(random, 0.35):
        grip(shape, random, front + 0.04, low, wide=max(0.03, 2.2 * grain))
    shape.color = steel
    slim = max(0.026, 1.9 * grain)
    at = gripping - between(random, 0.09, 0.13)
    if within:
        long = between(random, 0.16, 0.22)
        shape.box((0, low - long / 2, gripping + 0.02), (slim * 0.9, long, 0.036), round=0.004)
    elif chance(random, 0.2):
        magazine(shape, random, at, low, wide=slim, kind="drum")
    else:
        magazine(shape, random, at, low, wide=slim)
    guard(shape, gripping - 0.08, gripping - 0.01, low, grain)
    shape.color = furniture(random, steel)
    if stock == "frame":
        frame_stock(shape, random, back, end, y=0.0, grain=grain)
    elif stock == "tube":
        tube_stock(shape, random, back, end, y=0.0, grain=grain)
    elif stock == "butt":
        butt(
            shape, random, back, end, top=top - 0.006, deep=0.045, drop=between(random, 0.02, 0.06), wide=wide,
            tall=0.11, pistol=False,
        )  # fmt: skip
    shape.color = steel
    sights(shape, random, back - 0.05, front + 0.02, top, grain, bore=wide / 2)
    if chance(random, 0.25):
        scope(shape, random, (front + back) / 2, top, grain)
    return shape


def machine_gun(random: Generator) -> Shape:
    """Heavy: a bipod, a box or a belt's case, a drum on top or below, a jacket or a heavy barrel, a handle."""
    length = between(random, 1.0, 1.3)
    grain = 0.012 * length
    steel = metal(random)
    shape = Shape(color=steel)
    muzzle, end = -length * 0.58, length * 0.42
    back = end - between(random, 0.24, 0.3)
    front = back - between(random, 0.32, 0.42)
    wide = between(random, 0.055, 0.075)
    top, low = between(random, 0.035, 0.05), -between(random, 0.045, 0.06)
    side(
        shape,
        [
            (front, top - 0.01), (front + 0.1, top), (back - 0.01, top), (back, 0.01), (back, low * 0.8),
            (front + 0.12, low), (front, low * 0.7),
        ],
        wide, round=0.008,
    )  # fmt: skip
    bore = max(between(random, 0.024, 0.03), 1.7 * grain)
    if chance(random, 0.35):
        barrel(shape, front + 0.05, muzzle + 0.06, wide * between(random, 0.7, 1.0))
    barrel(shape, front + 0.05, muzzle, bore)
    barrel(shape, muzzle + 0.07, muzzle - 0.005, bore * 1.1, tip=1.3)
    shape.rod(
        (0, -bore * 0.9, front + 0.05), (0, -bore * 0.9, front - between(random, 0.15, 0.3)), max(0.022, 1.5 * grain)
    )
    at = front + between(random, 0.1, 0.16)
    feed = random.choice(["case", "case", "magazine", "drum", "above"])
    if feed == "case":
        size = (between(random, 0.08, 0.12), between(random, 0.09, 0.14), between(random, 0.12, 0.18))
        shape.box((between(random, -0.02, 0.02), low - size[1] / 2 + 0.015, at), size, round=0.008)
    elif feed == "above":
        shape.rod((0, top - 0.01, at), (0, top + 0.04, at), between(random, 0.15, 0.2))
    else:
        magazine(shape, random, at, low, wide=0.034, kind="drum" if feed == "drum" else "curved")
    shape.color = furniture(random, steel)
    gripping = back - between(random, 0.02, 0.06)
    grip(shape, random, gripping, low * 0.8, wide=0.036)
    butt(
        shape, random, back, end, top=top - 0.02, deep=0.05, drop=between(random, 0.0, 0.03), wide=0.045,
        tall=between(random, 0.12, 0.15), pistol=False,
    )  # fmt: skip
    shape.color = steel
    guard(shape, gripping - 0.08, gripping - 0.01, low * 0.85, grain)
    if chance(random, 0.85):
        bipod(shape, random, front - between(random, 0.1, 0.25), -bore * 0.6, grain)
    if chance(random, 0.6) and feed != "above":
        shape.tube((0, 0.01, front - 0.02), (0.0, 0.13, front - 0.05), (0, 0.085, front + 0.09), grain * 1.5)
    sights(shape, random, back - 0.1, front - 0.12, top, grain, bore=bore / 2)
    return shape
