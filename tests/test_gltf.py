"""GLB files before the Khronos glTF validator: nothing to say of them, whatever options made them."""

import json
import subprocess
from itertools import product
from pathlib import Path

import pytest
from servers import require, require_file
from test_finish import noise

from workers import load_model
from workers.finish import finish
from workers.mesh import Mesh, export
from workers.messages import MeshOptions

BROWSER = Path(__file__).parent / "browser"
PICTURES = Path(__file__).parents[1] / "jobs" / "demo" / "images"
VALIDATE = """
const {validateBytes} = require('gltf-validator'), {readFileSync} = require('fs');
(async () => {
  for (const file of process.argv.slice(1))
    console.log(JSON.stringify([file, (await validateBytes(new Uint8Array(readFileSync(file)))).issues]));
})();
"""


@pytest.fixture(scope="module")
def found() -> list[Mesh]:
    """One demo picture of each category, and blobs with every kind of hole."""
    model = load_model(device="cpu")
    pictures = [min(folder.iterdir()) for folder in sorted(PICTURES.iterdir())]
    return [*(model.reconstruct(picture, resolution=32).mesh for picture in pictures), noise(3, 0.4)]


def test_the_validator_finds_nothing(found: list[Mesh], tmp_path: Path) -> None:
    require("node")
    require_file(BROWSER / "node_modules" / "gltf-validator", "npm ci --prefix tests/browser")
    files = []
    extras = {"item": "a/ä</script>", "etag": None, "resolution": 32}
    for mesh, faces, smooth in product(found, (None, 500), (0, 4)):
        finished = finish(mesh, MeshOptions(faces=faces, lod=(200, 60), smooth=smooth), 1.5 if faces else None)
        for made, normals in product(finished.meshes, (None, False)):
            files.append(tmp_path / f"{len(files)}.glb")
            files[-1].write_bytes(export(made, "glb", normals=normals, extras=extras if smooth else None))
    files.append(tmp_path / "damaged.glb")
    files[-1].write_bytes(files[0].read_bytes().replace(b'"POSITION":1', b'"POSITION":9'))
    told = subprocess.run(
        ["node", "-e", VALIDATE, *files], cwd=BROWSER, capture_output=True, text=True, timeout=300, check=True
    )
    said = dict(json.loads(line) for line in told.stdout.splitlines())
    assert said.pop(str(files.pop()))["numErrors"] > 0
    assert said.keys() == set(map(str, files))
    assert [issues["messages"] for issues in said.values() if issues["messages"]] == []
