"""Military airplanes: jet fighters, propeller fighters, bombers, flying wings, transports and drones.

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
    nacelle,
    planform,
    propeller,
    section,
    tails,
    wings,
)
from jobs.training.procedural.parts import between, chance, paint
from jobs.training.procedural.profiles import lacquer
from jobs.training.shape import Shape


def fighter(random: Generator) -> Shape:
    """Jets: swept, trapezoid or delta wings, one fin or two, canards or tailplanes, intakes at the sides or below."""
    length = 10.0
    half = between(random, 2.7, 4.0)
    grain = grains(length, 2 * half, 2.5)
    body = between(random, 0.75, 1.0)
    shape = Shape(color=lacquer(random))
    color = shape.color
    nose, end = -length / 2, length / 2
    twin = chance(random, 0.5)
    tip = between(random, 2.0, 3.2)
    shape.rod((0, 0, nose + tip), (0, -between(random, 0, 0.12), nose), body * 0.8, end_thickness=grain * 0.9)
    shape.rod((0, 0, nose + tip - 0.02), (0, 0, -0.2), body * 0.8, end_thickness=body * 0.95)
    # the rear: one round engine or two side by side, with intakes before them
    rear = end - between(random, 0.1, 0.5)
    if twin:
        wide = body * between(random, 0.42, 0.6)
        for x in (-1, 1):
            shape.rod(
                (x * wide, 0, -0.8), (x * wide, 0, rear), body * 0.8, end_thickness=body * between(random, 0.55, 0.75)
            )
        shape.box((0, 0, (rear - 1.6) / 2), (2 * wide + 0.3, body * 0.6, rear + 0.8), round=0.1)
    else:
        shape.rod((0, 0, -0.3), (0, 0, rear), body * 0.98, end_thickness=body * between(random, 0.6, 0.8))
    intake = random.choice(["sides", "sides", "below", "nose"])
    tall, long = body * between(random, 0.65, 0.9), between(random, 2.6, 4.0)
    if intake == "below":
        wide = body * between(random, 0.7, 1.0) * (1.5 if twin else 1)
        shape.box((0, -body * 0.42, -1.2 + long / 2), (wide, tall * 0.65, long), round=0.08)
        shape.color = DARK
        shape.box((0, -body * 0.44, -1.21), (wide * 0.8, tall * 0.45, 0.1))
    elif intake == "sides":
        start = between(random, -2.2, -1.0)
        wide = body * between(random, 0.35, 0.55)
        for x in (-1, 1):
            shape.color = color
            shape.box((x * (body * 0.38 + wide / 2), -body * 0.05, start + long / 2), (wide, tall, long), round=0.06)
            shape.color = DARK
            shape.box((x * (body * 0.4 + wide / 2), -body * 0.05, start - 0.01), (wide * 0.7, tall * 0.75, 0.1))
    shape.color = color
    root = body * (0.6 if twin else 0.3)
    span = half - root
    kind = random.choice(["swept", "trapezoid", "delta", "delta", "double"])
    level = body * between(random, -0.15, 0.2)
    thick, thin = grain * between(random, 1.4, 2.0), grain
    dihedral = between(random, -5, 3)
    if kind == "swept":
        chord, sweep = between(random, 2.0, 2.8), between(random, 1.4, 2.8)
        z = between(random, -0.4, 0.6)
        wings(
            shape, (root, level, z), span=span, chord=chord, tip=between(random, 0.35, 0.7), sweep=sweep, thick=thick,
            thin=thin, dihedral=dihedral, exponent=section(random),
        )  # fmt: skip
        middle = z, z + sweep
    elif kind == "trapezoid":
        chord, sweep = between(random, 2.6, 3.6), between(random, 0.2, 0.9)
        z = between(random, 0.2, 0.9)
        wings(
            shape, (root, level, z), span=span, chord=chord, tip=between(random, 0.2, 0.4), sweep=sweep, thick=thick,
            thin=thin, dihedral=dihedral,
        )  # fmt: skip
        middle = z, z + sweep
    else:
        lead, trail = between(random, -2.2, -0.8), end - between(random, 0.5, 1.4)
        kink = between(random, 0.2, 0.45) * span
        outline = [
            (0, lead), (span, trail - between(random, 0.5, 0.9)), (span, trail - 0.1),
            (0, trail + between(random, -0.2, 0.2)),
        ]  # fmt: skip
        if kind == "double":
            outline[1:1] = [(kink, lead + (trail - lead) * between(random, 0.45, 0.6))]
        planform(shape, (root, level, 0.0), outline, grain * between(random, 1.2, 1.7), dihedral=dihedral)
        middle = (lead + trail) / 2, trail - 0.5  # of the chord, at the root and at the tip
    if twin and chance(random, 0.6):  # extensions of the wing's root beside the cockpit
        front = between(random, -3.0, -1.8)
        planform(shape, (0.2, level, 0.0), [(0, front), (root + 0.25, 0.2), (root + 0.2, 1.5), (0, 1.5)], grain * 1.2)
    if kind in ("swept", "trapezoid") or chance(random, 0.3):
        wings(
            shape, (root * 0.8, level - 0.05, end - between(random, 0.8, 1.3)), span=between(random, 1.2, 1.9),
            chord=between(random, 1.1, 1.6), tip=between(random, 0.3, 0.5), sweep=between(random, 0.5, 1.1),
            thick=grain * 1.2, thin=grain, dihedral=between(random, -8, 4),
        )  # fmt: skip
    elif chance(random, 0.6):  # canards
        wings(
            shape, (0.2, body * between(random, 0.1, 0.35), between(random, -2.7, -1.8)),
            span=between(random, 1.0, 1.5), chord=between(random, 0.9, 1.2), tip=0.35, sweep=between(random, 0.4, 0.8),
            thick=grain * 1.2, thin=grain,
        )  # fmt: skip
    shape.color = color if chance(random, 0.7) else paint(random)
    height, chord = between(random, 1.2, 1.8), between(random, 1.5, 2.2)
    foot = end - chord * between(random, 0.6, 1.0)
    if twin and chance(random, 0.75):
        lean = between(random, 0, 28)
        for x in (-1, 1):
            fin(
                shape, (x * body * 0.6, body * 0.15, foot - 0.2), height=height, chord=chord,
                tip=between(random, 0.35, 0.6), sweep=between(random, 0.5, 1.1), thick=grain * 1.2, lean=x * lean,
            )  # fmt: skip
    else:
        fin(
            shape, (0, body * 0.2, foot), height=height * 1.15, chord=chord, tip=between(random, 0.25, 0.5),
            sweep=between(random, 0.7, 1.2), thick=grain * 1.3,
        )  # fmt: skip
    shape.color = DARK if chance(random, 0.6) else color
    long = between(random, 1.6, 2.6)
    shape.ellipsoid((0, body * 0.34, nose + tip + long * between(random, 0.1, 0.4)), (body * 0.6, body * 0.7, long))
    if chance(random, 0.6):  # a spine behind the canopy
        shape.color = color
        shape.ellipsoid((0, body * 0.3, nose + tip + long * 0.9), (body * 0.6, body * 0.55, long * 2.2))
    if chance(random, 0.4):  # missiles or tanks under the wings
        shape.color = paint(random)
        size, long = grain * between(random, 1.5, 3), between(random, 1.4, 2.4)
        share = between(random, 0.25, 0.55)
        place, z = root + span * share, middle[0] + (middle[1] - middle[0]) * share
        y = level + np.tan(np.radians(dihedral)) * (place - root)
        for x in (-1, 1):
            shape.ellipsoid((x * place, y - size * 0.9 - thick * 0.3, z), (size, size, long), exponent=2.5)
            shape.box((x * place, y - size * 0.5, z), (grain * 1.2, size, long * 0.4))
    return shape


def warbird(random: Generator) -> Shape:
    """Fighters with one propeller and low tapered or elliptical wings."""
    length, body = 8.5, between(random, 0.95, 1.3)
    half = between(random, 4.2, 5.4)
    grain = grains(length, 2 * half, 2.5)
    shape = Shape(color=lacquer(random))
    color = shape.color
    nose, end = -length / 2, length / 2
    radial = chance(random, 0.5)
    if radial:
        shape.rod((0, 0, nose + 0.3), (0, 0, nose + 1.6), body * 1.02)
    else:
        shape.rod((0, 0, -1.5), (0, 0, nose + 0.3), body * 0.95, end_thickness=body * 0.62)
        if chance(random, 0.6):
            shape.box((0, -body * 0.45, between(random, -1.8, 0.8)), (body * 0.5, body * 0.5, 1.6), round=0.1)
    rise = body * 0.15
    shape.tube((0, 0, nose + 1.2), (0, 0, 0.5), (0, rise, end), body * 0.98, end_thickness=body * 0.2)
    shape.color = color if chance(random, 0.6) else paint(random)
    level, dihedral = -body * between(random, 0.25, 0.4), between(random, 2, 7)
    z, chord = nose + between(random, 2.4, 3.0), between(random, 1.6, 2.1)
    thick = grain * between(random, 1.6, 2.3)
    if chance(random, 0.35):
        lift = np.linspace(0.25, 1, 6) * np.pi / 2
        lead = [(half * float(np.sin(t)), -chord * 0.45 * float(np.cos(t))) for t in lift]
        trail = [(out, chord * 0.6 * float(np.cos(t))) for (out, _), t in zip(lead[-2::-1], lift[-2::-1], strict=True)]
        planform(
            shape, (0.0, level, z), [(0, -chord * 0.45), *lead, *trail, (0, chord * 0.6)], grain * 1.4,
            dihedral=dihedral,
        )  # fmt: skip
    else:
        wings(
            shape, (0.0, level, z), span=half, chord=chord, tip=between(random, 0.4, 0.65),
            sweep=between(random, -0.1, 0.3), thick=thick, thin=grain * 1.1, dihedral=dihedral,
            exponent=section(random),
        )  # fmt: skip
    propeller(shape, random, (0, 0, nose + 0.22), between(random, 2.1, 2.7), grain)
    fin(
        shape, (0, 0, end - 0.75), height=between(random, 1.1, 1.5), chord=1.4, tip=between(random, 0.4, 0.7),
        sweep=between(random, 0.2, 0.5), thick=grain * 1.2,
    )  # fmt: skip
    wings(
        shape, (0.0, rise, end - 0.8), span=between(random, 1.5, 2.0), chord=1.1, tip=between(random, 0.5, 0.7),
        sweep=between(random, 0, 0.2), thick=grain * 1.2, thin=grain,
    )  # fmt: skip
    shape.color = DARK if chance(random, 0.6) else color
    shape.ellipsoid(
        (0, body * 0.45, z + between(random, 0.2, 0.8)), (body * 0.6, body * 0.7, between(random, 1.4, 2.2))
    )
    if chance(random, 0.4):
        shape.color = DARK
        gear(
            shape, random, nose=(0, rise, end - 0.5), main=(half * 0.25, level + 0.05, z - 0.4),
            ground=-body * 0.5 - 0.9,
            wheel=0.6, leg=grain * 1.2,
        )  # fmt: skip
    return shape


def bomber(random: Generator) -> Shape:
    """Bombers: of the war, with two or four propellers and one fin or two; later, with pairs of jets in pods."""
    length, body = 10.0, between(random, 0.9, 1.15)
    props = chance(random, 0.6)
    half = between(random, 5.2, 7.2)
    grain = grains(length, 2 * half, 2.5)
    shape = Shape(color=lacquer(random))
    color = shape.color
    rise = body * 0.15
    hull(
        shape, random, length, body, nose=body * between(random, 0.6, 1.2), tail=between(random, 3.5, 5.0), rise=rise,
        end=0.25,
    )  # fmt: skip
    z, chord = between(random, -1.6, -0.9), between(random, 1.6, 2.1)
    level, dihedral = body * between(random, -0.3, 0.4), between(random, 1, 6)
    shape.color = color if chance(random, 0.7) else paint(random)
    sweep = between(random, 0, 0.5) if props else between(random, 2.2, 3.5)
    tip = between(random, 0.3, 0.5)
    wings(
        shape, (0.0, level, z), span=half, chord=chord, tip=tip, sweep=sweep, thick=grain * between(random, 1.5, 2.1),
        thin=grain, dihedral=dihedral, exponent=section(random),
    )  # fmt: skip
    four = chance(random, 0.65)
    for place in (0.22, 0.45) if four else (0.27,):
        x = place * half
        y = level + np.tan(np.radians(dihedral)) * x
        lead = z + sweep * place - chord / 2 * (1 - place * (1 - tip))
        for way in (-1, 1):
            if props:
                shape.rod((way * x, y, lead + 1.4), (way * x, y, lead - 0.55), 0.2, end_thickness=body * 0.48)
                propeller(shape, random, (way * x, y, lead - 0.58), between(random, 1.3, 1.7), grain)
            else:
                drop = between(random, 0.4, 0.5)
                for pair in (-1, 1):
                    nacelle(shape, (way * x + pair * 0.18, y - drop, lead), 0.38, 1.4)
                shape.box((way * x, y - drop * 0.5, lead + 0.4), (grain * 1.5, drop, 1.0))
    shape.color = color if chance(random, 0.7) else paint(random)
    end = length / 2
    if props and chance(random, 0.4):
        span = between(random, 1.6, 2.1)
        wings(shape, (0.0, rise, end - 0.7), span=span, chord=1.2, tip=0.8, sweep=0.1, thick=grain * 1.3, thin=grain)
        for x in (-1, 1):
            fin(
                shape, (x * span * 0.97, rise - 0.35, end - 0.6), height=1.2, chord=1.2, tip=0.7, sweep=0.15,
                thick=grain * 1.2,
            )  # fmt: skip
    else:
        tails(shape, random, length, body, rise, grain, high=False)
    shape.color = DARK
    if chance(random, 0.6):
        shape.ellipsoid((0, body * 0.45, -length / 2 + between(random, 1.2, 1.8)), (body * 0.55, body * 0.55, 1.4))
    if props and chance(random, 0.6):
        shape.ellipsoid((0, body * 0.48, between(random, -0.3, 0.8)), (0.5, 0.5, 0.5))
    return shape


def flying_wing(random: Generator) -> Shape:
    """A wing and nothing else: swept arms, a swollen middle, a saw-toothed trailing edge."""
    half, lead = between(random, 4.5, 6.5), between(random, 3.0, 4.5)
    grain = grains(2 * half, lead + 1, 1)
    shape = Shape(color=lacquer(random))
    chord = between(random, 1.0, 1.6)
    tooth = between(random, 0.4, 1.0)
    deep = between(random, 3.4, 4.4)
    inner, kink = between(random, 0.8, 1.4), between(random, 2.0, 2.8)
    slope = lead / half
    outline = [
        (0, 0), (half, lead), (half - 0.25, lead + chord * 0.5), (kink, slope * kink + chord),
        (inner, slope * inner + chord + tooth + 0.5),
        (0, deep if chance(random, 0.5) else slope * inner + chord + tooth * 0.4),
    ]  # fmt: skip
    planform(shape, (0.0, 0.0, 0.0), outline, grain * between(random, 1.5, 2.2), dihedral=between(random, 0, 2))
    tall = between(random, 0.7, 1.1)
    shape.ellipsoid((0, tall * 0.1, deep * 0.5 + 0.1), (between(random, 1.2, 2.0), tall, deep * 0.95), blend=0.1)
    for x in (-1, 1):
        shape.ellipsoid(
            (x * between(random, 1.0, 1.5), tall * 0.15, deep * 0.6), (0.8, tall * 0.7, deep * 0.6), blend=0.1
        )
    shape.color = DARK
    shape.ellipsoid((0, tall * 0.35, deep * 0.22), (0.6, tall * 0.5, 0.9))
    if chance(random, 0.35):
        shape.color = paint(random)
        for x in (-1, 1):
            fin(
                shape, (x * inner, 0.1, slope * inner + chord), height=0.9, chord=1.0, tip=0.5, sweep=0.4,
                thick=grain * 1.2, lean=x * between(random, 0, 30),
            )  # fmt: skip
    return shape


def transport(random: Generator) -> Shape:
    """High-wing military freighters with four propellers or jets, an upswept tail and a T-tail or a low one."""
    length, body = 10.0, between(random, 1.2, 1.6)
    half = between(random, 4.6, 6.0)
    grain = grains(length, 2 * half, 3.5)
    shape = Shape(color=lacquer(random))
    color = shape.color
    jets = chance(random, 0.5)
    rise = body * between(random, 0.3, 0.42)
    hull(
        shape, random, length, body, nose=body * between(random, 0.9, 1.3), tail=between(random, 3.2, 4.2), rise=rise,
        end=0.2, blunt=0.5,
    )  # fmt: skip
    level, z = body * between(random, 0.44, 0.52), between(random, -1.2, -0.5)
    chord, dihedral = between(random, 1.4, 1.9), between(random, -4, 1)
    sweep = between(random, 1.2, 2.2) if jets else between(random, 0, 0.2)
    tip = between(random, 0.35, 0.5)
    wings(
        shape, (0.0, level, z), span=half, chord=chord, tip=tip, sweep=sweep, thick=grain * between(random, 1.5, 2.0),
        thin=grain * 1.1, dihedral=dihedral, exponent=section(random),
    )  # fmt: skip
    for place in (0.3, 0.55) if chance(random, 0.8) else (0.32,):
        x = place * half
        y = level + np.tan(np.radians(dihedral)) * x
        lead = z + sweep * place - chord / 2 * (1 - place * (1 - tip))
        for way in (-1, 1):
            if jets:
                nacelle(shape, (way * x, y - 0.42, lead - 0.1), 0.6, 1.3)
                shape.box((way * x, y - 0.2, lead + 0.4), (grain * 1.5, 0.4, 1.1))
            else:
                shape.rod((way * x, y - 0.08, lead + 1.3), (way * x, y - 0.08, lead - 0.7), 0.25, end_thickness=0.45)
                propeller(shape, random, (way * x, y - 0.08, lead - 0.72), between(random, 1.3, 1.6), grain)
    for x in (-1, 1):
        shape.ellipsoid((x * body * 0.45, -body * 0.3, 0.1), (body * 0.45, body * 0.45, between(random, 2.4, 3.2)))
    shape.color = color if chance(random, 0.7) else paint(random)
    tails(shape, random, length, body, rise, grain, high=jets, scale=1.1)
    return shape


def drone(random: Generator) -> Shape:
    """A slim body under a long straight wing, a V-tail and a propeller that pushes."""
    length, body = 7.0, between(random, 0.6, 0.85)
    half = between(random, 5.0, 7.0)
    grain = grains(length, 2 * half, 1.5)
    shape = Shape(color=lacquer(random))
    hull(shape, random, length, body, nose=between(random, 1.2, 2.0), tail=between(random, 1.8, 2.6), rise=0, end=0.4)
    shape.ellipsoid((0, body * 0.2, -length / 2 + 1.0), (body * 1.1, body * 1.1, 2.2), blend=0.1)
    wings(
        shape, (0.0, 0.0, between(random, 0.0, 0.6)), span=half, chord=between(random, 0.7, 1.0),
        tip=between(random, 0.45, 0.7), sweep=between(random, 0, 0.2), thick=grain * 1.3, thin=grain,
        dihedral=between(random, 0, 4),
    )  # fmt: skip
    end = length / 2
    lean = between(random, 40, 60)
    for x in (-1, 1):
        fin(shape, (x * 0.1, 0, end - 0.6), height=1.6, chord=0.8, tip=0.6, sweep=0.3, thick=grain, lean=x * lean)
    propeller(shape, random, (0, 0, end), 1.5, grain)
    return shape


def twin_boom(random: Generator) -> Shape:
    """Two booms behind the engines carry the tail; a pod between them the crew."""
    length = 8.5
    half = between(random, 4.6, 6.0)
    grain = grains(length, 2 * half, 2.5)
    shape = Shape(color=lacquer(random))
    color = shape.color
    nose, end = -length / 2, length / 2
    z, chord, boom = between(random, -1.4, -0.8), between(random, 1.4, 1.9), between(random, 1.1, 1.6)
    shape.ellipsoid((0, 0.05, z - 0.2), (0.95, 1.1, between(random, 4.0, 5.0)))
    wings(
        shape, (0.0, 0.0, z), span=half, chord=chord, tip=between(random, 0.4, 0.65), sweep=0.1, thick=grain * 1.8,
        thin=grain * 1.1, dihedral=between(random, 1, 5), exponent=section(random),
    )  # fmt: skip
    for x in (-1, 1):
        shape.rod((x * boom, 0.05, nose + 1.3), (x * boom, 0.12, end), 0.75, end_thickness=0.24)
        propeller(shape, random, (x * boom, 0.05, nose + 1.25), 1.9, grain)
        fin(shape, (x * boom, -0.2, end - 0.6), height=1.3, chord=1.0, tip=0.65, sweep=0.3, thick=grain * 1.2)
    shape.color = color if chance(random, 0.6) else paint(random)
    side_span = 2 * boom
    shape.box((0, 0.12, end - 0.5), (side_span, grain * 1.2, 0.9), round=grain * 0.4)
    shape.color = DARK
    shape.ellipsoid((0, 0.4, z - 0.6), (0.65, 0.8, 1.8))
    return shape
