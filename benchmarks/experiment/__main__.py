"""Train the arms of the experiment and measure them on report questions; what is done already is not done again.

make experiment-rl
python -m benchmarks.experiment --help

The work folder holds the server's state, so a run that was ended goes on where it was: jobs are durable, versions are
registered, a file of rows is whole or not there.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from benchmarks.experiment.arms import MAIN, Arm, Plan, kl
from benchmarks.experiment.measuring import CONTROLS, Measurement
from benchmarks.experiment.tasks import Row, Task, tasks
from benchmarks.servers import BASE_MODEL, Server, free_port
from rlt_client import Client
from rlt_client.demo import provenance
from rlt_core.schemas.jobs import Job
from rlt_core.schemas.score import RewardConfig
from rlt_service.engine.models import resolve_model

REPORT_SEED = 2
"""Of the report questions, which nothing is trained, chosen or tried on."""


class Experiment:
    """One run of the protocol against a server that stays."""

    def __init__(self, client: Client, *, plan: Plan, task: Task, work: Path, out: Path, until_s: float) -> None:
        self._client = client
        self._plan = plan
        self._task = task
        self._notes = work / "notes.json"
        self._out = out
        self._until_s = until_s
        self._known: dict[str, str] = json.loads(self._notes.read_text()) if self._notes.exists() else {}
        taught = task.rows(plan.train_questions, plan.data_seed)
        seen = {row.question for row in taught}
        fresh = [row for row in task.rows(2 * plan.report_questions, REPORT_SEED) if row.question not in seen]
        self.taught: list[Row] = taught
        self.reported: list[Row] = fresh[: plan.report_questions]

    def run(self) -> bool:
        """Do what is left, in order; False where time ran out before the end."""
        base = next(name for name in self._client.capabilities().models if name.endswith("@0"))
        dataset = self._once("dataset", self._upload)
        student = self._once("student", lambda: self._warm_up("student", dataset))
        warm = self._once("warm-up", lambda: self._warm_up("teacher", dataset))
        self._measure("base", 0, base, student=student)
        self._measure("warm-up", 0, warm, student=student)
        for name in CONTROLS:
            rows = self._measurement(student).of_control(name)
            self._write(f"control-{name.replace(' ', '-')}", rows)
        for arm in self._plan.arms():
            for seed in arm.seeds:
                if time.monotonic() > self._until_s:
                    return False
                train = self._training(arm, seed, dataset=dataset, teacher=warm, student=student)
                version = self._once(f"{arm.name} {seed}", train)
                self._measure(arm.name, seed, version, student=student)
        return True

    def _upload(self) -> str:
        rows = [row.uploaded() for row in self.taught]
        return self._client.datasets.create(rows, name=f"experiment {self._task.name}").id

    def _warm_up(self, role: str, dataset: str) -> str:
        spec = self._plan.warmup_spec(role=role, dataset=dataset, max_tokens=1024)
        result = self._ended(f"job warm-up {role}", spec).result
        made = (result.student if role == "student" else result.teacher) if result else None
        if made is None:
            raise RuntimeError(f"the warm-up of the {role} made no version")
        return made

    def _training(self, arm: Arm, seed: int, *, dataset: str, teacher: str, student: str) -> Callable[[], str]:
        def train() -> str:
            spec = self._plan.rl_spec(
                arm,
                seed=seed,
                dataset=dataset,
                teacher=teacher,
                student=student,
                max_tokens=self._task.max_tokens,
            )
            job = self._ended(f"job {arm.name} {seed}", spec)
            if job.result is None or job.result.teacher is None:
                raise RuntimeError(f"{job.id} made no version")
            series = self._client.jobs.metrics(job.id)
            self._write(f"curve-{arm.name}-{seed}", [{"steps": series.steps, "series": series.series}])
            return job.result.teacher

        return train

    def _ended(self, key: str, spec: dict[str, Any]) -> Job:
        """Wait for a job, which is submitted only once."""
        job_id = self._once(
            key, lambda: self._client.train(spec, idempotency_key=f"experiment-{key}".replace(" ", "-")).id
        )
        _say(f"{spec['name']}: {job_id}")
        ended = self._client.jobs.wait(job_id, poll_s=2.0)
        if ended.status != "succeeded":
            raise RuntimeError(f"{job_id} ended as {ended.status}: {ended.error and ended.error.message}")
        return ended

    def _measure(self, arm: str, seed: int, version: str, *, student: str) -> None:
        self._write(f"{arm}-{seed}", self._measurement(student).of_version(version, arm=arm, seed=seed))

    def _measurement(self, student: str) -> Measurement:
        return Measurement(
            self._client,
            rows=self.reported,
            student=student,
            reward=RewardConfig.model_validate(kl(self._plan.kl_mean)),
            temperature=self._plan.temperature,
            max_tokens=self._task.max_tokens,
        )

    def _write(self, name: str, rows: Iterable[dict[str, Any]]) -> None:
        path = self._out / f"{name}.jsonl"
        if path.exists():
            return
        began_s = time.monotonic()
        text = "".join(json.dumps(row) + "\n" for row in rows)
        part = path.with_suffix(".part")
        part.write_text(text, encoding="utf-8")
        os.replace(part, path)
        _say(f"{path.name}: {text.count(chr(10))} rows in {time.monotonic() - began_s:.0f} s")

    def _once(self, key: str, make: Callable[[], str]) -> str:
        if key not in self._known:
            self._known[key] = make()
            part = self._notes.with_suffix(".part")
            part.write_text(json.dumps(self._known, indent=1), encoding="utf-8")
            os.replace(part, self._notes)
        return self._known[key]


def main() -> int:
    """Read the options and run; 3 where time ran out, so that the same command goes on later."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.experiment", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--home", type=Path, required=True, help="state folder with the converted model (RLT_HOME)")
    parser.add_argument("--data", type=Path, required=True, help="folder with GSM8K and countdown rows")
    parser.add_argument("--work", type=Path, required=True, help="folder for the server's state; kept between runs")
    parser.add_argument("--out", type=Path, required=True, help="folder for the rows, one file an arm and seed")
    parser.add_argument("--minutes", type=float, default=100.0, help="start nothing new after so long")
    parser.add_argument("--plan", default="{}", help="JSON of sizes that are not the protocol's, for a trial")
    options = parser.parse_args()
    plan = Plan(**(PROTOCOL | json.loads(options.plan)))
    for folder in (options.work, options.out):
        folder.mkdir(parents=True, exist_ok=True)
    port = free_port()
    server = Server(
        [sys.executable, "-m", "rlt_client", "up", "--home", str(options.work / "home"), "--port", str(port)],
        address=f"http://127.0.0.1:{port}",
        ready="/readyz",
        log=options.work / "server.log",
        environment={
            "RLT_BASE_MODEL": str(resolve_model(BASE_MODEL, state_folder=options.home)),
            "RLT_TRAINER_COMMAND": json.dumps([sys.executable, "-m", "benchmarks.experiment.trainer"]),
        },
    )
    try:
        with Client(base_url=server.address, timeout_s=1800.0) as client:
            experiment = Experiment(
                client,
                plan=plan,
                task=tasks(options.data)[plan.task],
                work=options.work,
                out=options.out,
                until_s=time.monotonic() + 60.0 * options.minutes,
            )
            whole = experiment.run()
    finally:
        server.stop()
    facts = {name: getattr(provenance, name)() for name in ("commit", "date", "machine")}
    run = {"plan": _plain(plan), "main": MAIN, **facts}
    (options.out / "run.json").write_text(json.dumps(run, indent=1) + "\n", encoding="utf-8")
    return 0 if whole else 3


PROTOCOL: dict[str, Any] = {"task": "sums-2", "kl_mean": 0.3, "sweep": (0.0, 0.1, 1.0, 3.0)}


def _plain(plan: Plan) -> dict[str, Any]:
    return {name: getattr(plan, name) for name in Plan.__dataclass_fields__}


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    sys.exit(main())
