"""The documentation: its commands run as they are written, its links lead somewhere, its blocks are what they seem.

A page is one session in a fresh folder that looks like a new clone with some pictures in it, beside a bucket `shop`
and a Ray cluster. What the environment makes smaller than a reader's: the resolution, and one actor of each kind.
`documents` has the marks with which a page says what is done with a block.
"""

import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import chdir, redirect_stdout, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import documents
import duckdb
import forked
import psutil
import pytest
import ray_head
import torch
import typer
import yaml
from command_lines import parse, shell_calls
from documents import CHECKOUT, PAGES, Block

from cluster import config
from jobs import manual

SHELL = ("sh", "console")
LANGUAGES = {*SHELL, "python", "yaml", "json", "sql", "text", "promql"}
RUN = {*SHELL, "python", "sql"}
SMALL = {
    "ISOFLEET_RECONSTRUCT__RESOLUTION": "16",
    "ISOFLEET_ACTORS__RECONSTRUCTORS": "1",
    "ISOFLEET_ACTORS__MESHERS": "1",
    "ISOFLEET_METRICS__NODE_EXPORTERS": "false",
    "OMP_NUM_THREADS": "1",
}
SECONDS = 300  # for one block

BLOCKS = {page: documents.blocks(page) for page in PAGES}
ALL = [block for page in PAGES for block in BLOCKS[page]]


def name(page: Path) -> str:
    return page.relative_to(CHECKOUT).as_posix()


@dataclass
class Session:
    """A reader at work on one page."""

    folder: Path
    environment: dict[str, str]
    names: dict[str, Any] = field(default_factory=dict)
    said: str = ""

    def run(self, block: Block) -> None:
        """Do what a block says, and keep what it printed."""
        if block.directive == "written to":
            (self.folder / block.argument).write_text(block.text, encoding="utf-8")
        elif block.directive == "prints":
            self.compare(block)
        elif block.language in SHELL:
            self.said = self.shell(block)
        elif block.language == "python":
            self.said = self.python(block)
        elif block.language == "sql":
            with chdir(self.folder):
                self.said = str(duckdb.sql(block.text))

    def shell(self, block: Block) -> str:
        state = self.folder.parent / "state"  # variables and folder, from one block to the next
        script = f"set -ao pipefail\n[ -f {state} ] && . {state}\nset -e\n{block.text}\n"
        script += f'{{ export -p; printf "cd %q\\n" "$PWD"; }} > {state}\n'
        program = subprocess.Popen(
            ["bash", "-c", script], cwd=self.folder, env=self.environment, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )  # fmt: skip
        first = ""
        if block.directive == "until stopped":
            assert program.stdout is not None
            first = program.stdout.readline()
            [service] = psutil.Process(program.pid).children()
            service.terminate()
        try:
            said = first + program.communicate(timeout=SECONDS)[0]
        finally:
            program.kill()
        expected = int(block.argument) if block.directive == "fails" else 0
        assert program.returncode == expected, f"{block}: status {program.returncode}\n{block.text}\n{said}"
        return said

    def python(self, block: Block) -> str:
        with chdir(self.folder), redirect_stdout(io.StringIO()) as said, pytest.MonkeyPatch.context() as patch:
            for variable, value in self.environment.items():
                patch.setenv(variable, value)
            exec(compile(block.text, str(block), "exec"), self.names)
        return said.getvalue()

    def compare(self, block: Block) -> None:
        """Every line that the text shows was printed, in that order."""
        left = iter(self.said.splitlines())
        for line in filter(None, map(str.strip, block.text.splitlines())):
            pattern = re.sub(r"\d+\\\.\d+", r"\\d+\\.\\d+", re.escape(line)).replace("…", ".*")
            found = any(re.fullmatch(pattern, one.strip()) for one in left)
            assert found, f"{block}: no such line, or not after the one before: {line}\n{self.said}"


@pytest.fixture(scope="module")
def terminal(s3_server: str, s3_client: Any, pictures: Path, tmp_path_factory: Any) -> Iterator[dict[str, str]]:
    """That of a reader's terminal: a bucket with pictures, a Ray head that trusts it, `isofleet` on the PATH."""
    torch.set_num_threads(1)  # of the pages' Python, which runs in this process
    s3_client.create_bucket(Bucket="shop")
    for category in ("chair", "table"):
        for number, picture in enumerate(sorted((pictures / category).iterdir())[:4]):
            s3_client.upload_file(str(picture), "shop", f"photos/{category}/{category}-{number}.png")
    programs = make_environment(tmp_path_factory.mktemp("terminal") / ".venv")
    small = SMALL | {"AWS_ENDPOINT_URL": s3_server, "PYTHONPATH": str(CHECKOUT)}
    # Not pytest's folder: a socket's path may have 107 bytes.
    with ray_head.started(small) as head, tempfile.TemporaryDirectory() as sockets:
        variables = head.environment | {
            "RAY_API_SERVER_ADDRESS": head.dashboard,
            "RAY_ADDRESS": head.address,
            "ISOFLEET_RAY__ADDRESS": head.address,
            "PATH": f"{programs}{os.pathsep}{head.environment['PATH']}",
        }
        address = f"{sockets}/isofleet"
        forked.client(programs / "isofleet", address)
        server = subprocess.Popen(
            [sys.executable, forked.__file__, address], env=variables, stdout=subprocess.PIPE, text=True
        )
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield variables
        finally:
            server.kill()
            server.wait()
    for page in s3_client.get_paginator("list_objects_v2").paginate(Bucket="shop"):
        for found in page.get("Contents", ()):
            s3_client.delete_object(Bucket="shop", Key=found["Key"])
    s3_client.delete_bucket(Bucket="shop")


def make_environment(folder: Path) -> Path:
    """A virtual environment in which everything is this one's; returns its programs, of which some may be replaced."""
    folder.mkdir()
    for entry in Path(sys.prefix).iterdir():
        if entry.name != "bin":
            (folder / entry.name).symlink_to(entry)
    (folder / "bin").mkdir()
    for entry in Path(sys.prefix, "bin").iterdir():
        if entry.name != "isofleet":
            (folder / "bin" / entry.name).symlink_to(entry)
    return folder / "bin"


@pytest.fixture
def clone(terminal: dict[str, str], pictures: Path, tmp_path: Path) -> Path:
    """A new clone after `make install`, with pictures in `photos`."""
    folder = tmp_path / "isofleet"
    folder.mkdir()
    shutil.copytree(Path(terminal["PATH"].partition(os.pathsep)[0]).parent, folder / ".venv", symlinks=True)
    for entry in ("benchmarks", "cluster", "docs", "jobs", "tests", "workers", ".gitignore", "README.md"):
        (folder / entry).symlink_to(CHECKOUT / entry)
    shutil.copy(CHECKOUT / "ray_config.yaml", folder)
    for category in ("chair", "table"):
        (folder / "photos" / category).mkdir(parents=True)
        for number, picture in enumerate(sorted((pictures / category).iterdir())[:3]):
            shutil.copy(picture, folder / "photos" / category / f"{category}-{number}.png")
    return folder


RUNNING = [
    page for page in PAGES if any(block.language in RUN and block.directive != "not run" for block in BLOCKS[page])
]


@pytest.mark.parametrize("page", RUNNING, ids=name)
def test_a_page_does_what_it_says(page: Path, terminal: dict[str, str], clone: Path) -> None:
    session = Session(clone, terminal)
    for block in BLOCKS[page]:
        if block.directive != "not run":
            started = time.monotonic()
            session.run(block)
            print(f"{time.monotonic() - started:6.1f} s  {block}")


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_command_line_is_understood(page: Path) -> None:
    for block in BLOCKS[page]:
        if block.directive == "not run":
            assert re.match(r"\w.+ ", block.argument), f"{block}: say why it is not run"
        if block.language in SHELL:
            for line in re.sub(r"^\$ ", "", block.text, flags=re.MULTILINE).replace("\\\n", " ").splitlines():
                for where, words in shell_calls(str(block), line):
                    assert parse(words), where
    for span in documents.code_spans(page):
        words = span.split()
        if words[:1] == ["isofleet"] and len(words) > 1 and not re.search(r"[…|\[\]]|COMMAND", span):
            with suppress(typer.BadParameter):  # a command's name alone lacks its arguments
                parse(shlex.split(span))


@pytest.mark.parametrize("page", PAGES, ids=name)
def test_every_block_is_what_it_says(page: Path) -> None:
    for block in BLOCKS[page]:
        assert block.language in LANGUAGES, f"{block}: name the block's language, one of {', '.join(LANGUAGES)}"
        if block.language == "json":
            json.loads(block.text)
        if block.language == "yaml":
            content = yaml.safe_load(block.text)
            if block.directive != "not run" and block.argument in ("", "ray_config.yaml"):
                assert content.keys() <= config.Config.model_fields.keys(), block


@pytest.mark.parametrize("page", [*PAGES, CHECKOUT / "CHANGELOG.md", CHECKOUT / "jobs/demo/README.md"], ids=name)
def test_every_link_leads_somewhere(page: Path) -> None:
    for link in documents.links(page):
        if re.match(r"https?://", link):
            continue
        address, _, anchor = link.partition("#")
        target = (page.parent / address).resolve() if address else page
        assert target.is_relative_to(CHECKOUT), f"{name(page)}: {link}"
        assert target.exists(), f"{name(page)}: {link}"
        if anchor:
            assert anchor in documents.anchors(target), f"{name(page)}: {link} has no such heading"


@pytest.mark.parametrize("page", manual.pages())
def test_the_reference_is_what_the_code_declares(page: str) -> None:
    assert (manual.FOLDER / page).read_text(encoding="utf-8") == manual.pages()[page], "run `python -m jobs.manual`"


def test_nothing_else_lies_in_the_reference() -> None:
    assert {path.name for path in manual.FOLDER.iterdir()} == set(manual.pages())
