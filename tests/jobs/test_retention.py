from rlt_core.schemas.jobs import QUEUE
from rlt_core.schemas.rollouts import RolloutPublishRequest
from rlt_service.jobs.reconciler import SWEEP_S, Reconciler
from tests.jobs.fake_bell import FakeBell
from tests.jobs.site import Site


def test_of_an_ended_job_only_attempts_that_rows_name_keep_their_folders(site: Site) -> None:
    job = site.submit("crash")
    assert site.run_one().status == "queued"
    claimed = site.jobs.claim(queue=QUEUE, worker="test")
    assert claimed is not None
    site.artifacts.make_dir(site.artifacts.attempt_dir(job.id, 2))
    site.jobs.append_event(job.id, 2, "checkpoint", {"step": 1, "manifest_sha256": "0" * 64})
    site.jobs.requeue(job.id, 2, "its lease ran out")
    for _ in range(4):
        site.run_one()
        if site.jobs.get(job.id).status == "failed":
            break
    ended = site.jobs.get(job.id)
    assert (ended.status, site.artifacts.attempts(job.id)) == ("failed", set(range(1, ended.attempt + 1)))
    site.retention.sweep()
    # The second told of a checkpoint; the last is the job's own, whose log can be read.
    assert site.artifacts.attempts(job.id) == {2, ended.attempt}
    assert site.artifacts.log_path(job.id, ended.attempt).is_file()


def test_an_attempt_whose_result_was_registered_keeps_its_folder(site: Site) -> None:
    job = site.submit("some-error")  # which the second attempt says, and which ends the job
    site.jobs.claim(queue=QUEUE, worker="test")
    for attempt in (1, 2):
        site.artifacts.make_dir(site.artifacts.attempt_dir(job.id, attempt))
    site.jobs.append_event(job.id, 1, "result", {})
    site.jobs.requeue(job.id, 1, "its lease ran out")
    assert site.run_one().status == "failed"
    site.retention.sweep()
    assert site.artifacts.attempts(job.id) == {1, 2}


def test_a_published_policy_keeps_its_attempts_folder(site: Site) -> None:
    job = site.submit_rl("gate")
    site.jobs.claim(queue=QUEUE, worker="test")
    folder = site.artifacts.make_dir(site.artifacts.rollout_dir(job.id, 1, 1))
    (folder / "adapter_config.json").write_text("{}")
    (folder / "adapter_model.safetensors").write_bytes(b"w")
    sha256 = site.artifacts.checked_sha256(folder)
    site.registry.publish_rollout(job.id, RolloutPublishRequest(attempt=1, step=1, sha256=sha256))
    site.jobs.requeue(job.id, 1, "its lease ran out")
    site.jobs.claim(queue=QUEUE, worker="test")
    site.jobs.finish(job.id, 2, "cancelled")
    site.retention.sweep()
    assert folder.is_dir()


def test_of_a_job_that_has_not_ended_nothing_goes(site: Site) -> None:
    job = site.submit("crash")
    for _ in range(2):
        assert site.run_one().status == "queued"
    site.retention.sweep()
    assert site.artifacts.attempts(job.id) == {1, 2}


def test_other_folders_and_other_jobs_are_not_touched(site: Site) -> None:
    job, other = site.submit("crash"), site.submit("crash")
    mine = site.artifacts.make_dir(site.artifacts.attempt_dir(job.id, 1)).with_name("mine")
    mine.mkdir()
    site.artifacts.make_dir(site.artifacts.attempt_dir(other.id, 1))
    for _ in range(3):
        site.run_one()
    site.retention.sweep()
    assert site.artifacts.attempts(job.id) == {3}
    assert mine.is_dir()
    assert site.artifacts.attempts(other.id) == {1}


def test_the_reconciler_sweeps_now_and_then(site: Site) -> None:
    clock = iter([0.0, 1.0, SWEEP_S + 1.0])
    reconciler = Reconciler(
        site.settings,
        jobs=site.jobs,
        outbox=site.outbox,
        bell=FakeBell(),
        artifacts=site.artifacts,
        retention=site.retention,
        clock=lambda: next(clock),
    )
    reconciler.round()
    job = site.submit("crash")
    for _ in range(3):
        site.run_one()
    reconciler.round()
    assert site.artifacts.attempts(job.id) == {1, 2, 3}
    reconciler.round()
    assert site.artifacts.attempts(job.id) == {3}
