"""Compare /v1/explain with vLLM's own OpenAI server: time to the first text and tokens/s, interleaved in one run.

Twice: with LoRA enabled, as ours has it, and without, as one starts it who has no adapters.

make bench-explain
python -m benchmarks.explain --help
"""

import argparse
import json
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.explain.callers import LOADS, Caller, OurCaller, VllmCaller, measure
from benchmarks.explain.table import figures_of
from benchmarks.servers import BASE_MODEL, start_ours, start_vllm
from rlt_client.demo import provenance
from rlt_client.demo.questions import generate_questions
from rlt_service.engine.models import resolve_model
from rlt_tokens import load_codec


def main() -> None:
    """Read the options, run, write rows and figures."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.explain", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--home", type=Path, required=True, help="state folder with the converted model (RLT_HOME)")
    parser.add_argument("--out", type=Path, required=True, help="folder for rows.jsonl; explain.json goes beside it")
    parser.add_argument("--repeats", type=int, default=8, help="runs of each load on each server")
    options = parser.parse_args()
    rows = list(_rows(options.home, repeats=options.repeats))
    options.out.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row) + "\n" for row in rows)
    (options.out / "rows.jsonl").write_text(text, encoding="utf-8")
    facts = {name: getattr(provenance, name)() for name in ("commit", "date", "machine")}
    figures = {**figures_of(rows), "repeats": options.repeats, **facts, "command": "make bench-explain"}
    (options.out.parent / "explain.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    _say(json.dumps(figures, indent=1))


def _rows(home: Path, *, repeats: int) -> Iterator[dict[str, Any]]:
    with TemporaryDirectory(prefix="rlt-bench-") as scratch, ExitStack() as started:
        state = Path(scratch) / "state"
        state.mkdir()
        codec = load_codec(resolve_model(BASE_MODEL, state_folder=home))
        _say("starting our service")
        ours = start_ours(home, folder=state)
        started.callback(ours.stop)
        callers: dict[str, Caller] = {"ours": OurCaller(ours.address)}
        for name, lora in (("vllm", True), ("vllm_bare", False)):
            _say(f"starting vLLM's OpenAI server {'with' if lora else 'without'} LoRA")
            theirs = start_vllm(home, folder=Path(scratch), lora=lora)
            started.callback(theirs.stop)
            callers[name] = VllmCaller(theirs.address, codec=codec)
        yield from _interleaved(callers, repeats=repeats)


def _interleaved(callers: dict[str, Caller], *, repeats: int) -> Iterator[dict[str, Any]]:
    """Run every load on all, each time another one first; repeat -1 warms up and is not kept."""
    names = list(callers)
    for repeat in range(-1, repeats):
        questions = generate_questions(count=8, seed=100 + repeat, steps=3)
        for load, run in [(each, run) for each in LOADS for run in range(each.times)]:
            shift = (repeat + run) % len(names)
            for name in (*names[shift:], *names[:shift]):
                found = measure(callers[name], [*questions[run:], *questions[:run]], load, seed=100 * (repeat + 1))
                if repeat >= 0:
                    _say(f"{load.name} {repeat + 1}/{repeats} {name}: {found.tokens / found.seconds:.1f} tokens/s")
                    place = repeat * load.times + run
                    yield {"load": load.name, "repeat": place, "server": name, **asdict(found)}


def _say(text: str) -> None:
    sys.stderr.write(f"{text}\n")


if __name__ == "__main__":
    main()
