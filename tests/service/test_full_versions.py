"""Fully trained versions over HTTP: registered, served by engines of their own, promoted and rolled back."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rlt_core.errors import ConfigurationError
from tests.support.control import Control, check_problem, control_app
from tests.support.engines import Workshop
from tests.support.waiting import wait_until

QUESTION = {"question": "What is 17 + 25?", "solution": "42", "seed": 1, "include": ["tokens"]}


@pytest.fixture(scope="module")
def workshop() -> Workshop:
    return Workshop()


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory, workshop: Workshop) -> Iterator[Control]:
    with control_app(tmp_path_factory.mktemp("home"), make_engine=workshop.make) as made:
        yield made


def register(control: Control, name: str, folder: str, **fields: Any) -> Any:
    return control.http.post(f"/v1/teachers/{name}/versions", json={"folder": folder, **fields})


def registered(control: Control, name: str, *, seed: int) -> str:
    control.import_model(f"{name}-{seed}", seed=seed)
    answer = register(control, name, f"{name}-{seed}")
    assert answer.status_code == 201, answer.text
    return answer.json()["version"]


def explain(control: Control, teacher: str) -> dict[str, Any]:
    answer = control.http.post("/v1/explain", json=QUESTION | {"teacher": teacher})
    assert answer.status_code == 200, answer.text
    assert answer.headers["RLT-Teacher-Version"] == answer.json()["teacher"]["version"]
    return answer.json()


def texts(answer: dict[str, Any]) -> list[str]:
    return [made["text"] for made in answer["explanations"]]


def test_a_model_in_imports_becomes_a_version_that_says_what_it_is(control: Control) -> None:
    folder = control.import_model("whole", seed=1)
    (folder / "notes.txt").write_text("not part of it")
    made = register(control, "whole", "whole").json()
    kept = ("version", "weights", "adapter_sha256", "lora_rank", "base_model")
    assert [made[key] for key in kept] == ["whole@1", "full", None, None, "fake"]
    found = control.services.registry.resolve("teacher", "whole@1")
    assert found.adapter is None
    assert found.full is not None
    assert found.full.sha256 == made["weights_sha256"]
    assert sorted(path.name for path in found.full.path.iterdir()) == ["config.json", "model.safetensors"]


def test_adapters_and_bases_say_what_they_are(control: Control) -> None:
    control.version("small")
    kinds = [
        control.http.get(f"/v1/teachers/{name}").json()["weights"] for name in ("small/versions/1", "fake/versions/0")
    ]
    assert kinds == ["adapter", "base"]


def test_a_name_may_have_an_adapter_first_and_a_whole_model_then(control: Control) -> None:
    first = control.version("grown")
    second = registered(control, "grown", seed=2)
    assert (first, second) == ("grown@1", "grown@2")
    answers = [explain(control, teacher) for teacher in ("grown@0", first, second)]
    assert [answer["teacher"]["version"] for answer in answers] == ["fake@0", first, second]
    assert len({answer["explanations"][0]["text"] for answer in answers}) == 3


def test_promotion_and_rollback_move_the_alias_and_nothing_else(control: Control) -> None:
    before = explain(control, "default")
    version = registered(control, "promoted", seed=3)
    put = {"version": version, "expected": "fake@0"}
    assert control.http.put("/v1/aliases/teacher/default", json=put).status_code == 200
    served = explain(control, "default")
    assert served["teacher"] == {"version": version, "base_model": "fake"}
    assert texts(served) != texts(before)
    assert texts(explain(control, "fake@0")) == texts(before)
    back = control.http.post("/v1/aliases/teacher/default/rollback", json={"expected": version})
    assert back.json()["version"] == "fake@0"
    assert texts(explain(control, "default")) == texts(before)


def test_registering_and_serving_the_same_weights_takes_one_engine(control: Control, workshop: Workshop) -> None:
    made = len(workshop.made)
    version = registered(control, "once", seed=4)
    explain(control, version)
    assert len(workshop.made) == made + 1


def test_scores_of_a_fully_trained_student_are_its_own(control: Control) -> None:
    version = registered(control, "scorer", seed=5)
    body = {"question": "What is 17 + 25?", "solution": "42", "explanations": ["17 and 25 make 42."]}
    by_base, by_version = (
        control.http.post("/v1/score", json=body | {"student": student}).json() for student in ("fake@0", version)
    )
    assert by_version["student"]["version"] == version
    assert by_version["scores"][0]["r_ss"] > by_base["scores"][0]["r_ss"]


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def truncated(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-8])


def not_finite(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-4] + b"\x00\x00\xc0\x7f")


def pickled(folder: Path) -> None:
    (folder / "pytorch_model.bin").write_bytes(b"\x80")


def linked(folder: Path) -> None:
    path = folder / "config.json"
    path.rename(folder.parent / "linked-config.json")
    path.symlink_to(folder.parent / "linked-config.json")


def no_json(folder: Path) -> None:
    (folder / "config.json").write_text("{")


@pytest.mark.parametrize("spoil", [no_weights, truncated, not_finite, pickled, linked, no_json])
def test_a_folder_that_is_no_sound_model_is_refused_and_nothing_is_stored(
    control: Control, spoil: Callable[[Path], None]
) -> None:
    folder = control.import_model(f"spoilt-{spoil.__name__.replace('_', '-')}")
    spoil(folder)
    check_problem(register(control, "spoilt", folder.name), 422, "invalid_weights")
    assert control.http.get("/v1/teachers/spoilt/versions").status_code == 404
    assert explain(control, "default")["teacher"]["version"] == "fake@0"


def test_a_version_whose_files_changed_is_refused_and_no_alias_moves(control: Control, workshop: Workshop) -> None:
    version = registered(control, "changed", seed=6)
    registered(control, "others", seed=7)
    registered(control, "others", seed=8)  # the two places are taken: `changed` is loaded anew
    found = control.services.registry.resolve("teacher", version).full
    assert found is not None
    truncated(found.path)
    refused = control.http.put("/v1/aliases/teacher/default", json={"version": version, "expected": "fake@0"})
    check_problem(refused, 422, "invalid_weights")
    assert control.alias("teacher", "default") == "fake@0"


def test_an_engine_that_does_not_start_leaves_all_others_serving(control: Control, workshop: Workshop) -> None:
    version = control_version(control, "heavy", seed=9)
    workshop.failing[version] = ConfigurationError("not enough memory")
    refused = control.http.post("/v1/explain", json=QUESTION | {"teacher": version})
    body = check_problem(refused, 503, "engine_unavailable")
    assert "not enough memory" in body["detail"]
    assert refused.headers["Retry-After"] == "30"
    assert explain(control, "default")["teacher"]["version"] == "fake@0"
    assert control.http.get("/readyz").status_code == 200


def control_version(control: Control, name: str, *, seed: int) -> str:
    """Register a model and have its engine give way, so that the next request starts one."""
    version = registered(control, name, seed=seed)
    for other in (seed + 100, seed + 101):
        registered(control, "giving-way", seed=other)
    return version


def test_training_on_from_a_whole_model_is_not_available_yet(control: Control) -> None:
    version = registered(control, "start", seed=10)
    spec = {"kind": "rl", "dataset": control.upload(), "target_name": "next", "teacher": version, "steps": 1}
    check_problem(control.http.post("/v1/train", json=spec), 422, "not_available_yet", "/teacher")


def test_teacher_and_student_in_two_engines_are_each_scored_by_their_own(control: Control) -> None:
    version = registered(control, "apart", seed=11)
    body = {"question": "1+1?", "solution": "2", "explanations": ["Two."], "include": ["tokens"]}
    scored = [control.http.post("/v1/score", json=body | {"teacher": name}).json() for name in ("fake@0", version)]
    assert [answer["teacher"]["version"] for answer in scored] == ["fake@0", version]
    by_base, by_full = ([t for t in answer["scores"][0]["tokens"] if t["kl"] is not None] for answer in scored)
    assert by_base
    assert [token["logprob"] for token in by_full] == [token["logprob"] for token in by_base]
    # By the fake's rule a whole model's own log-probs are those of its number, the base's those of 0.
    factor = by_full[0]["teacher_logprob"] / by_base[0]["teacher_logprob"]
    assert factor < 1
    assert [token["teacher_logprob"] for token in by_full] == pytest.approx(
        [factor * token["teacher_logprob"] for token in by_base]
    )


def test_capabilities_list_the_engines_that_run(control: Control) -> None:
    version = registered(control, "listed", seed=12)
    explain(control, version)
    found = control.http.get("/v1/capabilities").json()
    held = [engine["holds"] for engine in found["engines"]]
    assert found["engine"]["holds"] == held[0] == "fake"
    assert version in held
    assert len(held) == 3
    assert f'rlt_scoring_worker_ok{{base="{version}",engine="fake"}} 1.0' in control.http.get("/metrics").text


def test_students_may_have_a_base_of_their_own(tmp_path: Path, workshop: Workshop) -> None:
    with control_app(tmp_path, make_engine=workshop.make, student_model="/models/other") as control:
        assert (control.alias("teacher", "default"), control.alias("student", "default")) == ("fake@0", "other@0")
        scored = control.http.post("/v1/score", json={"question": "1+1?", "solution": "2", "explanations": ["Two."]})
        assert scored.json()["student"] == {"version": "other@0", "base_model": "/models/other"}
        assert explain(control, "default")["teacher"]["version"] == "fake@0"
        assert list(control.http.get("/readyz").json()["checks"]) == [
            "database",
            "artifacts",
            "engine",
            "engine /models/other",
            "broker",
        ]
        control.import_folder("theirs", seed=1)
        made = control.http.post("/v1/students/theirs/versions", json={"folder": "theirs"}).json()
        assert made["base_model"] == "/models/other"
        put = {"version": "theirs@1", "expected": "other@0"}
        assert control.http.put("/v1/aliases/student/default", json=put).status_code == 200
        held = [engine["holds"] for engine in control.http.get("/v1/capabilities").json()["engines"]]
        assert held == ["fake", "/models/other"]


def test_one_bases_engine_that_is_away_leaves_the_others_answering(
    tmp_path: Path, workshop: Workshop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlt_service.engine_host.RESTART_AFTER_S", (60.0,))
    score = {"question": "1+1?", "solution": "2", "explanations": ["Two."]}
    with control_app(tmp_path, make_engine=workshop.make, student_model="/models/other") as control:
        teachers = [engine for engine in workshop.made if engine.weights.base_model == "fake"][-1]
        assert control.http.portal is not None
        control.http.portal.call(teachers.die)
        wait_until(lambda: control.http.get("/readyz").status_code == 503, what="the engine's death is seen")
        assert control.http.post("/v1/score", json=score).status_code == 200
        check_problem(control.http.post("/v1/score", json=score | {"teacher": "default"}), 503, "engine_unavailable")


def test_a_teacher_of_the_students_base_is_nothing_to_train_on(tmp_path: Path, workshop: Workshop) -> None:
    with control_app(tmp_path, make_engine=workshop.make, student_model="/models/other") as control:
        spec = {"kind": "rl", "dataset": control.upload(), "target_name": "next", "teacher": "other@0", "steps": 1}
        check_problem(control.http.post("/v1/train", json=spec), 422, "invalid_request", "/teacher")


def test_without_a_base_of_their_own_students_share_the_teachers_again(tmp_path: Path) -> None:
    with control_app(tmp_path, student_model="/models/other") as control:
        assert control.services.registry.base("student").version == "other@0"
    with control_app(tmp_path) as control:
        assert control.services.registry.base("student").version == "fake@0"
        body = {"question": "1+1?", "solution": "2", "explanations": ["Two."]}
        found = check_problem(control.http.post("/v1/score", json=body), 404, "model_not_found", "/student")
        assert "other@0" in found["detail"]
