"""The demonstration from its first question to its rows: the real app, a worker, and a trainer that trains nothing."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rlt_client import Client
from rlt_client.demo.loop import DemoError, Demonstration, Outcome
from rlt_client.demo.plan import DemoPlan
from rlt_client.demo.show import Screen
from tests.support.app_transport import AppTransport
from tests.support.control import Control
from tests.support.worked import worked_app


@dataclass(frozen=True, slots=True, kw_only=True)
class StubPlan(DemoPlan):
    """A plan whose jobs are done by the stub trainer; `rl` says how its reinforcement ends."""

    rl: str = "gate"
    train_questions: int = 8
    gate_questions: int = 2
    report_questions: int = 3

    def warmup_spec(self, *, role: str, dataset: str) -> dict[str, Any]:
        return DemoPlan.warmup_spec(self, role=role, dataset=dataset) | {"name": "ok"}

    def rl_spec(self, *, dataset: str, teacher: str, student: str, steps: int) -> dict[str, Any]:
        spec = DemoPlan.rl_spec(self, dataset=dataset, teacher=teacher, student=student, steps=steps)
        return spec | {"name": self.rl}


def demonstrate(control: Control, plan: DemoPlan) -> tuple[Outcome, str]:
    """Run a demonstration; give what it came to and what it said."""
    console = Console(file=io.StringIO(), width=200)
    with Client("http://app", transport=AppTransport(control.http)) as client:
        outcome = Demonstration(client, plan=plan, screen=Screen(console), poll_s=0.05).run()
    assert isinstance(console.file, io.StringIO)
    return outcome, console.file.getvalue()


@dataclass(frozen=True, slots=True, kw_only=True)
class Promoted:
    """A demonstration in which the gate said yes."""

    control: Control
    outcome: Outcome
    said: str


@pytest.fixture(scope="module")
def promoted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Promoted]:
    with worked_app(tmp_path_factory.mktemp("promoted")) as control:
        outcome, said = demonstrate(control, StubPlan(rl="gate"))
        yield Promoted(control=control, outcome=outcome, said=said)


def served(control: Control) -> dict[str, str]:
    return {alias.alias: alias.version for alias in control.services.registry.aliases() if alias.role == "teacher"}


def test_a_teacher_that_the_gate_finds_better_is_swapped_into_serving(promoted: Promoted) -> None:
    control, outcome = promoted.control, promoted.outcome
    assert outcome.promotion.outcome == "promoted"
    assert served(control) == {"default": "demo-teacher@2"}
    moves = control.services.registry.alias_history("teacher", "default").data
    assert [move.version for move in moves] == ["demo-teacher@2", "demo-teacher@1", "fake@0"]
    assert moves[0].reason == "better than demo-teacher@1: reward +0.5000, 95% interval [+0.5000, +0.5000], n = 2"
    assert moves[0].evaluation == outcome.evaluation
    assert outcome.answers.versions == ["demo-teacher@1", "demo-teacher@2"]
    assert outcome.answers.failed == 0
    assert "swap" not in outcome.parts_s
    assert "promoted: the gate found it better than demo-teacher@1" in promoted.said


def test_a_version_says_which_job_dataset_parent_and_evaluation_it_comes_from(promoted: Promoted) -> None:
    control, outcome = promoted.control, promoted.outcome
    (dataset,) = control.services.datasets.list().data
    (job,) = control.http.get("/v1/jobs", params={"kind": "rl"}).json()["data"]
    lineage = control.http.get("/v1/teachers/demo-teacher/versions/2/lineage").json()
    assert (lineage["parent"], lineage["job"], lineage["base_model"]) == ("demo-teacher@1", job["id"], "fake")
    assert (lineage["dataset"], lineage["dataset_sha256"]) == (dataset.id, dataset.sha256)
    assert (lineage["spec"]["kind"], lineage["spec"]["dataset"]) == ("rl", dataset.id)
    assert lineage["code_version"]
    assert lineage["evaluations"] == [outcome.evaluation]
    assert [(move["alias"], move["evaluation"]) for move in lineage["promotions"]] == [("default", outcome.evaluation)]
    version = control.http.get("/v1/teachers/demo-teacher/versions/2").json()
    assert (version["parent"], version["job"], version["dataset"]) == ("demo-teacher@1", job["id"], dataset.id)
    assert (version["lora_rank"], version["aliases"]) == (16, ["default"])
    assert len(version["adapter_sha256"]) == 64


def test_every_report_question_is_measured_once_a_model_and_none_was_trained_on(promoted: Promoted) -> None:
    plan, control, outcome = StubPlan(), promoted.control, promoted.outcome
    models = {row.model: row.version for row in outcome.rows}
    assert models == {"base": "fake@0", "warm-up": "demo-teacher@1", "RL": "demo-teacher@2"}
    for model in models:
        assert len({row.question_id for row in outcome.rows if row.model == model}) == plan.report_questions
    assert len(outcome.rows) == 3 * plan.report_questions
    (dataset,) = control.services.datasets.list().data
    rows = control.services.datasets.rows(dataset.id).data
    assert len(rows) == plan.train_questions + plan.gate_questions
    assert not {row.id for row in rows} & {row.question_id for row in outcome.rows}
    assert outcome.engine == "fake 1"


def test_a_job_that_fails_stops_the_demonstration_with_its_reason(tmp_path: Path) -> None:
    with worked_app(tmp_path) as control:
        with pytest.raises(DemoError, match="ended as failed: it was out_of_memory"):
            demonstrate(control, StubPlan(rl="out_of_memory"))
        assert served(control) == {"default": "demo-teacher@1"}


def test_after_a_gate_that_refuses_the_swap_is_shown_on_an_alias_of_its_own(tmp_path: Path) -> None:
    with worked_app(tmp_path) as control:
        outcome, said = demonstrate(control, StubPlan(rl="gate-worse"))
        assert served(control) == {"default": "demo-teacher@1", "demo": "demo-teacher@2"}
        moves = control.services.registry.alias_history("teacher", "demo").data
    assert outcome.promotion.outcome == "refused"
    assert [move.version for move in moves] == ["demo-teacher@2", "demo-teacher@1"]
    assert outcome.answers.versions == ["demo-teacher@1", "demo-teacher@2"]
    assert outcome.answers.failed == 0
    assert "swap" in outcome.parts_s
    assert "refused: demo-teacher@2 is not shown to be better than demo-teacher@1" in said
    assert "alias teacher/demo -> demo-teacher@2" in said
