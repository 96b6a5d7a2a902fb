"""ShapeNetCore, versions 1 and 2: `<synset>/<model>/…obj`, unpacked, a zip archive a synset, or one of all.

Works on: keys of that layout. Knows nothing about meshes' insides. A synset is a WordNet noun's offset; its name is
the category.

Frames: the README of ShapeNetCore.v2 has +Y up and the front at −Z, which is the project's frame; that of
ShapeNetCore.v1 has +Y up and the front at +X. So a model of v1 is turned by 90° about Y, (x, y, z) → (z, y, −x), as
IM-NET's data are (github.com/czq142857/IM-NET, point_sampling/2_gather_256vox_16_32_64.py: "convert coord from
shapenet_v1 to shapenet_v2"). Some models of v1 are mirrored left to right, which its successor mended; that is not
undone here.
"""

import json
import re
from collections.abc import Iterator

import numpy as np

from cluster.errors import RequestError
from cluster.store import Stores
from jobs.catalog import item_id_for
from jobs.training.failure import ShapeError
from jobs.training.sources import renderings
from jobs.training.sources.files import Opened
from jobs.training.sources.geometry import load_mesh, turned
from jobs.training.sources.source import Entry, Geometry, Options, Source, rotation

_TAXONOMY_BYTES = 16 << 20
# The 55 synsets of ShapeNetCore.v2 by their usual short names: 3D-R2N2's for its 13, else the taxonomy's first.
SYNSETS = {
    "02691156": "airplane", "02747177": "ashcan", "02773838": "bag", "02801938": "basket", "02808440": "bathtub",
    "02818832": "bed", "02828884": "bench", "02843684": "birdhouse", "02871439": "bookshelf", "02876657": "bottle",
    "02880940": "bowl", "02924116": "bus", "02933112": "cabinet", "02942699": "camera", "02946921": "can",
    "02954340": "cap", "02958343": "car", "02992529": "cellphone", "03001627": "chair", "03046257": "clock",
    "03085013": "keyboard", "03207941": "dishwasher", "03211117": "display", "03261776": "earphone",
    "03325088": "faucet", "03337140": "file", "03467517": "guitar", "03513137": "helmet", "03593526": "jar",
    "03624134": "knife", "03636649": "lamp", "03642806": "laptop", "03691459": "speaker", "03710193": "mailbox",
    "03759954": "microphone", "03761084": "microwave", "03790512": "motorcycle", "03797390": "mug",
    "03928116": "piano", "03938244": "pillow", "03948459": "pistol", "03991062": "pot", "04004475": "printer",
    "04074963": "remote", "04090263": "rifle", "04099429": "rocket", "04225987": "skateboard", "04256520": "sofa",
    "04330267": "stove", "04379243": "table", "04401088": "phone", "04460130": "tower", "04468005": "train",
    "04530566": "vessel", "04554684": "washer",
}  # fmt: skip


def category_of(synset: str, taxonomy: dict[str, str] | None = None) -> str:
    """A synset's name: the usual one, else the taxonomy's, else the synset itself."""
    return item_id_for(SYNSETS.get(synset) or (taxonomy or {}).get(synset) or synset).replace("/", "_")


class _ShapeNet(Source):
    """What both versions share: `pattern` finds the synset and the model in a key."""

    pattern: re.Pattern[str]

    def __init__(self, uri: str, stores: Stores, options: Options) -> None:
        super().__init__(uri, stores, options)
        self._files = Opened(uri, stores)
        self._views = renderings.Renderings(options.renderings, stores) if options.renderings else None

    @classmethod
    def _match(cls, key: str) -> re.Match[str] | None:
        return cls.pattern.search(key)

    def entries(self) -> Iterator[Entry]:
        taxonomy = self._taxonomy()
        nested = None
        try:
            for found in self._files.list():
                match = self._match(found.key)
                if match:
                    category = category_of(match["synset"], taxonomy)
                    entry_id = item_id_for(f"{match['synset']}/{match['model']}")
                    yield Entry(entry_id, category, found.address, found.size, found.etag)
                elif found.key.endswith(".zip"):
                    nested = found.key
        except ShapeError as error:
            raise RequestError(f"SOURCE {self.uri} cannot be read: {error.message}") from error
        if nested:
            raise RequestError(f"SOURCE {self.uri} is an archive of archives ({nested}); unpack the outer one.")

    def _taxonomy(self) -> dict[str, str]:
        try:
            content = json.loads(self._files.root.read("taxonomy.json", _TAXONOMY_BYTES))
            return {str(one["synsetId"]): str(one["name"]).partition(",")[0].strip() for one in content}
        except KeyError:
            return {}
        except (ShapeError, ValueError, TypeError) as error:
            raise RequestError(f"SOURCE {self.uri}: taxonomy.json cannot be read; mend or remove it.") from error

    def load(self, entry_id: str, address: str) -> Geometry:
        files, key = self._files.at(address)
        match = self._match(key)
        views = self._views.of(match["synset"], match["model"]) if self._views and match else None
        geometry = load_mesh(files, key, self.options.max_bytes, self.options.max_faces)
        return turned(geometry, self._rotation(), views)

    def _rotation(self) -> np.ndarray:
        return np.eye(3)


class ShapeNetV2(_ShapeNet):
    """`<synset>/<model>/models/model_normalized.obj`."""

    kind = "shapenet-v2"
    pattern = re.compile(r"(?:^|/)(?P<synset>\d{8})/(?P<model>[^/]+)/models/model_normalized\.obj$")

    @staticmethod
    def recognises(key: str) -> bool:
        return ShapeNetV2.pattern.search(key) is not None


class ShapeNetV1(_ShapeNet):
    """`<synset>/<model>/model.obj`, whose front is +X."""

    kind = "shapenet-v1"
    pattern = re.compile(r"(?:^|/)(?P<synset>\d{8})/(?P<model>[^/]+)/model\.obj$")

    @staticmethod
    def recognises(key: str) -> bool:
        return ShapeNetV1.pattern.search(key) is not None

    def _rotation(self) -> np.ndarray:
        return rotation("+y", "+x")
