"""Own the curves of jobs: series that grow by deltas, how many points are drawn, and the charts' options. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from rlt_core.schemas.jobs import JobMetrics

MAX_POINTS: Final = 600
"""Points of a curve: about one for each pixel of a chart."""
GROUPS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("Reward", ("reward", "reward_std")),
    ("Parts of the reward", ("r_ss", "r_kl", "uplift", "format", "right")),
    ("Loss", ("loss", "mean_token_accuracy")),
    ("Held-out", ("select_reward", "select_r_ss", "select_loss", "select_right")),
    ("Divergence from the start", ("kl",)),
    ("Lengths, tokens", ("length", "mean_length", "completion_length", "explanation_tokens", "tokens")),
    ("Gradient norm", ("grad_norm",)),
    ("Learning rate", ("learning_rate",)),
)
COLOURS: Final = ("#3b82f6", "#d97706", "#0d9f6e", "#c84fd8", "#e04848", "#0e9ab8", "#8b5cf6", "#6f9a12")
INK: Final = "#7b8494"
"""Of axes and names: readable on white and on near-black."""
LINE: Final = "rgba(128, 140, 158, 0.22)"


@dataclass(slots=True, kw_only=True)
class Curves:
    """Series of one job by step; a step that is told again has what was told last."""

    _by_step: dict[int, dict[str, float]] = field(default_factory=dict[int, dict[str, float]])

    @classmethod
    def of(cls, metrics: JobMetrics) -> "Curves":
        """Take what the API gave."""
        made = cls()
        for index, step in enumerate(metrics.steps):
            values = {name: value for name, series in metrics.series.items() if (value := series[index]) is not None}
            made.add(step, values)
        return made

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Take one more step; the oldest points are thinned when there are twice as many as are drawn."""
        self._by_step[step] = dict(values)
        if len(self._by_step) > 2 * MAX_POINTS:
            kept = thinned(sorted(self._by_step), most=MAX_POINTS)
            self._by_step = {step: self._by_step[step] for step in kept}

    @property
    def last_step(self) -> int:
        """The furthest step; -1 before the first."""
        return max(self._by_step, default=-1)

    @property
    def names(self) -> list[str]:
        """Every series that has a point."""
        return sorted({name for values in self._by_step.values() for name in values})

    def points(self, name: str, *, most: int = MAX_POINTS) -> list[tuple[int, float]]:
        """Give a series' points by step, so many at most, its peaks among them."""
        found = [(step, self._by_step[step][name]) for step in sorted(self._by_step) if name in self._by_step[step]]
        return with_peaks(found, most=most)


def thinned(steps: Sequence[int], *, most: int) -> list[int]:
    """Leave out evenly, from the end on: the last step always stays."""
    stride = -(-len(steps) // most)
    return list(steps[::-1][::stride][::-1]) if stride > 1 else list(steps)


def with_peaks(points: Sequence[tuple[int, float]], *, most: int) -> list[tuple[int, float]]:
    """Thin a curve so that it looks the same: of each bucket the lowest and the highest point, and both ends."""
    if len(points) <= most:
        return list(points)
    buckets = max(1, (most - 2) // 2)
    inner, kept = points[1:-1], [points[0]]
    for index in range(buckets):
        bucket = inner[index * len(inner) // buckets : (index + 1) * len(inner) // buckets]
        if bucket:
            ends = {min(bucket, key=_height), max(bucket, key=_height)}
            kept += sorted(ends)
    return [*kept, points[-1]]


def groups_of(names: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Sort series onto charts: the known groups first, then one chart for each of the rest."""
    left = dict.fromkeys(names)
    found: list[tuple[str, list[str]]] = []
    for title, members in GROUPS:
        if present := [name for name in members if name in left]:
            found.append((title, present))
            for name in present:
                del left[name]
    return found + [(name, [name]) for name in left]


def chart(series: Mapping[str, Sequence[tuple[int, float]]], *, title: str) -> dict[str, Any]:
    """Give a chart's options: a line for each series over steps."""
    return {
        "aria": {"enabled": True, "label": {"description": f"{title} by step: {', '.join(series)}"}},
        "animation": False,
        "color": list(COLOURS),
        "grid": {"left": 52, "right": 14, "top": 38 if len(series) > 1 else 10, "bottom": 24},
        "legend": {
            "show": len(series) > 1,
            "top": 0,
            "left": 0,
            "type": "scroll",
            "icon": "roundRect",
            "itemWidth": 14,
            "itemHeight": 4,
            "textStyle": {"color": INK},
        },
        "tooltip": {"trigger": "axis", "confine": True},
        "xAxis": _axis(minInterval=1, min="dataMin", max="dataMax", splitLine={"show": False})
        | {"axisLine": {"onZero": False, "lineStyle": {"color": LINE}}, "axisTick": {"show": False}},
        "yAxis": _axis(scale=True),
        "series": [
            {
                "name": name,
                "type": "line",
                "showSymbol": len(points) == 1,
                "lineStyle": {"width": 1.75},
                "data": [list(point) for point in points],
            }
            for name, points in series.items()
        ],
    }


def _axis(**more: Any) -> dict[str, Any]:
    line = {"lineStyle": {"color": LINE}}
    return {"type": "value", "axisLabel": {"color": INK}, "axisLine": line, "splitLine": line} | more


def _height(point: tuple[int, float]) -> float:
    return point[1]
