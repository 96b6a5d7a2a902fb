"""This machine: its Python and libraries, its processor, memory, temporary files and ports.

Works on: what Linux and the installed packages say. Knows nothing about stores, clusters or weights; imports neither
Ray nor PyTorch.
"""

import os
import platform
import re
import shutil
import socket
import tempfile
import tomllib
import urllib.error
import urllib.request
from contextlib import suppress
from importlib import metadata
from pathlib import Path

import psutil
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from cluster.config import Config, MetricsSettings
from cluster.errors import RequestError
from jobs.doctor.finding import Finding, failure, ok, sentence, warning

# One picture of the 64 million pixels that images.max_pixels allows takes 2.2 GB, beside some 0.7 GB of libraries.
_MEMORY_BYTES = 3 * 10**9
# A catalog in a table is fetched whole, up to 1 GiB of it, and what outgrows memory is kept beside it.
_TEMPORARY_BYTES = 2 * 2**30
# Ray writes no object to a disk that is fuller: RAY_local_fs_capacity_threshold ("Object Spilling", docs.ray.io).
_FULL = 0.95
# Processors that multiply bfloat16 themselves, as Linux spells it: Intel and AMD, Intel's AMX, and Arm.
_BFLOAT16 = ("avx512_bf16", "amx_bf16", "bf16")
_PROJECT = Path(__file__).resolve().parents[2] / "pyproject.toml"
_CPUS = Path("/proc/cpuinfo")
_CGROUP = Path("/sys/fs/cgroup")
_GATEWAY_SECONDS = 5.0
_DASHBOARD_PORT = 8265
_MOST_NAMED = 3


def versions(project: Path = _PROJECT) -> Finding:
    """Python's version and those of the libraries, against the ranges that `project`, a pyproject.toml, gives."""
    python, requirements = _supported(project)
    wrong = []
    if not SpecifierSet(python).contains(platform.python_version(), prereleases=True):
        wrong.append(f"Python {platform.python_version()} (needed: {python})")
    wanted = []
    for requirement in requirements:
        try:
            there = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            there = "missing"
        if there == "missing" or not requirement.specifier.contains(there, prereleases=True):
            wrong.append(f"{requirement.name} {there} (needed: {requirement.specifier or 'any'})")
            wanted.append(f"'{requirement.name}{requirement.specifier}'")
    if not wrong:
        number = f"Python {platform.python_version()} and {len(requirements)} libraries are of supported versions"
        return ok(
            "versions", f"{number}, Ray {metadata.version('ray')} and PyTorch {metadata.version('torch')} among them"
        )
    more = f" and {len(wrong) - _MOST_NAMED} more" if len(wrong) > _MOST_NAMED else ""
    cure = f"pip install {' '.join(wanted)}" if wanted else "use another Python"
    return failure("versions", f"{', '.join(wrong[:_MOST_NAMED])}{more}: {cure}")


def _supported(project: Path) -> tuple[str, list[Requirement]]:
    """The range of Python and those of the libraries: the checkout's where there is one, else as installed."""
    if project.exists():
        table = tomllib.loads(project.read_text())["project"]
        return table["requires-python"], [Requirement(text) for text in table["dependencies"]]
    try:
        about = metadata.metadata("isofleet")
    except metadata.PackageNotFoundError:  # a job's working directory, on libraries that the cluster brings
        return ">=3.11", [Requirement("ray"), Requirement("torch")]
    needed = [Requirement(text) for text in about.get_all("Requires-Dist") or []]
    return about["Requires-Python"] or "", [one for one in needed if one.marker is None or one.marker.evaluate()]


def processor() -> Finding:
    """How many CPUs this process may use, and whether they multiply bfloat16 themselves."""
    text = _CPUS.read_text() if _CPUS.exists() else ""
    found: dict[str, str] = dict(re.findall(r"^(model name|flags|Features)\s*: (.*)$", text, re.MULTILINE))
    flags = found.get("flags", found.get("Features", "")).split()
    native = next((flag for flag in _BFLOAT16 if flag in flags), None)
    said = f"{len(os.sched_getaffinity(0))} CPUs ({found.get('model name', platform.machine())})"
    said += f" with bfloat16 of their own ({native})" if native else " without bfloat16 of their own"
    share = _cpu_quota()
    return ok("processor", said + (f", of which this container may use {share:g}" if share else ""))


def _cpu_quota() -> float | None:
    """How many CPUs' worth of time a container may take (cgroup v2's cpu.max), None without a bound."""
    with suppress(OSError, ValueError):
        quota, period = (_CGROUP / "cpu.max").read_text().split()
        return int(quota) / int(period)
    return None


def memory() -> Finding:
    """Memory that is free for new processes, within a container's bound where there is one."""
    machine = psutil.virtual_memory()
    total, free, whose = machine.total, machine.available, "this machine"
    with suppress(OSError, ValueError):
        bound = int((_CGROUP / "memory.max").read_text())
        if bound < total:
            used = int((_CGROUP / "memory.current").read_text())
            total, free, whose = bound, min(free, bound - used), "this container"
    said = f"{_gb(free)} of the {_gb(total)} GB of {whose} are free"
    if free < _MEMORY_BYTES:
        return warning("memory", f"{said}, and one large picture takes 2.2: free some, or lower images.max_pixels")
    return ok("memory", said)


def temporary_folder() -> Finding:
    """Whether temporary files can be written, and whether there is room for them."""
    name, folder = "temporary files", tempfile.gettempdir()
    try:
        with tempfile.NamedTemporaryFile(dir=folder) as file:
            file.write(b"isofleet")
            file.flush()
    except OSError as error:
        return failure(name, f"{folder} cannot be written ({error.strerror}): set TMPDIR to a folder that can")
    disk = shutil.disk_usage(folder)
    said = f"{folder} has {_gb(disk.free)} of {_gb(disk.total)} GB free"
    if disk.used > _FULL * disk.total:
        return warning(name, f"{said}: Ray keeps nothing on a disk that is 95% full, so free some or set TMPDIR")
    if disk.free < _TEMPORARY_BYTES:
        return warning(name, f"{said}, and a large catalog takes 2: free some, or set TMPDIR to another folder")
    return ok(name, said)


def ports(config: Config) -> list[Finding]:
    """Whether the driver, the exporter and a local Ray's dashboard can listen where they are to."""
    findings = []
    if not config.metrics.enabled:
        findings.append(ok("metrics port", "none is needed: metrics.enabled is false"))
    else:
        findings.append(_port(config.metrics, "port"))
        if config.metrics.node_exporters and config.metrics.node_exporter_port:
            findings.append(_port(config.metrics, "node_exporter_port"))
    if config.ray.dashboard and config.ray.address == "local":
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", _DASHBOARD_PORT))
                findings.append(ok("dashboard", f"Ray's dashboard can listen at 127.0.0.1:{_DASHBOARD_PORT}"))
            except OSError as error:
                reason = f"port {_DASHBOARD_PORT} is not free ({error.strerror})"
                findings.append(warning("dashboard", f"{reason}: Ray's dashboard will take another"))
    return findings


def _port(settings: MetricsSettings, key: str) -> Finding:
    from prometheus_client import CollectorRegistry

    from cluster import endpoint

    first = getattr(settings, key)
    try:
        with endpoint.serve(settings, CollectorRegistry(), port_key=key) as address:
            if first == 0:
                return ok("metrics port", f"any free one of {settings.host} (metrics.{key} is 0)")
            if address.port != first:
                said = f"{first} is taken, by another run for instance, and {address.port} is free"
                return warning("metrics port", f"{said}: Prometheus must look there too")
            return ok("metrics port", f"{address} is free")
    except RequestError as error:
        return failure("metrics port", sentence(error))


def pushgateway(url: str) -> Finding:
    """Whether a Pushgateway answers."""
    try:
        with urllib.request.urlopen(f"{url.rstrip('/')}/-/ready", timeout=_GATEWAY_SECONDS):
            return ok("pushgateway", f"{url} answers")
    except (OSError, ValueError) as error:
        reason = error.reason if isinstance(error, urllib.error.URLError) else sentence(error)
        return warning(
            "pushgateway",
            f"{url} does not answer ({reason}), and a run's last values would be lost: start it, or correct "
            "metrics.pushgateway",
        )


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f}"
