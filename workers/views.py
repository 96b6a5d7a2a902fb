"""Several pictures of one object: what they are together, and what is kept of those that cannot be used.

Works on: addresses and ETags. Knows nothing about pixels or networks: `encoder.fuse` makes one latent of several.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

# A turntable takes a picture every 5 degrees, 72. It bounds what a call and a row hold, and what one more picture adds
# is by then too little to be measured.
MAX_VIEWS = 128


@dataclass(frozen=True, slots=True)
class ViewFailure:
    """A picture that its object had to do without, and why: an `ErrorCode`, and a sentence."""

    uri: str
    error_code: str
    error_message: str


def fingerprint(views: Iterable[tuple[str, str | None]]) -> str:
    """The ETag of an object: it changes when a picture comes, goes, or has another ETag.

    `views` are addresses and ETags, in any order. An ETag of None, of a picture that could not be read, equals none
    that one can have, so that the object is not taken for unchanged once the picture can be.
    """
    total = hashlib.sha256()
    for uri, etag in sorted(views):
        for text in (uri, "unread" if etag is None else f"etag {etag}"):
            data = text.encode("utf-8", "surrogatepass")
            total.update(len(data).to_bytes(4, "little") + data)
    return total.hexdigest()
