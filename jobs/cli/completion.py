"""What a shell offers when Tab is pressed: configuration keys, their values, and codes.

Works on: what is typed so far. Knows nothing about what the values do. It must answer at once, so nothing is imported
that a command would need to run.
"""

from cluster.config import choices
from workers.failure import ErrorCode


def setting(incomplete: str) -> list[str]:
    """`--set`: keys up to their =, then the values of those that have few."""
    key, equals, value = incomplete.partition("=")
    known = choices()
    if not equals:
        return [f"{name}=" for name in known if name.startswith(key)]
    return [f"{key}={one}" for one in known.get(key, ()) if one.startswith(value)]


def mesh_format(incomplete: str) -> list[str]:
    """`--format`."""
    return [one for one in choices()["reconstruct.format"] if one.startswith(incomplete)]


def up_axis(incomplete: str) -> list[str]:
    """`--up-axis`."""
    return [one for one in choices()["mesh.up_axis"] if one.startswith(incomplete)]


def error_code(incomplete: str) -> list[str]:
    """`--code`."""
    return [code.value for code in ErrorCode if code.value.startswith(incomplete)]
