"""Projects over HTTP: made and bounded by admin, quotas that refuse, what is counted, prefixes that are not shared."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rlt_core.schemas.projects import Quotas
from rlt_service.access.secrets import make_secret
from rlt_service.engine.fake_engine import FakeEngine, FakeOptions
from rlt_service.store.keys import KeyStore
from rlt_service.store.projects import ProjectStore
from tests.support.control import JSONL, Control, check_problem, control_app
from tests.support.keys import Headers, acting, id_of, make_key

TEXT = {"question": "2 + 3?", "solution": "5"}
SCORE = TEXT | {"explanations": ["Add."]}
CHAT = {"model": "fake@0", "messages": [{"role": "user", "content": "2 + 3?"}], "max_tokens": 20}
RL = {"kind": "rl", "dataset": "", "target_name": "made", "steps": 1}
DELAY_S = 0.2


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home")) as found:
        make_key(found, "admin")
        yield found


@pytest.fixture
def admin(control: Control) -> Headers:
    return make_key(control, "admin")


def project(control: Control, name: str, **quotas: Any) -> str:
    """Make a project, and give its name."""
    ProjectStore(control.services.database).create(name, Quotas(**quotas))
    return name


def used(control: Control, name: str) -> Any:
    control.services.meter.tell()
    return ProjectStore(control.services.database).get(name).used


def test_admin_makes_reads_and_bounds_projects(control: Control, admin: Headers) -> None:
    made = control.http.post("/v1/projects", json={"name": "algebra", "quotas": {"jobs_at_once": 2}}, headers=admin)
    assert (made.status_code, made.headers["location"]) == (201, "/v1/projects/algebra")
    assert made.json()["quotas"]["jobs_at_once"] == 2
    again = control.http.post("/v1/projects", json={"name": "algebra"}, headers=admin)
    check_problem(again, 409, "conflict", "/name")
    body = {"tokens_per_day": 5, "gpu_hours_per_month": 2}
    bounded = control.http.put("/v1/projects/algebra/quotas", json=body, headers=admin).json()
    assert (bounded["quotas"]["tokens_per_day"], bounded["quotas"]["jobs_at_once"]) == (5, None)
    assert control.http.get("/v1/projects/algebra", headers=admin).json() == bounded
    assert bounded in control.http.get("/v1/projects", headers=admin).json()["data"]
    check_problem(control.http.get("/v1/projects/nobody", headers=admin), 404, "not_found", "/project")
    wrong = control.http.put("/v1/projects/algebra/quotas", json={"disk_bytes": -1}, headers=admin)
    check_problem(wrong, 422, "invalid_request", "/disk_bytes")


def test_keys_are_listed_without_their_secrets(control: Control, admin: Headers) -> None:
    headers = make_key(control, "train", project=project(control, "listed"))
    answer = control.http.get("/v1/keys", headers=admin)
    card = answer.json()["data"][-1]
    assert (card["project"], card["scopes"]) == ("listed", ["train"])
    assert headers["Authorization"][-43:] not in answer.text
    assert set(card).isdisjoint({"secret", "sha256"})


def test_admin_ends_a_key(control: Control, admin: Headers) -> None:
    member = make_key(control, "train")
    for _ in range(2):
        ended = control.http.delete(f"/v1/keys/{id_of(member)}", headers=admin)
        assert ended.status_code == 200
        assert ended.json()["revoked_at"]
    control.services.authenticator.forget()
    assert control.http.get("/v1/jobs", headers=member).status_code == 401
    check_problem(control.http.delete(f"/v1/keys/{'0' * 12}", headers=admin), 404, "not_found")


def test_whoever_is_not_admin_learns_nothing_of_projects(control: Control) -> None:
    member = make_key(control, "train", "explain", "score", project=project(control, "members"))
    for path in ("/v1/projects", "/v1/projects/members", "/v1/projects/none", "/v1/keys", "/v1/audit"):
        check_problem(control.http.get(path, headers=member), 403, "forbidden")


def test_a_project_that_has_asked_enough_today_hears_when_it_may_ask_again(control: Control, admin: Headers) -> None:
    name = project(control, "asks", requests_per_day=3)
    first, second = (make_key(control, "explain", "score", "train", project=name) for _ in range(2))
    assert control.http.post("/v1/explain", json=TEXT, headers=first).status_code == 200
    batch = {"items": [SCORE, SCORE]}
    assert control.http.post("/v1/score/batch", json=batch, headers=second).status_code == 200
    assert control.http.post("/v1/solve", json={"question": "2 + 3?"}, headers=first).status_code == 200
    for path, body in (("/v1/explain", TEXT), ("/v1/chat/completions", CHAT), ("/v1/score", {})):
        answer = control.http.post(path, json=body, headers=second)
        problem = check_problem(answer, 429, "quota_exceeded")
        assert (problem["quota"], problem["limit"], problem["used"]) == ("requests_per_day", 3, 3)
        assert problem["retryable"] is False
        assert problem["free_at"].endswith("T00:00:00Z")
        assert 1 <= int(answer.headers["Retry-After"]) <= 86_400
    assert control.http.get("/v1/jobs", headers=second).status_code == 200
    assert control.http.post("/v1/explain", json=TEXT, headers=admin).status_code == 200
    assert used(control, name).requests_per_day == 3


def test_tokens_are_counted_as_answers_tell_them(control: Control) -> None:
    name = project(control, "counts")
    member = make_key(control, "explain", "score", project=name)
    told = 0
    for path, body in (
        ("/v1/explain", TEXT | {"n": 2, "seed": 1}),
        ("/v1/score", SCORE | {"teacher": "default"}),
        ("/v1/solve", {"question": "2 + 3?", "seed": 1}),
        ("/v1/chat/completions", CHAT | {"seed": 1}),
    ):
        usage = control.http.post(path, json=body, headers=member).json()["usage"]
        told += usage["prompt_tokens"] + usage.get("completion_tokens", 0)
        assert used(control, name).tokens_per_day == told, path


def test_a_stream_counts_as_much_as_the_same_answer_whole(control: Control) -> None:
    whole, streamed = (project(control, name) for name in ("whole", "streamed"))
    for path, body in (("/v1/explain", TEXT | {"n": 3, "seed": 1}), ("/v1/chat/completions", CHAT | {"seed": 1})):
        for name, stream in ((whole, False), (streamed, True)):
            member = make_key(control, "explain", project=name)
            answer = control.http.post(path, json=body | {"stream": stream}, headers=member)
            assert answer.status_code == 200, answer.text
            assert "event: error" not in answer.text
        assert used(control, whole).tokens_per_day == used(control, streamed).tokens_per_day > 0


def test_a_project_that_has_used_its_tokens_is_refused(control: Control) -> None:
    member = make_key(control, "explain", project=project(control, "spent", tokens_per_day=1))
    assert control.http.post("/v1/explain", json=TEXT, headers=member).status_code == 200
    refused = control.http.post("/v1/explain", json=TEXT, headers=member)
    assert check_problem(refused, 429, "quota_exceeded")["quota"] == "tokens_per_day"


def test_what_a_trainer_asks_counts_for_nothing(control: Control) -> None:
    name = project(control, "trainers", requests_per_day=0)
    project_id = ProjectStore(control.services.database).get(name).id
    with acting(make_key(control, "train", project=name), project=project_id):
        job = control.running_job()
    secret = make_secret()
    keys = KeyStore(control.services.database)
    keys.create_for_job(secret.key_id, job_id=job.id, attempt=1, sha256=secret.sha256)
    trainer = {"Authorization": f"Bearer {secret.text}"}
    assert control.http.post("/v1/explain", json=TEXT, headers=trainer).status_code == 200
    assert (used(control, name).requests_per_day, used(control, name).tokens_per_day) == (0, 0)
    control.services.jobs.requeue(job.id, 1, "it is over", crash=False)


def test_a_job_too_many_is_refused_and_a_key_without_a_project_is_not(control: Control) -> None:
    member = make_key(control, "train", project=project(control, "trains", jobs_at_once=1))
    lone = make_key(control, "train")
    for headers, statuses in ((member, [202, 429]), (lone, [202, 202])):
        spec = RL | {"dataset": control.upload(headers=headers)}
        answers = [control.http.post("/v1/train", json=spec, headers=headers) for _ in range(2)]
        assert [answer.status_code for answer in answers] == statuses, answers[-1].text
    refused = control.http.post("/v1/train", json=RL | {"dataset": control.upload(headers=member)}, headers=member)
    assert "jobs_at_once" in check_problem(refused, 429, "quota_exceeded")["detail"]


def test_an_upload_that_does_not_fit_is_refused_and_leaves_nothing(control: Control) -> None:
    member = make_key(control, "train", project=project(control, "small", disk_bytes=10))
    body = b'{"question": "1?", "solution": "1"}\n'
    refused = control.http.post("/v1/datasets", content=body, headers=JSONL | member)
    assert check_problem(refused, 429, "quota_exceeded")["free_at"] is None
    assert control.http.get("/v1/datasets", headers=member).json()["data"] == []
    assert used(control, "small").disk_bytes == 0


def test_an_upload_to_a_full_project_is_refused_before_its_lines_are_read(control: Control) -> None:
    member = make_key(control, "train", project=project(control, "full", disk_bytes=0))
    refused = control.http.post("/v1/datasets", content=b"no line of JSON\n", headers=JSONL | member)
    assert check_problem(refused, 429, "quota_exceeded")["used"] == 0


def test_prefixes_are_shared_within_a_project_and_their_speed_tells_others_nothing(tmp_path: Path) -> None:
    engine = FakeEngine(FakeOptions(caches_prefixes=True, delay_s=DELAY_S))
    with control_app(tmp_path, make_engine=lambda _: engine) as control:
        ann, amy = (make_key(control, "explain", "score", project=name) for name in [project(control, "one")] * 2)
        bob = make_key(control, "explain", "score", project=project(control, "two"))
        lone = make_key(control, "explain", "score")
        for path, body in (("/v1/explain", TEXT | {"seed": 1}), ("/v1/score", SCORE)):
            first, again = ask(control, path, body, ann), ask(control, path, body, amy)
            assert (first[0], again[0] > 0) == (0, True)
            assert again[1] < first[1] - DELAY_S / 2  # what the project has asked before is there at once
            for other in (bob, lone):
                cached, seconds = ask(control, path, body, other)
                assert cached == 0
                assert seconds >= DELAY_S


def ask(control: Control, path: str, body: dict[str, Any], headers: Headers) -> tuple[int, float]:
    """Ask, and give how many tokens were cached and how long it took."""
    began_s = time.monotonic()
    answer = control.http.post(path, json=body, headers=headers)
    seconds = time.monotonic() - began_s
    assert answer.status_code == 200, answer.text
    return answer.json()["usage"]["cached_tokens"], seconds
