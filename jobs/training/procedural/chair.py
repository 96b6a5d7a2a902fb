"""Chairs: dining chairs, armchairs, office chairs, cantilevers, shells, loungers, stools and small sofas.

Works on: a random generator. Knows nothing about pictures, points or networks.
"""

from collections.abc import Callable

from numpy.random import Generator

from jobs.training.procedural import chair_other, chair_wooden
from jobs.training.procedural.parts import pick
from jobs.training.procedural.sofa import club, sofa
from jobs.training.shape import Shape

# How often each occurs, in a hundred: what is common most, and nothing so rarely that it could not be learnt.
FAMILIES: dict[Callable[[Generator], Shape], float] = {
    chair_wooden.framed: 27,
    chair_wooden.draped: 7,
    chair_other.tubular: 11,
    chair_other.swivel: 9,
    club: 8,
    chair_other.shelled: 6,
    chair_other.pedestal: 5,
    chair_wooden.lounge: 5,
    chair_other.bentwood: 4,
    chair_wooden.horseshoe: 4,
    chair_wooden.windsor: 4,
    chair_wooden.stool: 3,
    chair_other.folding: 3,
    chair_other.block: 5,
    chair_other.garden: 2,
    chair_wooden.crest_outline: 2,
    sofa: 4,
}


def chair(random: Generator) -> Shape:
    """Any chair; the front is at −Z."""
    return pick(random, FAMILIES)(random)
