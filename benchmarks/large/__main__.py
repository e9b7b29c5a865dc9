"""Take a dataset that is larger than anyone wants in memory through its life: upload, lists, a collect, a download.

Control, worker and trainer are processes of their own on the fake engine; what each holds is watched all the time.

make bench-large                          a million rows (three hours on 2 cores)
python -m benchmarks.large --rows 20000   a few minutes
"""

import argparse
import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
import psutil
from rich.progress import Progress

from benchmarks.large.memory import Memory
from benchmarks.reliability.parts import real_plant
from benchmarks.reliability.plant import Plant, wait_for
from benchmarks.reliability.tiny_model import save_tiny_model
from rlt_client import Client
from rlt_client.demo import provenance
from rlt_core.schemas.collect import CollectSpec
from rlt_core.schemas.datasets import DatasetRow
from rlt_core.schemas.jobs import TERMINAL

WINDOWS = 20
"""Looks at rows, spread evenly over the dataset."""


def main() -> int:
    """Read the options, run, write figures; 1 where the collect did not succeed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.large",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--out", type=Path, required=True, help="the file for the figures (JSON)")
    options = parser.parse_args()
    with TemporaryDirectory(prefix="rlt-large-") as scratch:
        folder = Path(scratch)
        plant = real_plant(folder / "home", base_model=save_tiny_model(folder / "tiny"))
        try:
            plant.start(workers=1)
            found = run(plant, rows=options.rows, folder=folder)
        finally:
            plant.end()
    facts = {name: getattr(provenance, name)() for name in ("commit", "date", "machine")}
    figures = {"rows": options.rows, **found, **facts, "command": f"python -m benchmarks.large --rows {options.rows}"}
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    sys.stderr.write(json.dumps(figures, indent=1) + "\n")
    return 0 if found["collect"]["status"] == "succeeded" else 1


def run(plant: Plant, *, rows: int, folder: Path) -> dict[str, Any]:
    """Take the dataset through its life, and give seconds and memory by phase."""
    control, worker = psutil.Process(plant.controls[0].pid), psutil.Process(plant.workers[0].pid)
    memory = Memory(
        {"control and engine": lambda: control, "worker": lambda: worker, "trainer": lambda: _trainer(worker)}
    )
    found: dict[str, Any] = {}
    with Client(plant.address, timeout=3600.0) as client:
        with memory.during("upload"):
            began_s = time.monotonic()
            dataset = client.datasets.create(_made(rows))
            found["upload"] = {"seconds": round(time.monotonic() - began_s, 1), "rows": dataset.rows}
        with memory.during("rows"):
            found["windows"] = _windows(client, dataset.id, rows=rows)
        with memory.during("collect"):
            found["collect"] = _collect(plant, dataset.id, rows=rows)
        output = found["collect"].pop("dataset")
        if output is not None:
            with memory.during("download"):
                began_s = time.monotonic()
                path = client.datasets.download(output, folder / "collected.parquet", format="parquet")
                found["download"] = {
                    "seconds": round(time.monotonic() - began_s, 1),
                    "mib": round(path.stat().st_size / 2**20, 1),
                }
    return {**found, "memory": memory.figures()}


def _made(rows: int) -> Iterator[DatasetRow]:
    with Progress(transient=True) as bar:
        for number in bar.track(range(rows), description="upload"):
            yield DatasetRow(
                id=f"q{number}",
                question=f"What are {number} and {number % 97} together?",
                solution=f"The answer is {number + number % 97}.",
                answer=str(number + number % 97),
            )


def _windows(client: Client, dataset: str, *, rows: int) -> dict[str, float]:
    seconds: list[float] = []
    for part in range(WINDOWS):
        offset = part * (rows - 100) // (WINDOWS - 1)
        began_s = time.monotonic()
        window = client.datasets.rows(dataset, offset=offset, limit=100)
        seconds.append(time.monotonic() - began_s)
        if window.data[0].id != f"q{offset}":
            raise RuntimeError(f"at offset {offset} lies {window.data[0].id}")
    return {"first_s": round(seconds[0], 4), "last_s": round(seconds[-1], 4), "most_s": round(max(seconds), 4)}


def _collect(plant: Plant, dataset: str, *, rows: int) -> dict[str, Any]:
    spec = CollectSpec(
        kind="collect", dataset=dataset, samples_per_question=1, max_tokens=16, keep="all", questions_at_once=32
    )
    began_s = time.monotonic()
    body = spec.model_dump(mode="json", exclude_unset=True)
    job = httpx.post(f"{plant.address}/v1/train", json=body, timeout=3600.0).raise_for_status().json()["id"]
    accepted_s = time.monotonic() - began_s

    def ended() -> bool:
        bar.update(task, completed=plant.jobs.get(job).progress.step)
        time.sleep(1.0)
        return plant.jobs.get(job).status in TERMINAL

    with Progress(transient=True) as bar:
        task = bar.add_task("collect", total=rows)
        wait_for(ended, what="the collect has ended", timeout_s=12 * 3600.0)
    seen = plant.jobs.get(job)
    return {
        "status": seen.status,
        "error": seen.error.message if seen.error is not None else None,
        "accepted_s": round(accepted_s, 3),
        "seconds": round(seen.runtime_s, 1),
        "questions_per_s": round(rows / seen.runtime_s, 1) if seen.runtime_s else None,
        "dataset": seen.result.dataset if seen.result is not None else None,
        "counts": seen.result.counts if seen.result is not None else {},
    }


def _trainer(worker: psutil.Process) -> psutil.Process | None:
    try:
        return next(iter(worker.children()), None)
    except psutil.Error:
        return None


if __name__ == "__main__":
    sys.exit(main())
