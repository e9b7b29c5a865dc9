"""What docker/observe holds fits together: alerts have entries and fire, dashboards ask what servers tell."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.observe import queries
from tests.observe.alert_cases import BESIDE, FIRING, WELL
from tests.observe.queries import OBSERVE, ROOT
from tests.support import metrics_page
from tests.support.prometheus import program

MINUTE = 75
NAMES = [rule["alert"] for rule in queries.alerts()]


def entries() -> list[str]:
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    return re.findall(
        r"^### (\w+)\n.+?\n\n\*\*Do:\*\* .+?$", text.partition("\n## Alerts\n")[2], re.MULTILINE | re.DOTALL
    )


def test_every_alert_has_an_entry_and_every_entry_an_alert() -> None:
    assert len(NAMES) >= 20
    assert entries() == NAMES


@pytest.mark.parametrize("rule", queries.alerts(), ids=NAMES)
def test_an_alert_says_how_bad_it_is_what_it_means_and_where_to_read_on(rule: dict[str, Any]) -> None:
    assert rule["labels"]["severity"] in ("critical", "warning")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{rule['alert'].lower()}"


def test_queries_read_nothing_but_what_a_server_tells() -> None:
    told = {sample.name for family in metrics_page.told() for sample in family.samples}
    told |= {"up"} | {rule["record"] for rule in queries.rules() if "record" in rule}
    for query in (*queries.of_rules(), *queries.of_dashboards(), *queries.of_objectives()):
        assert query.metrics, query.place
        assert query.metrics <= told, f"{query.place} reads {query.metrics - told}"


def test_dashboards_are_laid_out_and_use_the_provisioned_source() -> None:
    sources = yaml.safe_load((OBSERVE / "grafana" / "datasources" / "prometheus.yml").read_text())["datasources"]
    (source,) = [{"type": one["type"], "uid": one["uid"]} for one in sources]
    boards = queries.dashboards()
    assert len({board["uid"] for board in boards}) == len(boards) == 3
    for board in boards:
        taken: set[tuple[int, int]] = set()
        for panel in board["panels"]:
            assert panel["title"]
            assert panel["datasource"] == source
            assert all(target["datasource"] == source for target in panel["targets"])
            place = panel["gridPos"]
            cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
            assert not cells & taken, f"{board['uid']}: {panel['title']} lies over another panel"
            assert max(x for x, _ in cells) < 24
            taken |= cells
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_grafana_looks_for_dashboards_where_the_folder_is_mounted() -> None:
    (provider,) = yaml.safe_load((OBSERVE / "grafana" / "dashboards" / "rlt.yml").read_text())["providers"]
    folder = provider["options"]["path"].removeprefix("/etc/grafana/provisioning/")
    assert sorted((OBSERVE / "grafana" / folder).glob("*.json")) == queries.DASHBOARDS != []


def test_the_collectors_pipelines_name_parts_that_there_are() -> None:
    config = yaml.safe_load((OBSERVE / "otel-collector.yml").read_text(encoding="utf-8"))
    for pipeline in config["service"]["pipelines"].values():
        for kind, names in pipeline.items():
            assert set(names) <= config[kind].keys()


def test_prometheus_takes_the_configuration_and_the_rules(tmp_path: Path) -> None:
    tool = program("promtool")
    for command in (["check", "config", "prometheus.yml"], ["check", "rules", "alerts.yml"]):
        done = subprocess.run([tool, *command], cwd=OBSERVE, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr


def firing(names: set[str]) -> list[dict[str, Any]]:
    """Ask for each alert whether it fires, and that nothing else does."""
    asked = [
        {
            "expr": f'count(ALERTS{{alertname="{name}",alertstate="firing"}}) > bool 0',
            "eval_time": f"{MINUTE}m",
            "exp_samples": [{"labels": "{}", "value": 1}],
        }
        for name in sorted(names)
    ]
    others = "|".join(sorted(names)) or "none"
    return [
        *asked,
        {
            "expr": f'ALERTS{{alertname!~"{others}",alertstate="firing"}}',
            "eval_time": f"{MINUTE}m",
            "exp_samples": [],
        },
    ]


def case(name: str, series: dict[str, str], *, fires: set[str]) -> dict[str, Any]:
    return {
        "name": name,
        "interval": "1m",
        "input_series": [{"series": key, "values": values} for key, values in {**WELL, **series}.items()],
        "promql_expr_test": firing(fires),
    }


def test_every_alert_fires_when_it_should_and_none_when_all_is_well(tmp_path: Path) -> None:
    assert FIRING.keys() == set(NAMES)
    cases = [case("well", {}, fires=set())]
    cases += [case(name, dict(series), fires={name, *BESIDE.get(name, ())}) for name, series in FIRING.items()]
    told = {"rule_files": [str(OBSERVE / "alerts.yml")], "evaluation_interval": "5m", "tests": cases}
    (tmp_path / "cases.yml").write_text(yaml.safe_dump(told, width=1000))
    command = [program("promtool"), "test", "rules", tmp_path / "cases.yml"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
