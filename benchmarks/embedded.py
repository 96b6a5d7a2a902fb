"""What benchmarks measure with: the embedded bundle, and the latents of the embedded pictures.

Works on: what is shipped. Knows nothing about what is measured.
"""

from functools import cache
from importlib.resources import as_file, files

import numpy as np
import torch

from cluster.config import StoreSettings
from cluster.store import Stores
from workers import weights
from workers.encoder import IMAGE_SIZE, encode
from workers.images import decode, key_out, prepare

CATEGORIES = (6, 3, 0, 14)  # a chair, a car, an airplane and a table among the pictures


@cache
def bundle() -> weights.Bundle:
    return weights.load(weights.EMBEDDED, Stores(StoreSettings()))


@cache
def latents() -> torch.Tensor:
    """float32[pictures, latent size], pictures in the order of their paths."""
    with as_file(files("jobs.demo") / "images") as folder:
        pictures = [decode(path.read_bytes(), max_pixels=10**8) for path in sorted(folder.rglob("*")) if path.is_file()]
    inputs = [prepare(key_out(picture), bundle().config.framing, IMAGE_SIZE) for picture in pictures]
    return encode(bundle().encoder, torch.from_numpy(np.stack(inputs)), batch=1)
