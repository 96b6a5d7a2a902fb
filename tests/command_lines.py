"""Command lines as files and pages show them, given to the programs' own parsers but not run."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer
from ray.scripts.scripts import cli as ray_cli

from jobs.cli import app


def variables(text: str) -> str:
    """Shell text with what a shell would put in: any value will do."""
    return re.sub(r"\$\([^)]*\)|\$\{?\w+\}?", "value", text)


def shell_calls(where: str, text: str) -> Iterator[tuple[str, list[str]]]:
    """Every call of isofleet, ray or `python -m jobs.reconstruct` in a line of shell, with where it stands."""
    lexer = shlex.shlex(variables(text), posix=True, punctuation_chars="();&|")
    lexer.whitespace_split = True
    calls: list[list[str]] = [[]]
    for word in lexer:
        calls[-1].append(word)
        if set(word) <= set("();&|"):
            calls[-1].pop()
            calls.append([])
    for words in calls:
        while words and (re.fullmatch(r"\w+=.*", words[0]) or words[0] == "timeout"):
            words = words[2 if words[0] == "timeout" else 1 :]
        if words[:3] == ["python", "-m", "jobs.reconstruct"] or Path((words or ["-"])[0]).name in ("isofleet", "ray"):
            yield where, words


def parse(words: list[str]) -> str:
    """Give a command line to the program's own parser, up to the command's function. Returns the command."""
    program, *rest = words
    if program == "python":
        assert rest[:2] == ["-m", "jobs.reconstruct"]
        program, rest = "isofleet", ["reconstruct", *rest[2:]]
    command: Any = ray_cli if Path(program).name == "ray" else typer.main.get_command(app)
    if "--" in rest and Path(program).name == "ray":  # a job's own command line
        parse(rest[rest.index("--") + 1 :])
    name = Path(program).name
    while True:
        try:
            context = command.make_context(name, rest)
        except (typer.Exit, SystemExit):  # --version and the like have done all there is to do
            return name
        left = [*context._protected_args, *context.args]
        if not hasattr(command, "resolve_command") or (not left and command.invoke_without_command):
            return name
        name, command, rest = command.resolve_command(context, left)
