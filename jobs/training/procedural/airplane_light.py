"""Light airplanes, gliders, biplanes and seaplanes.

Works on: a random generator. Knows nothing about pictures, points or networks.

About ten units long, the nose at −Z.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.airplane_parts import (
    DARK,
    fin,
    gear,
    grains,
    hull,
    propeller,
    section,
    tails,
    wings,
)
from jobs.training.procedural.parts import between, chance, paint, tilt
from jobs.training.procedural.profiles import lacquer
from jobs.training.shape import Shape


def light(random: Generator) -> Shape:
    """Four-seaters and trainers: a high wing on struts or a low one, fixed wheels, one propeller in front (or two)."""
    length, body = 8.0, between(random, 1.15, 1.5)
    half = between(random, 4.4, 6.2)
    grain = grains(length, 2 * half, 2.5)
    shape = Shape(color=lacquer(random))
    color = shape.color
    nose, end = -length / 2, length / 2
    front, back = nose + between(random, 1.3, 1.8), between(random, 0.4, 1.0)
    tall = body * between(random, 1.0, 1.2)
    high = chance(random, 0.55)
    exponent = float(random.choice([2.0, 4.0, 4.0]))
    shape.rod(
        (0, -tall * 0.06, front + 0.3), (0, -tall * 0.1, nose + 0.15), body * 0.92,
        end_thickness=body * between(random, 0.6, 0.8), exponent=exponent,
    )  # fmt: skip
    shape.rod((0, -tall * 0.06, front), (0, -tall * 0.06, back), body, exponent=exponent)
    shape.rod(
        (0, -tall * 0.06, back - 0.1), (0, tall * 0.1, end), body * 0.98,
        end_thickness=body * between(random, 0.15, 0.3), exponent=exponent,
    )  # fmt: skip
    shape.color = DARK if chance(random, 0.6) else color
    cab = body * between(random, 0.85, 0.98)
    if high:
        shape.box(
            (0, tall * 0.42, (front + back) / 2 + 0.1), (cab, tall * 0.5, back - front + 0.5), taper=(0.15, 0.45),
            shear=(0, 0.15), round=0.06,
        )  # fmt: skip
    else:
        shape.ellipsoid(
            (0, tall * 0.42, (front + back) / 2 + 0.2), (cab, tall * 0.75, back - front + between(random, 0.6, 1.4)),
            exponent=2.5,
        )  # fmt: skip
    shape.color = color if chance(random, 0.6) else paint(random)
    level = tall * 0.64 if high else -tall * between(random, 0.3, 0.45)
    z, chord, dihedral = (front + back) / 2 + between(random, 0, 0.3), between(random, 1.3, 1.75), between(random, 1, 7)
    thick = grain * between(random, 1.6, 2.4)
    wings(
        shape, (0.0, level, z), span=half, chord=chord, tip=float(random.choice([1.0, between(random, 0.5, 0.9)])),
        sweep=between(random, -0.15, 0.2), thick=thick, thin=grain * 1.2, dihedral=dihedral, exponent=section(random),
    )  # fmt: skip
    if high and chance(random, 0.75):
        reach = half * between(random, 0.4, 0.55)
        for x in (-1, 1):
            shape.rod(
                (x * body * 0.45, -tall * 0.4, z), (x * reach, level + np.tan(np.radians(dihedral)) * reach, z),
                grain * 1.2,
            )  # fmt: skip
    twin = not high and chance(random, 0.25)
    if twin:
        out = half * 0.3
        y = level + np.tan(np.radians(dihedral)) * out + 0.05
        for way in (-1, 1):
            shape.rod(
                (way * out, y, z + chord * 0.5), (way * out, y, z - chord * 0.9), 0.3, end_thickness=body * 0.45,
                exponent=4.0,
            )  # fmt: skip
            propeller(shape, random, (way * out, y, z - chord * 0.93), 1.6, grain)
    else:
        propeller(shape, random, (0, -tall * 0.1, nose + 0.1), between(random, 1.7, 2.3), grain)
    shape.color = color if chance(random, 0.6) else paint(random)
    rise = tall * 0.1
    height, tail_chord = between(random, 1.0, 1.4), between(random, 0.9, 1.3)
    fin(
        shape, (0, rise, end - tail_chord * 0.6), height=height, chord=tail_chord * 1.3, tip=between(random, 0.45, 0.7),
        sweep=between(random, 0.2, 0.7), thick=grain * 1.2,
    )  # fmt: skip
    wings(
        shape, (0.0, rise, end - tail_chord * 0.4), span=between(random, 1.5, 2.0), chord=tail_chord,
        tip=between(random, 0.6, 1.0), sweep=between(random, 0, 0.3), thick=grain * 1.2, thin=grain,
    )  # fmt: skip
    if chance(random, 0.75):
        spats = chance(random, 0.3)
        wheel, ground = between(random, 0.42, 0.58), -tall * 0.55 - between(random, 0.5, 0.8)
        behind = chance(random, 0.35)
        gear(
            shape, random, nose=(0, rise, end - 0.4) if behind else (0, -tall * 0.3, front - 0.4),
            main=(body * 0.4, -tall * 0.4, z + (-0.3 if behind else 0.3)), ground=ground, wheel=wheel, leg=grain * 1.3,
        )  # fmt: skip
        if spats and not behind:
            shape.ellipsoid((0, ground + wheel * 0.6, front - 0.35), (0.26, wheel * 0.9, wheel * 1.9))
    return shape


def glider(random: Generator) -> Shape:
    """Sailplanes: very long thin wings, a drop of a cockpit, a thin boom."""
    length = between(random, 6.5, 8.5)
    half = between(random, 6.0, 9.0)
    grain = grains(length, 2 * half, 1.5)
    body = between(random, 0.75, 0.95)
    shape = Shape(color=lacquer(random))
    nose, end = -length / 2, length / 2
    shape.ellipsoid((0, 0, nose + length * 0.22), (body, body * 1.1, length * 0.46), blend=0.0)
    shape.tube(
        (0, 0.0, nose + length * 0.25), (0, 0.05, nose + length * 0.5), (0, body * 0.2, end), body * 0.8,
        end_thickness=grain * 1.4, blend=0.2,
    )  # fmt: skip
    z = nose + length * between(random, 0.3, 0.4)
    wings(
        shape, (0.0, body * between(random, 0.1, 0.4), z), span=half, chord=between(random, 0.9, 1.2),
        tip=between(random, 0.35, 0.6), sweep=between(random, -0.2, 0.25), thick=grain * 1.4, thin=grain,
        dihedral=between(random, 1, 5), exponent=section(random),
    )  # fmt: skip
    chord, height = between(random, 0.7, 1.0), between(random, 0.9, 1.3)
    top = chance(random, 0.65)
    fin(
        shape, (0, 0, end - chord * 0.55), height=height + 0.1, chord=chord, tip=0.7, sweep=between(random, 0, 0.3),
        thick=grain,
    )  # fmt: skip
    wings(
        shape, (0.0, height if top else body * 0.2, end - chord * 0.4), span=between(random, 1.1, 1.6),
        chord=chord * 0.7, tip=0.6, sweep=0.1, thick=grain, thin=grain,
    )  # fmt: skip
    shape.color = DARK
    if chance(random, 0.6):
        shape.ellipsoid((0, body * 0.28, nose + length * 0.18), (body * 0.75, body * 0.7, length * 0.24))
    return shape


def biplane(random: Generator) -> Shape:
    """Two wings one above the other (now and then three), struts between them, fixed wheels, a propeller."""
    length, body = 7.5, between(random, 0.85, 1.2)
    half = between(random, 3.8, 5.2)
    grain = grains(length, 2 * half, 3)
    shape = Shape(color=lacquer(random))
    color = shape.color
    nose, end = -length / 2, length / 2
    exponent = float(random.choice([2.0, 4.0, np.inf]))
    shape.rod((0, 0, nose + 0.25), (0, 0, 0.2), body, exponent=exponent)
    shape.rod((0, 0, 0.1), (0, body * 0.2, end), body, end_thickness=body * 0.25, exponent=exponent)
    if chance(random, 0.5):
        shape.color = DARK
        shape.rod((0, 0, nose + 0.2), (0, 0, nose + 0.9), body * 1.15)
    shape.color = color if chance(random, 0.5) else paint(random)
    chord, z = between(random, 1.1, 1.5), nose + between(random, 1.8, 2.4)
    gap, stagger = between(random, 1.2, 1.7), between(random, 0.0, 0.5)
    low, dihedral = -body * between(random, 0.3, 0.5), between(random, 0, 3)
    three = chance(random, 0.12)
    levels = [low, low + gap / 2, low + gap] if three else [low, low + gap]
    tip = float(random.choice([1.0, between(random, 0.75, 0.95)]))
    for number, level in enumerate(levels):
        share = number / (len(levels) - 1)
        wings(
            shape, (0.0, level, z - stagger * (share - 0.5)), span=half * (1 - 0.1 * (1 - share)), chord=chord, tip=tip,
            sweep=0.0, thick=grain * 1.4, thin=grain * 1.1, dihedral=dihedral,
        )  # fmt: skip
    for x in (-1, 1):
        for place in (0.66,) if chance(random, 0.6) else (0.4, 0.75):
            out = x * half * place
            lift = np.tan(np.radians(dihedral)) * abs(out)
            for edge in (-0.3, 0.3):
                shape.rod(
                    (out, low + lift, z + stagger / 2 + edge * chord),
                    (out, low + gap + lift, z - stagger / 2 + edge * chord), grain * 1.1,
                )  # fmt: skip
        shape.rod((x * body * 0.35, body * 0.2, z), (x * body * 0.5, low + gap, z - stagger / 2), grain * 1.1)
    shape.box((0, body * 0.5, z + chord * 0.9), (body * 0.5, body * 0.5, 0.8), round=0.1, cut=True)
    propeller(shape, random, (0, 0, nose + 0.15), between(random, 1.8, 2.4), grain)
    shape.color = color if chance(random, 0.6) else paint(random)
    fin(
        shape, (0, 0, end - 0.55), height=between(random, 0.9, 1.3), chord=1.1, tip=between(random, 0.5, 0.8),
        sweep=0.25, thick=grain * 1.2,
    )  # fmt: skip
    wings(
        shape, (0.0, body * 0.2, end - 0.5), span=between(random, 1.2, 1.7), chord=1.0, tip=between(random, 0.6, 0.9),
        sweep=0.1, thick=grain * 1.2, thin=grain,
    )  # fmt: skip
    shape.color = DARK
    gear(
        shape, random, nose=(0, body * 0.2, end - 0.4), main=(body * 0.35, -body * 0.3, z - 0.4),
        ground=-body * 0.5 - 0.8, wheel=0.65, leg=grain * 1.2,
    )  # fmt: skip
    return shape


def seaplane(random: Generator) -> Shape:
    """A light airplane or a twin on two floats, or a flying boat with floats under its wing tips."""
    length, body = 8.5, between(random, 0.95, 1.3)
    half = between(random, 4.6, 6.0)
    grain = grains(length, 2 * half, 3.2)
    shape = Shape(color=lacquer(random))
    color = shape.color
    rise = body * 0.3
    hull(
        shape, random, length, body, nose=body * between(random, 1.0, 1.6), tail=between(random, 3, 4.2), rise=rise,
        end=0.2,
    )  # fmt: skip
    z, chord = between(random, -1.2, -0.5), between(random, 1.2, 1.6)
    boat = chance(random, 0.45)
    level = body * between(random, 0.75, 1.1) if boat else body * between(random, 0.42, 0.5)
    shape.color = color if chance(random, 0.5) else paint(random)
    wings(
        shape, (0.0, level, z), span=half, chord=chord, tip=between(random, 0.5, 1.0), sweep=0.0, thick=grain * 1.7,
        thin=grain * 1.1, dihedral=between(random, 0, 3), exponent=section(random),
    )  # fmt: skip
    if boat:
        shape.box((0, level / 2, z), (body * 0.5, level, chord * 0.9), taper=(0.3, 0.2))
        shape.box(
            (0, -body * 0.45, -length * 0.12), (body * 0.85, body * 0.4, length * 0.55), turn=tilt(180, "z"),
            taper=(0.5, 0.3), round=0.05,
        )  # fmt: skip
        for x in (-1, 1):
            foot = (x * half * 0.75, -body * 0.25, z)
            shape.rod((x * half * 0.75, level + 0.1, z), foot, grain * 1.2)
            shape.ellipsoid(foot, (0.32, 0.36, 1.3))
    else:
        deep = -body * 0.5 - between(random, 0.6, 0.9)
        track = between(random, 0.8, 1.2)
        long = between(random, 4.5, 6.0)
        for x in (-1, 1):
            shape.box(
                (x * track, deep, z), (0.5, long, 0.46), turn=tilt(-90), taper=(0.4, 0.3), exponent=4.0, round=0.08
            )
            for edge in (-0.8, 0.8):
                shape.rod((x * body * 0.3, -body * 0.3, z + edge * 0.8), (x * track, deep, z + edge), grain * 1.2)
    if boat or chance(random, 0.3):
        place = half * between(random, 0.2, 0.28)
        for x in (-1, 1):
            shape.rod(
                (x * place, level + 0.1, z + 0.5), (x * place, level + 0.1, z - chord * 0.8), 0.3, end_thickness=0.5
            )
            propeller(shape, random, (x * place, level + 0.1, z - chord * 0.82), 1.5, grain)
    else:
        propeller(shape, random, (0, 0, -length / 2 + 0.02), 2.0, grain)
    shape.color = color if chance(random, 0.6) else paint(random)
    tails(shape, random, length, body, rise, grain, high=chance(random, 0.2), scale=0.9)
    return shape
