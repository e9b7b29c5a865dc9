"""POST /v1/train: what is accepted, what a dry run says, and every refusal before anything starts."""

from collections.abc import Iterator
from typing import Any

import pytest

from rlt_core.errors import InvalidRequestError
from rlt_core.schemas.jobs import RlSpec
from rlt_service.control.submission import Submission
from tests.support.control import ROWS, Control, check_problem, control_app


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory, module_database_url: str) -> Iterator[Control]:
    with control_app(
        tmp_path_factory.mktemp("home"), database_url=module_database_url, max_model_len=1024, max_lora_rank=32
    ) as made:
        yield made


@pytest.fixture(scope="module")
def dataset(control: Control) -> str:
    return control.upload()


@pytest.fixture(scope="module")
def plain_dataset(control: Control) -> str:
    return control.upload({"question": row["question"], "solution": row["solution"]} for row in ROWS)


def rl(dataset: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "rl", "dataset": dataset, "target_name": "algebra", **fields}


def warmup(dataset: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "warmup", "role": "teacher", "dataset": dataset, "target_name": "algebra", **fields}


def job_count(control: Control) -> int:
    return sum(control.services.jobs.counts().values())


@pytest.mark.parametrize("path", ["/v1/train", "/train"])
def test_a_job_is_accepted_stored_and_located(control: Control, dataset: str, path: str) -> None:
    answer = control.http.post(path, json=rl(dataset, name="first", steps=3))
    assert answer.status_code == 202
    job = answer.json()
    assert answer.headers["location"] == f"/v1/jobs/{job['id']}"
    assert (job["status"], job["kind"], job["name"], job["progress"]["total"]) == ("queued", "rl", "first", 3)
    assert control.http.get(answer.headers["location"]).json() == job


def test_a_dry_run_says_what_the_job_would_be_and_starts_nothing(control: Control, dataset: str) -> None:
    before = job_count(control)
    spec = rl(dataset, splits={"gate": 0.3, "report": 0.2}, max_tokens=100)
    answer = control.http.post("/v1/train?dry_run=true", json=spec)
    assert answer.status_code == 200
    assert "location" not in answer.headers
    found = answer.json()
    base = control.services.registry.base().version
    assert (found["dataset_rows"], found["train_rows"]) == (10, 5)
    assert found["held_out_rows"] == {"select": 0, "gate": 3, "report": 2}
    assert (found["teacher"], found["student"]) == (base, base)
    assert found["spec"]["max_tokens"] == 100
    assert job_count(control) == before


def test_a_job_may_wait_for_a_time_of_any_zone(control: Control, dataset: str) -> None:
    answer = control.http.post("/v1/train", json=rl(dataset, not_before="2040-01-01T01:00:00+01:00"))
    assert answer.json()["spec"]["not_before"] == "2040-01-01T00:00:00.000Z"


def test_the_longest_prompt_is_counted_in_tokens(control: Control) -> None:
    long = {"question": "why " * 50, "solution": "because"}
    dataset = control.upload([*ROWS, long])
    found = control.http.post("/v1/train?dry_run=true", json=rl(dataset)).json()
    host = control.services.host
    assert host is not None
    prompt = host.ready().codec.teacher_sequence(question=long["question"], solution=long["solution"])
    assert found["longest_prompt_tokens"] == len(prompt.token_ids)


def test_a_warmup_may_train_all_weights(control: Control, dataset: str) -> None:
    answer = control.http.post("/v1/train", json=warmup(dataset, lora=None))
    assert answer.status_code == 202, answer.text
    assert answer.json()["spec"]["lora"] is None


def test_a_warmup_may_choose_its_result_by_held_out_rows(control: Control, dataset: str) -> None:
    spec = warmup(dataset, splits={"select": 0.2}, eval_every=2, patience=1)
    found = control.http.post("/v1/train?dry_run=true", json=spec).json()
    assert (found["train_rows"], found["held_out_rows"]["select"]) == (8, 2)


def test_a_share_of_select_rows_that_comes_to_none_is_refused(control: Control, dataset: str) -> None:
    for make in (warmup, rl):
        answer = control.http.post("/v1/train", json=make(dataset, splits={"select": 0.01}, eval_every=2))
        assert "holds out none" in check_problem(answer, 422, "invalid_request", param="/splits/select")["detail"]


def test_select_rows_of_a_warmup_need_their_traces_too(control: Control, dataset: str) -> None:
    others = control.upload({"question": f"{n} + 2?", "solution": str(n + 2)} for n in range(3))
    spec = warmup(dataset, splits={"select": others}, eval_every=2)
    body = check_problem(control.http.post("/v1/train", json=spec), 422, "invalid_request", param="/splits/select")
    assert "3 of 3 rows have no reasoning_trace" in body["detail"]


def test_select_rows_that_are_trained_on_are_taken_out_of_training(control: Control, dataset: str) -> None:
    spec = warmup(dataset, splits={"select": dataset}, eval_every=2)
    body = check_problem(control.http.post("/v1/train", json=spec), 422, "invalid_request", param="/splits")
    assert "none is left to train on" in body["detail"]


def test_a_warmup_counts_rows_and_names_no_players(control: Control, dataset: str) -> None:
    found = control.http.post("/v1/train?dry_run=true", json=warmup(dataset, splits={"gate": 0.2})).json()
    assert (found["train_rows"], found["held_out_rows"]["gate"]) == (8, 2)
    assert (found["teacher"], found["student"], found["longest_prompt_tokens"]) == (None, None, None)


def test_a_split_may_name_another_dataset(control: Control, dataset: str) -> None:
    gate = control.upload(ROWS[:3])
    found = control.http.post("/v1/train?dry_run=true", json=rl(dataset, splits={"gate": gate})).json()
    assert (found["train_rows"], found["held_out_rows"]["gate"]) == (7, 3)


@pytest.mark.parametrize("reference", ["name", "version", "model", "setting"])
def test_the_served_base_may_be_named_in_each_way(control: Control, dataset: str, reference: str) -> None:
    base = control.services.registry.base()
    names = {
        "name": base.version.partition("@")[0],
        "version": base.version,
        "model": base.base_model,
        "setting": control.services.settings.base_model,
    }
    spec = warmup(dataset, base_model=names[reference])
    assert control.http.post("/v1/train?dry_run=true", json=spec).status_code == 200


def test_the_spec_that_the_refusals_vary_is_itself_accepted(control: Control, dataset: str) -> None:
    assert control.http.post("/v1/train?dry_run=true", json=rl(dataset)).status_code == 200


def test_an_unknown_kind_is_answered_with_the_known_ones_and_the_nearest(control: Control, dataset: str) -> None:
    body = control.http.post("/v1/train", json=rl(dataset, kind="warmpu")).json()
    kinds = "warmup, rl, collect, distill, evaluate, rlvr and pipeline"
    assert body["detail"] == f"'warmpu' is no kind of job (did you mean warmup?): this server runs {kinds}"


def test_too_long_a_prompt_is_answered_with_both_lengths(control: Control, dataset: str) -> None:
    body = control.http.post("/v1/train", json=rl(dataset, max_tokens=1000)).json()
    assert "with max_tokens = 1000 that is" in body["detail"]
    assert "more than the 1024 that the engine holds" in body["detail"]


@pytest.mark.parametrize("body", ["[]", '"rl"', "3", "null", "true"])
def test_a_body_that_is_no_object_is_refused(control: Control, body: str) -> None:
    answer = control.http.post("/v1/train", content=body, headers={"Content-Type": "application/json"})
    assert (answer.status_code, answer.json()["code"]) == (422, "invalid_request")


def test_a_warmup_needs_a_reasoning_trace_in_every_row_that_it_trains_on(control: Control, plain_dataset: str) -> None:
    body = check_problem(control.http.post("/v1/train", json=warmup(plain_dataset)), 422, "invalid_request", "/dataset")
    assert "10 of 10 rows have no reasoning_trace, the first is 'row-1'" in body["detail"]
    assert control.http.post("/v1/train?dry_run=true", json=rl(plain_dataset)).status_code == 200


@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_warmup_that_would_drop_every_row_is_refused(control: Control, dataset: str, role: str) -> None:
    answer = control.http.post("/v1/train", json=warmup(dataset, role=role, max_tokens=16))
    check_problem(answer, 422, "invalid_request", "/max_tokens")
    fitting = warmup(dataset, role=role, max_tokens=1000)
    assert control.http.post("/v1/train?dry_run=true", json=fitting).status_code == 200


def test_a_result_cannot_take_the_name_of_the_base(control: Control, dataset: str) -> None:
    name = control.services.registry.base().version.partition("@")[0]
    check_problem(
        control.http.post("/v1/train", json=rl(dataset, target_name=name)), 422, "invalid_request", "/target_name"
    )


def test_a_result_may_be_the_next_version_of_a_trained_name(control: Control, dataset: str) -> None:
    control.version("geometry")
    answer = control.http.post("/v1/train?dry_run=true", json=rl(dataset, target_name="geometry", teacher="geometry"))
    assert answer.json()["teacher"] == "geometry@1"


def test_training_cannot_start_from_or_be_judged_by_a_version_of_another_base(control: Control, dataset: str) -> None:
    version = control.version("foreign", base_model="other")
    for role in ("teacher", "student"):
        answer = control.http.post("/v1/train", json=rl(dataset, **{role: version}))
        check_problem(answer, 422, "invalid_request", f"/{role}")


def test_a_promotion_cannot_make_an_alias_that_hides_versions(control: Control, dataset: str) -> None:
    control.version("number-theory")
    spec = rl(dataset, promote={"alias": "number-theory", "when": "always"})
    check_problem(control.http.post("/v1/train", json=spec), 422, "invalid_request", "/promote/alias")


def test_a_rank_other_than_that_of_the_adapter_it_continues_is_refused(control: Control, dataset: str) -> None:
    version = control.version("topology")
    spec = rl(dataset, teacher=version, lora={"rank": 8})
    check_problem(control.http.post("/v1/train", json=spec), 422, "invalid_request", "/lora/rank")
    for fitting in ({"lora": {"rank": 4}}, {}):
        assert (
            control.http.post("/v1/train?dry_run=true", json=rl(dataset, teacher=version, **fitting)).status_code == 200
        )


def test_a_split_whose_dataset_shares_all_questions_with_another_is_refused(control: Control, dataset: str) -> None:
    other = control.upload(ROWS[:3])
    spec = rl(dataset, splits={"gate": other, "report": other})
    check_problem(control.http.post("/v1/train", json=spec), 422, "invalid_request", "/splits/report")


def test_a_dataset_all_of_whose_questions_are_held_out_leaves_nothing_to_train_on(
    control: Control, dataset: str
) -> None:
    check_problem(
        control.http.post("/v1/train", json=rl(dataset, splits={"gate": dataset})), 422, "invalid_request", "/splits"
    )


def test_without_a_started_engine_all_but_the_lengths_is_checked(control: Control, dataset: str) -> None:
    services = control.services
    submission = Submission(
        settings=services.settings,
        jobs=services.jobs,
        datasets=services.datasets,
        registry=services.registry,
        artifacts=services.artifacts,
        engine=None,
    )
    found = submission.check(RlSpec.model_validate(rl(dataset, max_tokens=1000)))
    assert (len(found.parts.train), found.longest_prompt_tokens) == (10, None)
    with pytest.raises(InvalidRequestError, match="rank 33 is above the 32"):
        submission.check(RlSpec.model_validate(rl(dataset, lora={"rank": 33})))


@pytest.mark.parametrize("dry_run", ["", "?dry_run=true"])
@pytest.mark.parametrize(
    ("fields", "code", "param", "why"),
    [
        ({"parallel": {"processes": 3}}, "invalid_request", "/batch_size", "batch of 8"),
        ({"parallel": {"processes": 4}, "batch_size": 16}, "invalid_request", "/batch_size", "10 rows are left"),
        ({"parallel": {"strategy": "fsdp"}}, "invalid_request", "/parallel/strategy", "parallel.processes is 1"),
        ({"parallel": {"processes": 2, "strategy": "magic"}}, "invalid_request", "/parallel/strategy", "ddp"),
        ({"parallel": {"processes": 0}}, "invalid_request", "/parallel/processes", "1"),
    ],
)
def test_a_warmup_of_processes_that_cannot_share_its_batch_is_refused(
    control: Control, dataset: str, dry_run: str, fields: dict[str, Any], code: str, param: str, why: str
) -> None:
    body = check_problem(control.http.post(f"/v1/train{dry_run}", json=warmup(dataset, **fields)), 422, code, param)
    assert why in body["detail"]


def test_a_warmup_of_two_processes_is_accepted(control: Control, dataset: str) -> None:
    parallel = {"processes": 2, "strategy": "fsdp"}
    answer = control.http.post("/v1/train?dry_run=true", json=warmup(dataset, parallel=parallel))
    assert answer.json()["spec"]["parallel"] == parallel


FSDP = {"processes": 2, "strategy": "fsdp"}


@pytest.mark.parametrize(
    ("fields", "code", "param", "why"),
    [
        ({"parallel": {"processes": 3}}, "invalid_request", "/parallel/processes", "completions of a step"),
        (
            {"parallel": FSDP, "reference_every": 1, "beta": 0.1},
            "not_available_yet",
            "/reference_every",
            "reference_every with fsdp",
        ),
        (
            {"parallel": FSDP, "eval_every": 1, "splits": {"select": 0.2}},
            "not_available_yet",
            "/eval_every",
            "eval_every with fsdp",
        ),
    ],
)
def test_rl_of_processes_that_cannot_share_it_is_refused(
    control: Control, dataset: str, fields: dict[str, Any], code: str, param: str, why: str
) -> None:
    body = check_problem(control.http.post("/v1/train", json=rl(dataset, **fields)), 422, code, param)
    assert why in body["detail"]


@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "deepspeed_zero3"])
def test_rl_of_two_processes_is_accepted(control: Control, dataset: str, strategy: str) -> None:
    parallel = {"processes": 2, "strategy": strategy}
    answer = control.http.post("/v1/train?dry_run=true", json=rl(dataset, parallel=parallel))
    assert (answer.status_code, answer.json()["spec"]["parallel"]) == (200, parallel)
