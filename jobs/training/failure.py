"""Why one shape could not be prepared: a closed set of codes and the exception that carries one.

Works on: a code and a sentence. Knows nothing about where shapes come from or how rows are stored.
"""

from workers.failure import Code, CodedError


class ShapeCode(Code):
    """Every value that a dataset's `error_code` column can hold."""

    SOURCE_UNREADABLE = "source_unreadable", "the store did not give the file, or the archive around it is damaged"
    TOO_MANY_BYTES = "too_many_bytes", "larger than prepare.max_bytes"
    NOT_A_MESH = "not_a_mesh", "its format's reader does not understand the file, or it holds no surface"
    EMPTY_MESH = "empty_mesh", "a mesh without a triangle that has an area"
    NOT_FINITE = "not_finite", "a coordinate is not a number or infinite"
    TOO_MANY_FACES = "too_many_faces", "more triangles than prepare.max_faces"
    DEGENERATE = "degenerate", "flat: one side of its bounding box is next to nothing"
    ZERO_VOLUME = "zero_volume", "no sample of the 64³ lattice lies inside: it is thinner than a voxel everywhere"
    VIEWS_MISSING = "views_missing", "--renderings has not the 24 pictures of it, or one is damaged"
    BAD_EXAMPLE = "bad_example", "the HDF5 file's row has labels other than 0 and 1, indices off the grid, or no inside"
    DUPLICATE_ID = "duplicate_id", "an earlier shape of the collection has the same id"
    KILLED_WORKER = "killed_worker", "its process died each time it was tried"
    OUT_OF_MEMORY = "out_of_memory", "it took more memory than actors.memory_limit_bytes leaves, also when tried alone"
    TIMED_OUT = "timed_out", "it took longer than prepare.item_timeout_seconds each time it was tried"
    INTERNAL_ERROR = "internal_error", "a fault of ours: the message has the exception"


class ShapeError(CodedError[ShapeCode]):
    """One shape cannot be prepared."""
