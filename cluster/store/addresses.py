"""Addresses of objects: one spelling for each, and the keys below a root.

Works on: text. Knows nothing about whether anything lies there.
"""

import os
import re
from urllib.parse import quote, unquote

from cluster.errors import RequestError
from cluster.store.objects import StoreError


def canonical(uri: str) -> str:
    """The one spelling of a URI that is good on every machine of the cluster: `s3://…` or an absolute path.

    Raises RequestError for an unknown scheme, a remote `file://` host, or nothing at all.
    """
    scheme = re.match(r"([A-Za-z][A-Za-z0-9+.-]*)://", uri)
    if scheme is None:
        if not uri:
            raise RequestError("an address is empty; give a folder, file:// or s3://bucket/key")
        path = os.path.abspath(uri)
        # A final slash says "a folder", and abspath drops it.
        return path + "/" if uri.endswith("/") and not path.endswith("/") else path
    rest = uri[scheme.end() :]
    match scheme[1].lower():
        case "s3":
            if not rest.partition("/")[0]:
                raise RequestError(f"{uri!r} names no bucket; write s3://bucket/key")
            return f"s3://{rest}"
        case "file":
            host, _, path = rest.partition("/")
            if host not in ("", "localhost"):
                raise RequestError(f"{uri!r} is a file on another machine; write file:///absolute/path")
            return canonical("/" + unquote(path, errors="surrogateescape"))
    raise RequestError(f"{uri!r} has an unknown scheme; use a folder, file:// or s3://")


def join(root_uri: str, *parts: str) -> str:
    """`root_uri` and the keys below it as one URI.

    S3 keys are joined literally. In a folder, a key that has no place below the root (`..`, `.`, an empty
    segment, NUL) raises StoreError, so that no catalog can make a run write elsewhere.
    """
    key = "/".join(parts)
    root = root_uri if root_uri.endswith("/") else root_uri + "/"
    if is_s3(canonical(root_uri)):
        return root + key
    if "\0" in key or any(segment in ("", ".", "..") for segment in key.split("/")):
        raise StoreError(f"the key {key!r} has no place in the folder {root_uri}", root_uri)
    return root + (quote(key) if re.match("file://", root_uri, re.IGNORECASE) else key)


def is_s3(canonical_uri: str) -> bool:
    return canonical_uri.startswith("s3://")
