"""Time one RL step, interleaved: ours through the services, and TRL's own trainer with the reward as a function.

make bench-train
python -m benchmarks.train --help
"""

import argparse
import json
import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.servers import BASE_MODEL, Server, free_port
from benchmarks.train.gate import FOLDER_VARIABLE, take_turn
from benchmarks.train.table import PARTS, RIVALS, figures_of
from benchmarks.train.task import Task
from rlt_client import Client
from rlt_client.demo import provenance
from rlt_core.schemas.jobs import TERMINAL
from rlt_service.engine.models import resolve_model

STEP_S = 900.0
"""What the slowest step may take, the trainer's start included."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A trainer behind a gate."""

    gate: Path
    alive: Callable[[], bool]


def main() -> None:
    """Read the options, run, write rows and figures."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.train", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--home", type=Path, required=True, help="state folder with the converted model (RLT_HOME)")
    parser.add_argument("--out", type=Path, required=True, help="folder for rows.jsonl; train.json goes beside it")
    parser.add_argument("--steps", type=int, default=6, help="steps of each that are kept; one more warms up")
    parser.add_argument("--micro-batch", type=int, default=8, help="completions of the rivals' passes")
    parser.add_argument("--samples", type=int, default=8, help="completions of each of a step's 4 questions")
    parser.add_argument("--max-tokens", type=int, default=64, help="tokens of a completion; with few, only to try it")
    options = parser.parse_args()
    task = Task(
        steps=options.steps + 1,
        samples_per_question=options.samples,
        max_tokens=options.max_tokens,
        micro_batch=options.micro_batch,
    )
    whole = task == Task(steps=parser.get_default("steps") + 1)
    command = "make bench-train" if whole else f"python -m benchmarks.train {shlex.join(sys.argv[1:])}"
    rows = list(_rows(options.home, task=task))
    options.out.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (options.out / "rows.jsonl").write_text(text, encoding="utf-8")
    facts = {name: getattr(provenance, name)() for name in ("commit", "date", "machine")}
    figures = {**figures_of(rows), "task": json.loads(task.to_json()), **facts, "command": command}
    (options.out.parent / "train.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    _say(json.dumps(figures, indent=1))


def _rows(home: Path, *, task: Task) -> Iterator[dict[str, Any]]:
    model = resolve_model(BASE_MODEL, state_folder=home)
    with TemporaryDirectory(prefix="rlt-bench-") as scratch, ExitStack() as started:
        folder = Path(scratch)
        _say("starting our service")
        client, job, contenders = _start_ours(model, folder, task=task, started=started)
        for name in RIVALS:
            contenders[name] = _start_rival(name, model, folder, task=task, started=started)
        found: list[dict[str, Any]] = []
        for step in range(1, task.steps + 1):
            names = list(contenders)
            for name in names[step % len(names) :] + names[: step % len(names)]:
                told = take_turn(contenders[name].gate, step=step, alive=contenders[name].alive, timeout_s=STEP_S)
                _say(f"step {step} of {task.steps}, {name}: {told['seconds']:.1f} s")
                found.append({"step": step, "who": name, **told})
        parts = _parts(client, job)
    for row in found:
        if row["step"] > 1:
            yield row | dict(parts[row["step"]] if row["who"] == "ours" else {})


def _start_ours(
    model: Path, folder: Path, *, task: Task, started: ExitStack
) -> tuple[Client, str, dict[str, Contender]]:
    gate, port = folder / "gate-ours", free_port()
    gate.mkdir()
    up = Server(
        [sys.executable, "-m", "rlt_client", "up", "--home", str(folder / "state"), "--port", str(port)],
        address=f"http://127.0.0.1:{port}",
        ready="/readyz",
        log=folder / "ours.log",
        environment={
            "RLT_BASE_MODEL": str(model),
            "RLT_TRAINER_COMMAND": json.dumps([sys.executable, "-m", "benchmarks.train.our_trainer"]),
            FOLDER_VARIABLE: str(gate),
        },
    )
    started.callback(up.stop)
    client = started.enter_context(Client(base_url=up.address))
    base = next(name for name in client.capabilities().models if name.endswith("@0"))
    dataset = client.datasets.create([row.model_dump(exclude_none=True) for row in task.rows()], name="bench-train")
    job = client.train(task.spec(dataset=dataset.id) | {"teacher": base, "student": base})

    def alive() -> bool:
        return client.jobs.get(job.id).status not in TERMINAL

    return client, job.id, {"ours": Contender(gate=gate, alive=alive)}


def _start_rival(name: str, model: Path, folder: Path, *, task: Task, started: ExitStack) -> Contender:
    gate = folder / f"gate-{name}"
    gate.mkdir()
    words = [sys.executable, "-m", "benchmarks.train.rival", "--model", str(model), "--gate", str(gate)]
    words += ["--out", str(folder / name), "--scoring", name, "--task", task.to_json()]
    log = started.enter_context((folder / f"{name}.log").open("wb"))
    process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, env=os.environ.copy())
    started.callback(_end, process)
    return Contender(gate=gate, alive=lambda: process.poll() is None)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def _parts(client: Client, job: str) -> dict[int, Mapping[str, float]]:
    """Give where the seconds of each of our steps went."""
    client.jobs.wait(job)
    told = client.jobs.metrics(job)
    wanted = (*PARTS, "length")
    return {
        step: {name: float(told.series[name][place] or 0.0) for name in wanted} for place, step in enumerate(told.steps)
    }


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
