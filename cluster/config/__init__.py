"""The configuration of a run: `ray_config.yaml` and the environment, read into frozen, checked sections."""

from cluster.config.loading import DEFAULT_PATH, choices, load, read
from cluster.config.sections import (
    ActorSettings,
    Config,
    ImageSettings,
    MeshSettings,
    MetricsSettings,
    PrepareSettings,
    RaySettings,
    ReconstructSettings,
    S3Settings,
    SchedulerSettings,
    ScheduleSettings,
    StoreSettings,
    SubmitSettings,
)

__all__ = [
    "DEFAULT_PATH",
    "ActorSettings",
    "Config",
    "ImageSettings",
    "MeshSettings",
    "MetricsSettings",
    "PrepareSettings",
    "RaySettings",
    "ReconstructSettings",
    "S3Settings",
    "ScheduleSettings",
    "SchedulerSettings",
    "StoreSettings",
    "SubmitSettings",
    "choices",
    "load",
    "read",
]
