"""Write docs/reference/metrics.md from what a server tells: `python -m tests.support.metrics_page`."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from rlt_service.engine.fake_engine import FakeEngine
from rlt_service.engine.protocol import EngineHealth
from tests.support.service import running_app

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "metrics.md"

HEAD = """# Metrics

What `GET /metrics` tells Prometheus, for which no key is needed. What is of the whole installation (jobs, queues,
datasets, the outbox) is told by every process that plays control, and by each the same (docs/decisions/0034); engines'
by those that play teacher or student. Bounds, and what to do about them: [slo.md](../slo.md),
[operations.md](../operations.md#alerts). This page is made by `python -m tests.support.metrics_page`.

| metric | type | labels | meaning |
| --- | --- | --- | --- |
"""


class CachedEngine(FakeEngine):
    """One that says how full its cache is, as vLLM does."""

    async def health(self) -> EngineHealth:
        return replace(await super().health(), cache_use=0.5)


def main() -> None:
    """Write the page."""
    PAGE.write_text(page(told()), encoding="utf-8")


def told() -> list[Metric]:
    """Give the families of a server that plays every role and has answered something of each kind."""
    asked = {"question": "What is 17 + 25?", "solution": "42"}
    with TemporaryDirectory() as folder, running_app(Path(folder), engine=CachedEngine()) as client:
        client.post("/v1/score", json=asked | {"explanations": ["4"]})
        client.post("/v1/explain", json=asked | {"stream": True})
        families = text_string_to_metric_families(client.get("/metrics").text)
        return [family for family in families if not family.name.endswith("_created")]


def page(families: Iterable[Metric]) -> str:
    """Give the page as it should be."""
    return HEAD + "".join(f"{_row(family)}\n" for family in sorted(families, key=lambda family: family.name))


def labels_of(family: Metric) -> list[str]:
    """Give the labels of a metric, without those that a histogram's buckets have."""
    return sorted({name for sample in family.samples for name in sample.labels} - {"le"})


def _row(family: Metric) -> str:
    name = f"{family.name}_total" if family.type == "counter" else family.name
    labels = ", ".join(f"`{label}`" for label in labels_of(family))
    return f"| `{name}` | {family.type} | {labels} | {family.documentation} |"


if __name__ == "__main__":
    main()
