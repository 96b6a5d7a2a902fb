"""Chairs on anything but four plain legs: cantilevers, sleds, bent bars, stars, columns, crossed legs, boards.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

import numpy as np
from numpy.random import Generator

from jobs.training.procedural import bases
from jobs.training.procedural.backs import add_back
from jobs.training.procedural.joinery import SIDEWAYS, cushion, finish, leg_style, path
from jobs.training.procedural.parts import between, chance, paint, tilt
from jobs.training.procedural.seating import add_arms, add_seat, measures, side_panels, slats
from jobs.training.procedural.shell import bowl, moulded, tub
from jobs.training.shape import Shape


def tubular(random: Generator) -> Shape:
    """A frame of bent tube or flat bar: cantilevers and sleds, some with the frame going on as the back's."""
    m = measures(random, thick=between(random, 0.018, 0.07), lean=between(random, 4, 20), rear=1.0)
    m.width, m.depth = max(m.width, 0.42), max(m.depth, 0.4)
    shape = Shape(color=finish(random))
    seat_color = paint(random) if chance(random, 0.75) else shape.color
    kind = random.choice(["cantilever", "cantilever", "cantilever", "sled"])
    carried = kind == "cantilever" and chance(random, 0.5)
    if carried:
        reach = m.span()
        up = [m.on_back(0, share * reach)[1:] for share in (between(random, 0.8, 0.97),)]
        shape.color = seat_color
        m.bar = between(random, 0.02, 0.035)
        if chance(random, 0.65):
            low = between(random, 0.1, 0.5) * reach
            soft = between(random, 0.02, 0.05)
            shape.box(
                m.on_back(0, (low + reach) / 2, -0.01), (m.width * between(random, 0.94, 1.02), reach - low, soft),
                turn=tilt(m.lean), round=between(random, 0, 0.45) * soft, bend=between(random, 0, 0.5),
            )  # fmt: skip
        else:
            add_back(shape, random, m, str(random.choice(["panel", "pillow", "ladder"])))
    else:
        up = []
        shape.color = seat_color
        add_back(shape, random, m, str(random.choice(["panel", "curved", "curved", "outlined", "outlined", "outlined",
                                                      "floating", "pillow", "scroll"])))  # fmt: skip
    add_seat(shape, random, m, str(random.choice(["flat", "soft", "fall", "fall", "shaped"])))
    shape.color = finish(random)
    if kind == "cantilever":
        bases.cantilever(shape, random, m.width * between(random, 0.85, 1.02), m.depth, m.under + 0.012, uprights=up)
    else:
        bases.sled(shape, random, m.width, m.depth, m.under + 0.012)
    if chance(random, 0.5):
        add_arms(shape, random, m, str(random.choice(["loop", "loop", "loop", "hoop", "post", "tee", "raked"])))
    return shape


def bentwood(random: Generator) -> Shape:
    """Lounge chairs whose sides are one bent bar: runner, front, arm; the shell hangs between them."""
    m = measures(random, width=between(random, 0.5, 0.68), height=between(random, 0.32, 0.44), rear=1.0)
    m.depth, m.lean, m.rise = between(random, 0.5, 0.62), between(random, 14, 30), between(random, 0.4, 0.7)
    m.thick = between(random, 0.04, 0.11)
    shape = Shape(color=paint(random))
    thick = between(random, 0.04, 0.1)
    span = m.span()
    shape.box(m.on_back(0, span / 2), (m.width * 0.86, span, thick), turn=tilt(m.lean), round=0.4 * thick)
    slope = tilt(between(random, 0, 8))
    shape.box((0, m.height - m.thick / 2, 0), (m.width * 0.88, m.thick, m.depth), turn=slope, round=0.4 * m.thick)
    if chance(random, 0.3):
        pillow = m.on_back(0, span * 0.85, -thick * 0.7)
        cushion(shape, random, pillow, (m.width * 0.7, 0.15, 0.08), turn=tilt(m.lean))
    shape.color = finish(random)
    bar, flat = between(random, 0.018, 0.035), between(random, 0.04, 0.08)
    arm = m.height + between(random, 0.12, 0.22)
    front, rear = -m.depth / 2 - between(random, 0, 0.05), m.depth / 2 + between(random, 0.0, 0.12)
    rounded = None if chance(random, 0.3) else flat
    kind = random.choice(["c", "c", "loop", "z", "legs"])
    arm_rear = m.on_back(0, (arm - m.height) * 1.1)[2] + 0.04
    for x in (-1, 1):
        at = x * (m.width / 2 - 0.01)
        corners = {
            "c": [(at, arm, arm_rear), (at, arm, front), (at, bar / 2, front), (at, bar / 2, rear)],
            "loop": [(at, arm, rear), (at, arm, front), (at, bar / 2, front), (at, bar / 2, rear), (at, arm, rear)],
            "z": [(at, arm, rear), (at, arm, front), (at, bar / 2, rear - 0.15), (at, bar / 2, front)],
            "legs": [(at, 0, front - 0.03), (at, arm, front), (at, arm - 0.03, arm_rear), (at, 0, rear + 0.06)],
        }[str(kind)]
        path(shape, corners, bar, between(random, 0.05, 0.12), flat=rounded)
    tie = m.height - m.thick * 0.6
    wide = m.width - 0.02
    for z, level in ((-m.depth / 2 + 0.03, tie), (m.depth / 2 - 0.05, tie)):
        shape.box((0, level, z), (wide, 0.035, 0.04))
    shape.box((0, tie, (front + m.depth / 2) / 2), (wide, 0.02, m.depth / 2 - front - 0.01))
    if kind == "c" or chance(random, 0.5):
        shape.box((0, arm - 0.01, arm_rear - 0.02), (wide, 0.035, 0.03))
    if kind in ("c", "z", "loop"):
        shape.box((0, bar / 2, rear - 0.02 if kind != "z" else rear - 0.17), (wide, bar, flat))
    return shape


def swivel(random: Generator) -> Shape:
    """Office chairs: a star with casters, a padded seat, a high or low back and often arms."""
    m = measures(random, height=between(random, 0.42, 0.55), rear=1.0, lean=between(random, 2, 16))
    m.thick, m.rise = between(random, 0.04, 0.12), between(random, 0.3, 0.8)
    m.width, m.depth, m.bar = max(m.width, 0.46), max(m.depth, 0.44), between(random, 0.03, 0.07)
    shape = Shape(color=paint(random) if chance(random, 0.6) else (0.07, 0.07, 0.08))
    kind = random.choice(["attached", "stalk", "stalk", "executive"])
    span = m.span()
    if kind == "attached":
        add_back(shape, random, m, str(random.choice(["panel", "curved", "curved", "outlined", "oval", "pillow"])))
    elif kind == "stalk":
        low = between(random, 0.15, 0.45) * span
        wide = m.width * between(random, 0.75, 1.0)
        edge = between(random, 0.2, 0.48) * m.bar
        flip = tilt(180, "z") if chance(random, 0.5) else np.eye(3)
        shape.box(m.on_back(0, (low + span) / 2), (wide, span - low, m.bar), turn=tilt(m.lean) @ flip, round=edge,
                  bend=between(random, 0.2, 2.0), taper=(between(random, 0, 0.4), 0))  # fmt: skip
        stalk = between(random, 0.025, 0.09)
        shape.tube((0, m.under + 0.01, 0.05), (0, m.under - 0.01, m.depth / 2 + 0.08),
                   m.on_back(0, low + 0.1, m.bar * 0.3), max(0.03, stalk * 0.6))  # fmt: skip
    else:
        soft = between(random, 0.07, 0.13)
        shape.box(m.on_back(0, span / 2), (m.width * 0.95, span, soft), turn=tilt(m.lean), round=0.4 * soft,
                  taper=(between(random, 0, 0.25), between(random, 0, 0.3)), bend=between(random, 0, 0.8))  # fmt: skip
        if chance(random, 0.6):
            cushion(shape, random, m.on_back(0, span * 0.87, -soft * 0.4), (m.width * 0.7, 0.16, 0.09),
                    turn=tilt(m.lean))  # fmt: skip
    if kind != "executive" and chance(random, 0.2):
        rest = span + between(random, 0.1, 0.16)
        shape.rod(m.on_back(0, span - 0.05), m.on_back(0, rest), 0.03)
        cushion(shape, random, m.on_back(0, rest), (m.width * 0.5, 0.12, 0.05), turn=tilt(m.lean))
    add_seat(shape, random, m, str(random.choice(["soft", "soft", "fall", "shaped", "dished"])))
    if chance(random, 0.7):
        add_arms(shape, random, m, str(random.choice(["tee", "tee", "loop", "loop", "hoop", "post", "panel"])))
    shape.color = finish(random)
    bases.star(shape, random, m.under + 0.01, between(random, 0.24, 0.34))
    return shape


def pedestal(random: Generator) -> Shape:
    """A seat with a back on a column: tulip chairs, bar stools, barber's and bistro chairs."""
    high = chance(random, 0.45)
    m = measures(random, height=between(random, 0.6, 0.85) if high else between(random, 0.38, 0.52), rear=1.0)
    m.round = chance(random, 0.4)
    if high:
        m.rise = between(random, 0.1, 0.4)
    shape = Shape(color=paint(random))
    kinds = ["curved", "curved", "panel", "outlined", "floating", "pillow", "crest", "spindles"]
    if not (m.round and high and chance(random, 0.25)):
        add_back(shape, random, m, str(random.choice(kinds)))
    add_seat(shape, random, m, str(random.choice(["flat", "soft", "soft", "shaped", "dished"])))
    if chance(random, 0.3) and not m.round:
        add_arms(shape, random, m)
    shape.color = finish(random)
    (bases.disc if chance(random, 0.7) else bases.star)(shape, random, m.under + 0.01, between(random, 0.18, 0.3))
    return shape


def shelled(random: Generator) -> Shape:
    """A moulded sheet, a tub, a bowl or an egg on any base."""
    shape = Shape(color=paint(random))
    kind = random.choice(["moulded", "moulded", "moulded", "moulded", "tub", "tub", "bowl"])
    under = between(random, 0.3, 0.44)
    if kind == "moulded":
        if chance(random, 0.12):
            under = between(random, 0.55, 0.7)
        width, depth = between(random, 0.42, 0.56), between(random, 0.40, 0.5)
        moulded(shape, random, width, depth, under)
        _stand(shape, random, width * 0.85, depth * 0.85, under + 0.015)
        return shape
    width, depth = between(random, 0.52, 0.78), between(random, 0.5, 0.72)
    if kind == "tub":
        soft = between(random, 0.06, 0.14)
        seat = under + soft + between(random, 0, 0.08)
        tub(shape, random, width, depth, under, seat, soft)
        _stand(shape, random, width * 0.75, depth * 0.75, under + 0.02)
    else:
        wall = bowl(shape, random, width, depth, under)
        _stand(shape, random, width * 0.8, depth * 0.8, under + wall + 0.01)
    return shape


def _stand(shape: Shape, random: Generator, width: float, depth: float, top: float) -> None:
    """A base whose upper end meets the middle of a shell."""
    shape.color = finish(random)
    kind = random.choice(["legs", "legs", "legs", "disc", "disc", "star", "wire", "skirt"])
    if kind == "legs":
        leg, reach = between(random, 0.024, 0.042), between(random, 0.0, 0.1)
        plate = between(random, 0.1, 0.16)
        shape.box((0, top, 0), (2 * plate, 0.03, 2 * plate))
        style = leg_style(random, str(random.choice(["straight", "tapered"])))
        for x in (-1, 1):
            for z in (-1, 1):
                toe = (x * (width / 2 - 0.04 + reach * 0.5), 0, z * (depth / 2 - 0.04 + reach * 0.5))
                style.add(shape, (x * (plate - leg * 0.3), top + 0.01, z * (plate - leg * 0.3)), toe, leg)
        if chance(random, 0.4):
            share = between(random, 0.25, 0.5)
            at_x, at_z = (
                share * (plate - leg * 0.3) + (1 - share) * (side / 2 - 0.04 + reach * 0.5) for side in (width, depth)
            )
            for x in (-1, 1):
                shape.rod((-x * at_x, top * share, -at_z), (x * at_x, top * share, at_z), 0.017)
    elif kind == "disc":
        bases.disc(shape, random, top, between(random, 0.2, 0.32))
    elif kind == "star":
        bases.star(shape, random, top, between(random, 0.24, 0.34))
    elif kind == "wire":
        shape.box((0, top, 0), (width * 0.7, 0.03, depth * 0.7))
        bases.sled(shape, random, width * 0.75, depth * 0.75, top + 0.008)
    else:
        shape.box((0, top / 2, 0), (width * 0.6, top + 0.02, depth * 0.6), exponent=2.0, taper=(0.1, 0.1))


def folding(random: Generator) -> Shape:
    """Crossed legs: folding chairs, director's chairs, X-framed armchairs and deck chairs."""
    m = measures(random, thick=between(random, 0.02, 0.05), rear=1.0)
    shape = Shape(color=finish(random))
    director = chance(random, 0.45)
    if director:
        m.width = between(random, 0.48, 0.6)
        arm, bar = m.height + between(random, 0.18, 0.24), between(random, 0.024, 0.04)
        high = arm + between(random, 0.15, 0.35)
        for x in (-1, 1):
            at = x * (m.width / 2 - bar / 2)
            shape.box((at, arm, 0), (bar * 1.6, bar * 0.8, m.depth))
            shape.rod((at, m.under, -m.depth / 2 + bar), (at, arm, -m.depth / 2 + bar), bar, exponent=np.inf)
            shape.rod((at, m.under, m.depth / 2 - bar), (at, high, m.depth / 2 - bar), bar, exponent=np.inf)
            shape.box((at, m.under + 0.005, 0), (bar, bar, m.depth))
            if chance(random, 0.5):
                shape.box((at, bar / 2, 0), (bar, bar, m.depth))
        shape.color = paint(random)
        tall = between(random, 0.14, 0.24)
        shape.box((0, high - tall / 2, m.depth / 2 - bar), (m.width, tall, 0.02), bend=between(random, -0.6, 0.0))
        shape.box((0, m.height - 0.012, 0), (m.width, 0.02, m.depth * 0.96))
        shape.color = finish(random)
        bases.crossed(shape, random, m.width, m.depth, m.under + 0.012, sideways=True)
        return shape
    add_back(shape, random, m, str(random.choice(["floating", "ladder", "slats", "crest", "panel", "curved"])))
    shape.color = paint(random) if chance(random, 0.6) else shape.color
    add_seat(shape, random, m, str(random.choice(["flat", "slats", "soft", "shaped"])))
    shape.color = finish(random)
    bases.crossed(shape, random, m.width, m.depth, m.under + 0.012, sideways=chance(random, 0.4))
    if chance(random, 0.25):
        add_arms(shape, random, m)
    return shape


def block(random: Generator) -> Shape:
    """Chairs of boards and blocks: panel-sided, thrones, Z shapes, one folded sheet, boxes on a skirt."""
    m = measures(random, rear=1.0)
    shape = Shape(color=paint(random) if chance(random, 0.5) else finish(random))
    kind = random.choice(["panels", "throne", "zigzag", "skirt", "outline", "outline"])
    board = between(random, 0.02, 0.06)
    if kind == "zigzag":
        slope = between(random, 0.6, 1.0) * m.depth
        points = [(0, m.height + m.rise, m.depth / 2 + 0.06), (0, m.height, m.depth / 2), (0, m.height, -m.depth / 2),
                  (0, board / 2, slope - m.depth / 2), (0, board / 2, -m.depth / 2)]  # fmt: skip
        path(shape, points, board, 0, flat=m.width)
        return shape
    if kind == "outline":  # one profile across the whole width
        width, t = m.width * between(random, 0.8, 1.2), between(random, 0.03, 0.09)
        deep, high, top = m.depth / 2, m.height, m.height + m.rise
        lean, slant = between(random, 0, 0.16), between(random, -0.1, 0.1)
        outline = [(-deep - lean, top), (-deep - lean - t, top), (-deep - t, high - t)]
        foot = random.choice(["c", "block", "l"])
        if foot == "c":
            outline += [(-deep - t + slant, 0), (deep, 0), (deep, t), (-deep + slant, t), (-deep, high - t),
                        (deep, high - t)]  # fmt: skip
            if chance(random, 0.5):  # closed in front instead: a loop open behind
                outline = [(-deep - lean, top), (-deep - lean - t, top), (-deep - t, high - t), (deep - t, high - t),
                           (deep - t + slant, t), (-deep, t), (-deep, 0), (deep + slant, 0)]  # fmt: skip
        elif foot == "block":
            outline += [(-deep - t + slant, 0), (deep - slant, 0)]
        else:
            outline += [(-deep - t + slant, 0), (-deep + slant + t, 0), (-deep + t, high - t), (deep - t, high - t),
                        (deep - t + slant, 0), (deep + slant, 0)]  # fmt: skip
        outline += [(deep, high), (-deep, high)]
        shape.extrude(outline, (0, 0, 0), width, turn=SIDEWAYS)
        m.width = width
        if chance(random, 0.3):
            add_arms(shape, random, m, "panel")
        return shape
    add_back(
        shape, random, m, str(random.choice(["panel", "panel", "curved", "framed", "slats", "pillow", "outlined"]))
    )
    add_seat(shape, random, m, str(random.choice(["flat", "soft", "topped"])))
    if kind == "skirt":
        bases.skirt(shape, random, m.width, m.depth, m.under + 0.01)
        if chance(random, 0.4):
            add_arms(shape, random, m)
        return shape
    if kind == "throne":
        bases.skirt(shape, random, m.width, m.depth, m.under + 0.01)
        m.rise += between(random, 0.1, 0.4)
        add_arms(shape, random, m, str(random.choice(["panel", "post"])))
        for x in (-1, 1):
            post = max(2 * m.bar, 0.05)
            tip = m.on_back(x * (m.width - post) / 2, m.span())
            shape.rod((tip[0], 0, m.depth / 2 - m.bar / 2), (tip[0], m.under, m.depth / 2 - m.bar / 2), post,
                      exponent=np.inf)  # fmt: skip
            shape.rod((tip[0], m.under - 0.01, m.depth / 2 - m.bar / 2), tip, post, exponent=np.inf)
            shape.ellipsoid(tip + np.array([0, 0.02, 0]), (post * 1.3, post * 1.3, post * 1.3))
        return shape
    arm = m.height + between(random, -0.03, 0.28)
    deep = m.depth / 2
    front, inset = between(random, -0.05, 0.06), between(random, 0, 0.12)
    outline = [(-deep - 0.01, 0), (-deep + inset + 0.06, 0), (-deep + inset + 0.1, 0.1), (deep - inset - 0.1, 0.1),
               (deep - inset - 0.06, 0), (deep + front, 0), (deep + front, arm), (-deep - 0.03, arm)]  # fmt: skip
    if chance(random, 0.4):
        outline = [(-deep - 0.01, 0), (deep + front, 0), (deep - inset, arm), (-deep - 0.03, arm)]
    side_panels(shape, m, outline, board)
    return shape


def garden(random: Generator) -> Shape:
    """Slatted garden chairs: a sloping seat, a fanned back of boards, broad flat arms."""
    m = measures(random, width=between(random, 0.5, 0.62), height=between(random, 0.3, 0.4), rear=1.0)
    m.depth, m.thick, m.lean = between(random, 0.46, 0.56), 0.05, between(random, 14, 30)
    m.rise, m.bar = between(random, 0.5, 0.75), 0.026
    shape = Shape(color=finish(random))
    slats(shape, random, m, int(random.integers(4, 7)), across=True)
    count, fan = int(random.integers(4, 8)), between(random, 1.0, 1.3)
    pitch = m.width * 0.95 / count
    for n in range(count):
        x = (n - (count - 1) / 2) * pitch
        reach = m.span() * (1 - 1.2 * (x / m.width) ** 2 * between(random, 0.4, 1))
        start, end = m.on_back(x, -0.04), m.on_back(x * fan, reach)
        along = (end - start) / np.linalg.norm(end - start)
        side = np.cross(along, [0, -np.sin(np.radians(m.lean)), np.cos(np.radians(m.lean))])
        side /= np.linalg.norm(side)
        turn = np.stack([side, along, np.cross(side, along)], axis=1)
        shape.box((start + end) / 2, (pitch * 0.86, float(np.linalg.norm(end - start)), 0.022), turn=turn)
    for share in (0.15, 0.75):
        shape.box(m.on_back(0, m.span() * share, 0.02), (m.width * 0.96, 0.05, 0.03), turn=tilt(m.lean))
    arm, wide = m.height + between(random, 0.16, 0.24), between(random, 0.07, 0.13)
    rear = m.on_back(0, (arm - m.height) * 1.1)[2] + 0.05
    front = -m.depth / 2 - between(random, 0.0, 0.08)
    for x in (-1, 1):
        at = x * (m.width / 2 + 0.015)
        shape.box((at + x * wide * 0.2, arm, (front + rear) / 2), (wide, 0.026, rear - front))
        shape.rod((at, 0, front + 0.06), (at, arm, front + 0.06), 0.06, exponent=np.inf)
        shape.rod((at, 0, rear + between(random, 0, 0.12)), (at, arm, rear - 0.04), 0.05, exponent=np.inf)
        shape.box((at, m.under + 0.02, (front + rear) / 2), (0.03, 0.07, rear - front - 0.06))
    shape.box((0, arm - 0.02, rear - 0.03), (m.width + 0.03, 0.04, 0.03))
    return shape
