"""How the commands explain themselves: examples that parse, one sentence for a mistake, completion in a real bash."""

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer
from servers import require
from test_cli import isofleet

from jobs import cli
from jobs.cli import completion
from jobs.cli.help import PROGRAM, Group, examples, paragraphs

CHECKOUT = Path(__file__).resolve().parents[1]
ROOT: Any = typer.main.get_command(cli.app)
COMMANDS = dict(examples(ROOT))
EXAMPLES = [*paragraphs(ROOT.help)[1], *(example for given in COMMANDS.values() for example in given)]


def test_every_command_teaches_by_example() -> None:
    assert {"isofleet reconstruct", "isofleet schedule", "isofleet schedule list", "isofleet doctor"} < set(COMMANDS)
    for path, given in COMMANDS.items():
        assert given, f"{path} has no example"
        assert all(example == path or example.startswith(f"{path} ") for example in given)


@pytest.mark.parametrize("example", EXAMPLES)
def test_an_example_parses(example: str) -> None:
    """Through the program's own parser, down to the command, which is not run."""
    name, *words = shlex.split(example)
    command, context = ROOT, None
    while True:
        context = command.make_context(name, list(words), parent=context)
        rest = [*context._protected_args, *context.args]
        if not isinstance(command, Group) or not rest:
            break
        name, command, words = command.resolve_command(context, rest)
    assert example.startswith(context.command_path)
    # An option that is named, and not only swallowed by an argument.
    options = [word for word in shlex.split(example.partition(" -- ")[0]) if word.startswith("--")]
    assert {option.partition("=")[0] for option in options} <= {
        name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)
    }


@pytest.mark.parametrize("path", [PROGRAM, *COMMANDS])
def test_help_fits_a_terminal(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    end = isofleet(*path.split()[1:], "--help")
    assert (end.status, end.stderr) == (0, "")
    given = set(EXAMPLES)
    for line in end.stdout.splitlines():
        assert len(line) <= 80 or line.strip() in given
        assert "\x1b" not in line
        assert not re.search(r"<(str|int|float|path|list\[)", line), line
    for example in COMMANDS.get(path, ()):
        assert f"\n  {example}\n" in end.stdout  # on one line, to be copied


def test_commands_stand_in_the_order_of_their_use() -> None:
    said = isofleet("--help").stdout
    order = ["First steps:", "  demo", "  doctor", "Convert:", "  reconstruct", "On a cluster:", "Weights:"]
    assert sorted(order, key=lambda part: said.index(f"\n{part}")) == order
    nothing = isofleet()
    assert (nothing.status, nothing.stdout) == (2, "")
    assert "First steps:" in nothing.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["recontruct", "a", "b"], "no such command 'recontruct'; did you mean 'reconstruct'?"),
        (["schedule", "lst"], "no such command 'lst'; did you mean 'list'?"),
        (["xyz"], "no such command 'xyz'; see isofleet --help."),
        (["reconstruct", "a", "b", "--resolutoin", "3"], "no such option: --resolutoin; did you mean --resolution?"),
        (["reconstruct", "a"], "missing argument 'OUTPUT'; see isofleet reconstruct --help."),
    ],
)
def test_a_slip_is_said_in_one_sentence(arguments: list[str], said: str) -> None:
    assert isofleet(*arguments).sentence(2) == said


def program(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """The program's output, and what it imported, on standard error."""
    script = "import sys; from jobs.cli import main\ntry: main()\nfinally: print(*sys.modules, file=sys.stderr)"
    return subprocess.run(
        [sys.executable, "-c", script, *arguments],
        cwd=CHECKOUT, env=os.environ | environment, capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip


def test_versions_are_told_without_importing_what_they_are_of() -> None:
    end = program("--version")
    assert re.fullmatch(r"isofleet \S+ \(Python 3\.\S+, Ray \d\S+, PyTorch \d\S+\)\n", end.stdout)
    assert not {"ray", "torch", "boto3", "numpy", "pyarrow"} & set(end.stderr.split())


def complete(words: str) -> set[str]:
    """What bash is offered at the end of `words`."""
    count = len(words.split(" ")) - 1
    end = program(_ISOFLEET_COMPLETE="complete_bash", COMP_WORDS=words, COMP_CWORD=str(count))
    assert not {"ray", "torch", "boto3", "numpy", "pyarrow"} & set(end.stderr.split())
    return set(end.stdout.split())


def test_completion_imports_nothing_heavy() -> None:
    assert {"reconstruct", "retry-failed"} <= complete("isofleet re")
    assert complete("isofleet retry-failed meshes/ --code killed") == {"killed_worker"}


def test_completion_knows_keys_and_values() -> None:
    assert "actors.meshers=" in completion.setting("actors.")
    assert completion.setting("store.s3.retry") == ["store.s3.retry_seconds=", "store.s3.retry_mode="]
    assert completion.setting("store.s3.retry_mode=a") == ["store.s3.retry_mode=adaptive"]
    assert completion.mesh_format("") == ["glb", "obj", "ply", "stl"]
    assert completion.up_axis("") == ["y", "z"]
    assert not any("*" in key for key in completion.setting(""))


@pytest.mark.parametrize("words", ["isofleet re", "isofleet reconstruct a b --"])
def test_completion_in_zsh_and_fish_has_one_line_for_each(words: str) -> None:
    """What these two are handed: the name, and what it is for."""
    offered = {"_TYPER_COMPLETE_ARGS": words, "_TYPER_COMPLETE_FISH_ACTION": "get-args"}
    fish = program(_ISOFLEET_COMPLETE="complete_fish", **offered).stdout.splitlines()
    assert all(re.fullmatch(r"(--)?[a-z-]+\t.{1,60}", line) for line in fish), fish
    zsh = program(_ISOFLEET_COMPLETE="complete_zsh", **offered).stdout.splitlines()
    assert len(zsh) == len(fish)
    assert zsh[0].startswith("_arguments '*: :((\"")


def test_completion_in_bash(tmp_path: Path) -> None:
    """The script that the program hands out, sourced; then its function called as bash does at Tab."""
    require("bash")
    command = tmp_path / PROGRAM
    command.write_text(f'#!/bin/sh\nPYTHONPATH="{CHECKOUT}" exec "{sys.executable}" -m jobs.cli "$@"\n')
    command.chmod(0o755)
    script = """
        eval "$(isofleet --show-completion bash)"
        type=$(complete -p isofleet); function=${type#*-F }; function=${function% *}
        for line in 'isofleet schedu' 'isofleet reconstruct a b --form' 'isofleet reconstruct a b --format s' \
                    'isofleet remesh a b --set reconstruct.for'; do
            COMP_WORDS=($line); COMP_CWORD=$((${#COMP_WORDS[@]} - 1)); COMPREPLY=()
            $function isofleet
            echo "${COMPREPLY[*]}"
        done
    """
    environment = os.environ | {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1",  # or typer asks the process's parents which shell it is
    }
    end = subprocess.run(
        ["bash", "--norc", "-c", script], env=environment, capture_output=True, text=True, timeout=60, check=True
    )
    assert end.stdout.splitlines() == ["schedule", "--format", "stl", "reconstruct.format="], end
