"""A whole installation on the fake engine, watched: one trace of a real trainer's job, every query on its metrics."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import yaml

from rlt_client import Client
from rlt_core import trace_context
from rlt_core.schemas.collect import CollectSpec
from tests.jobs.site import stub_environment
from tests.observe import queries
from tests.observe.otlp_sink import OtlpSink, SeenSpan, otlp_sink
from tests.observe.queries import OBSERVE
from tests.support.prometheus import Prometheus, running_prometheus
from tests.support.server import Up, running_up
from tests.support.waiting import wait_until

pytestmark = pytest.mark.processes

ROWS = [
    {"id": f"row-{number}", "question": f"What is {number} + 1?", "solution": str(number + 1)} for number in range(6)
]
TRACE = 0x4BF92F3577B34DA6A3CE929D0E0E4736
GIVEN = f"00-{TRACE:032x}-00f067aa0ba902b7-01"
SERVER, WORKER, TRAINER = "rlt-teacher-student-control", "rlt-worker", "rlt-trainer"
NEVER = {"rlt_engine_cache_use_ratio": "the fake engine has no cache"}
"""Metrics of which a run on the fake engine makes no series, and why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Whole:
    """An installation that has carried out one collect."""

    up: Up
    sink: OtlpSink
    job: str


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Whole]:
    folder = tmp_path_factory.mktemp("whole")
    environment = stub_environment(folder)
    del environment["RLT_TRAINER_COMMAND"]  # a collect's trainer is the real one: it asks services, and has no model
    with otlp_sink() as sink:
        environment |= {"RLT_LOG_FORMAT": "json", "RLT_RECONCILE_S": "0.5"}
        environment |= {"RLT_OTLP_ENDPOINT": sink.endpoint, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with running_up(folder / "home", environment=environment) as up:
            yield Whole(up=up, sink=sink, job=collected(up.base_url))


def collected(base_url: str) -> str:
    """Collect within the trace of an application; gives the job's id."""
    with Client(base_url, timeout=60.0) as client:
        dataset = client.datasets.create(ROWS, name="sums")
        spec = CollectSpec(kind="collect", dataset=dataset.id, max_tokens=32, samples_per_question=2)
        with trace_context.within(trace_context.parse(GIVEN)):
            job = client.train(spec)
        wait_until(
            lambda: client.jobs.get(job.id).status in ("succeeded", "failed"), what="the collect", timeout_s=60.0
        )
        assert client.jobs.get(job.id).status == "succeeded", client.jobs.get(job.id).error
    return job.id


def test_a_call_its_job_and_its_trainers_calls_are_one_trace_down_to_the_engine(whole: Whole) -> None:
    def found(service: str, name: str) -> list[SeenSpan]:
        return [one for one in whole.sink.spans if (one.service, one.name) == (service, name)]

    def scored() -> list[SeenSpan]:
        return found(SERVER, "POST /v1/score/batch") + found(SERVER, "POST /v1/score")

    wait_until(lambda: bool(found(WORKER, "job attempt")), what="the attempt's span", timeout_s=20.0)
    wait_until(lambda: bool(found(TRAINER, "trainer")), what="the trainer's span", timeout_s=20.0)
    wait_until(lambda: bool(scored()), what="the spans of /score", timeout_s=20.0)
    (submitted,), (attempt,), (trainer,) = (
        found(SERVER, "POST /v1/train"),
        found(WORKER, "job attempt"),
        found(TRAINER, "trainer"),
    )
    assert (submitted.above, attempt.above, trainer.above) == ("00f067aa0ba902b7", submitted.span_id, attempt.span_id)
    calls = {one.span_id: one for one in found(TRAINER, "POST")}
    engine = {one.above: one for one in found(SERVER, "engine score")}
    for call in scored():
        assert calls[call.above].above == trainer.span_id
        assert call.span_id in engine
    chain = (submitted, attempt, trainer, *calls.values(), *scored(), *engine.values())
    assert {one.trace_id for one in chain} == {f"{TRACE:032x}"}
    assert whole.job in attempt.attributes["rlt.job_id"]


def test_logs_of_server_worker_and_trainer_carry_the_traces_number(whole: Whole) -> None:
    logs = [*whole.up.home.rglob("server.log"), *whole.up.home.rglob("worker.log")]
    for path in logs:
        records = [json.loads(line) for line in path.read_text().splitlines() if line.startswith("{")]
        carried = [record for record in records if record.get("trace_id") == f"{TRACE:032x}"]
        assert carried, path
        assert path.name == "server.log" or carried[0]["job"] == whole.job


@pytest.fixture(scope="module")
def prometheus(whole: Whole, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """Scrape the installation as docker/observe/prometheus.yml says, often, while it is asked for something."""
    folder = tmp_path_factory.mktemp("prometheus")
    config: dict[str, Any] = yaml.safe_load((OBSERVE / "prometheus.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "500ms", "scrape_timeout": "500ms", "evaluation_interval": "500ms"}
    config["rule_files"] = [str(OBSERVE / name) for name in config["rule_files"]]
    for job in config["scrape_configs"]:
        del job["dns_sd_configs"]
        job["static_configs"] = [{"targets": [whole.up.base_url.removeprefix("http://")]}]
    (folder / "prometheus.yml").write_text(yaml.safe_dump(config))
    with (
        running_prometheus(folder, config=folder / "prometheus.yml") as server,
        Client(whole.up.base_url, timeout=60.0) as client,
    ):

        def seen() -> bool:
            client.score(question="1 + 1?", solution="2", explanations=["two"])
            list(client.explain.stream(question="1 + 1?", solution="2"))
            return bool(server.ask("rate(rlt_engine_wait_seconds_count[1m])")) and bool(
                server.ask("rlt:http_errors:ratio_rate6h >= 0")
            )

        wait_until(seen, what="two scrapes", timeout_s=60.0, every_s=0.5)
        yield server


@pytest.mark.parametrize(
    "query",
    [*queries.of_dashboards(), *queries.of_objectives()],
    ids=lambda query: str(query.place).replace(" ", "-"),
)
def test_every_query_gives_data_after_a_run(prometheus: Prometheus, query: queries.Query) -> None:
    found = prometheus.ask(query.expression.replace("$__rate_interval", "1m"))
    missing = query.metrics & NEVER.keys()
    assert bool(found) != bool(missing), f"{query.place}: {query.expression} gave {found}"


def test_every_rule_is_evaluated_and_each_of_its_selectors_finds_series(prometheus: Prometheus) -> None:
    rules = prometheus.rules()
    assert sorted(rule["name"] for rule in rules) == sorted(query.place for query in queries.of_rules())
    for rule in rules:
        assert (rule["health"], rule.get("lastError")) == ("ok", None), rule["name"]
    failed = 'rlt_http_requests_total{status=~"5..",route!~"/(metrics|readyz|healthz)"}'
    quiet = {'rlt_http_requests_total{status="429"}', failed}  # a run that is well makes none
    for query in queries.of_rules():
        for selector in query.selectors:
            if selector not in quiet and not query.metrics & NEVER.keys():
                assert prometheus.ask(selector), f"{query.place}: nothing is told of {selector}"


def test_an_installation_that_is_well_fires_nothing(prometheus: Prometheus) -> None:
    assert prometheus.ask('ALERTS{alertname!~"RltDisk.*"}') == []
