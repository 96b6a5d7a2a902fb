"""The pages of docs/reference: commands, configuration, manifest, datasets, error codes, metrics.

Works on: the declarations of all of these. Knows nothing about what they do. `python -m jobs.manual` (a part of
`make docs`) writes the pages; the tests say when one is stale.
"""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import typer
from pydantic import BaseModel

from cluster import manual as cluster_manual
from cluster.config import Config
from cluster.config.loading import in_words
from jobs.cli import app
from jobs.manifest import SCHEMA as MANIFEST
from jobs.training.failure import ShapeCode
from jobs.training.shards import SCHEMA as DATASET
from workers.failure import ErrorCode

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"

_MANIFEST = """# The manifest

<!-- Written by `make docs`: edit jobs/manifest.py or jobs/manual.py instead. -->

`OUTPUT/manifest/` is a folder of Parquet files, one per shard of the catalog. Every image of the catalog has
exactly one row, whatever happened to it. Several pictures of one object ([views.md](../views.md)) have one together,
and count as one wherever images are counted. pandas, Polars and DuckDB read the folder as it is:

<!-- where OUTPUT is meshes -->
<!-- before: isofleet reconstruct photos/ meshes/ -->
```sql
SELECT error_code, count(*) FROM 'OUTPUT/manifest/*.parquet' WHERE status = 'failed' GROUP BY ALL;
```

A shard's file appears at once and whole. From then on the shard is done: resuming the run skips it. What its rows
add up to stands in the file's key-value metadata as `isofleet.part`, so that progress can be read without them:
JSON with `images`, `ok`, `failed`, `carried`, `errors` (by code), `mesh_bytes` and `points_evaluated`.
The meanings below are also in each file's field metadata (`description`, `unit`).

## Columns

| column | type | unit | null | meaning |
|---|---|---|---|---|
{columns}

A row with `carried_from` was not made by this run: an earlier output has it, and its image has not changed since.
`run_id` and `shard` are this run's; all other columns are those of the run that made the mesh, attempts, versions and
times included, and `mesh_uri` is where that run put it. Rows are carried over any number of runs; `carried_from` and
`mesh_uri` stay. [incremental.md](../incremental.md) says when a row is carried, and what `OUTPUT/vanished/` is.
"""

_DATASET = """# Datasets

<!-- Written by `make docs`: edit jobs/training/shards.py, jobs/training/failure.py or jobs/manual.py instead. -->

`DATASET/shards/` is a folder of Parquet files, one per shard of the collection that `isofleet prepare` was given, each
put at once and whole. Every shape has exactly one row. pandas, Polars and DuckDB read the folder as it is;
[datasets.md](../datasets.md) has an example. The meanings below are also in each file's field metadata, and what its
rows add up to in its key-value metadata as `isofleet.dataset`: JSON with `shapes`, `ok` (by split and category),
`failed` (by code) and `categories`.

## Columns

| column | type | unit | null | meaning |
|---|---|---|---|---|
{columns}

Of a failed row the last five are null, and so are `faces` and `share`.

## Error codes

| code | meaning |
|---|---|
{codes}
"""

_ERRORS = """# Errors

<!-- Written by `make docs`: edit workers/failure.py or jobs/manual.py instead. -->

## Of one image

It gets a row with `status` `failed`, one of these codes in `error_code` and a sentence in `error_message`. In Python
they are `workers.ErrorCode`, and `ItemError` carries one.

| code | meaning |
|---|---|
{codes}

`isofleet retry-failed OUTPUT` tries again all but `bad_catalog_row`, `duplicate_id` and `unknown_category`, which a
correction of the catalog or the weights must come before.

## Of a command

| exit status | meaning |
|---|---|
| 0 | done; of a run: failed images are within the error budget |
| 1 | the run failed, was stopped, or exceeded its error budget; of `verify`: something is wrong |
| 2 | the request was wrong |

What is wrong is one sentence on standard error that names the option, key or file, and never a traceback.
"""

_CONFIGURATION = """# Configuration

<!-- Written by `make docs`: edit cluster/config/sections.py or jobs/manual.py instead. -->

Later sources win: defaults, `ray_config.yaml` (or what `--config` names), the environment, the command line.

| where | how to write `store.s3.region` |
|---|---|
| file | `store: {{s3: {{region: eu-west-1}}}}` |
| environment | `ISOFLEET_STORE__S3__REGION=eu-west-1` |
| command line | `--set store.s3.region=eu-west-1`, and options of their own for the most used |

Values are YAML. A key that is not known, or a value of another type, is refused with a sentence that names it.
[ray_config.yaml](../../ray_config.yaml) is the whole of it with its defaults, to copy from. No secret stands in it:
[permissions.md](../permissions.md#credentials).
{sections}"""

_CLI = """# Commands

<!-- Written by `make docs`: edit jobs/cli/ or jobs/manual.py instead. -->

`isofleet COMMAND --help` says the same. Exit statuses: [errors.md](errors.md#of-a-command).
{commands}"""


def pages() -> dict[str, str]:
    """The text of every page, by its file's name."""
    return {
        "cli.md": _CLI.format(commands="".join(_commands(typer.main.get_command(app), "isofleet"))),
        "configuration.md": _CONFIGURATION.format(sections="".join(_sections(Config, ""))),
        "dataset.md": _DATASET.format(columns="\n".join(_columns(DATASET)), codes=_codes(ShapeCode)),
        "errors.md": _ERRORS.format(codes=_codes(ErrorCode)),
        "manifest.md": _MANIFEST.format(columns="\n".join(_columns(MANIFEST))),
        "metrics.md": cluster_manual.markdown(),
    }


def _codes(codes: type[ErrorCode] | type[ShapeCode]) -> str:
    return "\n".join(f"| `{code.value}` | {code.meaning} |" for code in codes)


def _columns(schema: pa.Schema) -> Iterator[str]:
    for column in schema:
        kind = re.sub("element: | not null", "", str(column.type))
        notes = {key.decode(): value.decode() for key, value in column.metadata.items()}
        cells = f"`{column.name}`", kind, notes.get("unit", ""), "" if column.nullable else "never"
        yield f"| {' | '.join(cells)} | {notes['description']} |"


def _sections(model: type[BaseModel], prefix: str) -> Iterator[str]:
    """A heading and a table for each section that has keys of its own."""
    schema = model.model_json_schema()
    rows, below = [], []
    for name, field in model.model_fields.items():
        inner = _model(field.annotation)
        if inner is not None and f"{prefix}{name}" != "schedules.NAME.reconstruct":
            below.append((inner, f"{prefix}{name}." + ("NAME." if inner is not field.annotation else "")))
            continue
        if inner is not None:
            rows.append(f"| `{name}` | keys of `reconstruct` | `{{}}` | {_cell(field.description or '')} |")
            continue
        value = _cell(in_words(schema["properties"][name])).replace(" (in quotes if it looks like a number)", "")
        default = "needed" if field.is_required() else f"`{json.dumps(field.get_default(), ensure_ascii=False)}`"
        rows.append(f"| `{name}` | {value} | {default} | {_cell(field.description or '')} |")
    if rows:
        about = " ".join((model.__doc__ or "").split())
        yield f"\n## {prefix.rstrip('.')}\n\n{about}\n\n| key | value | default | meaning |\n|---|---|---|---|\n"
        yield "\n".join(rows) + "\n"
    for inner, path in below:
        yield from _sections(inner, path)


def _model(kind: Any) -> type[BaseModel] | None:
    """The section that an annotation is, or that it maps names to."""
    kind = kind.__args__[1] if getattr(kind, "__origin__", None) is dict else kind
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _commands(command: Any, path: str) -> Iterator[str]:
    """A heading, the help and a table of the options for each command that does something."""
    listed = command.commands if hasattr(command, "commands") else {}
    if not listed or command.invoke_without_command:
        context = command.make_context(path, [], resilient_parsing=True)
        usage = " ".join([path, *command.collect_usage_pieces(context)])
        yield f"\n## {path}\n\n```text\n{usage}\n```\n\n{_prose(command.help or '')}\n"
        records = filter(None, (parameter.get_help_record(context) for parameter in command.params))
        rows = "".join(f"| `{_cell(spelled)}` | {_cell(meaning)} |\n" for spelled, meaning in records)
        yield f"\n| | |\n|---|---|\n{rows}" if rows else ""
    for name, inner in listed.items():
        if not inner.hidden:
            yield from _commands(inner, f"{path} {name}")


def _prose(text: str) -> str:
    """A command's help, with its examples as blocks."""
    parts = re.sub(r"[ \t]*\n[ \t]*", "\n", text.replace("\b\n", "").strip()).split("\n\n")
    shown = ""
    for part in parts:
        if part.startswith("isofleet "):
            shown += f"<!-- not run: an example of the program's help -->\n```sh\n{part}\n```\n\n"
        else:
            shown += f"{part}\n\n"
    return shown.strip()


def _cell(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace("|", "\\|").strip()


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name, text in pages().items():
        (FOLDER / name).write_text(text, encoding="utf-8")
