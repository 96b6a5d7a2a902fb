"""Outputs for tests of reports: a finished run with pictures and meshes of its own, and rows that are edited."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
from conftest import Run

from jobs import manifest, parquet


def moved(undisturbed: Run, catalog: Path, folder: Path) -> Path:
    """A copy of a finished run and of its pictures, whose rows name the copies."""
    output = Path(shutil.copytree(undisturbed.output, folder / "meshes"))
    pictures = str(shutil.copytree(catalog, folder / "photos"))  # with their times, and so their ETags

    def edit(row: dict[str, Any]) -> None:
        row["source_uri"] = row["source_uri"].replace(str(catalog), pictures)
        row["mesh_uri"] = row["mesh_uri"] and row["mesh_uri"].replace(str(undisturbed.output), str(output))

    change(output, edit)
    return output


def change(output: Path, edit: Callable[[dict[str, Any]], None]) -> None:
    """Rewrite each part of a manifest with its rows edited."""
    for part in sorted(output.glob("manifest/*.parquet")):
        table = parquet.from_bytes(part.read_bytes(), manifest.SCHEMA, str(part))
        rows = table.to_pylist()
        for row in rows:
            edit(row)
        part.write_bytes(parquet.to_bytes(pa.Table.from_pylist(rows, schema=table.schema)))
