"""Each dashboard as Kibana would lay it out, over tests/assets/logs: dashboard-*.png.

Needs the extra `docs` (matplotlib). The pictures show what is computed and where it stands, not Kibana's own look.
"""

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from scripts.pictures.evaluation import Event, Group, evaluate, flat
from tests.assets.logs import make_logs

from bedside.dashboards.boards import (
    CHANGE_FAILED,
    CORRECT,
    DASHBOARDS,
    DISAGREED,
    DRIFT,
    DURATION,
    EXPECTED,
    LEAD,
    OUTCOME_OK,
    RESTORED,
    SHARE,
    SHORTFALL,
    TRUTH_ERROR,
)
from bedside.dashboards.model import COLUMNS, HEADINGS, Dashboard, Measure, Panel, Place

ROOT = Path(__file__).resolve().parents[2]
UNIT = 0.22  # inches per row of Kibana's grid
WIDTH = 16.0  # inches of its 48 columns
BUCKETS = 48
_PERCENT = {OUTCOME_OK, CHANGE_FAILED, DISAGREED, CORRECT, EXPECTED, SHARE, SHORTFALL}
COLOURS = ("#16c5c0", "#61a2ff", "#ee72a6", "#eaae01", "#f6726a", "#a6edea", "#c6ddff", "#ffc7db", "#fcd883", "#ffc9c2")
INK, PALE, GROUND = "#1d2a3e", "#5a6d8c", "#f6f9fc"

mpl.use("Agg")


def draw(folder: Path) -> None:
    """Write the pictures into a folder."""
    events = _events()
    for board in DASHBOARDS:
        _draw(board, events, folder / f"dashboard-{board.id.removeprefix('bedside-')}.png")


def _events() -> list[Event]:
    events = [dict(flat(json.loads(line))) for line in make_logs.lines()]
    return [event | {"@timestamp": datetime.fromisoformat(event["@timestamp"])} for event in events]


def _draw(board: Dashboard, events: Sequence[Event], path: Path) -> None:
    end = max(event["@timestamp"] for event in events)
    begin = end - timedelta(days=board.days)
    edges = [begin + (end - begin) * number / BUCKETS for number in range(BUCKETS + 1)]
    recent = [event for event in events if event["@timestamp"] >= begin]
    height = sum(row.height for row in board.rows) * UNIT + 0.9
    figure = plt.figure(figsize=(WIDTH, height), facecolor=GROUND)
    about = f"last {board.days} days" if board.days > 1 else "last 24 hours"
    figure.text(0.012, 1 - 0.35 / height, board.title, fontsize=15, weight="bold", color=INK)
    chosen = "   ".join(f"{control.title}: any" for control in board.controls)
    figure.text(0.012, 1 - 0.65 / height, f"{chosen}   ·   {about}   ·   made-up data", fontsize=9, color=PALE)
    for panel, place in board.placed():
        groups = [] if panel.kind == "markdown" else evaluate(panel, recent, edges)
        _panel(figure, panel, _box(place, height), groups, edges)
    figure.savefig(path, dpi=90, facecolor=GROUND, metadata={"Software": None})
    plt.close(figure)


def _box(place: Place, height: float) -> tuple[float, float, float, float]:
    bottom = height - 0.8 - (place.y + place.h) * UNIT
    x, w = place.x / COLUMNS, place.w / COLUMNS
    return x + 0.004, (bottom + 0.04) / height, w - 0.008, (place.h * UNIT - 0.08) / height


def _panel(
    figure: Any,
    panel: Panel,
    box: tuple[float, float, float, float],
    groups: Sequence[Group],
    edges: Sequence[datetime],
) -> None:
    left, bottom, width, height = box
    card = figure.add_axes(box, facecolor="white")
    card.set(xticks=[], yticks=[])
    for spine in card.spines.values():
        spine.set_color("#e3e8f2")
    card.text(
        0.12 / (WIDTH * width),
        0.97,
        panel.title,
        transform=card.transAxes,
        va="top",
        fontsize=9.5,
        weight="bold",
        color=INK,
    )
    if panel.kind in _TEXTS:
        _TEXTS[panel.kind](card, panel, groups)
        return
    tall = figure.get_size_inches()[1] * height
    room = (width - 0.65 / WIDTH, height * (1 - 0.98 / tall))
    axes = figure.add_axes((left + 0.5 / WIDTH, bottom + height * 0.6 / tall, *room), facecolor="none")
    if panel.over_time:
        _over_time(axes, panel, groups, edges)
    else:
        _bars(axes, panel, groups)


def _over_time(axes: Axes, panel: Panel, groups: Sequence[Group], edges: Sequence[datetime]) -> None:
    middle = [begin + (end - begin) / 2 for begin, end in pairwise(edges)]
    series = [
        (" · ".join(group.keys) or measure.label, measure, values)
        for group in groups
        for measure, values in zip(panel.measures, group.over_time, strict=True)
    ]
    stacked = [0.0] * len(middle)
    for (name, measure, values), colour in zip(series, COLOURS, strict=False):
        scaled = [None if value is None else value * _scale(measure) for value in values]
        if panel.kind == "line":
            shown = [float("nan") if v is None else v for v in scaled]
            # Between gaps there is no line to be seen; Kibana, too, draws a point.
            dot = "o" if scaled.count(None) > len(scaled) / 2 else ""
            axes.plot(middle, shown, color=colour, lw=1.6, marker=dot, ms=3, label=name)  # type: ignore[arg-type]
        else:
            heights = [value or 0.0 for value in scaled]
            axes.bar(middle, heights, bottom=stacked, width=(edges[1] - edges[0]) * 0.85, color=colour, label=name)  # type: ignore[arg-type]
            stacked = [below + value for below, value in zip(stacked, heights, strict=True)]
    locator = AutoDateLocator(maxticks=6)
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(ConciseDateFormatter(locator, show_offset=False))
    axes.set_xlim(edges[0], edges[-1])  # type: ignore[arg-type]
    axes.set_ylim(bottom=0)
    axes.grid(visible=True, axis="y", color="#e9eef6")
    axes.set_axisbelow(True)
    if unit := {DURATION: "ms", LEAD: "min", **dict.fromkeys(_PERCENT, "%")}.get(panel.measures[0].field):
        axes.set_ylabel(unit, fontsize=8, color=PALE)
    _legend(axes)
    _quiet(axes)


def _legend(axes: Axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    inches = axes.get_position().width * WIDTH
    columns = max(1, int(inches / (0.4 + 0.054 * max(map(len, names), default=1))))
    room = 2 * columns
    if len(names) > room:
        names[room - 1] += f" + {len(names) - room}"
    axes.legend(
        handles[:room],
        names[:room],
        fontsize=7.5,
        frameon=False,
        ncols=columns,
        columnspacing=1.0,
        handlelength=1.2,
        loc="upper left",
        bbox_to_anchor=(-0.03, -0.1),
        labelcolor=PALE,
    )


def _bars(axes: Axes, panel: Panel, groups: Sequence[Group]) -> None:
    values = [(group.values[0] or 0) for group in reversed(groups)]
    axes.barh(range(len(groups)), values, color=COLOURS[0], height=0.6)
    axes.set_yticks([])
    axes.set_xticks([])
    for number, group in enumerate(reversed(groups)):
        axes.text(
            0,
            number + 0.42,
            f"{' · '.join(group.keys)}: {_shown(panel.measures[0], group.values[0])}",
            fontsize=8,
            color=INK,
        )
    axes.set_ylim(-0.5, len(groups) + 0.1)
    _quiet(axes)


def _figure(card: Axes, panel: Panel, groups: Sequence[Group]) -> None:
    shown = _shown(panel.measures[0], groups[0].values[0]) if groups else "0"
    card.text(
        0.95, 0.12, shown, transform=card.transAxes, ha="right", va="bottom", fontsize=21, weight="bold", color=INK
    )


def _text(card: Axes, panel: Panel, _groups: Sequence[Group]) -> None:
    about, _, links = panel.text.partition("\n\n")
    names = "   ·   ".join(part.split("]")[0].lstrip("[") for part in links.split(" · "))
    card.text(0.008, 0.62, about, transform=card.transAxes, va="center", fontsize=9, color=INK)
    card.text(0.008, 0.26, names, transform=card.transAxes, va="center", fontsize=9, color="#1750ba")


def _table(card: Axes, panel: Panel, groups: Sequence[Group]) -> None:
    heads = [*(HEADINGS.get(field, field) for field in panel.by)]
    heads += [measure.label for measure in panel.measures]
    rows = [
        [*group.keys, *(_shown(m, v) for m, v in zip(panel.measures, group.values, strict=True))] for group in groups
    ]
    keys, numbers = len(panel.by), len(panel.measures)
    edge = 0.97
    step = min(0.12, 0.45 / max(numbers, 1))
    lefts = [0.02 + number * (edge - step * numbers - 0.02) / keys for number in range(keys)]
    for line, row in enumerate([heads, *rows[:8]]):
        y = 0.84 - line * 0.093
        colour = INK if line else PALE
        style: dict[str, Any] = {"transform": card.transAxes, "fontsize": 8, "va": "center", "color": colour}
        for number, text in enumerate(row):
            if number < keys:
                room = (lefts[number + 1] if number + 1 < keys else edge - step * numbers) - lefts[number]
                most = int(room * card.get_position().width * WIDTH * 14.5)
                card.text(lefts[number], y, text if len(text) <= most else text[: most - 1] + "…", **style)
            else:
                card.text(edge - (numbers - 1 - number + keys) * step, y, text, ha="right", **style)


def _quiet(axes: Axes) -> None:
    axes.tick_params(labelsize=7.5, colors=PALE, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _scale(measure: Measure) -> float:
    return {DURATION: 1e-6, LEAD: 1 / 60, **dict.fromkeys(_PERCENT, 100)}.get(measure.field, 1.0)


def _shown(measure: Measure, value: float | None) -> str:
    if value is None:
        return "-"
    if measure.field == DURATION:
        return f"{value * 1e-6:,.0f} ms"
    if measure.field in _PERCENT:
        return f"{value:.1%}"
    if measure.field in {LEAD, RESTORED}:
        return f"{value / 60:,.1f} min"
    if measure.field in {DRIFT, TRUTH_ERROR}:
        return f"{value:,.2f}"
    return f"{value:,.0f}" if value == int(value) or value > 100 else f"{value:,.1f}"


_TEXTS = {"metric": _figure, "data_table": _table, "markdown": _text}
