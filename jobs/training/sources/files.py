"""The files of a collection, wherever they lie: below a folder or prefix, or in a zip archive there.

Works on: keys and bytes. Knows nothing about what the files mean. An archive or another large file is never fetched
whole: what is asked of it is read by ranged requests.
"""

import io
import posixpath
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

from cluster.store import NotFound, ObjectInfo, StoreError, Stores, TooLarge, canonical, join
from jobs.training.failure import ShapeCode, ShapeError

_BLOCK = 1 << 20  # bytes of one ranged request
_BLOCKS = 16  # kept: the tables of contents of a zip or HDF5 file are read again and again
_INSIDE = "!/"  # between an archive's address and a member's name


@dataclass(frozen=True, slots=True)
class Found:
    """One file: its key below the root, its address, and what is known of it without reading it."""

    key: str
    address: str
    size: int
    etag: str | None


class Files(ABC):
    """Files below one root."""

    @abstractmethod
    def list(self) -> Iterator[Found]:
        """All of them, in the order of their keys. Raises StoreError."""

    @abstractmethod
    def read(self, key: str, max_bytes: int) -> bytes:
        """A file's content. Raises ShapeError: SOURCE_UNREADABLE, TOO_MANY_BYTES. KeyError: there is none."""

    def beside(self, key: str, name: str) -> str:
        """The key of a file that the file at `key` calls `name`. Raises KeyError where that leads out of the root."""
        path = posixpath.normpath(posixpath.join(posixpath.dirname(key), name.replace("\\", "/")))
        if path.startswith(("../", "/")) or path in (".", ".."):
            raise KeyError(name)
        return path


class Folder(Files):
    """A folder or an `s3://` prefix."""

    def __init__(self, uri: str, stores: Stores) -> None:
        self.uri = canonical(uri)
        self._store = stores.open(self.uri)

    def list(self) -> Iterator[Found]:
        for info in self._store.list(self.uri):
            yield Found(info.key, info.uri, info.size, info.etag)

    def read(self, key: str, max_bytes: int) -> bytes:
        try:
            return self._store.get(join(self.uri, key), max_bytes=max_bytes).data
        except NotFound as error:
            raise KeyError(key) from error
        except TooLarge as error:
            raise ShapeError(ShapeCode.TOO_MANY_BYTES, f"{_capital(str(error))}.") from error
        except StoreError as error:
            raise ShapeError(ShapeCode.SOURCE_UNREADABLE, f"It could not be read: {error}.") from error


class Archive(Files):
    """A zip archive. Raises ShapeError (SOURCE_UNREADABLE) where it is none, StoreError where it cannot be read."""

    def __init__(self, uri: str, stores: Stores) -> None:
        self.uri = canonical(uri)
        file = Ranged(self.uri, stores)
        self._etag = file.info.etag
        try:
            self._zip = zipfile.ZipFile(file)
        except zipfile.BadZipFile as error:
            raise ShapeError(ShapeCode.SOURCE_UNREADABLE, f"{self.uri} is not a readable zip archive.") from error

    def list(self) -> Iterator[Found]:
        for member in sorted(self._zip.infolist(), key=lambda member: member.filename):
            if not member.is_dir():
                address = f"{self.uri}{_INSIDE}{member.filename}"
                yield Found(member.filename, address, member.file_size, self._etag)

    def read(self, key: str, max_bytes: int) -> bytes:
        member = self._zip.getinfo(key)
        size = f"{key} in {self.uri} has {member.file_size} bytes"
        if member.file_size > max_bytes:
            raise ShapeError(ShapeCode.TOO_MANY_BYTES, f"{size}, more than the {max_bytes} allowed.")
        try:
            with self._zip.open(member) as content:
                data = content.read(max_bytes + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError) as error:
            reason = str(error).partition("\n")[0]
            raise ShapeError(ShapeCode.SOURCE_UNREADABLE, f"{key} in {self.uri} is damaged ({reason}).") from error
        except StoreError as error:
            raise ShapeError(ShapeCode.SOURCE_UNREADABLE, f"It could not be read: {error}.") from error
        if len(data) > max_bytes:  # the archive lied about it
            raise ShapeError(ShapeCode.TOO_MANY_BYTES, f"{key} in {self.uri} has more bytes than {max_bytes}.")
        return data


class Opened:
    """The containers of files, the last few kept open: an archive's table of contents is read once."""

    def __init__(self, root: str, stores: Stores, keep: int = 2) -> None:
        self._stores = stores
        self.root: Files = Archive(root, stores) if is_archive(root) else Folder(root, stores)
        self._archives: OrderedDict[str, Archive] = OrderedDict()
        self._keep = keep

    def at(self, address: str) -> tuple[Files, str]:
        """The container of a file that was listed at `address`, and its key there."""
        uri, inside, member = address.partition(_INSIDE)
        if not inside or not is_archive(uri):
            if isinstance(self.root, Folder):
                return self.root, address.removeprefix(self.root.uri.rstrip("/") + "/")
            return self.root, address
        if isinstance(self.root, Archive) and self.root.uri == uri:
            return self.root, member
        if uri not in self._archives:
            self._archives[uri] = Archive(uri, self._stores)
            if len(self._archives) > self._keep:
                self._archives.popitem(last=False)
        self._archives.move_to_end(uri)
        return self._archives[uri], member

    def list(self) -> Iterator[Found]:
        """All files, those in archives of the root among them, as if these were folders."""
        for found in self.root.list():
            if is_archive(found.key) and isinstance(self.root, Folder):
                yield from self.at(found.address + _INSIDE)[0].list()
            else:
                yield found


def is_archive(name: str) -> bool:
    """Whether a name is that of a zip archive."""
    return name.lower().endswith(".zip")


class Ranged(io.RawIOBase):
    """An object as a file that can be read anywhere. Reads raise StoreError."""

    def __init__(self, uri: str, stores: Stores) -> None:
        self._uri = uri
        self._store = stores.open(uri)
        self.info: ObjectInfo = self._store.head(uri)
        self._position = 0
        self._blocks: OrderedDict[int, bytes] = OrderedDict()

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.info.size}[whence]
        self._position = max(0, start + offset)
        return self._position

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """As many bytes as the block at the position has, at most as the buffer takes."""
        if self._position >= self.info.size or not len(buffer):
            return 0
        number, within = divmod(self._position, _BLOCK)
        piece = self._block(number)[within : within + len(buffer)]
        buffer[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)

    def read(self, size: int = -1) -> bytes:
        """`size` bytes, fewer only at the end: what zipfile and h5py expect of a file."""
        wanted = max(0, self.info.size - self._position) if size is None or size < 0 else size
        pieces = []
        while wanted:
            piece = bytearray(min(wanted, _BLOCK))
            count = self.readinto(memoryview(piece))
            if not count:
                break
            pieces.append(bytes(piece[:count]))
            wanted -= count
        return b"".join(pieces)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            start = number * _BLOCK
            size = min(_BLOCK, self.info.size - start)
            self._blocks[number] = self._store.get_range(self._uri, start, size)
            if len(self._blocks) > _BLOCKS:
                self._blocks.popitem(last=False)
        self._blocks.move_to_end(number)
        return self._blocks[number]


def _capital(sentence: str) -> str:
    return sentence[:1].upper() + sentence[1:]
