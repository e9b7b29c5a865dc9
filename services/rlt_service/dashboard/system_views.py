"""Own how the server's state is shown: what readiness rests on, engines, load, queue. Pure."""

from collections.abc import Mapping, Sequence
from typing import Final

from rlt_core.schemas.server import Capabilities, Readiness
from rlt_service.dashboard.figures import count, size
from rlt_service.dashboard.markup import Markup, joined, tag
from rlt_service.dashboard.tables import table
from rlt_service.dashboard.token_views import facts

ARTIFACTS: Final = '{folder="artifacts"}'
"""The labels of the disk that holds adapters, datasets and checkpoints."""


def checks(found: Readiness) -> Markup:
    """Write what readiness rests on."""
    rows = [
        [
            name,
            tag("span", "ok" if check.ok else "not ok", class_=f"state state-{'ok' if check.ok else 'failed'}"),
            check.detail,
        ]
        for name, check in found.checks.items()
    ]
    word = {"ready": "Ready", "degraded": "Degraded: jobs wait", "not_ready": "Not ready"}[found.status]
    return tag(
        "section", tag("h2", word), table(["Part", "State", "Detail"], rows, label="Parts of the server"), class_="card"
    )


def engines(found: Capabilities) -> Markup:
    """Write the engines that run."""
    rows = [
        [engine.holds, f"{engine.name} {engine.version}", engine.device, engine.dtype, count(engine.max_model_len)]
        for engine in found.engines
    ]
    names = ["Holds", "Engine", "Device", "Type", "Longest sequence"]
    made = table(names, rows, classes=["clip", "", "", "optional", "number optional"], label="Engines")
    text = tag("p", "No engine runs in this process.", class_="muted")
    return tag("section", tag("h2", "Engines"), made if rows else text, class_="card")


def load(metrics: Mapping[str, float], *, waiting: Sequence[tuple[str, str]]) -> Markup:
    """Write what is in hand, what waits, and the disk."""
    pairs = [
        ("requests in hand", count(metrics.get("rlt_requests_in_hand"))),
        ("engine restarts", count(metrics.get("rlt_engine_restarts_total"))),
        *waiting,
    ]
    free, whole = metrics.get(f"rlt_disk_free_bytes{ARTIFACTS}"), metrics.get(f"rlt_disk_size_bytes{ARTIFACTS}")
    bar = None
    if free is not None and whole:
        pairs.append(("disk free", f"{size(free)} of {size(whole)}"))
        used = tag("progress", max=whole, value=whole - free, aria_label=f"{size(whole - free)} of {size(whole)} used")
        bar = joined(tag("h4", "Disk used"), used)
    return tag("section", tag("h2", "Load"), facts(pairs), bar, class_="card")


def sums_of(text: str) -> dict[str, float]:
    """Read Prometheus' text: each sample, and each metric's sum over labels; other lines are passed over."""
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("#") or " " not in line:
            continue
        sample, _, value = line.rpartition(" ")
        try:
            figure = float(value)
        except ValueError:
            continue
        name = sample.split("{")[0]
        found[name] = found.get(name, 0.0) + figure
        if sample != name:
            found[sample] = figure
    return found


def about(found: Capabilities) -> Markup:
    """Write what the server is."""
    limits = found.limits
    pairs = [
        ("version", found.version),
        ("roles", ", ".join(found.roles)),
        ("formats", ", ".join(found.formats)),
        ("kinds of job", ", ".join(found.job_kinds)),
        ("largest dataset", size(limits.max_dataset_bytes)),
        ("samples a call", count(limits.max_samples)),
    ]
    return tag("section", tag("h2", "About"), facts(pairs), class_="card")
