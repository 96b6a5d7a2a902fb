"""What a report of thousands of items costs: to write, and to scroll and filter in a real Chromium.

Works on: a made-up manifest of real meshes and pictures, those of the demo's run repeated under other names, and what
Chromium's tracing says of the page's main thread. Knows nothing about how the page is drawn.

`python -m benchmarks.report DEMO_OUTPUT [--items 5000]`; needs Debian's chromium and chromium-driver.
"""

import argparse
import json
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa

from cluster.config import Config, StoreSettings
from cluster.store import Stores
from jobs import manifest, parquet
from jobs.report.report import report

_SHARD = 256
_FRAMES = 120  # of a scroll from the top to the bottom
# Scrolls by one step a frame and says how long each frame's work took: from its callback to after its layout and paint.
_SCROLL = """
const [frames, done] = arguments; const took = []; let frame = 0;
const far = document.documentElement.scrollHeight - innerHeight;
const step = () => {
  const begun = performance.now();
  scrollTo(0, far * frame / frames);
  const channel = new MessageChannel();
  channel.port1.onmessage = () => {
    took.push(performance.now() - begun); frame += 1;
    if (frame <= frames) requestAnimationFrame(step); else done([took, most]);
  };
  requestAnimationFrame(() => {
    most = Math.max(most, document.getElementsByTagName('*').length);
    channel.port2.postMessage(0);
  });
};
let most = 0; requestAnimationFrame(step);
"""
_LONG = """
window.long = [];
const noted = (all) => long.push(...all.getEntries().map((one) => one.duration));
new PerformanceObserver(noted).observe({type: 'longtask'});
"""
_FILTER = """
const [field, value, done] = arguments; const element = document.getElementById(field); const begun = performance.now();
element.value = value; element.dispatchEvent(new Event('input', {bubbles: true}));
const channel = new MessageChannel(); channel.port1.onmessage = () => done(performance.now() - begun);
requestAnimationFrame(() => channel.port2.postMessage(0));
"""


def repeat(demo: Path, output: Path, items: int) -> None:
    """Make `output` a finished run of `items` rows, which name the demo's pictures and meshes again and again."""
    rows = [row for row in manifest.read(Stores(StoreSettings()), str(demo)).to_pylist() if row["status"] == "ok"]
    shutil.copy(demo / "_run.json", output / "_run.json")
    (output / "manifest").mkdir()
    for shard in range(-(-items // _SHARD)):
        part: list[dict[str, Any]] = []
        for number in range(shard * _SHARD, min(items, (shard + 1) * _SHARD)):
            row = rows[number % len(rows)] | {
                "shard": shard,
                "item_id": f"{number:06d}/{rows[number % len(rows)]['item_id']}",
            }
            part.append(row)
        counts = {"images": len(part), "ok": len(part)}
        schema = manifest.SCHEMA.with_metadata({b"isofleet.part": json.dumps(counts).encode()})
        data = parquet.to_bytes(pa.Table.from_pylist(part, schema=schema))
        (output / "manifest" / f"shard-{shard:05d}.parquet").write_bytes(data)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("demo", type=Path)
    arguments.add_argument("--items", type=int, default=5000)
    asked = arguments.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder)
        repeat(asked.demo, output, asked.items)
        written = report(str(output), Config(), limit=asked.items)
        again = report(str(output), Config(), limit=asked.items).seconds
        size = sum(path.stat().st_size for path in (output / "report").rglob("*") if path.is_file())
        print(f"{written.items} items: written in {written.seconds} s, again in {again} s, {size / 1e6:.0f} MB")
        _browse(written.index)


def _browse(index: str) -> None:
    sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
    from chromium import start

    with tempfile.TemporaryDirectory() as profile, start(profile) as browser:
        browser.open(Path(index).as_uri())
        browser.run(_LONG)
        took, most = browser.driver.execute_async_script(_SCROLL, _FRAMES)
        took.sort()
        middle, longest = took[len(took) // 2], took[-1]
        print(f"scroll of {len(took)} frames: median {middle:.1f} ms, longest {longest:.1f} ms; {most} elements")
        for field, value in (("q", "chair"), ("category", "car"), ("sort", "vertices"), ("q", "")):
            print(f"{field} = {value!r}: {browser.driver.execute_async_script(_FILTER, field, value):.1f} ms")
        print(f"tasks of more than 50 ms: {[round(one) for one in browser.run('return window.long')]}")


if __name__ == "__main__":
    main()
