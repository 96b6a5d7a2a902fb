"""The configuration of a run: `ray_config.yaml` and the environment, read into frozen, checked sections.

Works on: text, environment variables and dotted keys. Knows nothing about what the settings do: each section
is handed to the one module that uses it.
Later sources win: defaults, then the file, then the environment, then overrides (the command line).
"""

import difflib
import re
import reprlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import yaml
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from cluster.errors import RequestError

DEFAULT_PATH = Path("ray_config.yaml")
ENVIRONMENT_PREFIX = "ISOFLEET_"
# A hand-written file has a few KiB; the bound keeps a mistyped path to an image from being parsed as YAML.
MAX_FILE_BYTES = 256 * 1024


# No setting needs them, and a run's record could not be written with half a surrogate pair.
_NOT_TEXT = re.compile("[\0-\x1f\x7f\ud800-\udfff]")
_MAX_QUOTED = 300  # characters of a stranger's file in a sentence
_REPR = reprlib.Repr()
_REPR.maxlevel = 2  # six levels of six, as is the default, make 400 kB of a small file with aliases


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


# A part of submission ids, metric labels and keys in the store.
_SCHEDULE_NAME = re.compile("[a-z0-9][a-z0-9_-]{0,39}")


class Config(_Section):
    """Everything that `ray_config.yaml` can say. It holds no secrets."""

    ray: RaySettings = RaySettings()
    store: StoreSettings = StoreSettings()
    images: ImageSettings = ImageSettings()
    reconstruct: ReconstructSettings = ReconstructSettings()
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


def load(path: Path | None, env: Mapping[str, str], overrides: Mapping[str, Any]) -> Config:
    """Read the configuration.

    `path` is a YAML file; None takes `./ray_config.yaml` if there is one. `env` is searched for names like
    `ISOFLEET_STORE__S3__REGION`, their values parsed as YAML. `overrides` has dotted keys
    (`store.s3.region`).

    Raises RequestError, one sentence naming the source, the dotted key and what is expected.
    """
    if path is None and DEFAULT_PATH.exists():
        path = DEFAULT_PATH
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    problems: list[str] = []
    found = [] if path is None else [(str(path), key, value) for key, value in _flatten(read(path), str(path))]
    found += list(_from_environment(env))
    found += [("command line", key, value) for key, value in overrides.items()]
    for source, key, value in found:
        if _slot(key) in _KEYS:
            values[key], sources[key] = value, source
            texts = [value] if isinstance(value, str) else list(value.values()) if isinstance(value, dict) else []
            if any(isinstance(text, str) and _NOT_TEXT.search(text) for text in texts):
                problems.append(f"{source}: {key} must be text without control characters or half characters")
        else:
            problems.append(f"{source}: {_unknown(key)}")
    tree: dict[str, Any] = {}
    for key, value in values.items():
        *sections, leaf = key.split(".")
        branch = tree
        for section in sections:
            branch = branch.setdefault(section, {})
        branch[leaf] = value
    try:
        config = Config.model_validate(tree)
    except ValidationError as error:
        # A union (text or a mapping) reports once for each of its members: keep one sentence a key.
        wrong = {_key(details["loc"]): details for details in error.errors(include_url=False)}
        for key, details in wrong.items():
            if details["type"] == "value_error":
                expected = str(details["ctx"]["error"])
            elif details["type"] == "missing":
                expected = f"is missing: it must be {_expected(_KEYS[_slot(key)])}"
            else:
                expected = f"must be {_expected(_KEYS[_slot(key)])}, not {_shown(values.get(key))}"
            # What is missing, or wrong as a whole, has no source of its own: its neighbours' is said.
            section = key.rpartition(".")[0] or key
            near = (source for known, source in sources.items() if known.startswith(f"{section}."))
            problems.append(f"{sources.get(key) or next(near, 'configuration')}: {_printable(key)} {expected}")
    if problems:
        others = len(problems) - 1
        more = f" (and {others} other problem{'s' * (others > 1)})" if others else ""
        raise RequestError(problems[0] + more)
    return config


def _leaves(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    schema = model.model_json_schema()
    for name, field in model.model_fields.items():
        kind = field.annotation
        named = get_args(kind)[1] if get_origin(kind) is dict else None  # what each name of a mapping stands for
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            yield from _leaves(kind, f"{prefix}{name}.")
        elif isinstance(named, type) and issubclass(named, BaseModel):
            yield from _leaves(named, f"{prefix}{name}.{_ANY}.")
        else:
            yield prefix + name, schema["properties"][name]


_ANY = "*"  # stands in a key for the name of a schedule
_KEYS = dict(_leaves(Config))  # dotted key -> its JSON schema
_SECTIONS = {key[:end] for key in _KEYS for end, character in enumerate(key) if character == "."}
_MAPPINGS = {section.removesuffix(f".{_ANY}") for section in _SECTIONS if section.endswith(f".{_ANY}")}


def _slot(key: str) -> str:
    """How _KEYS spells a key: `schedules.*.cron` for `schedules.nightly.cron`."""
    section, *below = key.split(".")
    return ".".join([section, _ANY, *below[1:]]) if section in _MAPPINGS and below else key


def _expected(schema: Mapping[str, Any]) -> str:
    """A JSON schema in words: `a whole number between 8 and 1024`."""
    if "anyOf" in schema:
        return " or ".join(_expected(option) for option in schema["anyOf"])
    if "enum" in schema:
        return "one of " + ", ".join(schema["enum"])
    values = schema.get("additionalProperties")
    values = values["type"] if isinstance(values, dict) else ""  # of a mapping, where they are of one type
    kinds = {
        "integer": "a whole number",
        "number": "a number",
        "boolean": "true or false",
        "null": "null",
        "string": "text (in quotes if it looks like a number)",
        "object": "a mapping" + {"string": " of text to text", "number": " of text to numbers"}.get(values, ""),
        "array": "a list of texts",
    }
    low, high = schema.get("minimum"), schema.get("maximum")
    above = schema.get("exclusiveMinimum")
    bounds = ""
    if low is not None and high is not None:
        bounds = f" between {low:g} and {high:g}" if isinstance(low, float) else f" between {low} and {high}"
    elif low is not None:
        bounds = f" of at least {low}"
    elif above is not None:
        bounds = f" above {above:g}" + (f" and at most {high:g}" if high is not None else "")
    elif schema.get("minLength"):
        bounds = " that is not empty"
    return kinds[schema["type"]] + bounds


def _key(location: tuple[int | str, ...]) -> str:
    """The dotted key of a pydantic error's location, without the union members and mapping keys below it."""
    key = ""
    for part in location:
        key = f"{key}.{part}" if key else str(part)
        if _slot(key) in _KEYS:
            break
    return key


def _shown(value: Any) -> str:
    try:
        return _printable(_REPR.repr(value))
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        return "a number with thousands of digits"


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else " " for letter in text[:_MAX_QUOTED])


def _unknown(key: str) -> str:
    key = _printable(key)
    if _slot(key) in _SECTIONS:
        return f"{key} must be a section with keys of its own, not a single value"
    mapping, _, rest = key.partition(".")
    named = f"{mapping}.{rest.partition('.')[0]}."  # the keys below a name that it has given
    keys = [known.replace(f"{mapping}.{_ANY}.", named) if rest else known for known in _KEYS]
    section, _, name = key.rpartition(".")
    start = f"{section}." if section else ""
    # dict, not set: in the order of the file
    names = list(dict.fromkeys(known.removeprefix(start).split(".")[0] for known in keys if known.startswith(start)))
    keys = [known for known in keys if _ANY not in known]
    moved = [known for known in keys if known.rpartition(".")[2] == name]  # the right key in the wrong section
    close = (
        sorted(moved, key=lambda known: not known.startswith(start))
        or [start + near for near in difflib.get_close_matches(name, names, n=1)]
        or difflib.get_close_matches(key, keys, n=1, cutoff=0.85)
    )
    if close:
        return f"{key} is not a known key; did you mean {close[0]}?"
    if names:
        return f"{key} is not a known key; {section or 'the file'} has {', '.join(names)}"
    sections = sorted(section for section in _SECTIONS if _ANY not in section)
    return f"{key} is not a known key; the sections are {', '.join(sections)}"


def _flatten(tree: Any, source: str, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """The leaves of nested sections by dotted key. A section with nothing in it (null) has none."""
    if tree is None:
        return
    if not isinstance(tree, Mapping):
        name = prefix.rstrip(".") or "the file"
        raise RequestError(f"{source}: {name} must be a mapping of keys to values, not {_shown(tree)}")
    for name, value in tree.items():
        key = f"{prefix}{name}"
        if _slot(key) in _SECTIONS:
            if value is None and _slot(key).endswith(f".{_ANY}"):
                raise RequestError(
                    f"{source}: {_printable(key)} has no settings; give it cron, catalog and output, or delete it"
                )
            yield from _flatten(value, source, key + ".")
        else:
            yield key, value


def _from_environment(env: Mapping[str, str]) -> Iterator[tuple[str, str, Any]]:
    """(variable, dotted key, value). A name without `__` has no section: it is somebody else's variable."""
    for variable, text in sorted(env.items()):
        path = variable.removeprefix(ENVIRONMENT_PREFIX)
        if path != variable and "__" in path:
            yield variable, path.lower().replace("__", "."), _parse(text, variable)


def read(path: Path) -> Any:
    """The content of a YAML file. Raises RequestError, naming file and line, for one that cannot be read."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise RequestError(f"{path}: the configuration file cannot be read: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise RequestError(f"{path}: a configuration file has at most {MAX_FILE_BYTES} bytes; is this the one?")
    try:
        return _parse(data.decode(), str(path))
    except UnicodeDecodeError as error:
        raise RequestError(f"{path}: a configuration file must be UTF-8 text") from error


class _Loader(yaml.SafeLoader):
    """Safe YAML in which a key may stand only once: plain PyYAML silently takes the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for name, _ in node.value:
            spelling = str(name.value)
            if spelling in seen:
                problem = f"the key {spelling} stands here twice"
                raise yaml.constructor.ConstructorError(problem=problem, problem_mark=name.start_mark)
            seen.add(spelling)
        return super().construct_mapping(node, deep)


def _parse(text: str, source: str) -> Any:
    try:
        return yaml.load(text, _Loader)  # a SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        reason = _printable(error.problem or error.context or "")
        raise RequestError(f"{source}: {place}not valid YAML: {reason}") from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        # ValueError: scalars that look like a date or number but are none, such as 2024-13-45.
        raise RequestError(f"{source}: not valid YAML: {_printable(str(error).splitlines()[0])}") from error
