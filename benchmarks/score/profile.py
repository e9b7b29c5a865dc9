"""Say where the time of scoring goes: torch's profiler in the worker of each engine, while it scores `g8`.

python -m benchmarks.score.profile --home .rlt --out docs/results/profile.json
"""

# vLLM's types are incomplete, so this module is checked less strictly than the rest.
# pyright: standard

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from benchmarks.score.contenders import BASE_MODEL, TEMPERATURE, PlainVllm
from benchmarks.score.server import EngineAndServer
from benchmarks.score.workloads import WORKLOADS, Group, make_groups
from rlt_client.demo import provenance
from rlt_core.tokens import SequenceCodec
from rlt_service.engine.models import resolve_model
from rlt_service.engine.vllm_environment import vllm_environment
from rlt_tokens import load_codec

WORKLOAD = WORKLOADS["g8"]
REPEATS = 3
EXTENSION = "benchmarks.score.profile.Profiling"
PARTS = ("products of the body", "output layer", "attention", "the rest of the worker", "outside of it")
Event = tuple[str, list[list[int]], float]
"""An operation, the shapes of what it was given, seconds of its own."""
Way = Literal["exact", "fast", "plain"]


class Profiling:
    """What vLLM mixes into the worker: begin and end of a profile."""

    profile_now: Any

    def begin_profile(self) -> None:
        """Note every operation from now on."""
        from torch.profiler import ProfilerActivity, profile  # torch: not for who only reads the table

        self.profile_now = profile(activities=[ProfilerActivity.CPU], record_shapes=True)
        self.profile_now.start()

    def end_profile(self) -> list[Event]:
        """Give the operations since, summed by name and shapes."""
        self.profile_now.stop()
        return [
            (event.key, [list(shape) for shape in event.input_shapes], event.self_cpu_time_total / 1e6)
            for event in self.profile_now.key_averages(group_by_input_shape=True)
        ]


def main() -> None:
    """Profile the three, one after the other, and write what was found."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.score.profile")
    parser.add_argument("--home", type=Path, required=True, help="state folder with the converted model (RLT_HOME)")
    parser.add_argument("--out", type=Path, required=True, help="the JSON file to write")
    options = parser.parse_args()
    folder = resolve_model(BASE_MODEL, state_folder=options.home)
    codec = load_codec(folder)
    vocabulary = json.loads((folder / "config.json").read_text(encoding="utf-8"))["vocab_size"]
    rows = [row for way in ("exact", "fast", "plain") for row in _rows(way, codec, options.home, vocabulary)]
    facts = {name: getattr(provenance, name)() for name in ("commit", "date", "machine")}
    figures = {
        "rows": rows,
        **facts,
        "command": f"python -m benchmarks.score.profile --out {options.out}",
    }
    options.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


def table_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the median seconds of each part, by way and reward."""
    kinds = list(dict.fromkeys((row["way"], row["reward"]) for row in rows))
    lines = ["| seconds of | " + " | ".join(f"{way}, {reward}" for way, reward in kinds) + " |"]
    lines.append("|---|" + "---|" * len(kinds))
    for part in (*PARTS, "whole"):
        cells: list[str] = []
        for kind in kinds:
            found = sorted(row["seconds"][part] for row in rows if (row["way"], row["reward"]) == kind)
            cells.append(f"{found[len(found) // 2]:.2f}")
        lines.append(f"| {part} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def by_part(events: Sequence[Event], *, vocabulary: int, whole: float) -> dict[str, float]:
    """Sum the operations' seconds by part; `whole` is the time that the caller saw."""
    found: dict[str, float] = defaultdict(float)
    for name, shapes, seconds in events:
        found[_part_of(name, shapes, vocabulary=vocabulary)] += seconds
    found["outside of it"] = whole - sum(found.values())
    return {**{part: found[part] for part in PARTS}, "whole": whole}


def _part_of(name: str, shapes: Sequence[Sequence[int]], *, vocabulary: int) -> str:
    if "scaled_dot_product" in name or "cpu_attention" in name:
        return "attention"
    if name in {"aten::mm", "aten::addmm"} or "onednn_mm" in name:
        return "output layer" if any(_is_wide(shape, vocabulary) for shape in shapes) else PARTS[0]
    if any(_is_wide(shape, vocabulary) for shape in shapes):
        return "output layer"  # what is done with logits
    return "the rest of the worker"


def _is_wide(shape: Sequence[int], vocabulary: int) -> bool:
    """Tell whether a matrix's columns are words: all of them, or a piece."""
    from rlt_service.engine.output_layer import PIECE  # torch

    return len(shape) == 2 and shape[1] in {PIECE, vocabulary % PIECE or PIECE, vocabulary}


def _rows(way: Way, codec: SequenceCodec, home: Path, vocabulary: int) -> Iterator[dict[str, Any]]:
    rewards = ("full",) if way == "plain" else ("full", "r_SS alone")
    with _engine(way, home) as (score, call):
        for reward in rewards:
            # Texts of their own for each: what one has cached must not help the next.
            groups = [make_groups(WORKLOAD, codec=codec, seed=seed) for seed in _seeds(rewards.index(reward))]
            score(groups[0], reward)  # warm-up
            for repeat, texts in enumerate(groups[1:]):
                call("begin_profile")
                before = time.perf_counter()
                score(texts, reward)
                whole = time.perf_counter() - before
                events: list[Event] = call("end_profile")
                seconds = by_part(events, vocabulary=vocabulary, whole=whole)
                row = {"way": way, "reward": reward, "repeat": repeat}
                yield {**row, "seconds": {part: round(value, 4) for part, value in seconds.items()}}


def _seeds(reward: int) -> range:
    return range(reward * (REPEATS + 1), (reward + 1) * (REPEATS + 1))


@contextmanager
def _engine(way: Way, home: Path) -> Iterator[tuple[Callable[[list[Group], str], object], Callable[[str], Any]]]:
    """Start an engine with the profiler in its worker; gives how to score and how to call the worker."""
    if way == "plain":
        plain = PlainVllm(home, worker_extension_cls=EXTENSION)
        yield lambda groups, _: plain.run(groups, sampled=None), lambda name: plain.call(name)
        plain.stop()
        return
    with vllm_environment(home):
        from rlt_service.engine import vllm_process
    theirs = vllm_process._arguments

    def arguments(options: Any) -> Any:
        found = theirs(options)
        found.worker_extension_cls = EXTENSION
        return found

    vllm_process._arguments = arguments
    ours = EngineAndServer(home=home, base_model=BASE_MODEL, scoring_math=way)
    vllm_process._arguments = theirs

    def score(groups: list[Group], reward: str) -> object:
        items = [item for group in groups for item in group.items]
        return ours.score(items, temperature=TEMPERATURE, rss_only=reward != "full")

    yield score, ours.call_worker
    ours.stop()


if __name__ == "__main__":
    main()
