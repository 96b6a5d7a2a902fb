"""The commands that run conversions as jobs of a cluster: `submit`, `status`, `logs` and `cancel`.

Works on: their options and what they print. Knows nothing about how anything is done.
"""

import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cluster.config import DEFAULT_PATH, Config, read
from cluster.errors import RequestError, RunError
from jobs.cli.options import ConfigOption, JsonOption, configuration

if TYPE_CHECKING:
    from jobs.ray_jobs import RayJobs
    from jobs.status import Status

AddressOption = Annotated[
    str | None,
    typer.Option(
        "--address",
        "--dashboard",
        help="The cluster's Jobs API, http(s)://HOST:PORT; else submit.address, else http://127.0.0.1:8265.",
        envvar="RAY_API_SERVER_ADDRESS",
    ),
]
CaBundleOption = Annotated[
    str | None, typer.Option("--ca-bundle", help="PEM file of the authorities that the Jobs API's certificate is from.")
]
VerifyOption = Annotated[
    bool | None, typer.Option("--verify/--no-verify", help="Check that certificate.", show_default=False)
]
JobArgument = Annotated[str, typer.Argument(help="The id that submit printed.")]


def submit(
    catalog: Annotated[str, typer.Argument(help="As for reconstruct; the cluster must be able to read it.")],
    output: Annotated[str, typer.Argument(help="As for reconstruct; the cluster must be able to write there.")],
    options: Annotated[
        list[str] | None, typer.Argument(help="Options of reconstruct, after --: -- --resolution 128")
    ] = None,
    address: AddressOption = None,
    ca_bundle: CaBundleOption = None,
    verify: VerifyOption = None,
    runtime_env: Annotated[
        Path | None, typer.Option(help="Ray runtime environment (YAML), over that of the configuration.")
    ] = None,
    entrypoint_cpus: Annotated[float | None, typer.Option(help="CPUs that the driver reserves.")] = None,
    entrypoint_gpus: Annotated[float | None, typer.Option(help="GPUs that the driver reserves.")] = None,
    entrypoint_memory: Annotated[int | None, typer.Option(help="Bytes of memory that the driver reserves.")] = None,
    entrypoint_resources: Annotated[
        list[str] | None, typer.Option(metavar="NAME=AMOUNT", help="Custom resource that the driver reserves; repeat.")
    ] = None,
    metadata: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="Metadata of the job; repeat.")
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the job's log; exit as it does.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Run `reconstruct` as a job of a Ray cluster, through its Jobs API, and print the job's id.

    The same request again is the same job, unless that failed or was stopped: then it is a new attempt, which goes on
    where the last one stood. The job reads the file that --config names, else ./ray_config.yaml, if there is one.

    The cluster's token is read from RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH, further HTTP headers from RAY_JOB_HEADERS.

    isofleet submit s3://shop/photos s3://shop/meshes --wait -- --resolution 128
    """
    from jobs.ray_jobs import RayJobs
    from jobs.submit import JobRequest, merged
    from jobs.submit import submit as start

    options_given = {
        **reach(address, ca_bundle, verify),
        "submit.entrypoint_cpus": entrypoint_cpus,
        "submit.entrypoint_gpus": entrypoint_gpus,
        "submit.entrypoint_memory_bytes": entrypoint_memory,
    }
    standing = configuration(config, None, {}).submit
    if entrypoint_resources:
        added: dict[str, Any] = _pairs("--entrypoint-resources", entrypoint_resources)
        amounts = {name: _number("--entrypoint-resources", name, amount) for name, amount in added.items()}
        options_given["submit.entrypoint_resources"] = standing.entrypoint_resources | amounts
    if metadata:
        options_given["submit.metadata"] = standing.metadata | _pairs("--metadata", metadata)
    if runtime_env:
        options_given["submit.runtime_env"] = merged(standing.runtime_env, read(runtime_env), str(runtime_env))
    chosen = configuration(config, None, options_given)
    file = config or (DEFAULT_PATH if DEFAULT_PATH.exists() else None)
    request = JobRequest(catalog, output, tuple(options or ()), chosen, file)
    jobs = RayJobs(chosen.submit)
    job = start(jobs, request)
    if not job.is_new:
        typer.echo(f"isofleet: the cluster has this job already: {job.submission_id} is {job.state}.", err=True)
    shown = None if as_json else job.submission_id
    if shown and not wait:
        typer.echo(shown)
    status = _follow(jobs, job.submission_id, shown) if wait else 0
    if as_json:
        typer.echo(json.dumps(asdict(job) | {"state": jobs.state(job.submission_id)}))
    raise typer.Exit(status)


def status(
    job_or_output: Annotated[
        str,
        typer.Argument(
            metavar="JOB_OR_OUTPUT",
            help="What has a / in it is an OUTPUT (./meshes, s3://shop/meshes); anything else is a job's id.",
        ),
    ],
    as_json: JsonOption = False,
    address: AddressOption = None,
    ca_bundle: CaBundleOption = None,
    verify: VerifyOption = None,
    config: ConfigOption = None,
) -> None:
    """Say how far a job or a run is.

    Of an OUTPUT, all is read from the store: it works for any run, and once the cluster is gone. Of a job, its state is
    asked of the cluster, and its progress read from its OUTPUT, if that can be reached from here.

    isofleet status s3://shop/meshes --json

    isofleet status isofleet-0123456789abcdef
    """
    chosen = configuration(config, None, reach(address, ca_bundle, verify))
    if "/" in job_or_output:
        run = _status_of(job_or_output, chosen)
        typer.echo(json.dumps(asdict(run)) if as_json else "\n".join(_progress_lines(run)))
        return
    from jobs.ray_jobs import RayJobs, describe

    job = describe(RayJobs(chosen.submit).get(job_or_output))
    lines = [
        f"job {job_or_output}: {job['state']}",
        *(
            f"  {name.replace('_', ' ')}: {job[name]}"
            for name in ("started_at", "ended_at", "exit_status")
            if job[name]
        ),
        *(f"  {key}: {value}" for key, value in job["metadata"].items()),
    ]
    progress = None
    if output := job["metadata"].get("output"):
        try:
            progress = _status_of(output, chosen)
            lines += _progress_lines(progress)
        except (RequestError, RunError) as error:  # not begun yet, or out of reach from here
            lines.append(f"  no progress to be read: {error}")
    if as_json:
        typer.echo(json.dumps(job | {"run": progress and asdict(progress)}))
    else:
        typer.echo("\n".join(lines))


def logs(
    job: JobArgument,
    follow: Annotated[bool, typer.Option("--follow", help="Go on until the job ends; exit as it does.")] = False,
    address: AddressOption = None,
    ca_bundle: CaBundleOption = None,
    verify: VerifyOption = None,
    config: ConfigOption = None,
) -> None:
    """Print what a job has written.

    isofleet logs isofleet-0123456789abcdef --follow
    """
    from jobs.ray_jobs import RayJobs

    jobs = RayJobs(configuration(config, None, reach(address, ca_bundle, verify)).submit)
    if follow:
        raise typer.Exit(_follow(jobs, job))
    typer.echo(jobs.log(job), nl=False)


def cancel(
    job: JobArgument,
    address: AddressOption = None,
    ca_bundle: CaBundleOption = None,
    verify: VerifyOption = None,
    config: ConfigOption = None,
) -> None:
    """Stop a job, and wait until it has stopped. What it committed stays; the same submit goes on from there.

    isofleet cancel isofleet-0123456789abcdef
    """
    from jobs.ray_jobs import RayJobs

    jobs = RayJobs(configuration(config, None, reach(address, ca_bundle, verify)).submit)
    typer.echo(f"job {job}: {jobs.cancel(job)}")


def reach(address: str | None, ca_bundle: str | None, verify: bool | None) -> dict[str, Any]:
    """What the options that reach the Jobs API add to the configuration."""
    return {"submit.address": address, "submit.ca_bundle": ca_bundle, "submit.verify_tls": verify}


def _pairs(option: str, given: list[str]) -> dict[str, str]:
    pairs = {}
    for one in given:
        key, equals, value = one.partition("=")
        if not equals or not key:
            raise RequestError(f"{option} {one}: write {'NAME=AMOUNT' if 'resources' in option else 'KEY=VALUE'}.")
        pairs[key] = value
    return pairs


def _number(option: str, name: str, text: str) -> float:
    try:
        return float(text)
    except ValueError as error:
        raise RequestError(f"{option} {name}={text}: {text!r} is not a number.") from error


def _follow(jobs: "RayJobs", submission_id: str, first: str | None = None) -> int:
    """Print `first`, then a job's log until it ends. Whoever has read `first` may press Ctrl-C, and is answered."""
    try:
        if first:
            typer.echo(first)
        return jobs.follow(submission_id, lambda text: typer.echo(text, nl=False, err=True))
    except KeyboardInterrupt:
        raise RunError(
            f"the job goes on without this command: isofleet logs {submission_id} --follow takes it up again, "
            f"isofleet cancel {submission_id} ends it."
        ) from None


def _status_of(output: str, config: Config) -> "Status":
    from cluster.store import Stores
    from jobs.status import status

    return status(Stores(config.store), output, datetime.now(UTC))


def _progress_lines(run: "Status") -> list[str]:
    so_far = "" if run.planned else " so far, the catalog is still being listed"
    state = {
        "planning": "planning",
        "unfinished": "running, or interrupted",
        "committed": "every shard is committed, but the run has not ended within its error budget",
        "finished": "finished",
    }[run.state]
    age = run.seconds_since_last_commit
    lines = [
        f"run {run.run_id}: {state}",
        f"  shards: {run.shards} of {run.shards_planned}{so_far}",
        f"  images: {run.images} of {run.images_planned}{so_far}: {run.ok} ok, {run.carried} of them carried, "
        f"{run.failed} failed",
        *(f"  {count:6d} {code}" for code, count in run.errors.items()),
    ]
    if age is not None:
        lines.append(f"  last commit: {run.last_commit_at}, {timedelta(seconds=round(age))} ago")
    if run.images_per_second is not None:
        lines.append(f"  rate: {run.images_per_second:.3g} images/s at the latest commits")
    if run.seconds_left is not None:
        end = f"estimated end: {run.estimated_end}" if run.estimated_end else "overdue: it seems to be interrupted"
        lines.append(f"  left: {timedelta(seconds=round(run.seconds_left))} at that rate; {end}")
    return lines
