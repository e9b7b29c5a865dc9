import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rlt_core.artifacts import adapter_sha256, weights_sha256
from rlt_core.errors import (
    AliasMovedError,
    ConfigurationError,
    ConflictError,
    InvalidAdapterError,
    InvalidRequestError,
    InvalidWeightsError,
    ModelNotFoundError,
    NotFoundError,
    StaleAttemptError,
)
from rlt_core.schemas.base import now_utc
from rlt_core.schemas.jobs import QUEUE, Job, RlSpec, WarmupSpec
from rlt_core.schemas.rollouts import RolloutPublishRequest
from rlt_core.schemas.teachers import Difference, Evaluation, EvaluationRow
from rlt_service.store.artifacts import ArtifactStore
from rlt_service.store.database import Database
from rlt_service.store.jobs import JobStore
from rlt_service.store.registry import Candidate, HeldOut, Registry


def adapter(folder: Path, *, weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(weights)
    return folder


def running(jobs: JobStore, spec: WarmupSpec | RlSpec) -> Job:
    jobs.submit(spec)
    claimed = jobs.claim(queue=QUEUE, worker="w1")
    assert claimed is not None
    return claimed.job


def candidate(artifacts: ArtifactStore, job: Job, *, weights: bytes = b"weights") -> Candidate:
    folder = adapter(artifacts.attempt_dir(job.id, job.attempt) / "adapter", weights=weights)
    assert isinstance(job.spec, WarmupSpec | RlSpec)
    return Candidate(
        name=job.spec.target_name,
        role="teacher",
        base_model="tiny-model",
        format="stratos@1",
        folder=folder,
        sha256=adapter_sha256(folder),
        lora_rank=16,
        parent="tiny@0",
        job_id=job.id,
        attempt=job.attempt,
        dataset_id=job.spec.dataset,
        code_version="0.1.0",
    )


def imported(registry: Registry, artifacts: ArtifactStore, name: str, *, role: str = "teacher") -> str:
    folder = adapter(artifacts.root / "imports" / name)
    made = registry.register(
        Candidate(
            name=name,
            role="student" if role == "student" else "teacher",
            base_model="tiny-model",
            format="stratos@1",
            folder=folder,
            sha256=adapter_sha256(folder),
            lora_rank=8,
        )
    )
    return made.version


def comparison(job: Job) -> HeldOut:
    difference = Difference(mean=0.5, ci_low=0.1, ci_high=0.9, n=2)
    rows = [
        EvaluationRow(
            question_id="1",
            question="q",
            solution="s",
            version=version,
            text="t",
            reward=-1.0,
            r_ss=-0.5,
            r_kl=0.5,
            format=0.0,
            length=3,
            closed=True,
            verbatim=False,
        )
        for version in ("tiny@0", "candidate")
    ]
    evaluation = Evaluation(
        id="eval_1",
        created_at=now_utc(),
        job=job.id,
        student="tiny@0",
        format="stratos@1",
        before="tiny@0",
        after="candidate",
        metrics={"tiny@0": {"reward": -1.5}, "candidate": {"reward": -1.0}},
        difference=difference,
        difference_r_ss=difference,
    )
    return HeldOut(evaluation=evaluation, rows=rows)


def test_a_fresh_install_serves_the_base_in_both_roles(registry: Registry) -> None:
    for role in ("teacher", "student"):
        resolved = registry.resolve(role, "default")
        assert (resolved.version, resolved.role, resolved.adapter) == ("tiny@0", role, None)
    registry.ensure_base(name="tiny", base_model="tiny-model", format="stratos@1")
    assert len(registry.aliases()) == 2
    assert registry.base().version == "tiny@0"


def test_another_base_under_the_same_name_is_refused(registry: Registry) -> None:
    with pytest.raises(ConfigurationError, match="RLT_BASE_NAME"):
        registry.ensure_base(name="tiny", base_model="other", format="stratos@1")
    registry.ensure_base(name="other", base_model="other", format="stratos@1")
    assert registry.base().version == "other@0"
    assert registry.resolve("teacher", "default").version == "tiny@0"


def test_a_base_in_another_format_needs_another_name(registry: Registry) -> None:
    """Else what was trained in one format would be served in the other."""
    with pytest.raises(ConfigurationError, match=r"of the format 'stratos@1', not 'r1@1'.*RLT_BASE_NAME"):
        registry.ensure_base(name="tiny", base_model="tiny-model", format="r1@1")
    registry.ensure_base(name="tiny-r1", base_model="tiny-model", format="r1@1")
    assert registry.base().format == "r1@1"


def test_names_resolve_alias_first_then_newest_then_exact(registry: Registry, artifacts: ArtifactStore) -> None:
    assert [imported(registry, artifacts, "algebra") for _ in range(2)] == ["algebra@1", "algebra@2"]
    resolved = registry.resolve("teacher", "algebra")
    assert resolved.version == "algebra@2"
    assert resolved.adapter is not None
    assert adapter_sha256(resolved.adapter.path) == resolved.adapter.sha256
    assert registry.resolve("teacher", "algebra@1").version == "algebra@1"
    assert registry.resolve("student", "algebra").version == "algebra@2"
    assert registry.resolve("teacher", "algebra@0").version == "tiny@0"
    registry.move_alias("teacher", "algebra", "algebra@1", expected=None, reason="alias of the same name")
    assert registry.resolve("teacher", "algebra").version == "algebra@1"
    assert registry.resolve("student", "algebra").version == "algebra@2"


def test_a_name_with_versions_of_both_roles_means_the_newest_of_the_role(
    registry: Registry, artifacts: ArtifactStore
) -> None:
    imported(registry, artifacts, "sums", role="teacher")
    imported(registry, artifacts, "sums", role="student")
    assert registry.resolve("teacher", "sums").version == "sums@1"
    assert registry.resolve("student", "sums").version == "sums@2"
    assert [item.name for item in registry.list_names("student").data] == ["sums"]
    assert {item.name for item in registry.list_names("teacher").data} == {"sums", "tiny"}


@pytest.mark.parametrize(
    "name", ["algebr", "algebra@7", "nothing-like-it", "tiny@0\n", "../x", "job_" + "0" * 20 + ".1@1"]
)
def test_an_unknown_name_is_not_found(registry: Registry, artifacts: ArtifactStore, name: str) -> None:
    imported(registry, artifacts, "algebra")
    with pytest.raises(ModelNotFoundError):
        registry.resolve("teacher", name)


def test_an_unknown_name_is_answered_with_close_ones(registry: Registry, artifacts: ArtifactStore) -> None:
    imported(registry, artifacts, "algebra")
    with pytest.raises(ModelNotFoundError, match="Did you mean algebra"):
        registry.resolve("teacher", "algebre")


def test_a_result_is_registered_once_a_job_with_its_evaluation(
    registry: Registry, artifacts: ArtifactStore, jobs: JobStore, rl: RlSpec
) -> None:
    job = running(jobs, rl)
    made = registry.register(candidate(artifacts, job), held_out=comparison(job))
    assert made.version == "algebra@1"
    jobs.requeue(job.id, 1, "the supervisor died before it could finish the job")
    again = running_again(jobs, job)
    assert registry.register(candidate(artifacts, again, weights=b"others")).version == "algebra@1"
    assert registry.version_of_job(job.id) == made
    assert [item.version for item in registry.versions("algebra").data] == ["algebra@1"]
    evaluation = registry.get_evaluation("eval_1")
    assert (evaluation.after, set(evaluation.metrics)) == ("algebra@1", {"tiny@0", "algebra@1"})
    assert [row.version for row in registry.evaluation_rows("eval_1").data] == ["tiny@0", "algebra@1"]
    assert registry.latest_evaluation(before="tiny@0", after="algebra@1") == evaluation
    assert registry.evaluation_of_job(job.id) == evaluation


def running_again(jobs: JobStore, job: Job) -> Job:
    claimed = jobs.claim(queue=QUEUE, worker="w2")
    assert claimed is not None
    assert claimed.job.id == job.id
    return claimed.job


def test_an_attempt_that_lost_its_lease_registers_nothing(
    registry: Registry, artifacts: ArtifactStore, jobs: JobStore, rl: RlSpec
) -> None:
    job = running(jobs, rl)
    jobs.requeue(job.id, 1, "lease ran out")
    running_again(jobs, job)
    with pytest.raises(StaleAttemptError):
        registry.register(candidate(artifacts, job), held_out=comparison(job))
    assert registry.version_of_job(job.id) is None
    assert not artifacts.version_dir("algebra", 1).exists()
    assert list((artifacts.root / "incoming").iterdir()) == []


def test_an_adapter_that_changed_after_it_was_announced_is_refused(
    registry: Registry, artifacts: ArtifactStore, jobs: JobStore, rl: RlSpec
) -> None:
    announced = candidate(artifacts, running(jobs, rl))
    (announced.folder / "adapter_model.safetensors").write_bytes(b"flipped")
    with pytest.raises(InvalidAdapterError, match="sha256"):
        registry.register(announced)


def test_lineage_says_where_a_version_comes_from_and_what_became_of_it(
    registry: Registry, artifacts: ArtifactStore, jobs: JobStore, rl: RlSpec
) -> None:
    job = running(jobs, rl)
    registry.register(candidate(artifacts, job), held_out=comparison(job))
    registry.move_alias("teacher", "default", "algebra@1", expected="tiny@0", reason="better", evaluation="eval_1")
    lineage = registry.lineage("algebra@1")
    assert (lineage.job, lineage.parent, lineage.spec, lineage.code_version) == (job.id, "tiny@0", rl, "0.1.0")
    assert (lineage.evaluations, [move.alias for move in lineage.promotions]) == (["eval_1"], ["default"])
    assert registry.get_version("algebra@1").aliases == ["default"]


def test_an_alias_moves_only_from_where_it_is_believed_to_point(registry: Registry, artifacts: ArtifactStore) -> None:
    imported(registry, artifacts, "algebra")
    with pytest.raises(AliasMovedError, match="points at tiny@0") as caught:
        registry.move_alias("teacher", "default", "algebra@1", expected=None, reason="blind")
    assert caught.value.extra == {"version": "tiny@0"}
    registry.move_alias("teacher", "default", "algebra@1", expected="tiny@0", reason="promoted")
    assert registry.get_alias("teacher", "default").version == "algebra@1"
    assert registry.get_alias("student", "default").version == "tiny@0"
    moves = registry.alias_history("teacher", "default")
    assert [(move.version, move.previous, move.reason) for move in moves.data] == [
        ("algebra@1", "tiny@0", "promoted"),
        ("tiny@0", None, "fresh install"),
    ]
    older = registry.alias_history("teacher", "default", limit=1)
    assert older.has_more
    assert len(registry.alias_history("teacher", "default", after=older.last_id).data) == 1


def test_of_ten_that_move_an_alias_at_once_one_wins(registry: Registry, artifacts: ArtifactStore) -> None:
    for _ in range(10):
        imported(registry, artifacts, "algebra")
    outcomes: list[str] = []

    def move(number: int) -> None:
        try:
            registry.move_alias("teacher", "default", f"algebra@{number}", expected="tiny@0", reason="race")
            outcomes.append("moved")
        except AliasMovedError:
            outcomes.append("refused")

    threads = [threading.Thread(target=move, args=(number,)) for number in range(1, 11)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(outcomes) == ["moved"] + ["refused"] * 9
    assert len(registry.alias_history("teacher", "default").data) == 2


def test_an_alias_can_point_at_a_stored_version_only(registry: Registry) -> None:
    with pytest.raises(ModelNotFoundError):
        registry.move_alias("teacher", "default", "algebra@1", expected="tiny@0", reason="no")
    with pytest.raises(InvalidRequestError):
        registry.move_alias("teacher", "default", "tiny", expected="tiny@0", reason="no")
    with pytest.raises(NotFoundError):
        registry.alias_history("teacher", "nothing")


def publish(registry: Registry, artifacts: ArtifactStore, job: Job, *, step: int, weights: bytes | None = None) -> str:
    written = f"step {step}".encode() if weights is None else weights
    folder = adapter(artifacts.rollout_dir(job.id, job.attempt, step), weights=written)
    request = RolloutPublishRequest(attempt=job.attempt, step=step, sha256=adapter_sha256(folder))
    return registry.publish_rollout(job.id, request).version


def test_a_rollout_adapter_is_callable_by_its_exact_name_and_in_no_list(
    registry: Registry, artifacts: ArtifactStore, jobs: JobStore, rl: RlSpec
) -> None:
    job = running(jobs, rl)
    version = publish(registry, artifacts, job, step=0)
    assert version == f"{job.id}.1@0"
    resolved = registry.resolve("teacher", version)
    assert resolved.adapter is not None
    assert resolved.adapter.path == artifacts.rollout_dir(job.id, 1, 0)
    assert version not in {card.id for card in registry.callable_models()}
    assert publications(jobs, job) == [{"step": 0, "version": version}]


def publications(jobs: JobStore, job: Job) -> list[dict[str, object]]:
    return [event.data for event in jobs.events(job.id, after_seq=0, limit=100) if event.type == "published"]


def test_a_publication_that_is_repeated_is_the_one_that_was(
    registry: Registry, artifacts: ArtifactStore, jobs: JobStore, rl: RlSpec
) -> None:
    job = running(jobs, rl)
    versions = [publish(registry, artifacts, job, step=0) for _ in range(3)]
    assert len(set(versions)) == 1
    assert publications(jobs, job) == [{"step": 0, "version": versions[0]}]


def test_of_publications_at_the_same_time_one_is_written_down(
    registry: Registry, artifacts: ArtifactStore, jobs: JobStore, rl: RlSpec
) -> None:
    job = running(jobs, rl)
    folder = adapter(artifacts.rollout_dir(job.id, 1, 0))
    request = RolloutPublishRequest(attempt=1, step=0, sha256=adapter_sha256(folder))
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda _: registry.publish_rollout(job.id, request).version, range(8)))
    assert set(answers) == {f"{job.id}.1@0"}
    assert len(publications(jobs, job)) == 1


def test_a_published_policy_never_changes(
    registry: Registry, artifacts: ArtifactStore, jobs: JobStore, rl: RlSpec
) -> None:
    job = running(jobs, rl)
    version = publish(registry, artifacts, job, step=1)
    before = registry.resolve("teacher", version)
    with pytest.raises(ConflictError, match="never changes") as caught:
        publish(registry, artifacts, job, step=1, weights=b"others")
    assert caught.value.param == "/sha256"
    assert registry.resolve("teacher", version) == before
    assert len(publications(jobs, job)) == 1


def test_a_step_behind_the_newest_is_not_published_again(
    registry: Registry, artifacts: ArtifactStore, jobs: JobStore, rl: RlSpec
) -> None:
    """Step 0 has been collected: there again, it would be the newest to those who look for the newest."""
    job = running(jobs, rl)
    for step in range(3):
        publish(registry, artifacts, job, step=step)
    collected = RolloutPublishRequest(attempt=1, step=0, sha256="0" * 64)
    with pytest.raises(ConflictError, match="behind step 2") as caught:
        registry.publish_rollout(job.id, collected)
    assert caught.value.param == "/step"
    with pytest.raises(ConflictError, match="behind step 2"):
        publish(registry, artifacts, job, step=0)
    assert [event["step"] for event in publications(jobs, job)] == [0, 1, 2]
    assert publish(registry, artifacts, job, step=1) == f"{job.id}.1@1"


def test_older_rollouts_are_collected_and_all_of_them_at_the_end(
    registry: Registry, artifacts: ArtifactStore, jobs: JobStore, rl: RlSpec
) -> None:
    job = running(jobs, rl)
    versions = [publish(registry, artifacts, job, step=step) for step in range(4)]
    for version in versions[:2]:
        with pytest.raises(ModelNotFoundError, match="moved on"):
            registry.resolve("teacher", version)
    assert not artifacts.rollout_dir(job.id, 1, 1).exists()
    assert registry.resolve("teacher", versions[2]).version == versions[2]
    registry.collect_rollouts(job.id)
    with pytest.raises(ModelNotFoundError):
        registry.resolve("teacher", versions[3])


def test_a_stale_attempt_or_a_torn_adapter_publishes_nothing(
    registry: Registry, artifacts: ArtifactStore, jobs: JobStore, rl: RlSpec
) -> None:
    job = running(jobs, rl)
    folder = adapter(artifacts.rollout_dir(job.id, 1, 1))
    with pytest.raises(InvalidAdapterError, match="sha256"):
        registry.publish_rollout(job.id, RolloutPublishRequest(attempt=1, step=1, sha256="0" * 64))
    with pytest.raises(InvalidAdapterError, match="plain file"):
        registry.publish_rollout(job.id, RolloutPublishRequest(attempt=1, step=2, sha256="0" * 64))
    jobs.requeue(job.id, 1, "lease ran out")
    with pytest.raises(StaleAttemptError):
        registry.publish_rollout(job.id, RolloutPublishRequest(attempt=1, step=1, sha256=adapter_sha256(folder)))


def test_callable_models_are_aliases_names_and_versions(registry: Registry, artifacts: ArtifactStore) -> None:
    imported(registry, artifacts, "algebra")
    assert {card.id for card in registry.callable_models()} == {"default", "tiny", "tiny@0", "algebra", "algebra@1"}


def test_versions_and_names_come_in_pages(registry: Registry, artifacts: ArtifactStore, database: Database) -> None:
    for _ in range(3):
        imported(registry, artifacts, "algebra")
    page = registry.versions("algebra", limit=2)
    assert ([item.number for item in page.data], page.has_more, page.last_id) == ([3, 2], True, "algebra@2")
    assert [item.number for item in registry.versions("algebra", after="algebra@2").data] == [1]
    with pytest.raises(ModelNotFoundError):
        registry.versions("nothing")
    with pytest.raises(InvalidRequestError):
        registry.list_names("teacher", after="nothing")


def whole_model(artifacts: ArtifactStore, *, weights: bytes = b"all weights") -> Candidate:
    folder = artifacts.root / "imports" / "whole"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text("{}")
    (folder / "model.safetensors").write_bytes(weights)
    return Candidate(
        name="algebra",
        role="teacher",
        base_model="tiny-model",
        format="stratos@1",
        folder=folder,
        sha256=weights_sha256(folder),
        lora_rank=None,
        parent="tiny@0",
    )


def test_a_whole_model_follows_an_adapter_under_the_same_name(registry: Registry, artifacts: ArtifactStore) -> None:
    imported(registry, artifacts, "algebra")
    candidate = whole_model(artifacts)
    made = registry.register(candidate)
    assert (made.version, made.weights, made.weights_sha256) == ("algebra@2", "full", candidate.sha256)
    assert (made.adapter_sha256, made.lora_rank, made.base_model) == (None, None, "tiny-model")
    resolved = registry.resolve("teacher", "algebra")
    assert resolved.adapter is None
    assert resolved.full is not None
    assert weights_sha256(resolved.full.path) == resolved.full.sha256 == candidate.sha256
    first = registry.resolve("teacher", "algebra@1")
    assert (first.adapter is not None, first.full) == (True, None)
    assert [registry.get_version(name).weights for name in ("algebra@1", "tiny@0")] == ["adapter", "base"]


def test_a_whole_model_that_changed_after_it_was_proved_is_not_registered(
    registry: Registry, artifacts: ArtifactStore
) -> None:
    candidate = whole_model(artifacts)
    (candidate.folder / "model.safetensors").write_bytes(b"others")
    with pytest.raises(InvalidWeightsError, match="changed after it was written"):
        registry.register(candidate)
    assert list((artifacts.root / "incoming").iterdir()) == []


def test_a_whole_model_cannot_pass_for_the_adapter_of_a_step(
    registry: Registry, artifacts: ArtifactStore, jobs: JobStore, rl: RlSpec
) -> None:
    job = running(jobs, rl)
    folder = artifacts.rollout_dir(job.id, job.attempt, 0)
    shutil.copytree(whole_model(artifacts).folder, folder)
    with pytest.raises(InvalidAdapterError, match="no plain file"):
        registry.publish_rollout(
            job.id, RolloutPublishRequest(attempt=job.attempt, step=0, sha256=weights_sha256(folder))
        )


def test_policies_of_all_weights_are_whole_models_of_which_the_newest_is_kept(
    registry: Registry, artifacts: ArtifactStore, jobs: JobStore, rl: RlSpec
) -> None:
    job = running(jobs, rl.model_copy(update={"lora": None}))

    def announced(step: int) -> RolloutPublishRequest:
        folder = artifacts.rollout_dir(job.id, job.attempt, step)
        shutil.copytree(whole_model(artifacts, weights=f"step {step}".encode()).folder, folder)
        return RolloutPublishRequest(attempt=job.attempt, step=step, sha256=weights_sha256(folder))

    first = registry.publish_rollout(job.id, announced(0)).version
    resolved = registry.resolve("teacher", first)
    assert resolved.adapter is None
    assert resolved.full is not None
    assert resolved.full.path == artifacts.rollout_dir(job.id, 1, 0)
    second = announced(1)
    assert registry.publish_rollout(job.id, second).version == f"{job.id}.1@1"
    with pytest.raises(ModelNotFoundError, match="moved on"):
        registry.resolve("teacher", first)
    assert [path.name for path in artifacts.rollout_dir(job.id, 1, 0).parent.iterdir()] == ["1"]
    torn = announced(2).model_copy(update={"sha256": second.sha256})
    with pytest.raises(InvalidWeightsError, match="announced was"):
        registry.publish_rollout(job.id, torn)


def test_students_have_the_teachers_base_unless_they_have_their_own(registry: Registry) -> None:
    assert registry.base("student").version == "tiny@0"
    registry.ensure_base(name="other", base_model="other-model", format="stratos@1", plays=["student"])
    assert (registry.base().version, registry.base("student").version) == ("tiny@0", "other@0")
    registry.ensure_base(name="tiny", base_model="tiny-model", format="stratos@1", plays=["teacher"])
    assert (registry.base().version, registry.base("student").version) == ("tiny@0", "other@0")
    registry.ensure_base(name="third", base_model="third-model", format="stratos@1", plays=["student"])
    assert registry.base("student").version == "third@0"
    registry.ensure_base(name="tiny", base_model="tiny-model", format="stratos@1")
    assert registry.base("student").version == "tiny@0"


def test_a_fresh_install_with_two_bases_serves_each_in_its_role(database: Database, artifacts: ArtifactStore) -> None:
    fresh = Registry(database, artifacts)
    fresh.ensure_base(name="tiny", base_model="tiny-model", format="stratos@1", plays=["teacher"])
    fresh.ensure_base(name="other", base_model="other-model", format="stratos@1", plays=["student"])
    assert {(alias.role, alias.version) for alias in fresh.aliases()} == {("teacher", "tiny@0"), ("student", "other@0")}


@pytest.mark.parametrize("ended", ["cancelled in the queue", "cancelled at work", "one crash too many"])
def test_a_job_that_ends_after_its_registration_names_what_it_registered(
    registry: Registry, jobs: JobStore, artifacts: ArtifactStore, warmup: WarmupSpec, ended: str
) -> None:
    job = running(jobs, warmup)
    made = registry.register(candidate(artifacts, job), held_out=comparison(job))
    if ended == "cancelled in the queue":
        jobs.requeue(job.id, 1, "the worker was killed")
        jobs.cancel(job.id)
    elif ended == "cancelled at work":
        jobs.cancel(job.id)
        jobs.requeue(job.id, 1, "the worker was killed")
    else:
        for attempt in (1, 2, 3):
            jobs.requeue(job.id, attempt, "the worker was killed")
            if attempt < 3:
                assert jobs.claim(queue=QUEUE, worker="w1") is not None
    last = jobs.get(job.id)
    assert last.status == ("failed" if ended == "one crash too many" else "cancelled")
    assert last.result is not None
    assert last.result.teacher == made.version
    assert last.result.evaluation == "eval_1"
    assert registry.version_of_job(job.id) == made


def test_a_job_that_is_cancelled_before_it_registered_anything_names_nothing(
    jobs: JobStore, warmup: WarmupSpec
) -> None:
    job = running(jobs, warmup)
    jobs.cancel(job.id)
    assert jobs.requeue(job.id, 1, "the worker was killed").result is None
