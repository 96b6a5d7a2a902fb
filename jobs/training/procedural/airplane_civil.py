"""Airliners, business jets, turboprops and what flies faster than sound.

Works on: a random generator. Knows nothing about pictures, points or networks.

About ten units long, the nose at −Z.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural.airplane_parts import (
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


def airliner(random: Generator) -> Shape:
    """Two or four engines under a low swept wing, from regional jets to double-deckers."""
    length, body = 10.0, between(random, 0.85, 1.3)
    half = between(random, 4.0, 5.4)
    grain = grains(length, 2 * half, 2.5)
    shape = Shape(color=lacquer(random))
    color = shape.color
    tail = between(random, 2.4, 3.6)
    rise = body * between(random, 0.1, 0.32)
    hull(
        shape, random, length, body, nose=body * between(random, 1.0, 1.7), tail=tail, rise=rise,
        blunt=between(random, 0.45, 0.7),
    )  # fmt: skip
    if chance(random, 0.15):  # an upper deck in front
        shape.ellipsoid((0, body * 0.36, -2.9), (body * 0.78, body * 0.85, between(random, 2.6, 4.4)), blend=0.1)
    level, z = -body * between(random, 0.15, 0.36), between(random, -0.5, 0.4)
    chord, sweep = between(random, 1.6, 2.3), between(random, 1.6, 2.9) * half / 4.7
    dihedral, thick = between(random, 2, 8), grain * between(random, 1.5, 2.3)
    thin = grain * between(random, 1.0, 1.2)
    shape.color = color if chance(random, 0.5) else paint(random)
    wing = shape.color
    if chance(random, 0.5):  # one straight taper
        tip = between(random, 0.18, 0.35)
        ends = wings(
            shape, (0.1, level, z), span=half, chord=chord, tip=tip, sweep=sweep, thick=thick, thin=thin,
            dihedral=dihedral, exponent=section(random),
        )  # fmt: skip
    else:  # a trailing edge with a kink: a broad inner wing and a slender outer one
        kink, inner = between(random, 0.28, 0.42) * half, chord * between(random, 0.5, 0.62)
        back = chord / 2 - inner / 2 - between(random, 0.0, 0.15)
        knee = wings(
            shape, (0.1, level, z), span=kink, chord=chord, tip=inner / chord, sweep=back, thick=thick,
            thin=thick * 0.8, dihedral=dihedral,
        )  # fmt: skip
        tip = between(random, 0.3, 0.5)
        ends = wings(
            shape, (knee[0] - 0.03, knee[1], knee[2]), span=half - kink, chord=inner, tip=tip,
            sweep=max(sweep - back, 0.5), thick=thick * 0.8, thin=thin, dihedral=dihedral + between(random, 0, 3),
        )  # fmt: skip
        tip *= inner / chord
    if chance(random, 0.5):  # winglets
        tall, small = between(random, 0.3, 0.7), chord * tip
        for x in (-1, 1):
            fin(
                shape, (x * (ends[0] - 0.05), ends[1] - thin, ends[2]), height=tall, chord=small * 0.95,
                tip=between(random, 0.4, 0.7), sweep=tall * between(random, 0.4, 0.9), thick=grain,
                lean=x * between(random, 5, 35),
            )  # fmt: skip
    if chance(random, 0.7):  # a fairing where the wings meet the belly
        shape.color = color
        shape.ellipsoid((0, level * 0.9, z), (body * 0.95, body * 0.6, chord * 1.5))
    shape.color = wing if chance(random, 0.6) else paint(random)
    pod, long = body * between(random, 0.42, 0.68), between(random, 0.9, 1.5)
    for place in (0.33,) if chance(random, 0.7) else (0.3, 0.58):
        out = place * half
        y = level + np.tan(np.radians(dihedral)) * out
        lead = z + sweep * place - chord / 2 * (1 - place * (1 - tip))
        small = pod * (1.0 if place < 0.5 else 0.9)
        drop = small * between(random, 0.42, 0.56) + thick * 0.3
        for way in (-1, 1):
            nacelle(
                shape, (way * out, y - drop, lead + long * between(random, -0.15, 0.05)), small, long,
                slim=between(random, 0.45, 0.75),
            )  # fmt: skip
            shape.box((way * out, y - drop * 0.45, lead + long * 0.35), (grain * 1.5, drop, long * 0.9))
    shape.color = color if chance(random, 0.5) else paint(random)
    tails(shape, random, length, body, rise, grain, high=chance(random, 0.05))
    if chance(random, 0.15):
        shape.color = paint(random)
        gear(
            shape, random, nose=(0, -body * 0.3, -length / 2 + 1.3), main=(body * 0.45, level, z + 0.5),
            ground=-body * 0.5 - 0.75, wheel=between(random, 0.3, 0.42), leg=grain * 1.2,
        )  # fmt: skip
    return shape


def tail_engined(random: Generator) -> Shape:
    """Airliners and business jets with engines beside the tail, a T-tail, and sometimes a third engine in the fin."""
    length = 10.0
    small = chance(random, 0.6)
    body = between(random, 1.05, 1.5) if small else between(random, 0.8, 1.05)
    half = between(random, 3.9, 5.3) if small else between(random, 3.5, 4.6)
    grain = grains(length, 2 * half, 2.8)
    shape = Shape(color=lacquer(random))
    color = shape.color
    rise, tail = body * between(random, 0.1, 0.3), between(random, 2.6, 3.8)
    hull(
        shape, random, length, body, nose=body * between(random, 1.2, 2.0), tail=tail, rise=rise,
        blunt=between(random, 0.5, 0.85),
    )  # fmt: skip
    shape.color = color if chance(random, 0.6) else paint(random)
    level, z = -body * between(random, 0.25, 0.42), between(random, 0.0, 0.9)
    chord = between(random, 1.4, 2.0)
    sweep = between(random, 0.5, 2.0)
    ends = wings(
        shape, (0.1, level, z), span=half, chord=chord, tip=between(random, 0.25, 0.5), sweep=sweep,
        thick=grain * between(random, 1.4, 2.0), thin=grain, dihedral=between(random, 1, 6), exponent=section(random),
    )  # fmt: skip
    if small and chance(random, 0.5):
        for x in (-1, 1):
            fin(
                shape, (x * (ends[0] - 0.04), ends[1] - grain, ends[2]), height=between(random, 0.35, 0.6), chord=0.5,
                tip=0.5, sweep=0.3, thick=grain, lean=x * 12,
            )  # fmt: skip
    pod, long = body * between(random, 0.4, 0.55), between(random, 1.3, 2.0)
    z = length / 2 - tail * between(random, 0.8, 1.0) - 0.1
    level = body * between(random, 0.1, 0.25)
    reach = body / 2 + pod * between(random, 0.45, 0.65)
    for x in (-1, 1):
        nacelle(shape, (x * reach, level, z), pod, long, slim=between(random, 0.5, 0.75))
    shape.box((0, level, z), (2 * reach, grain * 1.3, long * 0.5))
    if chance(random, 0.2):
        top = body * 0.5 + rise * 0.5
        nacelle(shape, (0, top, length / 2 - tail * 0.55), pod * 0.95, long * 1.2)
        shape.box((0, top * 0.6, length / 2 - tail * 0.5), (grain * 2, top, long))
    shape.color = color if chance(random, 0.5) else paint(random)
    tails(shape, random, length, body, rise, grain, high=chance(random, 0.85))
    if chance(random, 0.2):
        gear(
            shape, random, nose=(0, -body * 0.3, -length / 2 + 1.6), main=(body * 0.5, -body * 0.3, 0.6),
            ground=-body * 0.5 - 0.6, wheel=between(random, 0.28, 0.38), leg=grain * 1.2,
        )  # fmt: skip
    return shape


def turboprop(random: Generator) -> Shape:
    """Regional propeller airliners: engines in a straight wing, high with a T-tail or low."""
    length, body = 10.0, between(random, 0.95, 1.25)
    half = between(random, 4.4, 5.6)
    grain = grains(length, 2 * half, 3)
    shape = Shape(color=lacquer(random))
    color = shape.color
    rise = body * between(random, 0.2, 0.4)
    hull(
        shape, random, length, body, nose=body * between(random, 1.1, 1.6), tail=between(random, 3, 4), rise=rise,
        blunt=0.55,
    )  # fmt: skip
    high = chance(random, 0.65)
    level, z = body * (0.48 if high else -0.35), between(random, -0.7, 0.2)
    chord, dihedral = between(random, 1.0, 1.4), between(random, 0, 4)
    shape.color = color if chance(random, 0.5) else paint(random)
    wings(
        shape, (0.0, level, z), span=half, chord=chord, tip=between(random, 0.45, 0.7),
        sweep=between(random, -0.1, 0.2), thick=grain * between(random, 1.5, 2.1), thin=grain * 1.1, dihedral=dihedral,
        exponent=section(random),
    )  # fmt: skip
    four = chance(random, 0.2)
    pod, long = body * between(random, 0.4, 0.5), between(random, 1.8, 2.6)
    for place in (0.28, 0.52) if four else (0.3,):
        out = place * half
        y = level + np.tan(np.radians(dihedral)) * out - pod * between(random, 0.0, 0.25)
        for way in (-1, 1):
            shape.rod(
                (way * out, y, z + long * 0.55),
                (way * out, y, z - long * 0.5),
                pod * 0.5,
                end_thickness=pod,
                exponent=4.0,
            )
            propeller(
                shape, random, (way * out, y, z - long * 0.52), between(random, 1.2, 1.6) * (0.8 if four else 1), grain
            )
    shape.color = color if chance(random, 0.5) else paint(random)
    tails(shape, random, length, body, rise, grain, high=high and chance(random, 0.8))
    if high and chance(random, 0.5):  # sponsons
        for x in (-1, 1):
            shape.ellipsoid((x * body * 0.5, -body * 0.3, 0.2), (body * 0.5, body * 0.45, 2.2))
    if chance(random, 0.25):
        gear(
            shape, random, nose=(0, -body * 0.3, -length / 2 + 1.4), main=(body * 0.5, -body * 0.3, 0.3),
            ground=-body * 0.5 - 0.6, wheel=0.36, leg=grain * 1.2,
        )  # fmt: skip
    return shape


def supersonic(random: Generator) -> Shape:
    """A needle with an ogival delta, engines below it; and shuttles: stout, with a delta and a blunt tail."""
    shuttle = chance(random, 0.35)
    length = 10.0
    body = between(random, 1.5, 1.9) if shuttle else between(random, 0.6, 0.8)
    half = between(random, 3.0, 3.6) if shuttle else between(random, 2.1, 2.9)
    grain = grains(length, 2 * half, 2)
    shape = Shape(color=lacquer(random))
    color = shape.color
    rise = body * 0.1
    hull(
        shape, random, length, body, nose=between(random, 1.6, 2.2) if shuttle else between(random, 2.2, 3.0),
        tail=0.6 if shuttle else 2.6, rise=0 if shuttle else rise, end=0.75 if shuttle else 0.1,
        blunt=0.55 if shuttle else 0.8,
    )  # fmt: skip
    end = length / 2 - (0.1 if shuttle else between(random, 0.7, 1.1))
    level = -body * between(random, 0.25, 0.4)
    knee = between(random, 0.3, 0.5) * half
    outline = [
        (0, -between(random, 1.5, 3.0)), (knee * 0.6, -between(random, 0.3, 1.2)), (knee, between(random, 0.6, 1.2)),
        (half, end - between(random, 0.5, 1.1)), (half, end - 0.2), (knee, end), (0, end),
    ]  # fmt: skip
    shape.color = color if chance(random, 0.7) else paint(random)
    planform(shape, (0.0, level, 0.0), outline, grain * between(random, 1.2, 1.8), dihedral=between(random, 0, 3))
    tall = between(random, 1.1, 1.7)
    fin(
        shape, (0, body * 0.3, end - 1.2), height=tall, chord=2.0, tip=0.35, sweep=between(random, 0.5, 0.9),
        thick=grain * 1.3,
    )  # fmt: skip
    shape.color = paint(random) if chance(random, 0.5) else color
    if shuttle:
        for x in (-1, 1):
            shape.ellipsoid((x * body * 0.33, body * 0.35, end - 0.8), (body * 0.4, body * 0.4, 1.9))
            shape.rod(
                (x * body * 0.22, -body * 0.05, end - 0.2), (x * body * 0.22, -body * 0.05, end + 0.4), 0.25,
                end_thickness=0.5,
            )  # fmt: skip
    else:
        if chance(random, 0.4):  # canards behind the cockpit
            wings(
                shape, (0.1, body * 0.1, -length / 2 + between(random, 1.5, 2.5)), span=between(random, 0.7, 1.2),
                chord=0.8, tip=0.4, sweep=0.4, thick=grain * 1.2, thin=grain,
            )  # fmt: skip
        wide = between(random, 0.5, 0.8)
        for x in (-1, 1):
            shape.box((x * half * between(random, 0.34, 0.42), level - 0.15, end - 1.1), (wide, 0.36, 2.3), round=0.06)
    return shape
