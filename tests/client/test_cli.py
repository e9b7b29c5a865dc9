import importlib.metadata
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

from rlt_client.cli import main
from rlt_client.cli.arguments import hoisted
from tests.client.conftest import Canned

Bodies = Callable[..., dict[str, Any]]
Problems = Callable[..., httpx.Response]
Rlt = Callable[..., int]


@pytest.fixture
def rlt(server: Canned) -> Rlt:
    """Run the command on canned answers; gives its exit code."""

    def run(*arguments: str) -> int:
        with pytest.raises(SystemExit) as ended:
            main(["--base-url", "http://rlt.test", *arguments], transport=server.transport())
        code = ended.value.code
        return code if isinstance(code, int) else 0

    return run


def test_the_version_is_the_package_s(rlt: Rlt, capsys: pytest.CaptureFixture[str]) -> None:
    assert rlt("--version") == 0
    assert capsys.readouterr().out == f"rlt {importlib.metadata.version('rlt')}\n"


@pytest.mark.parametrize(
    "command",
    [
        "up",
        "demo",
        "backup",
        "restore",
        "keys",
        "explain",
        "score",
        "solve",
        "train",
        "jobs",
        "datasets",
        "evaluations",
        "teachers",
        "students",
    ],
)
def test_every_command_explains_itself(rlt: Rlt, capsys: pytest.CaptureFixture[str], command: str) -> None:
    assert rlt(command, "--help") == 0
    assert "Usage: rlt" in capsys.readouterr().out


def test_explain_prints_the_text_and_who_wrote_it(
    rlt: Rlt, server: Canned, make_explanations: Bodies, capsys: pytest.CaptureFixture[str]
) -> None:
    server.says(httpx.Response(200, json=make_explanations(version="algebra@3", text="[bold]Add[/bold] them.")))
    assert rlt("explain", "-q", "2 + 3?", "-s", "5", "-n", "2", "--seed", "1") == 0
    out = capsys.readouterr().out
    assert "[bold]Add[/bold] them." in out
    assert "algebra@3 · fake 1" in out
    assert server.body() == {"question": "2 + 3?", "solution": "5", "n": 2, "seed": 1}


def test_a_dry_run_is_shown_with_what_each_estimate_is_made_of(
    rlt: Rlt, server: Canned, make_job: Bodies, capsys: pytest.CaptureFixture[str]
) -> None:
    estimate = {"value": 1.5e9, "basis": "[weights] and more"}
    names = ("generated_tokens", "scored_tokens", "trained_tokens", "generate_s", "score_s", "train_s", "total_s")
    body = {
        "spec": make_job()["spec"],
        "dataset_rows": 10,
        "train_rows": 8,
        "held_out_rows": {"gate": 2, "report": 0},
        "teacher": "algebra@3",
        "student": "base@0",
        "lengths": {
            "rows": 8,
            "looked_at": 8,
            "mean_tokens": 100.2,
            "longest_tokens": 150,
            "limit_tokens": 900,
            "too_long": 0,
        },
        "rehearsal": {"rows": [{"row": "r1", "reward": -0.5, "r_ss": -0.4, "r_kl": 0.1, "well_formed": True}]},
        "estimates": {
            **{name: {"value": None, "basis": "nothing was measured"} for name in names},
            "memory_bytes": estimate,
            "disk_bytes": estimate,
        },
        "warnings": ["less room than that"],
    }
    server.says(httpx.Response(200, json=body), httpx.Response(200, json=body))
    assert rlt("train", "--kind", "rl", "--dataset", "ds_1", "--target", "algebra", "--dry-run") == 0
    out = capsys.readouterr().out
    for said in ("8 of 10 rows", "2 gate", "r1", "-0.500", "1.50 GB", "[weights] and more", "not known", "less room"):
        assert said in out
    assert "nothing was started" in out
    assert rlt("train", "--kind", "rl", "--dataset", "ds_1", "--target", "algebra", "--dry-run", "--json") == 0
    assert json.loads(capsys.readouterr().out)["train_rows"] == 8


def test_a_dry_run_of_a_collect_says_how_much_there_is_to_explain(
    rlt: Rlt, server: Canned, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {"spec": {"kind": "collect", "dataset": "ds_1"}, "dataset_rows": 8, "train_rows": 8, "held_out_rows": {}}
    server.says(httpx.Response(200, json=body))
    assert rlt("train", "--kind", "collect", "--dataset", "ds_1", "--set", "keep=best", "--dry-run") == 0
    assert server.body() == {"kind": "collect", "dataset": "ds_1", "keep": "best"}
    assert "collect: 8 questions to explain" in capsys.readouterr().out


def test_a_collect_shows_what_became_of_its_questions(
    rlt: Rlt, server: Canned, make_job: Bodies, capsys: pytest.CaptureFixture[str]
) -> None:
    skipped = {"row": "r9", "reason": "too_long", "message": "900 tokens"}
    result = {"dataset": "ds_2", "counts": {"questions": 8, "failed": 0, "rows": 7}, "skipped": [skipped]}
    spec = {"kind": "collect", "dataset": "ds_1"}
    job = make_job() | {"kind": "collect", "status": "succeeded", "spec": spec, "output": "ds_2", "result": result}
    server.says(httpx.Response(200, json=job))
    assert rlt("jobs", "show", "job_1") == 0
    out = capsys.readouterr().out
    assert "collect on ds_1 for ds_2" in out
    assert "questions 8, rows 7" in out
    assert "left out: r9 (too_long): 900 tokens" in out


def test_a_pipeline_shows_its_steps_those_that_were_taken_over_first(
    rlt: Rlt, server: Canned, make_job: Bodies, capsys: pytest.CaptureFixture[str]
) -> None:
    rl = {"kind": "rl", "dataset": "ds_1", "target_name": "algebra", "teacher": "$warmup.teacher"}
    warmup = {"kind": "warmup", "role": "teacher", "dataset": "ds_1", "target_name": "algebra"}
    spec = {"kind": "pipeline", "steps": [{"id": "warmup", "spec": warmup}, {"id": "rl", "spec": rl}], "rounds": 2}
    taken = {
        "step": "warmup",
        "round": 1,
        "kind": "warmup",
        "job": "job_old",
        "status": "succeeded",
        "taken_over": True,
    }
    result = {"steps": [taken], "teacher": "algebra@1"}
    job = make_job() | {"kind": "pipeline", "status": "failed", "spec": spec, "result": result}
    steps = [
        make_job() | {"id": f"job_{name}", "status": status, "pipeline": {"job": "job_1", "step": name, "round": 1}}
        for name, status in (("later", "queued"), ("rl", "succeeded"))
    ]
    pages = [{"data": [steps[0]], "has_more": True, "last_id": "job_later"}, {"data": [steps[1]], "has_more": False}]
    server.says(httpx.Response(200, json=job), *(httpx.Response(200, json=page) for page in pages))
    assert rlt("jobs", "show", "job_1") == 0
    out = capsys.readouterr().out
    assert "pipeline of 2 steps, 2 rounds" in out
    assert [line.split()[-1] for line in out.splitlines() if "job_" in line][:3] == ["job_old", "job_rl", "job_later"]
    assert dict(server.requests[1].url.params) == {"pipeline": "job_1", "limit": "100"}
    assert server.requests[2].url.params["after"] == "job_later"


def test_a_step_says_whose_it_is(
    rlt: Rlt, server: Canned, make_job: Bodies, capsys: pytest.CaptureFixture[str]
) -> None:
    step = make_job() | {"pipeline": {"job": "job_1", "step": "rl", "round": 2}}
    server.says(httpx.Response(200, json=step), httpx.Response(200, json={"data": [step]}))
    assert rlt("jobs", "show", "job_2") == 0
    assert "rl of job_1, round 2" in capsys.readouterr().out
    assert rlt("jobs", "list", "--pipeline", "job_1") == 0
    assert server.requests[-1].url.params["pipeline"] == "job_1"


def test_a_dry_run_of_a_pipeline_says_what_is_not_known(
    rlt: Rlt, server: Canned, make_job: Bodies, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    collect = {"kind": "collect", "dataset": "ds_1"}
    distil = {"kind": "distill", "dataset": "$collect.dataset", "target_name": "pupil"}
    spec = {"kind": "pipeline", "steps": [{"id": "collect", "spec": collect}, {"id": "distil", "spec": distil}]}
    rows = {"dataset_rows": 8, "train_rows": 8, "held_out_rows": {}}
    steps = [
        {"step": "collect", "dry_run": {"spec": collect} | rows, "unknown": []},
        {"step": "distil", "dry_run": None, "unknown": ["$collect.dataset"]},
    ]
    server.says(httpx.Response(200, json={"spec": spec, "steps": steps} | rows))
    path = tmp_path / "pipeline.json"
    path.write_text(json.dumps(spec))
    assert rlt("train", "--spec", str(path), "--dry-run") == 0
    assert server.body() == spec
    out = capsys.readouterr().out
    assert "collect: collect, 8 rows" in out
    assert "distil: not known yet: $collect.dataset" in out


def test_datasets_download_writes_a_file(
    rlt: Rlt, server: Canned, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = {"id": "ds_1", "created_at": "2030-01-01T00:00:00Z", "rows": 1, "size_bytes": 9, "sha256": "0" * 64}
    server.says(httpx.Response(200, json=dataset | {"columns": []}), httpx.Response(200, content=b'{"a": 1}\n'))
    assert rlt("datasets", "download", "ds_1", str(tmp_path / "rows.jsonl"), "--format", "messages") == 0
    assert (tmp_path / "rows.jsonl").read_bytes() == b'{"a": 1}\n'
    assert server.requests[-1].url.raw_path == b"/v1/datasets/ds_1/download?format=messages"
    assert "9 bytes" in capsys.readouterr().out


def test_json_is_the_whole_answer(
    rlt: Rlt, server: Canned, make_explanations: Bodies, capsys: pytest.CaptureFixture[str]
) -> None:
    server.says(httpx.Response(200, json=make_explanations()))
    assert rlt("explain", "-q", "q", "-s", "s", "--json") == 0
    assert json.loads(capsys.readouterr().out)["explanations"][0]["text"] == "Add them."


SCORES = {
    "id": "score_1",
    "created_at": "2030-01-01T00:00:00Z",
    "student": {"version": "base@0"},
    "teacher": {"version": "algebra@3"},
    "format": "stratos@1",
    "engine": {"name": "fake", "version": "1"},
    "terms": ["solution", "kl", "format"],
    "reward": {},
    "scores": [
        {
            "index": 0,
            "reward": -0.422,
            "r_ss": -0.062,
            "r_kl": 0.36,
            "format": 0.0,
            "well_formed": True,
            "uplift": 1.79,
            "solution": {"mean": -0.06, "min": -0.2, "sum": -0.3, "tokens": 5},
            "tokens": [
                {"segment": "explanation", "text": " so", "id": 7, "logprob": -4, "teacher_logprob": -0.5, "kl": 3.5},
                {"segment": "solution", "text": "5", "id": 8, "logprob": -0.06},
            ],
        }
    ],
    "usage": {"prompt_tokens": 9},
}


def test_score_lists_every_token_where_there_are_no_colours(
    rlt: Rlt, server: Canned, capsys: pytest.CaptureFixture[str]
) -> None:
    server.says(httpx.Response(200, json=SCORES))
    assert rlt("score", "-q", "q", "-s", "5", "-e", "so", "--teacher", "algebra") == 0
    out = capsys.readouterr().out
    assert "reward -0.4220  (r_ss -0.0620, r_kl 0.3600, format 0, uplift +1.7900)" in out
    assert [line.split() for line in out.splitlines() if "' so'" in line] == [
        ["explanation", "'", "so'", "-4.000", "-0.500", "3.500"]
    ]
    assert "student base@0, teacher algebra@3" in out
    assert server.body()["include"] == ["tokens"]


def test_a_refusal_names_the_field_the_code_and_the_request(
    rlt: Rlt, server: Canned, make_problem: Problems, capsys: pytest.CaptureFixture[str]
) -> None:
    server.says(make_problem(404, "model_not_found", "no teacher 'x'", param="/teacher"))
    assert rlt("explain", "-q", "q", "-s", "s", "--teacher", "x") == 3
    said = capsys.readouterr().err
    assert "no teacher 'x' (404 model_not_found, request req_1)" in said
    assert "at /teacher" in said
    assert "Traceback" not in said


def test_bad_lines_of_an_upload_are_listed(
    rlt: Rlt, server: Canned, make_problem: Problems, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    server.says(make_problem(422, "invalid_dataset", "1 bad line", lines=[{"line": 1, "message": "no question"}]))
    assert rlt("datasets", "upload", str(tmp_path / "rows.jsonl")) == 2
    assert "line 1: no question" in capsys.readouterr().err


def test_no_server_says_rlt_up(rlt: Rlt, server: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    server.says(httpx.ConnectError("refused"))
    assert rlt("jobs", "list") == 5
    assert "rlt up" in capsys.readouterr().err


def test_wrong_usage_ends_with_2(rlt: Rlt, capsys: pytest.CaptureFixture[str]) -> None:
    assert rlt("explain", "-q", "q") == 2
    assert "--solution" in capsys.readouterr().err


def test_train_takes_a_file_and_flags_go_over_it(rlt: Rlt, server: Canned, make_job: Bodies, tmp_path: Path) -> None:
    spec = tmp_path / "job.toml"
    spec.write_text('kind = "rl"\ndataset = "ds_1"\ntarget_name = "a"\nsteps = 3\n[reward]\nkl_mean = 1.0\n')
    server.says(httpx.Response(202, json=make_job()))
    arguments = ("--steps", "9", "--set", "reward.kl_max=0.5", "--set", "promote.when=if_better", "--set", "beta=0")
    assert rlt("train", "--spec", str(spec), *arguments) == 0
    assert server.body() == {
        "kind": "rl",
        "dataset": "ds_1",
        "target_name": "a",
        "steps": 9,
        "reward": {"kl_mean": 1.0, "kl_max": 0.5},
        "promote": {"when": "if_better"},
        "beta": 0,
    }


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [("job.json", "{", "is not JSON"), ("job.toml", "x", "is not TOML"), ("job.json", "[]", "holds a list")],
)
def test_a_spec_that_cannot_be_read_is_wrong_usage(
    rlt: Rlt, tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, text: str, said: str
) -> None:
    (tmp_path / name).write_text(text)
    assert rlt("train", "--spec", str(tmp_path / name)) == 2
    assert said in " ".join(capsys.readouterr().err.replace("│", "").split())


def test_a_setting_without_a_value_is_wrong_usage(rlt: Rlt, capsys: pytest.CaptureFixture[str]) -> None:
    assert rlt("train", "--kind", "rl", "--set", "steps") == 2
    assert "FIELD=VALUE" in capsys.readouterr().err


def test_watching_a_job_that_fails_ends_with_4_and_says_why(
    rlt: Rlt, server: Canned, make_job: Bodies, capsys: pytest.CaptureFixture[str]
) -> None:
    error = {"code": "out_of_memory", "message": "no memory", "log_tail": "last words"}
    data = {"step": 1, "total": 4, "metrics": {"reward": 0.5}}
    head = {"seq": 1, "job_id": "job_1", "attempt": 1, "created_at": "2030-01-01T00:00:00Z", "type": "progress"}
    server.says(httpx.Response(200, json=make_job("failed", error=error)))
    server.says(httpx.Response(200, json={"data": [{**head, "data": data}]}))
    assert rlt("jobs", "watch", "job_1") == 4
    out = capsys.readouterr().out
    assert "step 1/4  reward 0.5" in out
    assert "no memory (out_of_memory)" in out
    assert "last words" in out


def test_logs_are_printed_as_they_stand(rlt: Rlt, server: Canned, capsys: pytest.CaptureFixture[str]) -> None:
    server.says(httpx.Response(200, text="[a] line\n"))
    assert rlt("jobs", "logs", "job_1") == 0
    assert capsys.readouterr().out == "[a] line\n"


def test_promote_expects_what_the_alias_points_at_now(
    rlt: Rlt, server: Canned, capsys: pytest.CaptureFixture[str]
) -> None:
    alias = {"role": "teacher", "alias": "default", "version": "base@0", "updated_at": "2030-01-01T00:00:00Z"}
    other = {**alias, "role": "student", "version": "other@1"}
    server.says(httpx.Response(200, json={"data": [other, alias]}))
    server.says(httpx.Response(200, json={**alias, "version": "algebra@3"}))
    assert rlt("teachers", "promote", "algebra@3", "--evaluation", "eval_1") == 0
    expected = {"version": "algebra@3", "expected": "base@0", "gate": "if_better", "evaluation": "eval_1"}
    assert server.body() == expected
    assert capsys.readouterr().out == "default: base@0 -> algebra@3\n"


def test_rolling_an_unknown_alias_back_is_refused_before_asking(
    rlt: Rlt, server: Canned, capsys: pytest.CaptureFixture[str]
) -> None:
    server.says(httpx.Response(200, json={"data": []}))
    assert rlt("students", "rollback", "--alias", "demo") == 3
    assert "no alias demo of a student" in capsys.readouterr().err


def test_the_server_of_rlt_up_is_found_by_its_note(
    server: Canned, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server.json").write_text(json.dumps({"pid": os.getpid(), "address": "http://127.0.0.1:9123"}))
    monkeypatch.setenv("RLT_HOME", str(tmp_path))
    monkeypatch.delenv("RLT_BASE_URL", raising=False)
    server.says(httpx.Response(200, json={"data": []}))
    with pytest.raises(SystemExit):
        main(["jobs", "list"], transport=server.transport())
    assert str(server.requests[0].url).startswith("http://127.0.0.1:9123/v1/jobs")


@pytest.mark.parametrize(("status", "code"), [(409, 1), (422, 2), (404, 3), (429, 5), (503, 5), (401, 6), (403, 6)])
def test_a_refusal_ends_with_the_code_of_its_kind(
    rlt: Rlt, server: Canned, make_problem: Problems, status: int, code: int
) -> None:
    server.says(make_problem(status, "some_code", "no"))
    assert rlt("--api-key", "rlt_k", "jobs", "list") == code
    assert server.requests[0].headers["Authorization"] == "Bearer rlt_k"


@pytest.mark.parametrize("named", [None, "http://rlt.test"])
def test_demo_hands_its_options_over(rlt: Rlt, monkeypatch: pytest.MonkeyPatch, named: str | None) -> None:
    became: list[list[str]] = []
    monkeypatch.setattr(os, "execv", lambda _path, arguments: became.append(list(arguments)))
    monkeypatch.delenv("RLT_BASE_URL", raising=False)
    if named:
        monkeypatch.setenv("RLT_BASE_URL", named)
    assert rlt("demo", "--seed", "3", "--home", "here") == 0
    assert became[0][1:] == ["-m", "rlt_client.demo", "--home", "here", "--seed", "3"]


def test_the_root_s_options_may_stand_behind_a_command(rlt: Rlt, server: Canned) -> None:
    server.says(httpx.Response(200, json={"data": []}))
    assert rlt("jobs", "list", "--base-url=http://other.test", "--api-key", "rlt_k") == 0
    assert server.requests[0].url.host == "other.test"
    assert server.requests[0].headers["Authorization"] == "Bearer rlt_k"


def test_what_follows_two_dashes_stays_where_it_is() -> None:
    assert hoisted(["a", "--api-key", "k", "--", "--base-url", "x"]) == ["--api-key", "k", "a", "--", "--base-url", "x"]
    assert hoisted(["a", "--base-url"]) == ["--base-url", "a"]
