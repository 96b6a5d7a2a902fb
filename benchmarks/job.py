"""The whole job against the loop that a script would be: the same pictures and weights, in the same run.

    python -m benchmarks.job --images 128 --resolution 64

Works on: copies of the embedded pictures in a folder. The loop does what the authors' scripts and most `run.py` do:
pictures one by one through encoder, the authors' algorithm (benchmarks/schemes.py) in float32 and marching cubes, into
files; no check, no manifest. It may use all cores, the job has one thread an actor. Both are timed with their start:
weights, and Ray's actors.
"""

import argparse
import shutil
import tempfile
import time
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import mcubes
import numpy as np
import torch

from benchmarks import published, schemes
from benchmarks.embedded import bundle
from benchmarks.measure import alone
from cluster.config import RaySettings, load
from cluster.session import session
from cluster.store import Stores
from jobs import manifest
from jobs.reconstruct import reconstruct
from workers import mesh
from workers.encoder import IMAGE_SIZE, encode
from workers.images import decode, key_out, prepare

STAGES = ("fetch", "encode", "decode", "mesh", "upload")
BATCH = 32**3  # points: the authors'


def run(images: int = 64, resolution: int = 64) -> list[dict[str, Any]]:
    """A row for the loop and for the job with one and two decoders."""
    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as folder:
        pictures = _pictures(Path(folder) / "pictures", images)
        seconds = alone(_loop, str(pictures), f"{folder}/loop", resolution)
        rows.append({"way": "loop", "seconds": seconds, "images": images})
        with session(RaySettings()):
            for decoders in (1, 2):
                rows.append(_job(str(pictures), f"{folder}/meshes-{decoders}", resolution, decoders))
    print(f"{images} pictures at {resolution}³; × is images a second against the loop")
    for row in rows:
        row["times_loop"] = seconds / row["seconds"] * row["images"] / images
        shares = "  ".join(f"{stage} {row[stage]:.0%}" for stage in STAGES if stage in row)
        print(f"{row['way']:24s}  {row['seconds']:7.1f} s  ×{row['times_loop']:.2f}  {shares}")
    return rows


def _pictures(folder: Path, images: int) -> Path:
    with as_file(files("jobs.demo") / "images") as embedded:
        shapes = [path for path in sorted(embedded.rglob("*")) if path.is_file()]
        for number in range(images):
            shape = shapes[number % len(shapes)]
            target = folder / shape.parent.name / f"{number:05d}{shape.suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(shape, target)
    return folder


def _loop(pictures: str, output: str, resolution: int) -> float:
    """Seconds that the loop takes."""
    started = time.perf_counter()
    model = bundle()
    level = model.decoder.level(model.config.threshold)
    Path(output).mkdir()
    for path in sorted(path for path in Path(pictures).rglob("*") if path.is_file()):
        picture = prepare(key_out(decode(path.read_bytes(), max_pixels=10**8)), model.config.framing, IMAGE_SIZE)
        (latent,) = encode(model.encoder, torch.from_numpy(picture[None]), batch=1)

        def ask(ijk: np.ndarray, latent: torch.Tensor = latent) -> np.ndarray:
            points = torch.from_numpy(((ijk + 0.5) / resolution - 0.5).astype(np.float32))
            parts = [published.field(model.decoder, part, latent) for part in points.split(BATCH)]
            return (torch.cat(parts) - level).numpy()

        values = np.pad(schemes.imnet(ask, resolution).values, 1, constant_values=-1.0)
        vertices, faces = mcubes.marching_cubes(values, 0.0)
        made = mesh.Mesh(((vertices - 0.5) / resolution - 0.5).astype(np.float32), faces.astype(np.int32))
        (Path(output) / f"{path.stem}.glb").write_bytes(mesh.export(made, "glb"))
    return time.perf_counter() - started


def _job(pictures: str, output: str, resolution: int, decoders: int) -> dict[str, Any]:
    config = load(None, {}, {
        "reconstruct.resolution": resolution, "actors.reconstructors": decoders, "actors.meshers": 1,
        "actors.cpus_per_reconstructor": 0.5, "actors.cpus_per_mesher": 0.5, "metrics.enabled": False,
    })  # fmt: skip
    result = reconstruct(pictures, output, config)
    rows = manifest.read(Stores(config.store), output)
    spent = {stage: sum(rows[f"{stage}_ms"].to_pylist()) for stage in STAGES}
    row: dict[str, Any] = {"way": f"job, {decoders} decoder(s)", "seconds": result.seconds, "images": result.ok}
    return row | {stage: milliseconds / sum(spent.values()) for stage, milliseconds in spent.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=64)
    parser.add_argument("--resolution", type=int, default=64)
    arguments = parser.parse_args()
    run(arguments.images, arguments.resolution)
