"""How commands explain themselves: what they are for, examples that can be copied, and options in an order.

Works on: commands and their docstrings, in which a paragraph that begins with `isofleet` is an example. Knows nothing
about any command.
"""

import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

if TYPE_CHECKING:
    from typing import Any as _Base
else:
    _Base = object

PROGRAM = "isofleet"
UsageError: Any = typer.BadParameter.__base__  # what typer raises for a command line that is wrong
WIDTH = {"max_content_width": 100}  # of help on a wide terminal: longer lines are hard to read
_OFFERED_WIDTH = 60  # of the help beside what a shell offers
# Options that nearly every command has come last, under a heading of their own.
_COMMON = ("as_json", "config", "settings", "help")
# What typer makes of a type: one word that says what to write in its place.
_TYPES = {"str": "TEXT", "int": "NUMBER", "float": "NUMBER", "path": "PATH", "file": "PATH", "directory": "PATH"}
_TYPE = re.compile(r"<(?:list\[)?(\w+)\]?(?: range)?>")


def paragraphs(text: str | None) -> tuple[list[str], list[str]]:
    """A docstring's prose and its examples, a line each."""
    found = [" ".join(part.split()) for part in re.split(r"\n\s*\n", inspect.cleandoc(text or "")) if part.strip()]
    return [part for part in found if not _is_example(part)], [part for part in found if _is_example(part)]


def _is_example(paragraph: str) -> bool:
    return paragraph.startswith(f"{PROGRAM} ")


class _Explained(_Base):
    """What commands and groups of them have in common."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        for parameter in self.params:
            if parameter.param_type_name == "argument" and parameter.metavar is None:
                parameter.metavar = str(parameter.name).upper()  # as docstrings and messages call it

    def get_short_help_str(self, limit: int = 45) -> str:
        """The first sentence, whole."""
        prose, _ = paragraphs(self.help)
        return re.split(r"(?<=\.)\s", prose[0], maxsplit=1)[0] if prose else ""

    def shell_complete(self, ctx: Any, incomplete: str) -> list[Any]:
        """As typer has it, but each help short: zsh and fish take a second line for something else to offer."""
        offered: list[Any] = super().shell_complete(ctx, incomplete)
        for one in offered:
            one.help = one.help and textwrap.shorten(one.help, _OFFERED_WIDTH, placeholder="…")
        return offered

    def collect_usage_pieces(self, ctx: Any) -> list[str]:
        """`[OPTIONS] CATALOG OUTPUT`, what may be left out in brackets."""
        pieces = [self.options_metavar or ""]
        for parameter in self.params:
            if parameter.param_type_name == "argument":
                name = str(parameter.metavar) + ("..." if parameter.nargs != 1 else "")
                pieces.append(name if parameter.required else f"[{name}]")
        return pieces + ([self.subcommand_metavar] if isinstance(self, TyperGroup) else [])

    def format_help_text(self, ctx: Any, formatter: Any) -> None:
        """Prose is wrapped; an example stays on its line, to be copied."""
        prose, examples = paragraphs(self.help)
        for paragraph in prose:
            formatter.write_paragraph()
            with formatter.indentation():
                formatter.write_text(paragraph)
        if examples:
            with formatter.section("Examples"):
                for example in examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Arguments, the command's own options, those that all have, and a group's commands by their headings."""
        sections: dict[str, list[tuple[str, str]]] = {"Arguments": [], "Options": [], "Common options": []}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is None:
                continue
            name = _TYPE.sub(lambda found: _TYPES.get(found[1], found[1].upper()), record[0])
            if parameter.param_type_name == "argument":
                sections["Arguments"].append((name.split()[0], record[1].replace("[required]", "").strip()))
            else:
                sections["Common options" if parameter.name in _COMMON else "Options"].append((name, record[1]))
        if not sections["Options"]:
            sections = {"Arguments": sections["Arguments"], "Options": sections["Common options"]}
        for title, rows in sections.items():
            if rows:
                with formatter.section(title):
                    formatter.write_dl(rows)
        if isinstance(self, TyperGroup):
            self.format_commands(ctx, formatter)


class Command(_Explained, TyperCommand):
    """A command that explains itself by example."""


class Group(_Explained, TyperGroup):
    """Commands under one name. `rich_help_panel`, given where a command is added, is its heading."""

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """In the order in which they were added, all under the same heading together."""
        width = max(map(len, self.commands))
        headings: dict[str, list[tuple[str, str]]] = {}
        for name, command in self.commands.items():
            heading = getattr(command, "rich_help_panel", None) or "Commands"
            headings.setdefault(str(heading), []).append((name.ljust(width), command.get_short_help_str()))
        for heading, rows in headings.items():
            with formatter.section(heading):
                formatter.write_dl(rows)


def examples(command: Any, path: str = PROGRAM) -> Iterator[tuple[str, list[str]]]:
    """Every command below `command` by its path, with its examples."""
    for name, one in command.commands.items():
        if isinstance(one, TyperGroup):
            if one.invoke_without_command:
                yield f"{path} {name}", paragraphs(one.help)[1]
            yield from examples(one, f"{path} {name}")
        else:
            yield f"{path} {name}", paragraphs(one.help)[1]


def usage(error: Any) -> str:
    """What is wrong with a command line, in a sentence."""
    path = error.ctx.command_path if error.ctx else PROGRAM
    message = error.format_message().rstrip(".")
    message = re.sub(r"\. Did you mean ('[^']+')[^?]*\?", r"; did you mean \1?", message)  # the nearest of several
    if near := getattr(error, "possibilities", None):
        message = f"{message.partition(' (')[0]}; did you mean {near[0]}?"
    message = f"{message[0].lower()}{' '.join(message[1:].split())}"
    return message if message.endswith("?") else f"{message}; see {path} --help."
