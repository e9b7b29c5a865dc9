"""Compute the scoring benchmark's figures and table from its rows: `python -m benchmarks.score.table FOLDER`."""

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.ratios import paired_ratio
from benchmarks.score.checks import COMPARED
from benchmarks.score.checks import figures_of as checks_of

BASELINE = "vllm_plain"
LABELS = {
    "ours_in_process": "ours, in process",
    "ours_in_process_rss_only": "ours, in process, r_SS alone",
    "ours_http": "ours, over HTTP",
    "ours_fast": "ours, in process, the body by vLLM's kernels (`RLT_SCORING_MATH=fast`)",
    "ours_fast_rss_only": "the same, r_SS alone",
    "vllm_plain": "vLLM as it comes",
    "transformers_batched": "transformers, batches of 8",
    "one_at_a_time": "transformers, one at a time",
}
SAME_TEXTS = (
    "In a repeat all ways score the same texts; before each run every engine drops what it has cached. What each finds "
    "is compared with what our engine finds: a wrong way would be seen."
)
OF_PEAK = (
    "Of the matrix peak: the arithmetic that the reward needs, at this rate. What a way computes beyond it, such as a "
    "shared question once for each explanation or logits where none are wanted, does not count for it."
)
OWN_TEXTS = (
    "Each way scores texts of its own of the same lengths, so that nothing is cached for it; that all find the same "
    "was not checked."
)
Rates = Mapping[str, Mapping[str, Sequence[float]]]
"""tokens/s by workload and contender, one for each repeat."""
Checks = Mapping[str, Mapping[str, Mapping[str, Any]]]
"""What was compared and how far it was off, by workload and contender."""


def main() -> None:
    """Read rows.jsonl and run.json, write score.json beside the folder, print the table."""
    folder = Path(sys.argv[1])
    run = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    rates = read_rates(_lines(folder / "rows.jsonl"))
    checks = read_checks(folder)
    figures = figures_of(rates, run, checks=checks)
    (folder.parent / "score.json").write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")
    text = table_of(rates, run, memory=_lines(folder / "memory.jsonl"), checks=checks)
    sys.stdout.write(text)


def read_rates(rows: Sequence[Mapping[str, Any]]) -> Rates:
    """Sort the rows' rates by workload and contender."""
    rates: dict[str, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in sorted(rows, key=lambda row: row["repeat"]):
        rates[row["workload"]][row["contender"]].append(row["tokens"] / row["seconds"])
    return rates


def read_checks(folder: Path) -> Checks:
    """Read checks.jsonl; empty for a run of before there were checks, whose contenders scored texts of their own."""
    path = folder / "checks.jsonl"
    return checks_of(_lines(path)) if path.exists() else {}


def figures_of(rates: Rates, run: Mapping[str, Any], *, checks: Checks) -> dict[str, Any]:
    """Give docs/results/score.json: median tokens/s, ratios with intervals, agreement, where they come from."""
    return {
        "workloads": {
            workload: {name: round(median(values), 1) for name, values in contenders.items()}
            for workload, contenders in rates.items()
        },
        "ratios_to_vllm_plain": {
            workload: {
                name: paired_ratio(values, contenders[BASELINE])
                for name, values in contenders.items()
                if name != BASELINE
            }
            for workload, contenders in rates.items()
        },
        "http_to_in_process": {
            workload: paired_ratio(contenders["ours_http"], contenders["ours_in_process"])
            for workload, contenders in rates.items()
        },
        **({"from_ours": checks} if checks else {}),
        **{name: run[name] for name in ("repeats", "commit", "date", "machine", "command")},
    }


def table_of(rates: Rates, run: Mapping[str, Any], *, memory: Sequence[Mapping[str, Any]], checks: Checks) -> str:
    """Write the tables, with ratios, shares of the matrix peak, agreement and memory."""
    lines = [SAME_TEXTS if checks else OWN_TEXTS, OF_PEAK, ""]
    for workload, contenders in rates.items():
        lines += [f"**{workload}**", "", "| how | tokens/s (median) | ratio to vLLM as it comes | of the matrix peak |"]
        lines.append("|---|---|---|---|")
        for name, label in LABELS.items():
            ratio = "1" if name == BASELINE else _shown(contenders[name], contenders[BASELINE], digits=2)
            lines.append(
                f"| {label} | {median(contenders[name]):.0f} | {ratio} | {_roofline(name, workload, contenders, run)} |"
            )
        http = _shown(contenders["ours_http"], contenders["ours_in_process"], digits=3)
        lines += ["", f"HTTP and JSON: {http} of the rate in process.", ""]
    lines += _agreement(checks)
    lines += ["| explanations in a request | ours, MiB at most | vLLM as it comes, MiB at most |", "|---|---|---|"]
    peaks = {(row["contender"], row["explanations"]): row["peak_bytes"] / 2**20 for row in memory}
    for size in sorted({size for _, size in peaks}):
        lines.append(f"| {size} | {peaks['ours_in_process', size]:.0f} | {peaks['vllm_plain', size]:.0f} |")
    lines += ["", f"Matrix peak (float32 products of 2048², both cores): {run['matrix_peak_flops'] / 1e9:.0f} GFLOP/s."]
    lines += [f"{run['repeats']} repeats, commit {run['commit']}, {run['date']}, {run['machine']}; `{run['command']}`."]
    return "\n".join(lines) + "\n"


def _shown(over: Sequence[float], under: Sequence[float], *, digits: int) -> str:
    found = paired_ratio(over, under)
    return "{ratio:.{n}f} [{ci_low:.{n}f}, {ci_high:.{n}f}]".format(n=digits, **found)


def _agreement(checks: Checks) -> list[str]:
    """Say how far each contender was from ours."""
    if not checks:
        return []
    lines = [f"| largest difference from ours, in process | compared | {' | '.join(checks)} |"]
    lines.append("|---|---|" + "---|" * len(checks))
    for name in (name for name in LABELS if name in COMPARED):
        found = [part[name] for part in checks.values()]
        cells = " | ".join(f"{one['largest_difference']:.1e}" for one in found)
        lines.append(f"| {LABELS[name]} | {found[0]['compared']} | {cells} |")
    return [*lines, ""]


def _roofline(name: str, workload: str, contenders: Mapping[str, Sequence[float]], run: Mapping[str, Any]) -> str:
    """Give the share of the matrix peak at which a way does the arithmetic that the reward needs; waste counts not."""
    needed = run["needed_flops_per_token"][workload]["rss_only" if name.endswith("rss_only") else "full"]
    return f"{needed * median(contenders[name]) / run['matrix_peak_flops']:.0%}"


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main()
