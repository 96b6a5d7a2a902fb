"""Objects in a folder.

Works on: files, by plain path or `file://…`. Knows nothing about what their bytes mean.
"""

import errno
import os
import re
import stat
import uuid
from collections.abc import Iterator
from contextlib import suppress

from cluster.store.addresses import canonical
from cluster.store.objects import (
    AccessDenied,
    AlreadyExists,
    NotFound,
    Object,
    ObjectInfo,
    Observed,
    StoreError,
    Unavailable,
    check_size,
)

_TEMPORARY = re.compile(r"\.isofleet-[0-9a-f]{32}\.tmp")


class LocalStore(Observed):
    """Files in folders. An object is a regular file; what is being written has a hidden name beside it."""

    def list(self, prefix_uri: str, after: str | None = None) -> Iterator[ObjectInfo]:
        """Stream a tree, holding the names of one folder per level at a time.

        Symbolic links to files are followed, links to folders never: they could lead out of the root or round
        in circles. Raises StoreError at a name that is not UTF-8, since no key could spell it.
        """
        root = canonical(prefix_uri).rstrip("/") + "/"
        levels = [self._names(root, "", after)]
        while levels:
            key = next(levels[-1], None)
            if key is None:
                levels.pop()
            elif key.endswith("/"):
                levels.append(self._names(root, key, after))
            else:
                try:
                    info = _describe(root + key, key)
                except OSError as error:
                    failure = _from_os_error(error, root + key)
                    if not isinstance(failure, NotFound):
                        raise failure from error
                    # No object: deleted since its folder was read, a link to nothing, a socket.
                else:
                    yield info

    def _names(self, root: str, folder: str, after: str | None) -> Iterator[str]:
        """The keys directly in a folder, in the order of the whole tree's keys: sub-folders have their final
        `/`, so that `a.b` sorts before the content of `a` (`.` comes before `/`)."""
        names = []
        with (
            self.request("list", root + folder),
            suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(root + folder) as entries,
        ):
            for entry in entries:
                if not _is_utf8(entry.name):
                    path = os.fsencode(entry.path)
                    raise StoreError(f"the file name {path!r} is not UTF-8; rename the file", root + folder)
                if not _TEMPORARY.fullmatch(entry.name):
                    names.append(entry.name + "/" * entry.is_dir(follow_symlinks=False))
        keys = (folder + name for name in sorted(names))
        if not after:
            return keys
        # A folder that sorts before `after` still holds later keys if `after` lies inside it.
        return (key for key in keys if key > after or (key.endswith("/") and after.startswith(key)))

    def get(self, uri: str, *, max_bytes: int | None = None) -> Object:
        """Read a file. Raises Unavailable when it changes length while it is read."""
        return self._read(uri, max_bytes, None)

    def get_tail(self, uri: str, size: int) -> Object:
        """Read the end of a file. Raises Unavailable when it changes length while it is read."""
        return self._read(uri, None, size)

    def get_range(self, uri: str, start: int, size: int) -> bytes:
        """Read a part of a file."""
        path = canonical(uri)
        with self.request("get", uri) as traffic:
            _describe(path, path)
            with open(path, "rb") as file:
                file.seek(start)
                data = file.read(size)
            traffic.received = len(data)
            if not data:
                raise StoreError(f"{uri} has no such range", uri)
            return data

    def _read(self, uri: str, max_bytes: int | None, tail: int | None) -> Object:
        path = canonical(uri)
        with self.request("get", uri) as traffic:
            _describe(path, path)  # before it is opened: opening a FIFO would wait for ever
            with open(path, "rb") as file:
                info = _from_stat(os.fstat(file.fileno()), path, path)
                check_size(info, max_bytes)
                length = info.size if tail is None else min(tail, info.size)
                file.seek(info.size - length)
                data = file.read(length + 1)
            traffic.received = len(data)
            if len(data) != length:
                raise Unavailable(f"{uri} changed while it was read; read it again", uri)
            return Object(data, info)

    def head(self, uri: str) -> ObjectInfo:
        """Size, ETag and time of a file."""
        path = canonical(uri)
        with self.request("head", uri):
            return _describe(path, path)

    def put(self, uri: str, data: bytes, *, if_absent: bool = False, content_type: str | None = None) -> ObjectInfo:
        """Write a file and make its missing folders. It is on disk when this returns."""
        path = canonical(uri)
        with self.request("put", uri) as traffic:
            folder, name = os.path.split(path)
            if not name:
                raise StoreError(f"{uri} is a folder; name a file in it", uri)
            try:
                os.makedirs(folder, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise StoreError(f"{uri} cannot be written: a file stands where its folder should", uri) from error
            temporary = f"{folder}/.isofleet-{uuid.uuid4().hex}.tmp"
            try:
                with open(temporary, "xb") as file:
                    file.write(data)
                    file.flush()
                    os.fsync(file.fileno())
                    info = _from_stat(os.fstat(file.fileno()), path, path)
                if if_absent:
                    os.link(temporary, path)  # fails if the name is taken, and never shows half a file
                else:
                    os.replace(temporary, path)
            finally:
                with suppress(FileNotFoundError):  # moved away by os.replace
                    os.unlink(temporary)
            traffic.sent = len(data)
            return info

    def remove(self, uri: str) -> None:
        """Delete a file. Its folder stays."""
        with self.request("remove", uri), suppress(FileNotFoundError):
            os.unlink(canonical(uri))

    def translate(self, error: Exception, uri: str) -> StoreError | None:
        if isinstance(error, OSError):
            return _from_os_error(error, uri)
        if isinstance(error, ValueError):  # NUL or lone surrogates in a path
            return StoreError(f"{uri!r} is not a name that a file can have", uri)
        return None


def _is_utf8(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # the operating system's bytes came through as lone surrogates
        return False
    return True


def _describe(path: str, key: str) -> ObjectInfo:
    return _from_stat(os.stat(path), path, key)


def _from_stat(status: os.stat_result, path: str, key: str) -> ObjectInfo:
    if not stat.S_ISREG(status.st_mode):
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    etag = f"{status.st_size:x}-{status.st_mtime_ns:x}"
    return ObjectInfo(path, key, status.st_size, etag, status.st_mtime)


def _from_os_error(error: OSError, uri: str) -> StoreError:
    reason = error.strerror or type(error).__name__
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR | errno.ELOOP:
            return NotFound(f"{uri} does not exist", uri)
        case errno.EEXIST:
            return AlreadyExists(f"{uri} exists already", uri)
        case errno.EACCES | errno.EPERM | errno.EROFS:
            return AccessDenied(f"this user may not access {uri} so ({reason})", uri)
        case errno.ENAMETOOLONG | errno.EISDIR | errno.ENOTEMPTY | errno.EINVAL | errno.EILSEQ:
            return StoreError(f"{uri} cannot be a file here ({reason})", uri)
        case errno.EOPNOTSUPP | errno.EMLINK:
            return StoreError(f"the file system of {uri} has no hard links ({reason}); use another", uri)
    return Unavailable(f"the file system of {uri} failed ({reason})", uri)
