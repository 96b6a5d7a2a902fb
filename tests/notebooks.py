"""The notebooks of the documentation, run from top to bottom by a kernel of this Python and with this checkout's code.

`python -m tests.notebooks` (a part of `make docs`) runs them and keeps what their cells said.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from jupyter_client import AsyncKernelManager
from nbclient import NotebookClient
from nbformat import NotebookNode

CHECKOUT = Path(__file__).resolve().parents[1]
NOTEBOOKS = CHECKOUT / "docs" / "notebooks"


def executed(path: Path) -> NotebookNode:
    """A copy of a notebook whose cells have run in an empty folder. Raises CellExecutionError."""
    notebook = nbformat.read(path, as_version=4)
    # Sockets instead of ports: nothing listens. Not in pytest's folder: their paths may have 107 bytes.
    with tempfile.TemporaryDirectory() as sockets, tempfile.TemporaryDirectory() as folder:
        kernel = AsyncKernelManager(kernel_name="python3", transport="ipc", connection_file=f"{sockets}/kernel.json")
        client = NotebookClient(notebook, km=kernel, timeout=120, resources={"metadata": {"path": folder}})
        client.owns_km = True  # it ends the kernel
        client.execute(env=os.environ | {"PYTHONPATH": str(CHECKOUT)})
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)  # when each cell began and ended: another text at every run
    # The kernel also says which Python it is: that of whoever ran it last is no part of the notebook.
    notebook.metadata = {"kernelspec": notebook.metadata["kernelspec"]}
    return notebook


def outputs(notebook: NotebookNode) -> list[tuple[str, list[dict[str, Any]]]]:
    """Every code cell with what it said: by kind, text and pictures."""
    return [
        (cell.source, [dict(output.get("data") or {"text/plain": output["text"]}) for output in cell.outputs])
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]


if __name__ == "__main__":
    for path in sorted(NOTEBOOKS.glob("*.ipynb")):
        nbformat.write(executed(path), path)
