"""What was asked of an output, written once, so that resuming asks the same.

Works on: one JSON object below an output, and the model that it is of. Knows nothing about what is asked.
"""

from dataclasses import dataclass
from typing import Generic, TypeVar

from pydantic import BaseModel, ValidationError

from cluster.errors import RequestError
from cluster.store import AlreadyExists, NotFound, Stores, TooLarge, canonical, join

Record = TypeVar("Record", bound=BaseModel)


@dataclass(frozen=True)
class Records(Generic[Record]):
    """Records of one `model`, each the object `name` of an output. `noun` is what an output then holds, `argument` what
    commands call the output, and `advice` what to do where there is none.
    """

    model: type[Record]
    name: str
    noun: str
    argument: str
    advice: str = ""

    def add(self, stores: Stores, output: str, record: Record) -> bool:
        """Write an output's record; False where it has one, which stands. Raises StoreError."""
        uri = join(canonical(output), self.name)
        content = record.model_dump_json(indent=2).encode() + b"\n"
        try:
            stores.open(uri).put(uri, content, if_absent=True, content_type="application/json")
        except AlreadyExists:
            return False
        return True

    def exists(self, stores: Stores, output: str) -> bool:
        """Whether an output has a record. Raises StoreError."""
        uri = join(canonical(output), self.name)
        try:
            stores.open(uri).head(uri)
        except NotFound:
            return False
        return True

    def read(self, stores: Stores, output: str) -> Record:
        """The record of an output. Raises RequestError where there is none, or it is damaged; StoreError."""
        uri = join(canonical(output), self.name)
        try:
            return self.model.model_validate_json(stores.open(uri).get(uri, max_bytes=1 << 20).data)
        except NotFound as error:
            raise RequestError(f"{output} holds no {self.noun}: there is no {self.name} in it{self.advice}.") from error
        except (ValidationError, TooLarge) as error:
            raise RequestError(
                f"{uri} is not a {self.noun} record of this version; choose another {self.argument}."
            ) from error
