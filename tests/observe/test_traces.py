"""One trace from the SDK's call on: headers, logs, the job's row, what its attempt and its trainer are told."""

import subprocess
import sys
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from rlt_client import Client
from rlt_core import trace_context
from rlt_core.schemas.jobs import QUEUE, WarmupSpec
from rlt_core.spans import here, span
from rlt_service.store.jobs import JobStore
from tests.jobs.site import make_site
from tests.support.app_transport import AppTransport
from tests.support.service import running_app, services_of

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{SPAN}-01"

IMPORTS_NOTHING = """
import sys
from rlt_core import spans
from rlt_client import Client
spans.set_up("a", endpoint="")
Client("http://127.0.0.1:1")
with spans.span("a", begin=True):
    pass
sys.exit(any(name.startswith("opentelemetry") for name in sys.modules))
"""


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        GIVEN.upper(),
        f"ff-{TRACE}-{SPAN}-01",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"{GIVEN}-more",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"{GIVEN}\n",
    ],
)
def test_what_is_no_traceparent_begins_a_trace_of_its_own(text: str) -> None:
    assert trace_context.parse(text) is None


@pytest.mark.parametrize(("text", "sampled"), [(GIVEN, True), (f"00-{TRACE}-{SPAN}-00", False)])
def test_a_traceparent_is_read_and_written_as_it_was(text: str, sampled: bool) -> None:
    found = trace_context.parse(text)
    assert found is not None
    assert (found.trace_id, found.span_id, found.sampled) == (TRACE, SPAN, sampled)
    assert found.traceparent == text


def test_a_traceparent_of_a_later_version_is_read_for_what_is_known_of_it() -> None:
    found = trace_context.parse(f"cc-{TRACE}-{SPAN}-09-what-comes")
    assert found is not None
    assert found.traceparent == GIVEN


def test_opentelemetry_is_not_imported_where_nobody_asks_for_traces() -> None:
    assert subprocess.run([sys.executable, "-c", IMPORTS_NOTHING], check=False).returncode == 0


def test_without_opentelemetry_a_call_and_what_it_begins_still_share_a_trace() -> None:
    with span("call", begin=True):
        outer = here()
        with span("part"):
            assert here() == outer
        assert outer is not None
        with span("another's", above=trace_context.parse(GIVEN)):
            assert trace_context.headers() == {"traceparent": GIVEN}
    assert here() is None


def test_what_breaks_is_recorded_by_its_kind_and_not_by_its_words(recorded: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="secret"), span("call"):
        raise ValueError("a secret of a caller")
    (found,) = recorded.get_finished_spans()
    assert found.status.description == "ValueError"
    assert found.events == ()


def place_of(found: ReadableSpan) -> SpanContext:
    place = found.get_span_context()
    assert place is not None
    return place


def test_a_job_is_stored_in_the_trace_of_its_submission(tmp_path: Path, recorded: InMemorySpanExporter) -> None:
    with running_app(tmp_path / "app") as app, Client("http://testserver", transport=AppTransport(app)) as client:
        dataset = client.datasets.create(
            [{"question": "1 + 1?", "solution": "2", "reasoning_trace": "1 and 1 are 2."}], name="sums"
        )
        recorded.clear()
        with trace.get_tracer("app").start_as_current_span("application") as outer:
            wanted = f"{outer.get_span_context().trace_id:032x}"
            job = client.train(WarmupSpec(kind="warmup", role="teacher", dataset=dataset.id, target_name="algebra"))
        jobs = JobStore(services_of(app).database)
        claimed = jobs.claim(queue=QUEUE, worker="test")
    assert claimed is not None
    assert claimed.job.id == job.id
    spans = {found.name: found for found in recorded.get_finished_spans()}
    assert {f"{place_of(found).trace_id:032x}" for found in spans.values()} == {wanted}
    sent, served = spans["POST"], spans["POST /v1/train"]
    assert sent.parent is not None
    assert served.parent is not None
    assert sent.parent.span_id == place_of(spans["application"]).span_id
    assert served.parent.span_id == place_of(sent).span_id
    assert served.attributes is not None
    assert served.attributes["http.response.status_code"] == 202
    assert str(served.attributes["rlt.request_id"]).startswith("req_")
    stored = trace_context.parse(claimed.traceparent)
    assert stored is not None
    assert int(stored.span_id, 16) == place_of(served).span_id


def test_a_trainer_is_told_the_trace_of_its_attempt(tmp_path: Path) -> None:
    site = make_site(tmp_path)
    with trace_context.within(trace_context.parse(GIVEN)):
        job = site.submit("ok")
    site.run_one()
    told = (site.artifacts.attempt_dir(job.id, 1) / "traceparent").read_text()
    site.database.close()
    assert told == GIVEN  # nothing is recorded here, so that no span of the attempt's own stands between
