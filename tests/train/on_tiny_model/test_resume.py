"""A run that was killed and taken up again ends with the very bytes of the run that was not."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from rlt_core.artifacts import adapter_sha256
from rlt_core.schemas.trainer import (
    STORED_STEP,
    CheckpointEvent,
    LogEvent,
    ProgressEvent,
    ResumePoint,
    TrainerEvent,
    TrainerJob,
)
from rlt_train.checkpoints import newest_verified, verified
from rlt_train.context import JobContext
from rlt_train.data_order import Cursor
from rlt_train.errors import StopRequested
from rlt_train.rl import run_rl
from rlt_train.warmup import run_warmup

pytestmark = pytest.mark.training

STEPS = 6
Services = Callable[[Any], Any]


class KilledError(BaseException):
    """In SIGKILL's place: nothing in the trainer catches it, so nothing is saved on the way out."""


def points_of(world: Any, jobs: list[TrainerJob]) -> list[ResumePoint]:
    """Give what the database would know: the checkpoints that were told, the furthest first."""
    found = [
        ResumePoint(attempt=job.attempt, step=event.step, folder=event.path, manifest_sha256=event.manifest_sha256)
        for job in jobs
        for event in world.events(job)
        if isinstance(event, CheckpointEvent)
    ]
    return sorted(found, key=lambda point: (point.step, point.attempt), reverse=True)


def next_attempt(world: Any, killed: list[TrainerJob], job: TrainerJob) -> TrainerJob:
    update = {
        "attempt": len(killed) + 1,
        "resume_points": points_of(world, killed),
        "journal_dirs": [str(Path(each.attempt_dir) / "journal") for each in reversed(killed)],
    }
    return job.model_copy(update=update)


def kill_when(context: JobContext, reached: Callable[[TrainerEvent], bool]) -> None:
    """Kill the trainer as soon as it says a certain thing."""
    emit = context.events.emit

    def emit_or_die(event: TrainerEvent) -> None:
        emit(event)
        if reached(event):
            raise KilledError

    context.events.emit = emit_or_die


def last_states(job: TrainerJob, step: int) -> dict[str, Any]:
    folder = Path(job.attempt_dir) / "checkpoints" / f"step-{step}"
    states: dict[str, Any] = torch.load(folder / "state.pt", weights_only=True)
    trainer = json.loads((folder / "trainer_state.json").read_text())
    return states | {"epoch": trainer["epoch"], "step": trainer["global_step"]}


def assert_same(left: Any, right: Any, *, at: str = "") -> None:
    """Compare states to the bit."""
    assert type(left) is type(right), at
    if isinstance(left, torch.Tensor):
        assert torch.equal(left, right), at
    elif isinstance(left, dict):
        assert list(left) == list(right), at
        for key in left:
            assert_same(left[key], right[key], at=f"{at}/{key}")
    elif isinstance(left, list | tuple):
        assert len(left) == len(right), at
        for place, (mine, theirs) in enumerate(zip(left, right, strict=True)):
            assert_same(mine, theirs, at=f"{at}/{place}")
    else:
        assert left == right, at


WARM_UP_KILLS = [("after", 1, 0), ("after", 3, 2), ("after", 4, 4), ("after", 6, 6)]
WARM_UP_KILLS += [("in the optimizer step", 5, 4), ("while a checkpoint is written", 4, 2)]


@pytest.mark.parametrize(("where", "step", "saved"), WARM_UP_KILLS)
def test_a_killed_warm_up_ends_with_the_bytes_of_one_that_was_not(
    world: Any, where: str, step: int, saved: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"max_steps": STEPS, "epochs": 10.0, "save_every": 2, "learning_rate": 0.05}  # three epochs of two steps
    whole = world.warmup(**spec)
    expected = run_warmup(world.context(whole))
    killed = world.warmup(**spec)
    context = world.context(killed)
    with monkeypatch.context() as patch:
        kill_training(where, step=step, context=context, patch=patch)
        with pytest.raises(KilledError):
            run_warmup(context)
    again = next_attempt(world, [killed], world.warmup(**spec))
    result = run_warmup(world.context(again))
    assert result.sha256 == expected.sha256
    steps = [event.step for event in world.events(again) if isinstance(event, ProgressEvent)]
    assert steps == list(range(saved + 1, STEPS + 1))
    if steps:
        assert_same(last_states(again, STEPS), last_states(whole, STEPS))


def kill_training(where: str, *, step: int, context: JobContext, patch: pytest.MonkeyPatch) -> None:
    """Have it killed after a step, within it once the weights have changed, or as its checkpoint is put in place."""
    if where == "in the optimizer step":
        taken = [0]
        take = torch.optim.AdamW.step

        def step_or_die(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            taken[0] += 1
            found = take(optimizer, *args, **kwargs)
            if taken[0] == step:
                raise KilledError
            return found

        patch.setattr(torch.optim.AdamW, "step", step_or_die)
    elif where == "while a checkpoint is written":
        replace = os.replace

        def save_or_die(source: Any, target: Any) -> None:
            if Path(target).name == f"step-{step}":
                raise KilledError
            replace(source, target)

        patch.setattr(os, "replace", save_or_die)
    else:
        kill_when(context, lambda event: isinstance(event, ProgressEvent) and event.step == step)


@pytest.mark.parametrize("micro_batch_tokens", [4096, 40])
@pytest.mark.parametrize("batch", [1, 4])
def test_a_warm_up_goes_on_in_the_middle_of_an_epoch_also_in_micro_batches(
    world: Any, batch: int, micro_batch_tokens: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlt_core.batching.MICRO_BATCH_TOKENS", micro_batch_tokens)
    # Two steps (or eight) an epoch: the third, and the eleventh, are in the middle of the second.
    spec = {"epochs": 10.0, "learning_rate": 0.05, "batch_size": batch}
    spec |= {"save_every": 3, "max_steps": 6} if batch == 4 else {"save_every": 11, "max_steps": 18}
    whole = world.warmup(**spec)
    expected = run_warmup(world.context(whole))
    killed = world.warmup(**spec)
    context = world.context(killed)
    kill_when(context, lambda event: isinstance(event, ProgressEvent) and event.step == spec["save_every"] + 1)
    with pytest.raises(KilledError):
        run_warmup(context)
    again = next_attempt(world, [killed], world.warmup(**spec))
    assert run_warmup(world.context(again)).sha256 == expected.sha256
    assert_same(last_states(again, spec["max_steps"]), last_states(whole, spec["max_steps"]))


@pytest.mark.parametrize("killed_at", [3, 5])
def test_a_killed_run_goes_on_with_the_reference_as_it_had_moved(
    world: Any, fake_services: Services, killed_at: int
) -> None:
    # At step 3 the reference has not moved yet; at step 5 it has, and once more at the end.
    spec = {"steps": STEPS, "save_every": 2, "learning_rate": 0.05, "reference_every": 4, "reference_mix": 0.5}
    whole = world.rl(spec)
    expected = run_rl(world.context(whole, fake_services(whole)))
    killed = world.rl(spec)
    context = world.context(killed, fake_services(killed))
    kill_when(context, lambda event: isinstance(event, ProgressEvent) and event.step == killed_at)
    with pytest.raises(KilledError):
        run_rl(context)
    again = next_attempt(world, [killed], world.rl(spec))
    assert run_rl(world.context(again, fake_services(again))).sha256 == expected.sha256
    assert_same(last_states(again, STEPS), last_states(whole, STEPS))


@pytest.mark.parametrize("stopped_at", [1, 3, 5])
def test_a_run_that_was_asked_to_stop_while_it_published_goes_on_to_the_same_bytes_and_so_does_the_next(
    world: Any, fake_services: Services, stopped_at: int
) -> None:
    spec = {"steps": STEPS, "save_every": 0, "learning_rate": 0.05}
    whole = world.rl(spec)
    expected = run_rl(world.context(whole, fake_services(whole)))
    attempts: list[TrainerJob] = []
    for stop_at in dict.fromkeys((stopped_at, STEPS - 1)):
        attempts.append(next_attempt(world, attempts, world.rl(spec)))
        services = fake_services(attempts[-1])
        services.publish = stopping(services.publish, at=stop_at)
        with pytest.raises(StopRequested):
            run_rl(world.context(attempts[-1], services))
    last = next_attempt(world, attempts, world.rl(spec))
    assert run_rl(world.context(last, fake_services(last))).sha256 == expected.sha256
    assert_same(last_states(last, STEPS), last_states(whole, STEPS))


def stopping(publish: Callable[..., str], *, at: int) -> Callable[..., str]:
    """Ask for a stop after a step's weights have changed, in the wait for the service that follows."""

    def publish_or_stop(*, step: int, sha256: str) -> str:
        if step == at:
            raise StopRequested
        return publish(step=step, sha256=sha256)

    return publish_or_stop


KILLS = ("between steps", "in a rollout", "in a score", "in the optimizer step", "while a checkpoint is written")


@pytest.mark.parametrize("where", KILLS)
def test_a_killed_rl_run_ends_with_the_bytes_of_one_that_was_not(
    world: Any, fake_services: Services, where: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = {"steps": STEPS, "save_every": 2, "learning_rate": 0.05}  # 8 questions, 2 a step: four steps an epoch
    whole = world.rl(spec)
    expected = run_rl(world.context(whole, fake_services(whole)))
    killed = world.rl(spec)
    services = fake_services(killed)
    context = world.context(killed, services)
    with monkeypatch.context() as patch:
        kill_rl(where, context=context, services=services, patch=patch)
        with pytest.raises(KilledError):
            run_rl(context)
    again = next_attempt(world, [killed], world.rl(spec))
    services = fake_services(again)
    result = run_rl(world.context(again, services))
    assert result.sha256 == expected.sha256
    assert_same(last_states(again, STEPS), last_states(whole, STEPS))
    # The killed step's own rollouts were on disk, unless it was killed before: then it is sampled again.
    first = 2 if where == "while a checkpoint is written" else 4
    sampled = {int(request.teacher.rpartition("@")[2]) for request in services.explained}
    journaled = {"between steps": {5}, "in a rollout": {4, 5}, "in a score": {4, 5}, "in the optimizer step": {5}}
    assert sampled == journaled.get(where, {4, 5})
    assert result.cost["replayed_steps"] == STEPS - first - len(sampled)
    begun_in_vain = where in ("in a rollout", "in a score")
    assert result.cost["regenerated_steps"] == begun_in_vain
    assert generated_again(world, again) == ([4] if begun_in_vain else [])


def generated_again(world: Any, job: TrainerJob) -> list[int]:
    """Read from the events which steps' rollouts were generated again."""
    said = [event.message for event in world.events(job) if isinstance(event, LogEvent) and event.level == "warning"]
    told = [message for message in said if message.endswith("its rollouts are generated again")]
    return [int(message.removeprefix("the journal of step ").partition(":")[0]) for message in told]


def kill_rl(where: str, *, context: JobContext, services: Any, patch: pytest.MonkeyPatch) -> None:
    """Have it killed in its fifth step, or (a checkpoint) after its fourth."""
    fifth = f"{context.job.job_id}.1@4"
    explain, score = services.explain, services.score

    def explain_or_die(requests: Any) -> Any:
        if requests[0].teacher == fifth:
            raise KilledError
        return explain(requests)

    def score_or_die(requests: Any) -> Any:
        if services.explained[-1].teacher == fifth:
            raise KilledError
        return score(requests)

    if where == "in a rollout":
        services.explain = explain_or_die
    elif where == "in a score":
        services.score = score_or_die
    else:
        step = 4 if where == "while a checkpoint is written" else 5
        kill_training(where, step=step, context=context, patch=patch)


def spoil(folder: Path, how: str) -> None:
    weights = folder / "adapter" / "adapter_model.safetensors"
    content = weights.read_bytes()
    if how == "truncated":
        weights.write_bytes(content[:-1])
    elif how == "a flipped bit":
        weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    elif how == "missing":
        weights.unlink()
    elif how == "a link":
        moved = weights.rename(folder.parent / "elsewhere")
        weights.symlink_to(moved)
    elif how == "a pickle in place of the state":
        import pickle

        (folder / "state.pt").write_bytes(pickle.dumps({"optimizer": 1}))
    elif how == "a file more":
        (folder / "more.bin").write_bytes(b"1")
    elif how == "no manifest":
        (folder / "manifest.json").unlink()
    else:
        text = (folder / "manifest.json").read_text()
        (folder / "manifest.json").write_text(text.replace('"step": 4', '"step": 5'))


FAULTS = (
    "truncated",
    "a flipped bit",
    "missing",
    "a link",
    "a pickle in place of the state",
    "a file more",
    "no manifest",
    "another manifest",
)


@pytest.fixture
def trained(world: Any) -> TrainerJob:
    job = world.warmup(max_steps=4, epochs=10.0, save_every=2)
    run_warmup(world.context(job))
    return job


def cursors_of(points: list[ResumePoint]) -> Callable[[int], Cursor]:
    """Go on at the places that the manifests name."""
    manifests = {point.step: Path(point.folder) / "manifest.json" for point in points}
    cursors = {step: Cursor(**json.loads(path.read_text())["cursor"]) for step, path in manifests.items()}
    return cursors.__getitem__


@pytest.mark.parametrize("how", FAULTS)
def test_a_checkpoint_that_is_not_as_it_was_written_gives_way_to_the_one_before(
    world: Any, trained: TrainerJob, how: str
) -> None:
    points = points_of(world, [trained])
    assert [point.step for point in points] == [4, 2]
    cursor_at = cursors_of(points)
    spoil(Path(points[0].folder), how)
    found, faults = newest_verified(points, job=trained, cursor_at=cursor_at)
    assert found is not None
    assert (found.step, len(faults)) == (2, 1)
    assert "step 4" in faults[0]


def test_without_any_sound_checkpoint_training_starts_anew_and_says_so(world: Any, trained: TrainerJob) -> None:
    for point in points_of(world, [trained]):
        spoil(Path(point.folder), "truncated")
    again = next_attempt(world, [trained], world.warmup(max_steps=4, epochs=10.0, save_every=2))
    result = run_warmup(world.context(again))
    assert result.sha256 == adapter_sha256(Path(trained.attempt_dir) / "adapter")
    said = [event.message for event in world.events(again) if isinstance(event, LogEvent)]
    assert said[-1] == "no checkpoint can be used: training starts anew"


def test_a_checkpoint_of_another_spec_is_not_taken_up(world: Any, trained: TrainerJob) -> None:
    other = world.warmup(max_steps=4, epochs=10.0, save_every=2, learning_rate=0.001)
    points = points_of(world, [trained])
    found, faults = newest_verified(points, job=other, cursor_at=cursors_of(points))
    assert found is None
    assert all("of another spec" in fault for fault in faults)


def test_a_job_whose_training_was_done_only_ends(world: Any, trained: TrainerJob) -> None:
    again = next_attempt(world, [trained], world.warmup(max_steps=4, epochs=10.0, save_every=2))
    result = run_warmup(world.context(again))
    assert (result.sha256, result.steps) == (adapter_sha256(Path(trained.attempt_dir) / "adapter"), 4)
    assert not any(isinstance(event, ProgressEvent) for event in world.events(again))


def test_what_a_kill_left_of_a_half_written_checkpoint_is_in_nobodys_way(world: Any) -> None:
    spec = {"max_steps": 4, "epochs": 10.0, "save_every": 2, "learning_rate": 0.05}
    whole = run_warmup(world.context(world.warmup(**spec)))
    killed = world.warmup(**spec)
    context = world.context(killed)
    kill_when(context, lambda event: isinstance(event, ProgressEvent) and event.step == 3)
    with pytest.raises(KilledError):
        run_warmup(context)
    again = next_attempt(world, [killed], world.warmup(**spec))
    for job in (killed, again):
        lay_rubbish(Path(job.attempt_dir) / "checkpoints" / ".step-4.part")
    assert run_warmup(world.context(again)).sha256 == whole.sha256
    [point] = points_of(world, [again])
    assert verified(point, job=again).step == 4
    assert [path.name for path in (Path(again.attempt_dir) / "checkpoints").iterdir()] == ["step-4"]


def lay_rubbish(folder: Path) -> None:
    """Lay what a SIGKILL leaves, as no exception does: files that are not whole, of any name."""
    (folder / "adapter").mkdir(parents=True)
    for name in ("state.pt", "manifest.json", "old.bin", "adapter/adapter_model.safetensors", "adapter/.x.part"):
        (folder / name).write_bytes(b"rubbish")


def store_what_is_told(context: JobContext, job: TrainerJob, *, up_to: int) -> None:
    """Do what a worker does whose database knows each checkpoint at once, until it stands still."""
    emit = context.events.emit

    def emit_and_store(event: TrainerEvent) -> None:
        emit(event)
        if isinstance(event, CheckpointEvent) and event.step <= up_to:
            (Path(job.attempt_dir) / STORED_STEP).write_text(str(event.step), encoding="utf-8")

    context.events.emit = emit_and_store


def test_what_the_database_does_not_know_yet_costs_no_checkpoint_that_it_knows(
    world: Any, fake_services: Services
) -> None:
    job = world.rl({"steps": 6, "save_every": 1})
    context = world.context(job, fake_services(job))
    store_what_is_told(context, job, up_to=3)
    run_rl(context)
    folder = Path(job.attempt_dir)
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == [f"step-{n}" for n in (2, 3, 4, 5, 6)]
    assert sorted(path.name for path in (folder / "journal").iterdir()) == [f"step-{n}.json" for n in (2, 3, 4, 5)]


def test_only_the_two_newest_checkpoints_of_an_attempt_and_their_journal_stay(
    world: Any, fake_services: Services
) -> None:
    job = world.rl({"steps": 5, "save_every": 1})
    context = world.context(job, fake_services(job))
    store_what_is_told(context, job, up_to=5)
    run_rl(context)
    folder = Path(job.attempt_dir)
    assert sorted(path.name for path in (folder / "checkpoints").iterdir()) == ["step-4", "step-5"]
    assert sorted(path.name for path in (folder / "journal").iterdir()) == ["step-4.json"]


def test_the_journal_stays_whole_until_a_fallback_would_find_a_checkpoint_of_this_attempt(
    world: Any, fake_services: Services
) -> None:
    job = world.rl({"steps": 3, "save_every": 0})
    run_rl(world.context(job, fake_services(job)))
    names = sorted(path.name for path in (Path(job.attempt_dir) / "journal").iterdir())
    assert names == ["step-0.json", "step-1.json", "step-2.json"]


def test_a_journal_of_other_weights_is_not_read(world: Any, fake_services: Services) -> None:
    first = world.rl({"steps": 3, "save_every": 0, "learning_rate": 0.05})
    context = world.context(first, fake_services(first))
    kill_when(context, lambda event: isinstance(event, ProgressEvent) and event.step == 2)
    with pytest.raises(KilledError):
        run_rl(context)
    other = world.rl({"steps": 2, "save_every": 0, "learning_rate": 0.01})
    other = other.model_copy(update={"attempt": 2, "journal_dirs": [str(Path(first.attempt_dir) / "journal")]})
    services = fake_services(other)
    result = run_rl(world.context(other, services))
    # The start is the same policy, what came of it is not.
    assert (result.cost["replayed_steps"], result.cost["regenerated_steps"]) == (1, 1)
    assert generated_again(world, other) == [1]
    assert {request.teacher.rpartition("@")[2] for request in services.explained} == {"1"}


def flipped_bit(entry: Path, _: TrainerJob) -> None:
    """Make another number of a log-prob's first digit: the file is still a journal."""
    content, mark = entry.read_bytes(), b'"completion_logprobs":[-'
    place = content.index(mark) + len(mark)
    entry.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])


def truncated(entry: Path, _: TrainerJob) -> None:
    entry.write_bytes(entry.read_bytes()[:-1])


def of_another_job(entry: Path, killed: TrainerJob) -> None:
    """Put a whole journal there, of the same policy even, that another job wrote."""
    body = entry.read_bytes().partition(b"\n")[2].replace(killed.job_id.encode(), b"job_fedcba9876543210fedc")
    head = {"size": len(body), "sha256": hashlib.sha256(body).hexdigest()}
    entry.write_bytes(json.dumps(head).encode() + b"\n" + body)


@pytest.mark.parametrize("harm", [flipped_bit, truncated, of_another_job])
def test_a_step_whose_journal_is_spoilt_is_generated_again_counted_and_said(
    world: Any, fake_services: Services, harm: Callable[[Path, TrainerJob], None]
) -> None:
    spec = {"steps": 3, "save_every": 0, "learning_rate": 0.05}
    killed = world.rl(spec)
    context = world.context(killed, fake_services(killed))
    kill_when(context, lambda event: isinstance(event, ProgressEvent) and event.step == 2)
    with pytest.raises(KilledError):
        run_rl(context)
    harm(Path(killed.attempt_dir) / "journal" / "step-1.json", killed)
    again = next_attempt(world, [killed], world.rl(spec))
    services = fake_services(again)
    result = run_rl(world.context(again, services))
    assert {request.teacher.rpartition("@")[2] for request in services.explained} == {"1", "2"}
    assert (result.cost["replayed_steps"], result.cost["regenerated_steps"]) == (1, 1)
    assert generated_again(world, again) == [1]
