"""How a query is drawn in Grafana: as a number, a graph or a table.

Works on: expressions, units and colours. Knows nothing about what the dashboards show.
"""

from collections.abc import Sequence
from string import ascii_uppercase
from typing import Any

from grafana_foundation_sdk.builders import common, prometheus, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common as shared
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat, QueryEditorMode

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")

Query = tuple[str, str]  # an expression, and the legend
Column = tuple[str, str, str]  # an expression, the column's name, its unit
Steps = dict[float, str]  # from which value on a colour holds; below the first it is green

_WIDTH = 24  # of Grafana's grid


def number(
    title: str, description: str, unit: str, expression: str, steps: Steps | None = None, span: int = 4
) -> stat.Panel:
    panel = stat.Panel().height(4).graph_mode(shared.BigValueGraphMode.NONE)
    panel.color_mode(shared.BigValueColorMode.VALUE).reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    return _dressed(panel, title, description, unit, steps or {}, span).with_target(_query(expression, ""))


def graph(
    title: str,
    description: str,
    unit: str,
    queries: Sequence[Query],
    *,
    span: int = _WIDTH // 2,
    stacked: bool = False,
    bars: bool = False,
    steps: Steps | None = None,
) -> timeseries.Panel:
    panel = timeseries.Panel().height(8).min(0).span_nulls(False).show_points(shared.VisibilityMode.NEVER)
    panel.color_scheme(build.FieldColor().mode(model.FieldColorModeId.PALETTE_CLASSIC)).fill_opacity(
        60 if bars else 20 if stacked else 0
    )
    legend = common.VizLegendOptions().display_mode(shared.LegendDisplayMode.LIST).show_legend(True).calcs([])
    panel.legend(legend.placement(shared.LegendPlacement.BOTTOM))
    panel.tooltip(common.VizTooltipOptions().mode(shared.TooltipDisplayMode.MULTI).sort(shared.SortOrder.DESCENDING))
    if bars:
        panel.draw_style(shared.GraphDrawStyle.BARS)
    if stacked or bars:
        panel.stacking(common.StackingConfig().mode(shared.StackingMode.NORMAL).group("A"))
    if steps:
        panel.thresholds_style(common.GraphThresholdsStyleConfig().mode(shared.GraphTresholdsStyleMode.LINE))
    for expression, legend_format in queries:
        panel.with_target(_query(expression, legend_format))
    return _dressed(panel, title, description, unit, steps or {}, span)


def rows(
    title: str,
    description: str,
    key: str,
    columns: Sequence[Column],
    *,
    colours: dict[str, Steps],
    link: str | None = None,
) -> table.Panel:
    """A row for each value of the label `key`, and a column for each (expression, name, unit)."""
    panel = table.Panel().height(9).show_header(True)
    names: dict[str, str] = {key: key.capitalize()}
    for letter, (expression, name, unit) in zip(ascii_uppercase, columns, strict=False):
        # Without its name, or Grafana would take the columns for rows of different series.
        query = _query(f"max by ({key}) ({expression})", "").format(PromQueryFormat.TABLE).instant()
        panel.with_target(query.ref_id(letter))
        names[f"Value #{letter}"] = name
        properties = [model.DynamicConfigValue("unit", unit)]
        if name in colours:
            properties += [
                model.DynamicConfigValue("thresholds", _thresholds(colours[name]).build()),
                model.DynamicConfigValue("custom.cellOptions", {"type": "color-text"}),
            ]
        panel.override_by_name(name, properties)
    if link:
        links = [{"title": "Show this run", "url": link}]
        panel.override_by_name(names[key], [model.DynamicConfigValue("links", links)])
    order = {column: place for place, column in enumerate(names)}
    panel.with_transformation(model.DataTransformerConfig("merge", options={}))
    organize = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
    panel.with_transformation(model.DataTransformerConfig("organize", options=organize))
    return _dressed(panel, title, description, "short", {}, _WIDTH)


def _dressed(panel: Any, title: str, description: str, unit: str, steps: Steps, span: int) -> Any:
    panel.title(title).description(description).unit(unit).span(span).datasource(SOURCE)
    return panel.thresholds(_thresholds(steps))


def _thresholds(steps: Steps) -> build.ThresholdsConfig:
    colours = [model.Threshold(None, "green"), *(model.Threshold(value, colour) for value, colour in steps.items())]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(colours)


def _query(expression: str, legend: str) -> prometheus.Dataquery:
    query = prometheus.Dataquery().expr(expression).datasource(SOURCE).editor_mode(QueryEditorMode.CODE).range()
    return query.legend_format(legend) if legend else query
