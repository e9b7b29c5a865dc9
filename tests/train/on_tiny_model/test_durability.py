"""In which order things become durable: seen in the calls of fsync and rename, and in what is told and trained."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import torch

from rlt_core.schemas.trainer import CheckpointEvent, TrainerEvent
from rlt_train.context import JobContext
from rlt_train.durable import durable_folder, make_folder, write_durable
from rlt_train.rl import run_rl
from rlt_train.warmup import run_warmup

pytestmark = pytest.mark.training

Services = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Act:
    """Something that happened: `what` to `path`; `beside` are the files that lay in its folder then."""

    what: str
    path: Path
    beside: frozenset[str] = frozenset()


@dataclass
class Acts:
    """All that happened, in order."""

    seen: list[Act] = field(default_factory=list[Act])

    def note(self, what: str, path: Path) -> None:
        beside = frozenset(each.name for each in path.parent.iterdir()) if path.parent.is_dir() else frozenset[str]()
        self.seen.append(Act(what, path, beside))

    def first(self, what: str, path: Path) -> int:
        """Give when it first happened; fails where it never did."""
        found = [number for number, act in enumerate(self.seen) if (act.what, act.path) == (what, path)]
        assert found, f"{what} of {path} was not seen"
        return found[0]

    def of(self, what: str) -> list[Act]:
        return [act for act in self.seen if act.what == what]


@contextmanager
def recorded() -> Iterator[Acts]:
    """Watch at the boundary of the operating system."""
    acts, fsync, replace = Acts(), os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        fsync(descriptor)
        acts.note("fsync", Path(os.readlink(f"/proc/self/fd/{descriptor}")))

    def noted_replace(source: Any, target: Any) -> None:
        acts.note("rename from", Path(source))
        replace(source, target)
        acts.note("rename", Path(target))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", noted_fsync)
        patch.setattr(os, "replace", noted_replace)
        yield acts


def assert_in_order(*numbers: int) -> None:
    assert list(numbers) == sorted(set(numbers))


def test_a_file_is_durable_before_it_gets_its_name_and_then_its_name_is(tmp_path: Path) -> None:
    with recorded() as acts:
        write_durable(tmp_path / "file", b"content")
    part = tmp_path / ".file.part"
    assert_in_order(
        acts.first("fsync", part),
        acts.first("rename from", part),
        acts.first("rename", tmp_path / "file"),
        acts.first("fsync", tmp_path),
    )


def test_a_folder_is_durable_with_all_that_is_in_it_before_it_gets_its_name_and_then_its_name_is(
    tmp_path: Path,
) -> None:
    with recorded() as acts, durable_folder(tmp_path / "folder") as folder:
        (folder / "inner").mkdir()
        (folder / "inner" / "file").write_text("1")
    part, renamed = tmp_path / ".folder.part", acts.first("rename from", tmp_path / ".folder.part")
    for path in (part, part / "inner", part / "inner" / "file"):
        assert acts.first("fsync", path) < renamed
    assert_in_order(renamed, acts.first("rename", tmp_path / "folder"), acts.first("fsync", tmp_path))


def test_folders_that_are_made_on_the_way_are_durable_in_those_above_them(tmp_path: Path) -> None:
    with recorded() as acts:
        make_folder(tmp_path / "a" / "b")
        make_folder(tmp_path / "a" / "b")
    assert [act.path for act in acts.of("fsync")] == [tmp_path, tmp_path / "a"]


def watch_what_is_told(context: JobContext, acts: Acts) -> None:
    emit = context.events.emit

    def noted_emit(event: TrainerEvent) -> None:
        if isinstance(event, CheckpointEvent):
            acts.note("told", Path(event.path))
        emit(event)

    context.events.emit = noted_emit


def test_a_checkpoint_is_told_of_only_when_its_files_then_its_manifest_then_its_name_are_durable(world: Any) -> None:
    job = world.warmup(max_steps=2, save_every=2)
    context = world.context(job)
    with recorded() as acts:
        watch_what_is_told(context, acts)
        run_warmup(context)
    folder = Path(job.attempt_dir) / "checkpoints" / "step-2"
    part = folder.with_name(".step-2.part")
    files = {path.relative_to(folder) for path in folder.rglob("*") if path.is_file()} - {Path("manifest.json")}
    assert {path.name for path in files} >= {"state.pt", "trainer_state.json", "adapter_model.safetensors"}
    manifest = acts.first("fsync", part / "manifest.json")
    for path in files:
        first = acts.first("fsync", part / path)
        assert first < manifest
        there = acts.seen[first].beside if path.parent == Path() else acts.seen[acts.first("fsync", part)].beside
        assert "manifest.json" not in there  # it is written when what it vouches for is durable
    last_sync = max(number for number, act in enumerate(acts.seen) if (act.what, act.path) == ("fsync", part))
    assert_in_order(
        manifest,
        last_sync,
        acts.first("rename from", part),
        acts.first("rename", folder),
        next(n for n, act in enumerate(acts.seen) if n > acts.first("rename", folder) and act.what == "fsync"),
        acts.first("told", folder),
    )
    after = acts.seen[acts.first("rename", folder) + 1]
    assert (after.what, after.path) == ("fsync", folder.parent)


def test_a_steps_journal_is_durable_before_the_optimizer_step_that_it_causes(
    world: Any, fake_services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = world.rl({"steps": 3, "save_every": 0})
    folder, step = Path(job.attempt_dir) / "journal", torch.optim.AdamW.step
    done = 0
    with recorded() as acts:

        def noted_step(optimizer: Any, *args: Any, **kwargs: Any) -> Any:
            nonlocal done
            acts.note("step", folder / str(done))
            done += 1
            return step(optimizer, *args, **kwargs)

        monkeypatch.setattr(torch.optim.AdamW, "step", noted_step)
        run_rl(world.context(job, fake_services(job)))
    assert done == 3
    assert acts.first("fsync", folder.parent) < acts.first("step", folder / "0")  # the folder's own name
    for number in range(3):
        part, entry = folder / f".step-{number}.json.part", folder / f"step-{number}.json"
        renamed = acts.first("rename", entry)
        assert_in_order(acts.first("fsync", part), acts.first("rename from", part), renamed)
        synced = acts.seen[renamed + 1]
        assert (synced.what, synced.path) == ("fsync", folder)
        assert renamed + 1 < acts.first("step", folder / str(number))
        assert f"step-{number}.begun" in acts.seen[renamed].beside  # until then it counts as not written
