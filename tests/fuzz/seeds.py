"""Own what lies in the state folder before the contract is fuzzed, and the names by which calls find it."""

from dataclasses import dataclass
from pathlib import Path

from rlt_core.artifacts import adapter_sha256
from rlt_core.schemas.shadows import ShadowPut
from tests.support.control import ROWS, Control, write_adapter

FOLDERS = ("one", "two", "three", "four", "five", "six")
"""Adapters that can be registered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Seeds:
    """Names of what is there, by kind: calls are drawn with these as often as with made-up ones."""

    datasets: tuple[str, ...]
    jobs: tuple[str, ...]
    evaluations: tuple[str, ...]
    names: tuple[str, ...]
    aliases: tuple[str, ...]
    versions: tuple[str, ...]


def lay_seeds(control: Control) -> Seeds:
    """Make one of each thing that a call can name: jobs in each state, versions, a moved alias, a shadow."""
    datasets = tuple(control.upload(rows) for rows in (ROWS, ROWS[:4]))
    first, second = control.version("algebra", seed=1), control.version("algebra", seed=2)
    pupil = control.version("pupil", role="student", seed=3)
    for folder in FOLDERS:
        control.import_folder(folder)
    for version, expected in ((first, None), (second, first)):
        control.http.put("/v1/aliases/teacher/main", json={"version": version, "expected": expected})
    put = ShadowPut(version=first, share=1.0).model_dump()
    control.http.put("/v1/aliases/teacher/main/shadow", json=put)
    return Seeds(
        datasets=datasets,
        jobs=_jobs(control, datasets[0]),
        evaluations=(control.evaluation(before=first, after=second, gain=0.1),),
        names=("algebra", "pupil", "fake"),
        aliases=("default", "main"),
        versions=(first, second, pupil, "fake@0", "default", "main", "algebra"),
    )


def _jobs(control: Control, dataset: str) -> tuple[str, ...]:
    """Make jobs: running with a policy to publish, succeeded, cancelled, paused, queued."""
    running = control.running_job(dataset=dataset)
    folder: Path = control.services.artifacts.rollout_dir(running.id, running.attempt, 1)
    adapter_sha256(write_adapter(folder))
    done, cancelled, paused, queued = (control.job(dataset=dataset, name=f"{number}") for number in range(4))
    claimed = control.services.jobs.claim(queue="train", worker="fuzz")
    assert claimed is not None
    control.services.jobs.finish(claimed.job.id, claimed.job.attempt, "succeeded")
    assert claimed.job.id == done.id
    control.services.jobs.cancel(cancelled.id)
    control.services.jobs.pause(paused.id)
    return (running.id, done.id, cancelled.id, paused.id, queued.id)
