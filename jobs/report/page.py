"""The files of the page that are the same in every report, and the script that says what this run was.

Works on: the package's own files, and three.js as trimesh ships it. Knows nothing about rows or pictures.
"""

import zipfile
from importlib.metadata import version
from importlib.resources import as_file, files

from cluster.errors import RunError
from cluster.store import Stores, join

_INDEX = "index.html"
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".txt": "text/plain; charset=utf-8",
    ".svg": "image/svg+xml",
}
_THREE_BEGINS, _THREE_ENDS = "/**\n * @license\n * Copyright 2010-", "THREE.GLTFLoader=GLTFLoader;})();"


def write(stores: Stores, folder: str) -> str:
    """Write the page's own files into the report's folder, and say where its index lies. Raises StoreError."""
    own = [path for path in (files("jobs.report") / "static").iterdir() if path.name.endswith(tuple(_TYPES))]
    written = {path.name: path.read_bytes() for path in own} | {"three.js": three().encode()}
    for name in sorted(written, key=lambda name: (name == _INDEX, name)):  # the index last: then all it names is there
        uri = join(folder, name)
        stores.open(uri).put(uri, written[name], content_type=_TYPES[name[name.rindex(".") :]])
    return join(folder, _INDEX)


def three() -> str:
    """three.js and its loader of GLB, MIT (`static/three-license.txt`), out of the viewer that trimesh bundles.

    Raises RunError where the installed trimesh bundles another.
    """
    try:
        with (
            as_file(files("trimesh") / "resources" / "templates" / "viewer.zip") as path,
            zipfile.ZipFile(path) as bundled,
        ):
            page = bundled.read("viewer.html.template").decode()
        return page[page.index(_THREE_BEGINS) : page.index(_THREE_ENDS) + len(_THREE_ENDS)]
    except (OSError, KeyError, ValueError) as error:
        raise RunError(
            f"trimesh {version('trimesh')} bundles no viewer that this version of isofleet knows; "
            "install the trimesh of constraints.txt."
        ) from error
