"""What operators load into Prometheus, Alertmanager and Grafana: rules, example configurations, dashboards.

Works on: the files beside it. Knows nothing about the processes that the rules watch.
"""

from collections.abc import Iterator
from pathlib import Path

from cluster.errors import RequestError

HERE = Path(__file__).parent
RUNBOOK = "docs/operations.md"  # where the alerts' links lead unless told otherwise: a place in the source


def write(folder: Path, runbook: str = RUNBOOK) -> list[Path]:
    """Copy the files to `folder` and name them. Alerts link to their section of `runbook`.

    Raises RequestError when a file stands there with other content, before anything is written, or when the folder
    cannot be written.
    """
    texts = {folder / name: text for name, text in _files(runbook)}
    try:
        changed = [path for path, text in texts.items() if path.exists() and path.read_text(encoding="utf-8") != text]
        if changed:
            raise RequestError(f"{changed[0]} stands there with other content; move it away or name another folder.")
        for path, text in texts.items():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RequestError(f"{folder} cannot be written: {error}; name another folder.") from error
    return sorted(texts)


def _files(runbook: str) -> Iterator[tuple[str, str]]:
    for path in sorted([*HERE.glob("*.yml"), *HERE.glob("dashboards/*.json")]):
        text = path.read_text(encoding="utf-8")
        yield path.relative_to(HERE).as_posix(), text.replace(f"runbook_url: {RUNBOOK}#", f"runbook_url: {runbook}#")
