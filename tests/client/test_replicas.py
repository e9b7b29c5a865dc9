"""Several servers that are one: which of them a call goes to, and where it is sent again. The same for both clients."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest

import rlt_client
from rlt_client import AsyncClient, Client
from rlt_client._tries import asked_of
from rlt_core.replicas import Asked, ranked
from tests.client.conftest import CAPABILITIES

Bodies = Callable[..., dict[str, Any]]
Problems = Callable[..., httpx.Response]
Answer = Callable[[httpx.Request], httpx.Response]

URLS = ["http://a.test", "http://b.test", "http://c.test"]
SPEC = {"kind": "rl", "dataset": "ds_1", "target_name": "algebra"}


@dataclass
class Site:
    """Servers by host: what each says, and who was asked what, in order."""

    well: Answer
    sick: dict[str, Answer] = field(default_factory=dict[str, Answer])
    asked: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    questions: dict[str, set[str]] = field(default_factory=dict[str, set[str]])
    keys: list[str | None] = field(default_factory=list[str | None])

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        url = f"http://{request.url.host}"
        self.asked.append((url, request.url.path))
        self.keys.append(request.headers.get("Idempotency-Key"))
        if url not in self.sick and request.url.path.endswith("/batch"):
            items = json.loads(request.content)["items"]
            self.questions.setdefault(url, set()).update(item["question"] for item in items)
        return self.sick.get(url, self.well)(request)

    @property
    def servers(self) -> list[str]:
        return [url for url, _ in self.asked]


@pytest.fixture
def site(make_explanations: Bodies, make_job: Bodies) -> Site:
    def well(request: httpx.Request) -> httpx.Response:
        if request.url.path == "/v1/capabilities":
            return httpx.Response(200, json=CAPABILITIES)
        if request.url.path.endswith("/batch"):
            items = json.loads(request.content)["items"]
            return httpx.Response(200, json={"data": [make_explanations(text=item["question"]) for item in items]})
        made = make_explanations() if request.url.path == "/v1/explain" else make_job()
        return httpx.Response(200, json=made)

    return Site(well)


@dataclass(frozen=True)
class Asking:
    """Either client before a site."""

    kind: str
    site: Site

    def ask(self, *works: Callable[[Any], Any], named: Any = URLS, **options: Any) -> list[Any]:
        """Have one client make calls, one after the other."""
        transport = httpx.MockTransport(self.site)
        if self.kind == "sync":
            with Client(named, transport=transport, **options) as client:
                return [work(client) for work in works]

        async def main() -> list[Any]:
            async with AsyncClient(named, transport=transport, **options) as client:
                return [await work(client) for work in works]

        return asyncio.run(main())


@pytest.fixture(params=["sync", "async"])
def asking(request: pytest.FixtureRequest, site: Site) -> Asking:
    return Asking(request.param, site)


def explain(question: str) -> Callable[[Any], Any]:
    return lambda client: client.explain(question=question, solution="s")


def own(question: str) -> str:
    return ranked(question, URLS)[0]


def refused(_: httpx.Request) -> httpx.Response:
    raise httpx.ConnectError("refused")


def cut(_: httpx.Request) -> httpx.Response:
    raise httpx.ReadError("cut")


def test_the_same_question_goes_to_the_same_server(asking: Asking, site: Site) -> None:
    questions = [f"q{number % 10}" for number in range(30)]
    asking.ask(*[explain(question) for question in questions])
    assert site.servers == [own(question) for question in questions]
    assert len(set(site.servers)) == 3


def test_a_server_that_is_away_has_its_questions_answered_elsewhere_without_a_pause(
    asking: Asking, site: Site, pauses: list[float]
) -> None:
    first, second, _ = ranked("q", URLS)
    site.sick[first] = refused
    asking.ask(explain("q"), explain("q"), max_retries=0)
    assert site.servers == [first, second, second], "once bitten, twice shy"
    assert pauses == []


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_one_that_is_full_or_starting_too(
    asking: Asking, site: Site, pauses: list[float], make_problem: Problems, status: int
) -> None:
    first, second, _ = ranked("q", URLS)
    site.sick[first] = lambda _: make_problem(status, "overloaded", "later", retryable=True)
    asking.ask(explain("q"), max_retries=0)
    assert (site.servers, pauses) == ([first, second], [])


@pytest.mark.parametrize(
    ("status", "code", "retryable"),
    [(429, "rate_limited", True), (504, "deadline_exceeded", True), (422, "invalid_request", False)],
)
def test_what_is_said_of_the_request_is_said_by_nobody_else(
    asking: Asking, site: Site, make_problem: Problems, status: int, code: str, retryable: bool
) -> None:
    site.sick[own("q")] = lambda _: make_problem(status, code, "no", retryable=retryable)
    with pytest.raises(rlt_client.APIStatusError):
        asking.ask(explain("q"), max_retries=0)
    assert site.servers == [own("q")]


def test_a_silent_server_is_not_asked_twice_but_others_are_after_a_pause(
    asking: Asking, site: Site, pauses: list[float]
) -> None:
    def silent(_: httpx.Request) -> httpx.Response:
        raise httpx.ReadTimeout("slow")

    first, second, _ = ranked("q", URLS)
    site.sick[first] = silent
    with pytest.raises(rlt_client.APITimeoutError, match=first):
        asking.ask(explain("q"), max_retries=0)
    asking.ask(explain("q"), max_retries=1)
    assert site.servers == [first, first, second]
    assert len(pauses) == 1


def test_where_all_are_away_each_is_asked_once_before_a_pause(asking: Asking, site: Site, pauses: list[float]) -> None:
    site.sick = dict.fromkeys(URLS, refused)
    with pytest.raises(rlt_client.APIConnectionError, match="no server answers at http://"):
        asking.ask(explain("q"), max_retries=1)
    assert sorted(site.servers[:3]) == URLS
    assert len(site.servers) == 4, "none is known to be well any more: the retry is one try"
    assert len(pauses) == 1


def test_a_write_that_may_have_been_taken_goes_to_another_under_its_key_alone(
    asking: Asking, site: Site, pauses: list[float]
) -> None:
    site.sick = dict.fromkeys(URLS, cut)
    with pytest.raises(rlt_client.APIConnectionError):
        asking.ask(lambda client: client.train(SPEC), max_retries=0)
    assert (len(site.servers), site.keys) == (1, [None])
    with pytest.raises(rlt_client.APIConnectionError):
        asking.ask(lambda client: client.train(SPEC), max_retries=1)
    assert sorted(site.servers[1:4]) == URLS
    assert site.keys[1] is not None
    assert set(site.keys[1:]) == {site.keys[1]}


def test_a_write_that_surely_never_left_goes_to_another(asking: Asking, site: Site) -> None:
    site.sick = dict.fromkeys(URLS[:2], refused)
    asking.ask(lambda client: client.train(SPEC), max_retries=0)
    assert site.servers[-1] == URLS[2]
    assert set(site.keys) == {None}


def test_parts_of_the_api_go_to_those_who_play_them(asking: Asking, site: Site) -> None:
    asking.ask(
        explain("q"),
        lambda client: client.jobs.get("job_1"),
        lambda client: client.train(SPEC),
        named="teacher=http://t.test, teacher+control=http://p.test, student=http://s.test, control=http://c.test",
    )
    assert site.servers[0] in ("http://t.test", "http://p.test")
    assert site.servers[1] in ("http://p.test", "http://c.test")
    assert site.servers[2] == "http://p.test"


def test_a_part_that_nobody_plays_is_an_error_that_says_whom_to_name(asking: Asking, site: Site) -> None:
    with pytest.raises(rlt_client.APIError, match="control=http://host:port"):
        asking.ask(lambda client: client.jobs.get("job_1"), named="teacher=http://t.test")
    with pytest.raises(rlt_client.APIError, match="no part 'pupil'"):
        asking.ask(explain("q"), named="pupil=http://t.test")
    assert site.asked == []


def test_a_batch_is_dealt_out_and_comes_back_in_order(asking: Asking, site: Site) -> None:
    requests = [{"question": f"q{number}", "solution": "s"} for number in range(60)]
    (found,) = asking.ask(lambda client: client.explain.batch(requests))
    assert [one.explanations[0].text for one in found] == [request["question"] for request in requests]
    assert set(site.questions) == set(URLS)
    there = [question in site.questions[own(question)] for question in (f"q{number}" for number in range(60))]
    assert sum(there) > 50
    assert max(len(questions) for questions in site.questions.values()) <= 25


def test_the_part_of_a_server_that_broke_is_answered_by_another(
    asking: Asking, site: Site, pauses: list[float]
) -> None:
    requests = [{"question": f"q{number}", "solution": "s"} for number in range(60)]
    site.sick["http://a.test"] = lambda request: (
        site.well(request) if request.url.path == "/v1/capabilities" else cut(request)
    )
    (found,) = asking.ask(lambda client: client.explain.batch(requests), max_retries=0)
    assert [one.explanations[0].text for one in found] == [request["question"] for request in requests]
    assert set(site.questions) == set(URLS[1:])
    assert pauses == []


def test_a_failed_item_has_its_place_in_the_whole_though_it_was_dealt_out(
    asking: Asking, site: Site, make_problem: Problems, make_explanations: Bodies
) -> None:
    bad = make_problem(422, "too_long", "too long").json()

    def picky(request: httpx.Request) -> httpx.Response:
        if not request.url.path.endswith("/batch"):
            return httpx.Response(200, json=CAPABILITIES)
        items = json.loads(request.content)["items"]
        answers = [
            {"index": place, "object": "error", "problem": bad} if item["question"] == "q41" else make_explanations()
            for place, item in enumerate(items)
        ]
        return httpx.Response(200, json={"data": answers})

    site.sick = dict.fromkeys(URLS, picky)
    requests = [{"question": f"q{number}", "solution": "s"} for number in range(60)]
    (found,) = asking.ask(lambda client: client.explain.settled(requests))
    assert [(place, one.index) for place, one in enumerate(found) if isinstance(one, rlt_client.APIStatusError)] == [
        (41, 41)
    ]


def test_a_jobs_events_are_taken_up_at_another_server(site: Site, make_job: Bodies) -> None:
    seen: list[tuple[str, str | None]] = []

    def events(request: httpx.Request) -> httpx.Response:
        url = f"http://{request.url.host}"
        if not request.url.path.endswith("/events"):
            return httpx.Response(200, json=make_job())
        seen.append((url, request.headers.get("Last-Event-ID")))
        if len(seen) == 1:
            event = {"seq": 1, "job_id": "job_1", "attempt": 1, "created_at": "2030-01-01T00:00:00Z", "type": "log"}
            return httpx.Response(200, stream=Broken(f"id: 1\nevent: log\ndata: {json.dumps(event)}\n\n".encode()))
        return httpx.Response(200, text="event: done\ndata: {}\n\n")

    site.sick = dict.fromkeys(URLS, events)
    with Client(URLS, transport=httpx.MockTransport(site)) as client:
        assert [event.seq for event in client.jobs.events("job_1", reconnect_pause_s=0.0)] == [1]
    assert [after for _, after in seen] == ["0", "1"]
    assert seen[0][0] != seen[1][0]


class Broken(httpx.SyncByteStream):
    """A body that breaks after one piece."""

    def __init__(self, piece: bytes) -> None:
        self._piece = piece

    def __iter__(self) -> Any:
        """Give it, then break."""
        yield self._piece
        raise httpx.ReadError("cut")


def test_an_open_stream_counts_as_load_until_it_ends(site: Site) -> None:
    text = 'event: delta\ndata: {"index": 0, "text": "a"}\n\n'
    site.sick = dict.fromkeys(URLS, lambda _: httpx.Response(200, text=text))
    with Client(URLS, transport=httpx.MockTransport(site)) as client:
        several: list[Any] = [client.explain.stream(question="q", solution="s") for _ in range(6)]
        for stream in several:
            next(stream)
        assert max(site.servers.count(url) for url in URLS) <= 3
        for stream in several:
            stream.close()
        site.asked.clear()
        next(client.explain.stream(question="q", solution="s"))
    assert site.servers == [own("q")]


def test_a_client_with_other_options_knows_the_same_of_its_servers(site: Site) -> None:
    site.sick[own("q")] = refused
    with Client(URLS, transport=httpx.MockTransport(site)) as client:
        client.with_options(timeout=1.0).explain(question="q", solution="s")
        client.explain(question="q", solution="s")
        assert client.base_url == ",".join(URLS)
    assert site.servers.count(own("q")) == 1


def test_the_environment_names_several(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RLT_BASE_URL", "http://a.test/, http://b.test")
    with Client(transport=httpx.MockTransport(site)) as client:
        assert client.base_url == "http://a.test,http://b.test"


@pytest.mark.parametrize(
    ("body", "asked"),
    [
        ({"question": "q", "n": 4}, Asked("q", 4)),
        ({"question": "q", "explanations": ["a", "b"]}, Asked("q", 2)),
        ({"question": 3, "n": 0}, Asked(None, 1)),
        ({"question": "q", "n": 10**9}, Asked("q", 1024)),
        ({"question": "q", "n": "many"}, Asked("q", 1)),
        (None, Asked()),
    ],
)
def test_a_request_says_its_question_and_how_much_it_asks_for(body: object, asked: Asked) -> None:
    assert asked_of(body) == asked
