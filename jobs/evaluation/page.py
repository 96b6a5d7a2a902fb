"""The page on which an evaluation is looked at: one file that asks for nothing elsewhere.

Works on: what metrics.json holds, and pictures and meshes to show. Knows nothing about how they were measured. Its look
is that of a run's report, whose style sheet it takes in. Whatever strangers called their objects stays text.
"""

import base64
import io
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from jobs.evaluation.published import PUBLISHED
from jobs.evaluation.summary import MEAN
from workers.mesh import Mesh
from workers.render import Camera, render, vertex_normals

_TILE = 176  # pixels, as in a run's report
_CAMERA = Camera(azimuth=35, elevation=20, distance=2.38)  # a ball of diameter 1, in which true shapes lie, fills 97 %
_QUALITY = 82  # of WebP, as in a run's report

# Heading, digits, and which way is better.
_MEASURES = {
    "iou": ("IoU", 3, "↑"),
    "chamfer_l1": ("Chamfer-L1", 3, "↓"),
    "chamfer_l2": ("Chamfer-L2", 2, "↓"),
    "f_score": ("F-score 1 %", 3, "↑"),
    "normal_consistency": ("Normal consistency", 3, "↑"),
    "whole": ("In one piece", 2, "↑"),
}
_METHODS = {"autoencoder": "autoencoder", "mean_shape": "mean shape", "nearest": "nearest training shape"}

_STYLE = """
h2 { margin: 40px 0 2px; } main > p { color: var(--muted); max-width: 90ch; margin: 2px 0 8px; }
table { width: auto; } th, td { padding-right: 22px; white-space: nowrap; vertical-align: top; }
th:first-child { padding-right: 32px; } td.text, thead th.text { text-align: left; white-space: normal; }
td.text { min-width: 34ch; }
tr.mean td, tr.mean th { font-weight: 600; border-bottom: 0; } td.good { color: var(--accent); }
td.bad { color: var(--bad); } .looks { display: grid; gap: 16px; margin-top: 12px;
grid-template-columns: repeat(auto-fill, minmax(min(100%, 340px), 1fr)); }
.look { border: 1px solid var(--line); border-radius: 12px; background: var(--surface); padding: 8px; margin: 0; }
.look div { display: grid; grid-auto-flow: column; grid-auto-columns: 1fr; gap: 6px; }
.look img { width: 100%; border-radius: 7px; background: var(--plate); display: block; }
.look img.picture { background: var(--picture); } .look figcaption { margin: 8px 4px 2px; font-size: 13px;
color: var(--muted); overflow-wrap: anywhere; } .look b { color: var(--ink); font-weight: 600; }
"""


@dataclass(frozen=True, eq=False)
class Look:
    """A picture float32[128, 128] of ink, what each method made of it, and the truth. `name` says why it is shown."""

    name: str
    row: dict[str, Any]
    picture: NDArray[np.float32]
    made: dict[str, Mesh | None]
    truth: Mesh


def html(
    facts: dict[str, Any], looks: Sequence[Look], objects: dict[tuple[str, str], dict[str, float]] | None = None
) -> str:
    """The page of `facts`, which are those of metrics.json. `objects` are their IoU by method (`summary.by_object`),
    where they are few and have several pictures each."""
    categories = [name for name in facts["methods"]["bundle"] if name != MEAN]
    names = _names(facts)
    style = (files("jobs.report") / "static" / "report.css").read_text(encoding="utf-8")
    parts = [
        "<!DOCTYPE html>",
        '<html lang="en" data-ready="1"><head><meta charset="utf-8">',
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; "
        "img-src data:; base-uri 'none'; form-action 'none'\">",
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        f"<title>Evaluation of {escape(names['bundle'])}</title><style>{style}{_STYLE}</style></head><body>",
        _head(facts, names),
        '<main id="main">',
        "<h2>IoU beside the baselines</h2>",
        f"<p>{_about_baselines(facts)}</p>",
        _iou_table(facts, names, categories),
    ]
    for method in ("bundle", "against", "autoencoder"):
        if method in names:
            parts += [
                f"<h2>All measures: {_foreign(names[method])}</h2>",
                "<p>Means over pictures. A picture without a mesh counts as IoU and F-score 0 and is left out of the "
                "others. The mean is over categories.</p>",
                _measures_table(facts["methods"][method], categories),
            ]
    if objects:
        parts += ["<h2>IoU of each object</h2>", "<p>The mean over its pictures.</p>", _object_table(objects, names)]
    parts += ["<h2>The best, the median and the worst</h2>", f"<p>{_about_looks(names)}</p>"]
    parts += ['<div class="looks">', *(_figure(look, names) for look in looks), "</div>"]
    parts += ["<h2>Published figures</h2>", _published(), "<h2>What was measured</h2>", _facts(facts, names)]
    return "\n".join([*parts, "</main></body></html>\n"])


def _names(facts: dict[str, Any]) -> dict[str, str]:
    """How each method is called; two bundles of one name by their digests, too."""
    names = {"bundle": facts["bundle"]["name"]}
    if facts["against"]:
        names["against"] = facts["against"]["name"]
        if names["against"] == names["bundle"]:
            names = {method: f"{name} ({facts[method]['digest'][:8]})" for method, name in names.items()}
    return names | {method: name for method, name in _METHODS.items() if method in facts["methods"]}


def _head(facts: dict[str, Any], names: dict[str, str]) -> str:
    mean = facts["methods"]["bundle"][MEAN]
    figures = [
        ("mean IoU", _number(mean["iou"], 3)),
        ("F-score at 1 %", _number(mean["f_score"], 3)),
        ("in one piece", f"{mean['whole']:.0%}"),
        ("pictures", f"{mean['pictures']:,}"),
        ("without a mesh", f"{mean['failed']:,}"),
    ]
    shown = "".join(f"<div><dt>{name}</dt><dd>{value}</dd></div>" for name, value in figures if value != "–")
    return (
        '<header class="top"><p class="brand">Isofleet</p>'
        f"<h1>Evaluation of {_foreign(names['bundle'])}</h1>"
        f'<p class="subtitle">{_foreign(facts["data"])}.</p><dl class="figures">{shown}</dl></header>'
    )


def _about_baselines(facts: dict[str, Any]) -> str:
    known = facts["baselines"]
    if not known:
        return "There are none."
    return (
        f"Both baselines know {known['training_objects']:,} {_foreign(known['data'])}: the mean shape answers every "
        "picture of a category with the mean of its training voxels, cut at the level that suits training best; the "
        "nearest training shape is that of the picture with the nearest latent. Differences are picture by picture, "
        "with their standard error."
    )


def _iou_table(facts: dict[str, Any], names: dict[str, str], categories: Sequence[str]) -> str:
    methods, gains = facts["methods"], facts["gains"]
    heads = ["category", "pictures", *names.values()]
    heads += [f"over {names[other]}" for other in gains]
    rows = []
    for category in (*categories, MEAN):
        own = methods["bundle"][category]
        cells = [f"{own['pictures']:,}"]
        cells += [_number(methods[method].get(category, {}).get("iou"), 3) for method in names]
        row = "".join(f"<td>{cell}</td>" for cell in cells)
        for other in gains:
            row += _gain(gains[other].get(category))
        rows.append(_row(category, row))
    return _table(heads, rows)


def _object_table(objects: dict[tuple[str, str], dict[str, float]], names: dict[str, str]) -> str:
    rows = []
    for (category, name), scores in objects.items():
        row = "".join(f"<td>{_number(scores.get(method), 3)}</td>" for method in names)
        rows.append(_row(f"{category}, {name}", row))
    return _table(["object", *names.values()], rows)


def _gain(gain: dict[str, float] | None) -> str:
    if gain is None:
        return "<td>–</td>"
    kind = "good" if gain["gain"] > 2 * gain["error"] else "bad" if gain["gain"] < -2 * gain["error"] else ""
    return f'<td class="{kind}">{_signed(gain["gain"])} ± {gain["error"]:.3f}</td>'


def _measures_table(cells: dict[str, dict[str, Any]], categories: Sequence[str]) -> str:
    shown = {name: look for name, look in _MEASURES.items() if cells[MEAN][name] is not None}
    heads = ["category", "pictures", "no mesh", *(f"{head} {better}" for head, _, better in shown.values())]
    rows = []
    for category in (*categories, MEAN):
        cell = cells[category]
        row = f"<td>{cell['pictures']:,}</td><td>{cell['failed']:,}</td>"
        row += "".join(f"<td>{_number(cell[name], digits)}</td>" for name, (_, digits, _) in shown.items())
        rows.append(_row(category, row))
    return _table(heads, rows)


def _about_looks(names: dict[str, str]) -> str:
    order = ["what the network sees", *(_foreign(names[method]) for method in ("bundle", "against") if method in names)]
    return f"Of the pictures with a mesh, by IoU. From left to right: {', '.join(order)}, the truth."


def _figure(look: Look, names: dict[str, str]) -> str:
    row = look.row
    ink = np.round(255 * (1 - look.picture)).astype(np.uint8)
    tiles = [_image(Image.fromarray(ink).convert("RGB"), "the picture", "picture")]
    tiles += [_view(mesh, names[method]) for method, mesh in look.made.items()]
    tiles.append(_view(look.truth, "the truth"))
    caption = f"<b>{_foreign(row['category'])}, {look.name}: IoU {row['iou']:.3f}</b> · {_foreign(row['id'])}"
    caption += f", view {row['view']}" if row["view"] else ""
    caption += f" · {row['pieces']} pieces" if row["pieces"] != 1 else ""
    return f'<figure class="look"><div>{"".join(tiles)}</div><figcaption>{caption}</figcaption></figure>'


def _view(mesh: Mesh | None, what: str) -> str:
    if mesh is None:
        return f'<img alt="{escape(what)}: no mesh" src="data:image/gif;base64,R0lGODlhAQABAAAAACwAAAAAAQABAAA=">'
    normals = vertex_normals(mesh.vertices, mesh.faces)
    return _image(Image.fromarray(render(mesh.vertices, mesh.faces, _CAMERA, _TILE, normals=normals)), what, "")


def _image(image: Image.Image, what: str, kind: str) -> str:
    file = io.BytesIO()
    image.resize((_TILE, _TILE)).save(file, "WEBP", quality=_QUALITY)
    data = base64.b64encode(file.getvalue()).decode()
    shown = f'class="{kind}" width="{_TILE}" height="{_TILE}" alt="{escape(what)}"'
    return f'<img {shown} src="data:image/webp;base64,{data}">'


def _published() -> str:
    columns = list(dict.fromkeys(category for one in PUBLISHED for category in one.values))
    rows = []
    for one in PUBLISHED:
        row = f"<td>{_MEASURES[one.measure][0]}</td>"
        row += "".join(f"<td>{_number(one.values.get(column), 3)}</td>" for column in columns)
        rows.append(_row(one.method, row + f'<td class="text">{one.data}. {one.source}.</td>'))
    return (
        "<p>On other pictures of other objects, so they say what the method reaches there, not which network is "
        "better.</p>" + _table(["method", "measure", *columns, "data and source"], rows)
    )


def _facts(facts: dict[str, Any], names: dict[str, str]) -> str:
    lines = [
        (names[method], f"{facts[method]['uri']}, SHA-256 {facts[method]['digest']}")
        for method in ("bundle", "against")
        if method in names
    ]
    lines += [
        ("pictures", facts["data"]),
        ("extraction", f"as a run does it, at {facts['resolution']}³ on {facts['device']}"),
        ("IoU", "over all samples of the lattice, or over the voxels where the truth is voxels"),
    ]
    distances = [
        (
            "Chamfer-L1",
            "mean of accuracy and completeness between 100,000 points of each surface, in tenths of the longest edge "
            "of the true bounding box (Mescheder et al., Occupancy Networks, CVPR 2019)",
        ),
        (
            "Chamfer-L2",
            "sum of both mean squared distances between 4096 points of each surface, × 1000, where the bounding box "
            "has diagonal 1 (Chen & Zhang, IM-NET, CVPR 2019)",
        ),
        ("F-score", "at 1 % of the side of the true bounding cube (Tatarchenko et al., CVPR 2019)"),
    ]
    lines += distances if facts["methods"]["bundle"][MEAN]["chamfer_l1"] is not None else []
    lines += [
        ("written", f"{facts['written_at']} by isofleet {facts['code_version']}, after {facts['seconds']} s"),
    ]
    shown = "".join(f"<dt>{_foreign(name)}</dt><dd>{_foreign(text)}</dd>" for name, text in lines)
    return f'<dl class="facts">{shown}</dl>'


def _table(heads: Iterable[str], rows: Iterable[str]) -> str:
    kinds = {"data and source": ' class="text"'}
    head = "".join(f'<th scope="col"{kinds.get(one, "")}>{escape(one)}</th>' for one in heads)
    return f'<div class="scroll"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>'


def _row(name: str, cells: str) -> str:
    kind = ' class="mean"' if name == MEAN else ""
    return f'<tr{kind}><th scope="row">{_foreign(name)}</th>{cells}</tr>'


def _number(value: float | None, digits: int) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _signed(value: float) -> str:
    return f"{value:+.3f}".replace("-", "−")


def _foreign(text: str) -> str:
    """A stranger's text: it neither becomes markup nor turns the direction of what stands beside it."""
    return f"<bdi>{escape(text)}</bdi>"
