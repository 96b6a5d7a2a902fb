"""What can be configured: frozen, checked sections, each handed to the one module that uses it.

Works on: values and their bounds. Knows nothing about where they come from, or what they do.
"""

import itertools
import re
import reprlib
from typing import Annotated, Any, ClassVar, Literal
from urllib.parse import urlsplit

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)


class _Section(BaseModel):
    # Strict: YAML already says which scalar is text and which a number, so a quoted "64" is a slip.
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class RaySettings(_Section):
    """Where Ray is, or how much of this machine a local one may use."""

    address: str = Field(
        default="local",
        min_length=1,
        description='"local" starts Ray here for this run, "auto" joins the one running on this machine, '
        '"HOST:PORT" joins the cluster whose head listens there, "ray://HOST:PORT" goes through Ray Client.',
    )
    namespace: str = Field(default="isofleet", min_length=1, description="Ray namespace of the run's named actors.")
    num_cpus: int | None = Field(
        default=None,
        ge=1,
        description='CPUs that a "local" Ray may use; null uses all that this process may.',
    )
    num_gpus: int | None = Field(
        default=None, ge=0, description='GPUs that a "local" Ray may use; null uses all that CUDA shows.'
    )
    dashboard: bool = Field(default=False, description='Start the dashboard of a "local" Ray, on loopback.')
    wait_for_nodes_seconds: float = Field(
        default=0.0,
        ge=0,
        description="How long a run's first actors may wait for an autoscaling cluster to bring nodes, their start "
        "included; 0 refuses at once what the nodes there are cannot hold.",
    )


def _check_endpoint(url: str) -> str:
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.username is None and parts.port != 0
    except ValueError:  # half an IPv6 address, or a port that is no number
        good = False
    if not good:
        # The value is not repeated: it may hold a password.
        raise ValueError("must be http://HOST[:PORT] or https://HOST[:PORT], without user name or password")
    return url


def _check_gateway(url: str) -> str:
    _check_endpoint(url)
    if "?" in url or "#" in url:
        raise ValueError("must be an address without ? and #")
    return url


class S3Settings(_Section):
    """How to reach S3 or a compatible server. Credentials never stand here: boto3 finds them in the
    environment, a profile, or the machine's role."""

    endpoint_url: Annotated[str, AfterValidator(_check_endpoint)] | None = Field(
        default=None,
        description="Address of an S3-compatible server; null asks boto3 (AWS_ENDPOINT_URL, else AWS).",
    )
    region: str | None = Field(default=None, description="Region of the buckets; null asks boto3.")
    profile: str | None = Field(
        default=None, description="Profile in ~/.aws whose credentials to use; null asks boto3."
    )
    addressing_style: Literal["auto", "path", "virtual"] = Field(
        default="auto",
        description="Where the bucket's name goes: auto puts it in the path at a given endpoint_url, "
        "and in the host name on AWS.",
    )
    verify_tls: bool = Field(default=True, description="Check the server's certificate.")
    ca_bundle: str | None = Field(
        default=None, description="PEM file of the authorities to check it against; null uses boto3's own."
    )
    requester_pays: bool = Field(default=False, description="Agree to pay for requests to requester-pays buckets.")
    server_side_encryption: Literal["AES256", "aws:kms"] | None = Field(
        default=None,
        description="Encryption asked for with each object written; null leaves it to the bucket.",
    )
    sse_kms_key_id: str | None = Field(
        default=None,
        validate_default=True,
        description="KMS key for aws:kms encryption; null uses the bucket's or account's.",
    )
    # Of a store that fails one request in ten, 8 attempts leave one request in 100 million without an answer.
    max_attempts: int = Field(default=8, ge=1, le=20, description="Attempts at a request, the first included.")
    retry_seconds: float = Field(
        default=60.0,
        ge=0,
        le=3600,
        description="No attempt at a request begins later than this after its first, in seconds.",
    )
    # Not adaptive: one 503 among requests that are few sends that whole process down to one every two seconds.
    retry_mode: Literal["standard", "adaptive"] = Field(
        default="standard",
        description="botocore's retry mode; adaptive also keeps a process to the rate that the server has accepted.",
    )
    connect_timeout_seconds: float = Field(
        default=10.0, gt=0, le=600, description="Longest wait for a connection, in seconds."
    )
    read_timeout_seconds: float = Field(
        default=20.0, gt=0, le=3600, description="Longest silence of the server within an answer, in seconds."
    )
    max_connections: int = Field(default=32, ge=1, le=1024, description="Connections kept open by one process.")
    multipart_threshold_bytes: int = Field(
        default=64 * 1024 * 1024,
        ge=5 * 1024 * 1024,  # S3's smallest part (Amazon S3 User Guide, "multipart upload limits")
        le=5 * 1024 * 1024 * 1024,  # S3's largest single PUT (the same table)
        description="Objects larger than this are written in parts, in bytes.",
    )

    @field_validator("sse_kms_key_id")
    @classmethod
    def _needs_kms(cls, key: str | None, info: ValidationInfo) -> str | None:
        if key is not None and info.data.get("server_side_encryption") != "aws:kms":
            raise ValueError("needs store.s3.server_side_encryption to be aws:kms")
        return key


class StoreSettings(_Section):
    """How to reach objects, by kind of store."""

    s3: S3Settings = S3Settings()


class ImageSettings(_Section):
    """What is accepted as an image."""

    max_bytes: int = Field(default=64 * 1024 * 1024, ge=1, description="Largest image file, in bytes.")
    max_pixels: int = Field(
        default=64_000_000,
        ge=1,
        description="Largest width times height, checked before an image is decoded.",
    )


class ReconstructSettings(_Section):
    """What is made of each image, and when a run has failed."""

    section: ClassVar[str] = "reconstruct"

    weights: str | dict[str, str] = Field(
        default="embedded",
        description='Weights bundle: "embedded", a folder or URI, or one of these for each category.',
    )
    resolution: int = Field(default=64, ge=8, le=1024, description="Samples along each axis of the lattice.")
    format: Literal["glb", "obj", "ply", "stl"] = Field(default="glb", description="Format of the mesh files.")
    exact: bool = Field(
        default=False,
        description="Evaluate the whole lattice, so that isolated parts thinner than a coarse cell stay.",
    )
    category: str | None = Field(
        default=None,
        description="Category of all images; null takes the catalog's column, else the name of the top folder.",
    )
    limit: int | None = Field(
        default=None, ge=1, description="Take only the first so many images of the catalog; null takes all."
    )
    previous: list[str] = Field(
        default=[],
        description="Earlier outputs: of images that are as they were there, the rows and meshes are carried forward.",
    )
    shard_size: int = Field(
        default=256, ge=1, le=65536, description="Images to a shard, the unit of commit and resume."
    )
    batch_size: int = Field(default=16, ge=1, le=1024, description="Images encoded together.")
    precision: Literal["auto", "float32", "bfloat16"] = Field(
        default="auto",
        description="What the decoder's large products are computed in; auto takes bfloat16 where the processor has it "
        "and the decoder is wide enough to gain.",
    )
    refine: int = Field(
        default=0,
        ge=0,
        le=8,
        description="Steps of root finding along each lattice edge for its vertex; 0 takes the field as linear there.",
    )
    chunk_points: int | None = Field(
        default=None,
        ge=64,
        le=16_777_216,
        description="Points given to the decoder at a time, which bounds device memory; null suits the device.",
    )
    max_failed: int | None = Field(
        default=None,
        ge=0,
        description="The run fails when more images than this have failed; null sets no such bound.",
    )
    max_failed_percent: float | None = Field(
        default=10.0,
        ge=0,
        le=100,
        description="The run fails when more than this percentage of its images has failed; null sets no such bound.",
    )
    budget_sample: int = Field(
        default=1000,
        ge=1,
        description="A run stops early when more than max_failed_percent of the images so far, and at least "
        "this many, have failed.",
    )
    stop_seconds: float = Field(
        default=15.0,
        ge=0,
        le=3600,
        description="After SIGTERM or Ctrl-C, longest time for images in flight to complete their shards, in seconds.",
    )
    item_timeout_seconds: float = Field(
        default=120.0, gt=0, description="Longest time that one attempt at one image may take, in seconds."
    )


class MeshSettings(_Section):
    """What is done to each mesh after its surface was found, and what its file has beside triangles."""

    faces: int | None = Field(
        default=None,
        ge=4,  # a tetrahedron's
        description="Simplify each mesh to at most so many triangles; null leaves all that there are.",
    )
    lod: list[Annotated[int, Field(ge=4)]] = Field(
        default=[],
        max_length=8,
        description="Levels of detail, coarser from one to the next: the most triangles of ID.lod1.glb, ID.lod2.glb, … "
        "beside each mesh.",
    )
    smooth: int = Field(
        default=0, ge=0, le=100, description="Steps of Taubin's filter, which smooths and hardly shrinks; 0: none."
    )
    symmetry: bool = Field(
        default=False,
        description="Make each shape equal to its mirror image, left and right, by the mean of both sides.",
    )
    up_axis: Literal["y", "z"] = Field(
        default="y",
        description="Which way is up in the file: y with the front to +Z, as glTF has it (GLB is always so), or z with "
        "the front to -Y, as Blender and CAD have it.",
    )
    normals: bool | None = Field(
        default=None,
        description="Write a normal at each vertex, for smooth shading, into GLB, OBJ and PLY; null: into GLB alone.",
    )
    metadata: bool = Field(
        default=False,
        description="Write item, source, run and weights into each GLB, which then differs from run to run.",
    )

    @field_validator("lod")
    @classmethod
    def _coarser_each(cls, lod: list[int], info: ValidationInfo) -> list[int]:
        counts = [count for count in (info.data.get("faces"), *lod) if count is not None]
        if any(fewer >= more for more, fewer in itertools.pairwise(counts)):
            raise ValueError(f"must have fewer triangles from level to level, and than mesh.faces, not {lod}")
        return lod


class PrepareSettings(_Section):
    """What isofleet prepare takes from a collection of shapes, and when it has failed."""

    section: ClassVar[str] = "prepare"

    shard_size: int = Field(default=64, ge=1, le=1024, description="Shapes to a shard, the unit of commit and resume.")
    max_bytes: int = Field(default=512 * 1024 * 1024, ge=1, description="Largest file of a mesh, in bytes.")
    max_faces: int = Field(default=2_000_000, ge=4, description="Most triangles that a mesh may have.")
    max_failed: int | None = Field(
        default=None,
        ge=0,
        description="The command fails when more shapes than this have failed; null sets no such bound.",
    )
    max_failed_percent: float | None = Field(
        default=10.0,
        ge=0,
        le=100,
        description="The command fails when more than this percentage of its shapes has failed; null sets no bound.",
    )
    budget_sample: int = Field(
        default=1000,
        ge=1,
        description="It stops early when more than max_failed_percent of the shapes so far, and at least this many, "
        "have failed.",
    )
    stop_seconds: float = Field(
        default=15.0,
        ge=0,
        le=3600,
        description="After SIGTERM or Ctrl-C, longest time for shapes in flight to complete their shards, in seconds.",
    )
    item_timeout_seconds: float = Field(
        default=600.0, gt=0, description="Longest time that one attempt at one shape may take, in seconds."
    )


class ActorSettings(_Section):
    """How many actors a run starts, what each reserves, and when one is given up."""

    reconstructors: int | None = Field(
        default=None,
        ge=1,
        description="Reconstructors; null starts one per GPU, or by CPUs where there is none.",
    )
    gpus_per_reconstructor: float | None = Field(
        default=None,
        ge=0,
        description="GPUs that each reserves; a fraction shares one; null reserves one where the cluster has any.",
    )
    cpus_per_reconstructor: float = Field(default=1.0, ge=0, description="CPUs that each reserves.")
    meshers: int | None = Field(default=None, ge=1, description="Meshers; null starts one per CPU left over.")
    cpus_per_mesher: float = Field(default=1.0, ge=0, description="CPUs that each reserves.")
    preparers: int | None = Field(
        default=None, ge=1, description="Preparers, of isofleet prepare; null starts as many as the CPUs hold."
    )
    cpus_per_preparer: float = Field(default=1.0, ge=0, description="CPUs that each reserves.")
    queue_depth: int = Field(
        default=2,
        ge=1,
        le=64,
        description="Calls that an actor holds at once: one running, the rest ready to start.",
    )
    max_deaths_per_item: int = Field(
        default=3,
        ge=1,
        le=100,
        description="An item that was running at this many deaths is failed: killed_worker.",
    )
    memory_limit_bytes: int | None = Field(
        default=4 * 1024 * 1024 * 1024,
        ge=256 * 1024 * 1024,  # less would not hold a bundle and one ordinary picture
        description="Memory that an actor may take beyond what it starts with; an image that needs more is failed: "
        "out_of_memory. Actors with a GPU have no such limit; null gives none to others either.",
    )
    # An item that kills every process it runs in must be found out before the actor it kills is written off,
    # or a single poison item could take the whole pool with it.
    max_consecutive_deaths: int = Field(
        default=4,
        ge=2,
        le=101,
        validate_default=True,
        description="An actor that dies this often without finishing a call is given up; must be "
        "greater than max_deaths_per_item.",
    )

    @field_validator("gpus_per_reconstructor")
    @classmethod
    def _of_one_gpu_or_whole(cls, gpus: float | None) -> float | None:
        if gpus is not None and gpus > 1 and not gpus.is_integer():
            raise ValueError(f"must be a whole number or less than 1, since Ray splits no more than one, not {gpus}")
        return gpus

    @field_validator("max_consecutive_deaths")
    @classmethod
    def _outlives_a_poison_item(cls, deaths: int, info: ValidationInfo) -> int:
        per_item = info.data.get("max_deaths_per_item")
        if per_item is not None and deaths <= per_item:
            raise ValueError(
                f"must be greater than actors.max_deaths_per_item ({per_item}), not {deaths}, so that an "
                "item that kills its process is found out before its actor is given up"
            )
        return deaths


class MetricsSettings(_Section):
    """Where a run's processes serve their metrics, and where the last ones go."""

    enabled: bool = Field(default=True, description="Serve the metrics to Prometheus while a process runs.")
    host: str = Field(
        default="127.0.0.1",
        min_length=1,
        description="Address to listen on; 0.0.0.0 lets other machines read the metrics.",
    )
    port: int = Field(default=0, ge=0, le=65535, description="Port to listen on; 0 takes any free one and logs it.")
    node_exporters: bool = Field(
        default=True, description="Run an exporter on each of the cluster's nodes while the metrics are served."
    )
    node_exporter_port: int = Field(
        default=0, ge=0, le=65535, description="Port that each exporter listens on; 0 takes any free one."
    )
    port_tries: int = Field(
        default=10,
        ge=1,
        le=1000,
        description="Ports tried from a fixed one upwards, so that several runs find one on the same machine.",
    )
    scheduler_port: int = Field(
        default=0, ge=0, le=65535, description="Port that isofleet schedule listens on; 0 takes any free one."
    )
    pushgateway: Annotated[str, AfterValidator(_check_gateway)] | None = Field(
        default=None, description="Address of a Pushgateway that is given the run's last values; null pushes nothing."
    )


class SubmitSettings(_Section):
    """How `isofleet submit` reaches a cluster's Jobs API, and what every job gets. Tokens and headers never stand
    here: Ray finds them in RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, and in RAY_JOB_HEADERS."""

    address: str | None = Field(
        default=None,
        description="Address of the Jobs API; null asks RAY_API_SERVER_ADDRESS, else http://127.0.0.1:8265.",
    )
    verify_tls: bool = Field(default=True, description="Check the server's certificate.")
    ca_bundle: str | None = Field(
        default=None, description="PEM file of the authorities to check it against; null uses Python's own."
    )
    runtime_env: dict[str, Any] = Field(
        default={},
        description="Ray's runtime environment of the jobs: pip, env_vars, … but no working_dir.",
    )
    entrypoint_cpus: float | None = Field(
        default=None,
        ge=0,
        description="CPUs that a job's driver reserves; without any resources it runs on the head.",
    )
    entrypoint_gpus: float | None = Field(default=None, ge=0, description="GPUs that a job's driver reserves.")
    entrypoint_memory_bytes: int | None = Field(
        default=None, ge=1, description="Memory that a job's driver reserves, in bytes."
    )
    entrypoint_resources: dict[str, float] = Field(
        default={}, description="Custom resources that a job's driver reserves."
    )
    metadata: dict[str, str] = Field(default={}, description="Metadata of the jobs, beside those that isofleet sets.")


class SchedulerSettings(_Section):
    """Where the scheduler keeps what it has decided, and how often it looks."""

    state: str | None = Field(
        default=None,
        description="Folder or URI of the decisions; every scheduler of the same schedules names the same.",
    )
    poll_seconds: float = Field(
        default=30.0,
        gt=0,
        le=3600,
        description="Longest time between two looks at the store and the cluster, in seconds.",
    )


class ScheduleSettings(_Section):
    """One conversion that is submitted again and again."""

    cron: str = Field(
        min_length=1, description="Minute, hour, day of month, month and day of week of its ticks, in its time zone."
    )
    time_zone: str = Field(default="UTC", min_length=1, description="IANA name, such as Europe/Berlin.")
    catalog: str = Field(min_length=1, description="What reconstruct takes as CATALOG.")
    output: str = Field(
        min_length=1,
        description="OUTPUT of a tick: {tick:%Y-%m-%d} becomes its time in its time zone, strftime's way.",
    )
    incremental: bool = Field(
        default=False, description="Convert only what is new or changed since its last run that succeeded."
    )
    overlap: Literal["forbid", "allow", "replace"] = Field(
        default="forbid",
        description="While an earlier tick's job runs: skip the tick, submit beside it, or stop the earlier job first.",
    )
    grace_seconds: float = Field(
        default=3600.0, ge=1, description="How late a tick may be submitted, in seconds; after that it is missed."
    )
    jitter_seconds: int = Field(
        default=0, ge=0, description="Each tick is put off by up to so many seconds, always the same for a tick."
    )
    reconstruct: ReconstructSettings = Field(
        default=ReconstructSettings(),
        description="What its jobs do otherwise than the section reconstruct says.",
    )
    mesh: MeshSettings = Field(
        default=MeshSettings(), description="What its jobs do otherwise than the section mesh says."
    )


# A part of submission ids, metric labels and keys in the store.
_SCHEDULE_NAME = re.compile("[a-z0-9][a-z0-9_-]{0,39}")


class Config(_Section):
    """Everything that `ray_config.yaml` can say. It holds no secrets."""

    ray: RaySettings = RaySettings()
    store: StoreSettings = StoreSettings()
    images: ImageSettings = ImageSettings()
    reconstruct: ReconstructSettings = ReconstructSettings()
    mesh: MeshSettings = MeshSettings()
    prepare: PrepareSettings = PrepareSettings()
    actors: ActorSettings = ActorSettings()
    metrics: MetricsSettings = MetricsSettings()
    submit: SubmitSettings = SubmitSettings()
    scheduler: SchedulerSettings = SchedulerSettings()
    schedules: dict[str, ScheduleSettings] = Field(default={}, description="The schedules, by name.")

    @field_validator("schedules")
    @classmethod
    def _names_are_keys(cls, schedules: dict[str, ScheduleSettings]) -> dict[str, ScheduleSettings]:
        for name in schedules:
            if not _SCHEDULE_NAME.fullmatch(name):
                raise ValueError(
                    f"has {reprlib.repr(name)}: a name has 1 to 40 lower-case letters, digits, - and _, "
                    "and begins with a letter or digit"
                )
        return schedules
