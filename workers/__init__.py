"""What happens to an image: an ordinary library, and the two actors of a run that use it.

`from workers import load_model` is all that a notebook needs (docs/python.md). Nothing is imported before it is asked
for: meshers and read-only commands import parts of this package, and PyTorch would cost them 700 MB and seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.failure import ErrorCode, ItemError
    from workers.model import Model, Solid, load_model

__all__ = ["ErrorCode", "ItemError", "Model", "Solid", "load_model"]

_WHERE = {
    "ErrorCode": "workers.failure",
    "ItemError": "workers.failure",
    "Model": "workers.model",
    "Solid": "workers.model",
    "load_model": "workers.model",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_WHERE])
