"""`rlt train`: flags made of the specs, files, both; what a dry run says; queueing and watching."""

import json
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from rlt_client.cli.exit_codes import ExitCode
from rlt_client.cli.spec_fields import fields_of
from rlt_core.schemas.jobs import SPECS
from tests.cli.conftest import Ended, Rlt
from tests.support.cli_page import commands
from tests.support.control import Control

Good = Callable[..., Ended]


@pytest.fixture(scope="module")
def dataset(control: Control) -> str:
    return control.upload()


@pytest.mark.parametrize("kind", SPECS)
def test_each_kind_has_an_option_for_every_field_that_says_what_it_means(kind: str) -> None:
    [command] = [one for one in commands() if one.path == f"rlt train {kind}"]
    shown = {name for row in command.rows for name in row.names}
    fields = list(fields_of(SPECS[kind]))
    wanted = {"--target" if field.path == ("target_name",) else field.option for field in fields}
    assert wanted <= shown
    assert {field.path[0] for field in fields} == set(SPECS[kind].model_fields) - {"kind"}
    assert [field.option for field in fields if not field.words or field.words.startswith("[")] == []


def test_the_help_of_a_kind_fits_80_columns(good: Good) -> None:
    shown = good("train", "rl", "--help").out
    for part in ("--lora.rank", "--promote.when", "--no-unbiased-kl", "if_better", "default 16; from 1 to 512"):
        assert part in " ".join(shown.replace("│", " ").split())
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "…" not in shown.partition("Fields of the job")[2]


def test_flags_become_the_fields_that_they_name(dataset: str, good: Good) -> None:
    options = ("--dataset", dataset, "--target", "algebra", "--role", "teacher", "--max-steps", "2")
    inside = ("--lora.rank", "4", "--lora.targets", "q_proj", "--lora.targets", "v_proj", "--splits.gate", "0.2")
    more = ("--gradient-checkpointing", "--report-to", "wandb", "--report-to", "trackio", "--schedule", "linear")
    spec = good("train", "warmup", *options, *inside, *more, "--dry-run", "--json").json["spec"]
    assert (spec["target_name"], spec["max_steps"], spec["schedule"]) == ("algebra", 2, "linear")
    assert (spec["lora"]["rank"], spec["lora"]["targets"], spec["splits"]["gate"]) == (4, ["q_proj", "v_proj"], 0.2)
    assert (spec["gradient_checkpointing"], spec["report_to"]) == (True, ["wandb", "trackio"])


def test_one_of_what_may_be_several_is_sent_as_itself(control: Control, dataset: str, good: Good) -> None:
    judge = control.version("judge", role="student", seed=2)
    call = ("train", "rl", "--dataset", dataset, "--target", "algebra", "--no-unbiased-kl", "--dry-run", "--json")
    spec = good(*call, "--student", judge).json["spec"]
    assert (spec["student"], spec["unbiased_kl"]) == (judge, False)
    assert good(*call, "--student", "default", "--student", judge).json["spec"]["student"] == ["default", judge]


def test_flags_go_over_a_file_field_by_field_and_set_over_both(dataset: str, good: Good, tmp_path: Path) -> None:
    file = tmp_path / "job.json"
    file.write_text(json.dumps({"dataset": dataset, "target_name": "a", "steps": 3, "reward": {"kl_mean": 1.0}}))
    call = ("train", "rl", "--spec", str(file), "--steps", "4", "--reward.kl-max", "0.5", "--set", "lora=null")
    spec = good(*call, "--dry-run", "--json").json["spec"]
    assert (spec["target_name"], spec["steps"], spec["lora"]) == ("a", 4, None)
    assert (spec["reward"]["kl_mean"], spec["reward"]["kl_max"]) == (1.0, 0.5)


def test_a_dry_run_says_what_was_looked_at_and_starts_nothing(dataset: str, good: Good) -> None:
    before = len(good("jobs", "list", "--json", "--limit", "100").json["data"])
    shown = good("train", "rl", "--dataset", dataset, "--target", "algebra", "--dry-run").out
    assert "rl for algebra: " in shown
    assert "estimates:" in shown
    assert "nothing was started" in shown
    assert len(good("jobs", "list", "--json", "--limit", "100").json["data"]) == before


def test_a_job_is_queued_and_watched_to_its_end(
    dataset: str, control: Control, good: Good, rlt: Rlt, monkeypatch: pytest.MonkeyPatch
) -> None:
    call = ("train", "rl", "--dataset", dataset, "--target", "algebra", "--steps", "1")
    job = good(*call, "--json").json
    assert (job["status"], job["spec"]["steps"]) == ("queued", 1)
    said = good(*call).out
    assert "queued; follow it with `rlt jobs watch job_" in said

    def cancel(_seconds: float) -> None:
        newest = control.http.get("/v1/jobs?limit=1").json()["data"][0]["id"]
        control.services.jobs.cancel(newest)

    monkeypatch.setattr(time, "sleep", cancel)
    watched = rlt(*call, "--watch")
    assert watched.code == ExitCode.JOB
    assert "cancelled" in watched.out
    ended = rlt(*call, "--watch", "--json")
    assert (ended.code, ended.json["status"]) == (ExitCode.JOB, "cancelled")
    for one in (job["id"], said.split()[0]):
        control.services.jobs.cancel(one)


def test_a_field_that_the_server_refuses_is_pointed_at(dataset: str, rlt: Rlt) -> None:
    ended = rlt("train", "rl", "--dataset", dataset, "--target", "algebra", "--lora.rank", "0")
    assert ended.code == ExitCode.USAGE
    assert "/lora/rank" in ended.err


def test_options_before_a_kind_are_refused(rlt: Rlt) -> None:
    ended = rlt("train", "--dataset", "ds_1", "rl", "--target", "algebra")
    assert ended.code == ExitCode.USAGE
    assert "behind `rl`" in ended.err
