"""The actor that prepares shapes: from an entry's address to what its row holds.

Works on: entries of one source. Knows nothing about rows, datasets or who asks. An ordinary class: the pool makes an
actor of it.
"""

import os
from dataclasses import dataclass

from cluster import memory
from cluster.config import StoreSettings
from cluster.errors import RequestError
from cluster.store import CredentialsError, StoreError, Stores
from jobs.training.failure import ShapeCode, ShapeError
from jobs.training.preparation import Prepared, prepare
from jobs.training.sources import Options, open_source


@dataclass(frozen=True, slots=True)
class Order:
    """Prepare the entry at `address`."""

    item_id: str
    address: str


@dataclass(frozen=True, slots=True)
class Spoilt:
    """Why an entry could not be prepared."""

    code: ShapeCode
    message: str


class Preparer:
    """Loads shapes of one source and prepares them, one a call."""

    def __init__(self, stores: StoreSettings, uri: str, kind: str, options: Options, seed: int) -> None:
        os.environ.setdefault("IGL_NUM_THREADS", "1")  # else winding numbers take all CPUs, not those reserved
        self._source = open_source(uri, kind, Stores(stores), options)
        self._seed = seed

    def prepare(self, orders: tuple[Order, ...]) -> tuple[Prepared | Spoilt, ...]:
        """A result for each order, in order.

        Raises RequestError for what is wrong with all: a store that nobody is signed in to, a package that is not
        installed. Raises what `memory.exhausted` knows when memory runs out.
        """
        return tuple(map(self._prepare, orders))

    def _prepare(self, order: Order) -> Prepared | Spoilt:
        try:
            return prepare(self._source.load(order.item_id, order.address), order.item_id, self._seed)
        except ShapeError as error:
            if isinstance(error.__cause__, CredentialsError):
                raise RequestError(str(error.__cause__)) from error
            return Spoilt(error.code, error.message)
        except CredentialsError as error:
            raise RequestError(str(error)) from error
        except StoreError as error:
            return Spoilt(ShapeCode.SOURCE_UNREADABLE, f"It could not be read: {error}.")
        except RequestError:
            raise
        except Exception as error:
            if memory.exhausted(error):
                raise  # whose fault it is, the pool finds out
            return Spoilt(ShapeCode.INTERNAL_ERROR, f"{type(error).__name__}: {error}")
