"""Airplanes: which kinds there are, and how often each occurs.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

from numpy.random import Generator

from jobs.training.procedural import airplane_civil as civil
from jobs.training.procedural import airplane_light as light
from jobs.training.procedural import airplane_military as military
from jobs.training.procedural.profiles import pick
from jobs.training.shape import Shape

FAMILIES = [
    (28, civil.airliner), (9, civil.tail_engined), (4, civil.turboprop), (8, light.light), (3, light.glider),
    (4, light.biplane), (3, light.seaplane), (3, civil.supersonic), (18, military.fighter), (7, military.warbird),
    (4, military.bomber), (2, military.flying_wing), (4, military.transport), (2, military.drone),
    (1, military.twin_boom),
]  # fmt: skip


def airplane(random: Generator) -> Shape:
    """An airplane of one of the `FAMILIES`; the nose is at −Z."""
    return pick(random, FAMILIES)
