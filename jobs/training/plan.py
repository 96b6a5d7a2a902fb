"""A training configuration: what the bundle is, what it learns from, how, and for how long.

Works on: YAML files and the presets beside this file. Knows nothing about how training is done.
"""

from importlib.resources import files
from pathlib import Path
from typing import Any, Literal, Self

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from cluster.errors import RequestError
from jobs.training.collection import POINTS
from jobs.training.initialisation import Start
from jobs.training.procedural import CATEGORIES
from workers.decoder import Family
from workers.images import Framing

# Seeds from here on are never trained on: validation takes them, and above twice this the demo's pictures.
HELD_OUT = 10_000_000
PROCEDURAL = "procedural"
PRESETS = ("embedded", "imnet")
_MADE_UP = ("categories", "objects", "views", "fresh", "validation_objects")  # keys that a dataset has no use for


class Augmentation(BaseModel):
    """What real pictures do that the collection's do not; 0 leaves a change out. Every picture gets a share of its own
    of each, drawn anew each time that it is seen.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shift: float = Field(default=0.03, ge=0, le=0.5, description="most, as a share of the picture's side")
    scale: float = Field(default=0.06, ge=0, lt=1, description="most, larger or smaller")
    rotation: float = Field(default=5.0, ge=0, le=180, description="most, in degrees either way")
    exposure: float = Field(default=0.25, ge=0, lt=1, description="most, brighter or darker")
    gamma: float = Field(default=0.25, ge=0, lt=1, description="most of the exponent's change")
    contrast: float = Field(default=0.25, ge=0, lt=1, description="most, more or less")
    blur: float = Field(default=0.8, ge=0, le=4, description="largest standard deviation, in pixels of 128")
    noise: float = Field(default=0.02, ge=0, le=1, description="largest standard deviation, of the ink")
    compression: float = Field(default=0.2, ge=0, le=1, description="share of pictures that were JPEG files")
    cutout: float = Field(default=0.05, ge=0, le=1, description="share of pictures with a piece missing")
    mirror: bool = Field(default=True, description="flip half the pictures of shapes that are their own mirror image")


class Schedule(BaseModel):
    """How long and how hard to train. Steps of 0 leave a stage out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    coarse_steps: tuple[int, int] = Field(default=(0, 0), description="of the autoencoder at 16³ and 32³, before 64³")
    autoencoder_steps: int = Field(default=3000, ge=0)
    regression_steps: int = Field(default=2000, ge=0, description="the image encoder against the frozen latents")
    joint_steps: int = Field(default=3000, ge=0, description="image encoder and decoder together, on the points")
    batch: int = Field(default=32, ge=2)
    points: int = Field(default=1024, ge=8, le=POINTS, multiple_of=8, description="a shape and step")
    coarse_points: int = Field(default=1024, ge=8, le=4096, description="a shape and step at 16³ and 32³")
    autoencoder_rate: float = Field(default=1e-3, gt=0)
    encoder_rate: float = Field(default=1e-3, gt=0)
    joint_rate: float = Field(default=6e-4, gt=0)
    muon: float = Field(
        default=0.0,
        ge=0,
        description="rate of Muon for the decoder's hidden matrices, as a multiple of the stage's; 0: AdamW",
    )
    start: Start = Field(
        default="spread", description="the decoder's first weights: planes all over the cube, or as published"
    )
    decay: Literal["cosine", "none"] = Field(default="cosine", description="of the rate, over a stage")
    warm_up: int = Field(default=100, ge=0, description="steps over which a stage's rate rises; a tenth at most")
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = Field(default=1e-4, ge=0)
    clip: float = Field(default=1.0, ge=0, description="largest norm of the gradient; 0 for any")
    loss: Literal["cross-entropy", "squared"] = Field(default="cross-entropy", description="of a point's occupancy")
    average: float = Field(default=0.999, ge=0, lt=1, description="of the weights over so many steps: 1/(1 − average)")
    voxel_width: int = Field(default=16, ge=1)
    validate_every: int = Field(default=250, ge=1, description="steps")
    patience: int = Field(default=0, ge=0, description="validations without a better IoU that end a stage; 0: never")
    checkpoint_every: int = Field(default=500, ge=1, description="steps")
    keep: int = Field(default=2, ge=1, description="checkpoints")
    max_minutes: float | None = Field(default=None, gt=0, description="of training; a stage ends sooner, fully decayed")
    seed: int = 0

    @model_validator(mode="after")
    def _stages(self) -> Self:
        if min(self.coarse_steps) < 0:
            raise ValueError("coarse_steps must not be negative")
        if not (sum(self.coarse_steps) or self.autoencoder_steps or self.regression_steps or self.joint_steps):
            raise ValueError("there is no stage with steps")
        if self.regression_steps and not (sum(self.coarse_steps) or self.autoencoder_steps):
            raise ValueError("regression_steps need autoencoder_steps before them: it is their latents that are learnt")
        if not (self.regression_steps or self.joint_steps):
            raise ValueError("regression_steps or joint_steps must be there: without, the image encoder learns nothing")
        return self


class Plan(BaseModel):
    """A training configuration."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    data: str = Field(default=PROCEDURAL, min_length=1, description="or a dataset of isofleet prepare")
    categories: tuple[str, ...] = Field(default=(), description="of made-up objects; a dataset has its own")
    family: Family = "imnet-2019"
    latent_size: int = Field(default=128, ge=1)
    decoder_width: int = Field(default=128, ge=1)
    encoder_width: int = Field(default=64, ge=1)
    framing: Framing = Framing(mode="fit")
    objects: int = Field(default=5000, ge=2, lt=HELD_OUT)
    views: int = Field(default=4, ge=1)
    fresh: bool = Field(default=False, description="objects that were not seen before, every epoch")
    validation_objects: int = Field(default=256, ge=1)
    threshold: float | Literal["auto"] = Field(
        default="auto",
        description="occupancy at the surface; auto: the lowest that validation allows, so thin parts hold",
    )
    half: bool = Field(default=False, description="store the bundle in float16")
    augmentation: Augmentation = Augmentation()
    schedule: Schedule = Schedule()

    @model_validator(mode="after")
    def _whole(self) -> Self:
        if self.threshold != "auto" and not 0 < self.threshold < 1:
            raise ValueError("threshold must be auto, or lie between 0 and 1")
        if self.data != PROCEDURAL:
            for name in _MADE_UP:
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} is for made-up objects; leave it out for a dataset")
            return self
        if not self.categories:
            raise ValueError(f"categories must name some of {', '.join(CATEGORIES)}")
        if self.schedule.batch > self.objects:
            raise ValueError(f"schedule.batch must be at most objects, {self.objects}")
        for category in self.categories:
            if category not in CATEGORIES:
                raise ValueError(f"categories: {category!r} is none of {', '.join(CATEGORIES)}")
        return self


def read(path: Path | None, preset: str | None = None, data: str | None = None) -> Plan:
    """The plan in a YAML file, or else a preset's: the embedded bundle's unless named. Raises RequestError.

    With `data`, that of a plan which learns from this dataset.
    """
    if path is not None and preset is not None:
        raise RequestError("--plan and --preset: give one of them.")
    if preset is not None and preset not in PRESETS:
        raise RequestError(f"--preset {preset}: is none of {', '.join(PRESETS)}.")
    where = Path(str(files("jobs.training") / f"{preset or PRESETS[0]}.yaml")) if path is None else path
    option = f"--plan {where}" if preset is None else f"--preset {preset}"
    try:
        content = yaml.safe_load(where.read_text(encoding="utf-8"))
        if data is not None and isinstance(content, dict):
            content = {key: value for key, value in content.items() if key not in _MADE_UP} | {"data": data}
        return Plan.model_validate(content)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise RequestError(f"{option}: cannot be read as YAML ({type(error).__name__}).") from error
    except ValidationError as error:
        raise RequestError(f"{option}: {_first(error)}.") from error


def _first(error: ValidationError) -> str:
    first: Any = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"])
    message = first["msg"].removeprefix("Value error, ")
    return f"{key}: {message}" if key and not message.startswith(key) else message
