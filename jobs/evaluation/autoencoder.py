"""The autoencoder of a training: what the decoder could do if the picture's encoder were perfect.

Works on: the checkpoints of a training. Knows nothing about pictures or measures.
"""

import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from cluster.config import Config
from cluster.errors import RequestError
from cluster.store import StoreError, Stores
from jobs.training.autoencoder import VoxelEncoder
from jobs.training.checkpoints import Checkpoint, Checkpoints
from jobs.training.plan import Plan
from jobs.training.stages import Networks, stages
from workers import weights
from workers.model import Model, load_model

_PREFIX = "networks."
_BATCH = 16  # shapes that are encoded together


@dataclass(frozen=True, eq=False)
class Autoencoder:
    """The voxel encoder, and its decoder as a model."""

    voxel_encoder: VoxelEncoder
    model: Model

    @torch.inference_mode()
    def latents(self, inside: list[NDArray[np.bool_]]) -> list[NDArray[np.float32]]:
        """Of shapes bool[64, 64, 64]: float32[latent_size] each."""
        found: list[NDArray[np.float32]] = []
        for start in range(0, len(inside), _BATCH):
            voxels = torch.from_numpy(np.stack(inside[start : start + _BATCH])).float().unsqueeze(1)
            found += list(self.voxel_encoder(voxels.to(self.model.device)).cpu().numpy())
        return found


def load(uri: str, config: Config) -> Autoencoder:
    """The autoencoder of the last checkpoint at `uri`.

    Raises RequestError where there is none, where it is not trained yet, and where joint training has since changed
    the decoder: its latents are then no longer the voxel encoder's.
    """
    try:
        found = Checkpoints(uri, Stores(config.store), keep=1).latest()
    except StoreError as error:
        raise RequestError(f"--checkpoints {uri}: cannot be read: {error}.") from error
    if found is None:
        raise RequestError(f"--checkpoints {uri}: holds no checkpoint of a training.")
    plan = Plan.model_validate(found.state["plan"])
    _check(uri, plan, found)
    networks = Networks(plan)
    networks.load_state_dict(
        {name.removeprefix(_PREFIX): value for name, value in found.tensors.items() if name.startswith(_PREFIX)}
    )
    described = weights.BundleConfig(
        name=plan.name, family=plan.family, latent_size=plan.latent_size, decoder_width=plan.decoder_width,
        encoder_width=plan.encoder_width, framing=plan.framing, categories=plan.categories,
        threshold=plan.threshold if plan.threshold != "auto" else 0.5,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:  # as a bundle it goes the way of all others
        weights.save(Path(folder), described, networks.encoder, networks.decoder)
        model = load_model(folder, store=config.store)
    return Autoencoder(networks.voxel_encoder.eval().to(model.device), model)


def _check(uri: str, plan: Plan, found: Checkpoint) -> None:
    names = [stage.name for stage in stages(plan.schedule)]
    trained = [name for name in names if name.startswith("autoencoder")]
    progress = found.state["progress"]
    if not trained or progress["stage"] < len(trained):
        raise RequestError(f"--checkpoints {uri}: the autoencoder is not trained yet.")
    past = progress["stage"] >= len(names)
    if "joint" in names and (past or (names[progress["stage"]] == "joint" and progress["step"])):
        raise RequestError(
            f"--checkpoints {uri}: joint training has changed the decoder since, and the autoencoder is gone; "
            "name those of a training without it (schedule.joint_steps: 0)."
        )
