"""Compare a collect with a plain script that makes the same calls with the same concurrency, by turns, on one server.

Both are processes of their own; seconds are from the first call on, until the last row is on disk or answered.

make bench-collect
python -m benchmarks.collect --help
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.collect.figures import figures_of
from benchmarks.servers import start_ours
from rlt_client import Client
from rlt_client.demo import provenance
from rlt_client.demo.questions import generate_questions
from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.trainer import TRAINER_EVENT, CollectedEvent, CollectingEvent, TrainerJob
from rlt_train.collecting.asking import question_seed

JOB = "job_00000000000000000bench"


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """A server, and what is asked of it."""

    address: str
    folder: Path
    spec: CollectSpec

    def collect(self, rows: Sequence[DatasetRow], *, name: str) -> dict[str, float]:
        """Run the trainer's own process on the rows."""
        attempt = self.folder / name / "attempt-1"
        attempt.mkdir(parents=True)
        dataset, events = attempt / "rows.jsonl", attempt / "events.jsonl"
        dataset.write_text("".join(row.model_dump_json(exclude_none=True) + "\n" for row in rows), encoding="utf-8")
        with Client(self.address) as client:
            asked = client.explain(question="1 + 1?", solution="2", max_tokens=1)
            student = client.score(question="1 + 1?", solution="2", explanations=["one more"]).student.version
        job = TrainerJob(
            job_id=JOB,
            attempt=1,
            kind="collect",
            spec=self.spec,
            base_model=str(asked.teacher.base_model),
            base_model_dir=str(self.folder),
            dataset_path=str(dataset),
            attempt_dir=str(attempt),
            events_path=str(events),
            teacher_version=asked.teacher.version,
            student_version=student,
            base_url=self.address,
            format_id=asked.format,
        )
        file = attempt / "job.json"
        file.write_text(job.model_dump_json(), encoding="utf-8")
        subprocess.run(
            [sys.executable, "-m", "rlt_train", "--job", str(file), "--no-watch"], check=True, stdin=subprocess.DEVNULL
        )
        said = [TRAINER_EVENT.validate_json(line) for line in events.read_text(encoding="utf-8").splitlines()]
        began = next(event for event in said if isinstance(event, CollectingEvent))
        ended = next(event for event in said if isinstance(event, CollectedEvent))
        return {
            "seconds": (ended.at - began.at).total_seconds(),
            "questions": ended.counts["questions"],
            "tokens": ended.cost["generated_tokens"],
        }

    def plain(self, rows: Sequence[DatasetRow], *, name: str) -> dict[str, float]:
        """Run the plain script's process on the rows."""
        questions = [
            {
                "question": row.question,
                "solution": row.solution,
                "n": self.spec.samples_per_question,
                "temperature": self.spec.temperature,
                "max_tokens": self.spec.max_tokens,
                "seed": question_seed(self.spec.seed, str(row.id)),
                "include": ["tokens"],
            }
            for row in rows
        ]
        file = self.folder / f"{name}.json"
        task = {"address": self.address, "at_once": self.spec.questions_at_once, "questions": questions}
        file.write_text(json.dumps(task), encoding="utf-8")
        command = [sys.executable, "-m", "benchmarks.collect.plain", str(file)]
        found = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(found.stdout)


def main() -> None:
    """Read the options, run, write rows and figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.collect", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--home", type=Path, required=True, help="state folder with the converted model (RLT_HOME)")
    parser.add_argument("--out", type=Path, required=True, help="folder for rows.jsonl; collect.json goes beside it")
    parser.add_argument("--repeats", type=int, default=8, help="pairs of runs")
    parser.add_argument("--questions", type=int, default=48, help="questions of a run")
    parser.add_argument("--at-once", type=int, default=8, help="questions at the same time")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="rlt-bench-") as scratch:
        state = Path(scratch) / "state"
        state.mkdir()
        server = start_ours(options.home, folder=state)
        try:
            bench = Bench(address=server.address, folder=Path(scratch), spec=spec_of(questions_at_once=options.at_once))
            rows = list(interleaved(bench, repeats=options.repeats, questions=options.questions))
        finally:
            server.stop()
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    facts = {name: getattr(provenance, name)() for name in ("commit", "date", "machine")}
    how = {"repeats": options.repeats, "questions": options.questions, "questions_at_once": options.at_once}
    figures = {**figures_of(rows), **how, **facts, "command": "make bench-collect"}
    (options.out.parent / "collect.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    _say(json.dumps(figures, indent=1))


def spec_of(*, questions_at_once: int) -> CollectSpec:
    """Give what both ways ask."""
    return CollectSpec(
        kind="collect",
        dataset="ds_bench",
        samples_per_question=2,
        max_tokens=64,
        questions_at_once=questions_at_once,
        max_failed=0.0,
    )


def interleaved(bench: Bench, *, repeats: int, questions: int) -> Iterator[dict[str, Any]]:
    """Run both ways on the same questions, each time another one first; repeat -1 warms up and is not kept.

    No question is asked in two repeats; within one the second way finds prompts in the engine's cache, by turns.
    """
    ways: dict[str, Callable[..., dict[str, float]]] = {"collect": bench.collect, "plain": bench.plain}
    for repeat in range(-1, repeats):
        rows = [
            DatasetRow(id=f"q{number}", question=made.question, solution=made.solution)
            for number, made in enumerate(generate_questions(count=questions, seed=500 + repeat, steps=3))
        ]
        for way in sorted(ways, reverse=bool(repeat % 2)):
            found = ways[way](rows, name=f"{way}-{repeat}")
            if repeat >= 0:
                _say(f"{repeat + 1}/{repeats} {way}: {found['questions'] / found['seconds']:.2f} questions/s")
                yield {"way": way, "repeat": repeat, **found}


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
