"""Why one image has no mesh: a closed set of codes and the exception that carries one.

Works on: a code and a sentence. Knows nothing about how rows are stored or retried.
Numeric modules raise `ItemError`; the actors turn it into a failed row.
"""

from enum import StrEnum
from typing import Generic, Self, TypeVar


class Code(StrEnum):
    """A closed set of values for a column `error_code`; `meaning` is a value's line in the manual."""

    meaning: str

    def __new__(cls, value: str, meaning: str = "") -> Self:
        member = str.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member


C = TypeVar("C", bound=Code)


class CodedError(Exception, Generic[C]):
    """One item comes to nothing. `code` is what a program branches on; `message` is one sentence that a person
    understands, without secrets and without a traceback.
    """

    def __init__(self, code: C, message: str) -> None:
        super().__init__(code, message)  # both in args, so that it survives pickling between processes
        self.code = code
        self.message = message

    def __str__(self) -> str:
        return f"{self.code.value}: {self.message}"


class ErrorCode(Code):
    """Every value that the manifest's `error_code` column can hold."""

    SOURCE_MISSING = "source_missing", "the object was gone when it was read"
    SOURCE_DENIED = "source_denied", "the store refused to let us read it"
    SOURCE_CHANGED = "source_changed", "its ETag differs from the one in the frozen catalog"
    SOURCE_UNREADABLE = "source_unreadable", "the store failed after every retry"
    EMPTY_FILE = "empty_file", "zero bytes"
    TOO_MANY_BYTES = "too_many_bytes", "larger than images.max_bytes"
    TOO_MANY_PIXELS = "too_many_pixels", "larger than images.max_pixels, found before decoding"
    NOT_AN_IMAGE = "not_an_image", "no supported format recognises the bytes, or its samples have 32 bits"
    CORRUPT_IMAGE = "corrupt_image", "a known format, but truncated or malformed"
    NOTHING_VISIBLE = "nothing_visible", "every pixel is transparent, or of the background's colour"
    BACKGROUND_NOT_UNIFORM = "background_not_uniform", "opaque, and no plain background to key out"
    BAD_CATALOG_ROW = "bad_catalog_row", "the catalog's row has no usable uri, id or category"
    DUPLICATE_ID = "duplicate_id", "an earlier row of the catalog has the same id"
    UNKNOWN_CATEGORY = "unknown_category", "no weights are configured for the row's category"
    NO_LATENT = "no_latent", "the run whose latents are meshed again has none of it: it failed there"
    NO_SURFACE = "no_surface", "the decoder's field never crosses the threshold"
    MESH_NOT_WATERTIGHT = "mesh_not_watertight", "the check before upload failed"
    UPLOAD_FAILED = "upload_failed", "the mesh could not be written after every retry"
    KILLED_WORKER = "killed_worker", "its process died each time it was tried"
    OUT_OF_MEMORY = "out_of_memory", "it took more memory than actors.memory_limit_bytes leaves, also when tried alone"
    TIMED_OUT = "timed_out", "it took longer than the limit each time it was tried"
    INTERNAL_ERROR = "internal_error", "a fault of ours: the message has the exception"


class ItemError(CodedError[ErrorCode]):
    """One image cannot become a mesh."""
