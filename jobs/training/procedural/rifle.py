"""Rifles: which kinds there are, and how often each occurs.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

from numpy.random import Generator

from jobs.training.procedural import rifle_classic as classic
from jobs.training.procedural import rifle_modern as modern
from jobs.training.procedural.profiles import pick
from jobs.training.shape import Shape

FAMILIES = [
    (27, modern.assault), (6, modern.bullpup), (12, classic.hunting), (9, classic.service), (12, classic.sniper),
    (10, classic.shotgun), (9, modern.submachine), (5, classic.lever), (4, classic.musket), (6, modern.machine_gun),
]  # fmt: skip


def rifle(random: Generator) -> Shape:
    """A rifle of one of the `FAMILIES`; the muzzle is at −Z."""
    return pick(random, FAMILIES)
