"""Pilot and main run from the first question to the last row: the real app, a worker, a trainer that trains nothing."""

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks.experiment import pilot
from benchmarks.experiment.arms import Arm, Datasets, Models, Plan
from benchmarks.experiment.protocol import run_arms
from benchmarks.experiment.session import OutOfTimeError, Session
from benchmarks.experiment.tasks import arithmetic, divided
from rlt_client import Client
from tests.support.app_transport import AppTransport
from tests.support.control import Control
from tests.support.worked import worked_app

TASK = arithmetic(3)


@dataclass(frozen=True, slots=True, kw_only=True)
class StubPlan(Plan):
    """A plan whose jobs are done by the stub trainer."""

    main_seeds: tuple[int, ...] = (0, 1)
    sweep: tuple[float, ...] = (0.1,)
    pilot_questions: int = 8
    pilot_held_out: int = 3
    train_questions: int = 8
    select_questions: int = 2
    gate_questions: int = 2
    report_questions: int = 3

    def warmup_spec(self, *, role: str, dataset: str, target: str) -> dict[str, Any]:
        return Plan.warmup_spec(self, role=role, dataset=dataset, target=target) | {"name": "ok"}

    def rl_spec(self, arm: Arm, *, seed: int, data: Datasets, models: Models, max_tokens: int) -> dict[str, Any]:
        spec = Plan.rl_spec(self, arm, seed=seed, data=data, models=models, max_tokens=max_tokens)
        return spec | {"name": "gate"}


def session_of(control: Control, folder: Path, *, minutes: float = 2.0) -> Session:
    (folder / "work").mkdir(exist_ok=True)
    client = Client("http://app", transport=AppTransport(control.http))
    until_s = time.monotonic() + 60.0 * minutes
    return Session(client, work=folder / "work", out=folder / "out", until_s=until_s, poll_s=0.05)


def rows_of(folder: Path) -> dict[str, list[dict[str, Any]]]:
    return {
        path.stem: [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        for path in sorted((folder / "out").glob("*.jsonl"))
    }


def test_every_arm_and_seed_is_trained_and_measured_on_the_report_questions(tmp_path: Path) -> None:
    plan = StubPlan()
    with worked_app(tmp_path / "home") as control:
        run_arms(session_of(control, tmp_path), plan=plan, task=TASK)
        jobs = len(control.services.jobs.list(limit=100).data)
        run_arms(session_of(control, tmp_path), plan=plan, task=TASK)
        assert len(control.services.jobs.list(limit=100).data) == jobs == 2 + 5
    found = rows_of(tmp_path)
    arms = {"rl-0", "rl-1", "kl-0.1-0", "no-min-max-0", "sparse-0"}
    assert set(found) == {"base", "warm-up", "worked-solution", "bare-solution", *arms}
    report = [row.id for row in divided(TASK, sizes=plan.sizes(), seed=0)["report"]]
    assert all([row["question_id"] for row in rows] == report for rows in found.values())
    assert {row["version"] for row in found["rl-1"]} == {"rl-seed-1@1"}
    assert all(row["verbatim"] for row in found["bare-solution"])
    assert all(row["steps_right"] and row["reward"] is None for row in found["worked-solution"])
    assert {path.stem for path in (tmp_path / "out" / "training").iterdir()} == arms
    told = json.loads((tmp_path / "out" / "training" / "rl-0.json").read_text(encoding="utf-8"))
    assert (told["gate"]["before"], told["gate"]["after"]) == ("warm-teacher@1", "rl-seed-0@1")
    assert told["spec"]["splits"]["gate"].startswith("ds_")


def test_another_state_makes_only_what_has_no_rows_and_holds_its_student_against_them(tmp_path: Path) -> None:
    plan = StubPlan(main_seeds=(0,), sweep=())
    with worked_app(tmp_path / "home") as control:
        run_arms(session_of(control, tmp_path), plan=plan, task=TASK)
    (tmp_path / "out" / "sparse-0.jsonl").unlink()
    shutil.rmtree(tmp_path / "work")
    with worked_app(tmp_path / "other") as control:
        run_arms(session_of(control, tmp_path), plan=plan, task=TASK)
        assert len(control.services.jobs.list(limit=100).data) == 3
        assert "sparse-0" in rows_of(tmp_path)
        known = rows_of(tmp_path)["worked-solution"]
        moved = [json.dumps(row | {"solution_mean": row["solution_mean"] - 0.1}) for row in known]
        (tmp_path / "out" / "worked-solution.jsonl").write_text("\n".join(moved), encoding="utf-8")
        notes = json.loads((tmp_path / "work" / "notes.json").read_text(encoding="utf-8"))
        assert notes.pop("student") == "0.000000"
        (tmp_path / "work" / "notes.json").write_text(json.dumps(notes), encoding="utf-8")
        with pytest.raises(RuntimeError, match="nats apart"):
            run_arms(session_of(control, tmp_path), plan=plan, task=TASK)


def test_a_run_whose_time_is_over_begins_nothing_and_goes_on_later(tmp_path: Path) -> None:
    plan = StubPlan(main_seeds=(), sweep=())
    with worked_app(tmp_path / "home") as control:
        with pytest.raises(OutOfTimeError):
            run_arms(session_of(control, tmp_path, minutes=0.0), plan=plan, task=TASK)
        assert control.services.datasets.list().data == []
        run_arms(session_of(control, tmp_path), plan=plan, task=TASK)
    assert {"no-min-max-0", "sparse-0"} < set(rows_of(tmp_path))


def test_the_pilot_keeps_its_rows_and_computes_its_choice_from_them(tmp_path: Path) -> None:
    plan = StubPlan()
    with worked_app(tmp_path / "home") as control:
        pilot.run_pilot(session_of(control, tmp_path), plan=plan, tasks={TASK.name: TASK})
    read = pilot.read_rows(tmp_path / "out")
    assert {row["arm"] for row in read[TASK.name]} == {"base", "warm-up", "worked solution", "bare solution"}
    held_out = {row.id for row in divided(TASK, sizes=plan.sizes(), seed=0)["pilot_held_out"]}
    assert {row["question_id"] for row in read[TASK.name]} == held_out
    assert pilot.figures_of(read)["tasks"][TASK.name]["questions"] == 3


def test_rows_of_a_pilot_whose_student_is_gone_are_not_joined_by_those_of_another(tmp_path: Path) -> None:
    plan, out = StubPlan(), tmp_path / "out"
    out.mkdir()
    (out / f"{TASK.name}-base.jsonl").write_text('{"arm": "base", "question_id": "of another student"}\n')
    with worked_app(tmp_path / "home") as control:
        pilot.run_pilot(session_of(control, tmp_path), plan=plan, tasks={TASK.name: TASK})
    [rows] = pilot.read_rows(out).values()
    assert len(rows) == 4 * 3
    assert "of another student" not in {row["question_id"] for row in rows}
