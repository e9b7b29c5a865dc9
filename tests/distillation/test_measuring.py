"""From a server's answers to rows, from rows to distil.json and the page: the experiment's path, on the fake engine."""

import json
from dataclasses import asdict
from pathlib import Path

import pytest

from benchmarks.distillation.figures import PUBLISHED
from benchmarks.distillation.measuring import measured, token_lengths
from benchmarks.distillation.page import BEGIN, END, write_page
from benchmarks.distillation.plan import OWN, Asked, Plan
from benchmarks.distillation.questions import uploaded
from benchmarks.experiment.tasks import arithmetic
from rlt_client import Client
from tests.support.app_transport import AppTransport
from tests.support.control import control_app
from tests.train.evaluating.test_run import Bench

TASK = arithmetic(3)
REPORT = TASK.rows(3, 0)
PLAN = Plan(seeds=(0,), rlvr_from=()).on(TASK.name)


def test_what_a_server_measured_is_what_is_published(tmp_path: Path) -> None:
    folder = tmp_path / "docs" / "results" / "distil"
    folder.mkdir(parents=True)
    page = folder.parents[1] / "results.md"
    page.write_text(f"{BEGIN}\n{END}\n", encoding="utf-8")
    whence = {"commit": "abc", "date": "2030-01-01", "machine": "a laptop"}
    (folder / "run.json").write_text(json.dumps({"plan": asdict(PLAN)} | whence), encoding="utf-8")
    with (
        control_app(tmp_path / "home", max_model_len=1024, service_url="http://app") as control,
        Client("http://localhost", transport=AppTransport(control.http)) as client,
    ):
        control.version("pupil", role="student")
        bench = Bench(control=control, client=client)
        dataset = control.upload([uploaded(row) for row in REPORT])
        asked = Asked(max_tokens=200, verdict="exact")  # math-verify is for trainers
        right: dict[str, float] = {}
        version, made = OWN, None
        for arm in PUBLISHED:
            version = "pupil@1" if arm == OWN else control.services.registry.base("student").version
            made = bench.whole(**PLAN.evaluate_spec(model=version, dataset=dataset, asked=asked)).evaluation
            assert made is not None
            right[arm] = client.evaluations.measured(made).figures[f"mean@{PLAN.samples}"].mean
            found = list(measured(client, REPORT, evaluation=made, version=version, arm=arm, seed=0))
            assert [(row["question_id"], row["version"], len(row["each_logprob"])) for row in found] == [
                (row.id, version, PLAN.samples) for row in REPORT
            ]
            (folder / f"{arm}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in found), encoding="utf-8")
        assert made is not None
        lengths = token_lengths(client, REPORT, thoughts=[row.trace for row in REPORT], student=version)
        assert all(length > len(row.trace) // 8 for length, row in zip(lengths, REPORT, strict=True))
        with pytest.raises(ValueError, match="no answers to 1 questions"):
            list(measured(client, TASK.rows(4, 0), evaluation=made, version=version, arm="rl", seed=0))
    write_page(folder)
    published = json.loads((folder.parent / "distil.json").read_text(encoding="utf-8"))
    assert {arm: one["accuracy"] for arm, one in published["arms"].items()} == pytest.approx(right)
    assert all(one["solution_logprob"] < 0.0 for one in published["arms"].values())
    assert (published["seeds"], published["questions"], published["commit"]) == ([0], 3, "abc")
    assert f"| {OWN} | {published['arms'][OWN]['solution_logprob']:.3f} " in page.read_text(encoding="utf-8")
