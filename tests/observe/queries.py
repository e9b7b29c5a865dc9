"""Every query that the project ships: of dashboards, alerts and objectives."""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
OBSERVE = ROOT / "docker" / "observe"
DASHBOARDS = sorted((OBSERVE / "grafana" / "dashboards").glob("*.json"))
METRIC = re.compile(r"\b(?:rlt_[a-z_]+|rlt:[a-z_:0-9]+|up)\b(?=[{\[) ]|$)")
SELECTOR = re.compile(r"\b(?:rlt_[a-z_]+|rlt:[a-z_:0-9]+|up)\b(?:\{[^}]*\})?")
QUOTED = re.compile(r'"[^"]*"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """An expression, and where it stands."""

    place: str
    expression: str

    @property
    def metrics(self) -> set[str]:
        """Name the metrics that it reads; what stands in quotes is none."""
        return set(METRIC.findall(QUOTED.sub('""', self.expression)))

    @property
    def selectors(self) -> list[str]:
        """Give its selectors, without their ranges."""
        return SELECTOR.findall(self.expression)


def rules() -> list[dict[str, Any]]:
    """Give alerts and recorded ratios, in the order of the file."""
    groups = yaml.safe_load((OBSERVE / "alerts.yml").read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def alerts() -> list[dict[str, Any]]:
    """Give the alerts alone."""
    return [rule for rule in rules() if "alert" in rule]


def dashboards() -> list[dict[str, Any]]:
    """Read the dashboards."""
    return [json.loads(path.read_text(encoding="utf-8")) for path in DASHBOARDS]


def of_rules() -> list[Query]:
    """Give the queries of alerts and ratios."""
    return [Query(place=rule.get("alert") or rule["record"], expression=rule["expr"]) for rule in rules()]


def of_dashboards() -> list[Query]:
    """Give the queries of panels."""
    return [
        Query(place=f"{board['uid']}: {panel['title']}", expression=target["expr"])
        for board in dashboards()
        for panel in board["panels"]
        for target in panel["targets"]
    ]


def of_objectives() -> list[Query]:
    """Give the queries of docs/slo.md."""
    text = (ROOT / "docs" / "slo.md").read_text(encoding="utf-8")
    found = re.findall(r"^## (.+?)$.*?^```promql\n(.+?)\n```", text, re.MULTILINE | re.DOTALL)
    return [Query(place=f"docs/slo.md: {title}", expression=query) for title, query in found]
