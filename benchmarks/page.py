"""Put the tables into docs/performance.md, computed from the rows under docs/results: `python -m benchmarks.page`."""

import json
import re
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.explain import table as explain
from benchmarks.score import profile
from benchmarks.score import table as score

DOCS = Path(__file__).parents[1] / "docs"


def main() -> None:
    """Write the page anew; a part whose results are not there yet keeps what it says."""
    page = DOCS / "performance.md"
    page.write_text(with_tables(page.read_text(encoding="utf-8"), DOCS / "results"), encoding="utf-8")
    sys.stderr.write(f"{page} follows from the results\n")


def with_tables(page: str, results: Path) -> str:
    """Give the page with every table computed from what lies in `results`."""
    for name, table in TABLES.items():
        if (results / f"{name}.json").exists():
            found = f"<!-- {name} -->\n{table(results).strip()}\n<!-- /{name} -->"
            page = re.sub(rf"<!-- {name} -->.*?<!-- /{name} -->", lambda _, text=found: text, page, flags=re.DOTALL)
    return page


def score_table(results: Path) -> str:
    """Compare ways to score."""
    folder = results / "score"
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    rates = score.read_rates(_lines(folder / "rows.jsonl"))
    memory = _lines(folder / "memory.jsonl")
    return f"{_source(run)}\n\n{score.table_of(rates, run, memory=memory, checks=score.read_checks(folder))}"


def exact_table(results: Path, *, name: str = "exact") -> str:
    """Say how far scores are from transformers."""
    found = _json(results / f"{name}.json")
    lines = [
        _source(found),
        "",
        "| student, temperature | tokens | further than 1e-4 | largest difference | median of the items' largest "
        "| of the items computed in float64 too: ours from it, transformers from it (largest) |",
        "|---|---|---|---|---|---|",
    ]
    for name, part in found["settings"].items():
        exact = part["largest_from_float64"]
        lines.append(
            f"| {name} | {part['tokens']:,} | {part['over_tolerance']} | {part['largest_difference']:.1e} "
            f"| {part['median_of_largest']:.1e} | {exact['ours']:.1e}, {exact['transformers']:.1e} |"
        )
    return "\n".join(lines)


def sampled_table(results: Path) -> str:
    """Say how far log-probs of sampled tokens are from transformers."""
    found = _json(results / "sampled.json")
    lines = [
        _source(found),
        "",
        "| temperature | compared over | tokens | further than 1e-4 | largest difference "
        "| median of the completions' largest | largest over the whole vocabulary |",
        "|---|---|---|---|---|---|---|",
    ]
    parts = [(temperature, "what may be sampled", part) for temperature, part in found["temperatures"].items()]
    for top_p, by_temperature in found.get("top_p", {}).items():
        parts += [(f"{t}, top_p {top_p}", "the whole vocabulary", part) for t, part in by_temperature.items()]
    for name, over, part in parts:
        whole = part.get("largest_from_whole_vocabulary")
        lines.append(
            f"| {name} | {over} | {part['tokens']:,} | {part['over_tolerance']} | {part['largest_difference']:.1e} "
            f"| {part['median_of_largest']:.1e} | {'not measured' if whole is None else f'{whole:.1e}'} |"
        )
    return "\n".join(lines)


def profile_table(results: Path) -> str:
    """Say where the time of scoring goes."""
    found = _json(results / "profile.json")
    return f"{_source(found)}\n\n{profile.table_of(found['rows'])}"


def products_table(results: Path) -> str:
    """Say how far matrix products are from float64."""
    found = _json(results / "products.json")
    lines = [
        _source(found),
        "",
        "| rows, width, outputs | torch, rms from float64 | oneDNN, as vLLM calls it | oneDNN's time over torch's |",
        "|---|---|---|---|",
    ]
    for row in found["rows"]:
        ours, theirs = row["onednn"], row["torch"]
        lines.append(
            f"| {row['rows']}, {row['width']:,}, {row['outputs']:,} | {theirs['rms']:.1e} | {ours['rms']:.1e} "
            f"| {ours['seconds'] / theirs['seconds']:.2f} |"
        )
    return "\n".join(lines)


def explain_table(results: Path) -> str:
    """Compare /v1/explain with vLLM's own server."""
    found = _json(results / "explain.json")
    titles = {"vllm": "LoRA on, as ours", "vllm_bare": "without LoRA"}
    lines = [
        _source(found),
        "",
        "| load | vLLM's server | tokens/s, ours | its | ratio | first text, ours | its "
        "| ratio (above 1: ours is earlier) |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name, load in found["loads"].items():
        rate, first = load["tokens_per_s"], load["first_text_s"]
        for rival in (rival for rival in titles if rival in rate):
            ending = explain.RIVALS[rival]
            lines.append(
                f"| {name} | {titles[rival]} | {rate['ours']:.1f} | {rate[rival]:.1f} "
                f"| {_interval(load[f'tokens_per_s_ratio{ending}'])} "
                f"| {first['ours'] * 1000:.0f} ms | {first[rival] * 1000:.0f} ms "
                f"| {_interval(load[f'first_text_ratio{ending}'])} |"
            )
    return "\n".join(lines)


def swap_table(results: Path, *, name: str = "swap") -> str:
    """Say what swaps under load cost."""
    found = _json(results / f"{name}.json")
    titles = {
        "real": "vLLM, SmolLM2-135M",
        "fake": "the fake engine, 0.6 s an explanation",
        "full": "vLLM, SmolLM2-135M, between an adapter and a fully trained version",
    }
    lines = [
        _source(found),
        "",
        "| engine | clients | swaps | requests | failed | mixed | asked to first answer, p50 / p99 | rollback, p99 "
        "| a request's p99 before / during swaps |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for engine in (engine for engine in titles if engine in found):
        part = found[engine]
        p99 = part["request_p99_s"]
        to_first = f"{part['swap_p50_s']:.2f} / {part['swap_p99_s']:.2f} s"
        lines.append(
            f"| {titles[engine]} | {part['clients']} | {part['swaps']} | {part['requests']:,} | {part['failed']} "
            f"| {part['mixed']} | {to_first} | {part['rollback_p99_s']:.2f} s "
            f"| {p99['before']:.2f} / {p99['swaps']:.2f} s: {part['p99_ratio']:.2f} times |"
        )
    return "\n".join(lines)


def train_table(results: Path) -> str:
    """Compare one RL step with TRL's own trainer."""
    found = _json(results / "train.json")
    titles = {
        "ours": "ours: services and trainer",
        "one_at_a_time": "TRL's own, one completion scored at a time",
        "batched": "TRL's own, scored in batches",
    }
    lines = [_source(found), "", "| way | a step (median) | tokens a completion | times ours |", "|---|---|---|---|"]
    for name, title in titles.items():
        ratio = "1" if name == "ours" else _interval(found["ratios"][name])
        lines.append(f"| {title} | {found[f'{name}_s']:.1f} s | {found['length'][name]:.0f} | {ratio} |")
    by_parts = {"ours": found["breakdown"], **found["breakdown_of_rivals"]}
    told = "; ".join(f"{titles[name]}: {_seconds(parts)}" for name, parts in by_parts.items())
    return "\n".join([*lines, "", f"By parts, medians of {found['steps']} steps. {told[0].upper()}{told[1:]}."])


def _seconds(parts: Mapping[str, float]) -> str:
    return ", ".join(f"{name.removesuffix('_s')} {value:.1f} s" for name, value in parts.items())


TABLES: dict[str, Callable[[Path], str]] = {
    "score": score_table,
    "profile": profile_table,
    "exact": exact_table,
    "exact-fast": partial(exact_table, name="exact-fast"),
    "sampled": sampled_table,
    "products": products_table,
    "explain": explain_table,
    "train": train_table,
    "swap": swap_table,
    "swap-full": partial(swap_table, name="swap-full"),
}


def _source(found: Mapping[str, Any]) -> str:
    return f"`{found['command']}`, {found['date']}, commit {found['commit']}, {found['machine']}."


def _interval(found: Mapping[str, float]) -> str:
    return f"{found['ratio']:.3f} [{found['ci_low']:.3f}, {found['ci_high']:.3f}]"


def _json(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8"))


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
