"""The graph of a pipeline: what it refuses, what is due next, what goes from round to round, what is taken over."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlt_core.errors import InvalidRequestError
from rlt_core.pipeline_checks import check_graph, taken_over
from rlt_core.pipelines import (
    Place,
    StepState,
    complete,
    downstream,
    due,
    in_order,
    needs,
    output_of,
    resolved,
    step_of,
)
from rlt_core.schemas.jobs import SPECS
from rlt_core.schemas.pipelines import Output, PipelineSpec
from tests.core.pipeline_specs import (
    COLLECT,
    DATASET,
    DISTILL,
    EVALUATE,
    RL,
    TAUGHT_BY_ITSELF,
    WARMUP,
    WHOLE,
    pipeline,
    step,
)

Body = dict[str, Any]


def done(spec: PipelineSpec, place: Place, *, status: Any = "succeeded") -> StepState:
    output = output_of(step_of(spec, place[1]).spec)
    made: dict[Output, str] = {output: f"{place[1]}-{place[0]}"} if status == "succeeded" else {}
    return StepState(job=f"job_{place[1]}{place[0]}", status=status, made=made)


def run(spec: PipelineSpec, states: dict[Place, StepState] | None = None) -> list[list[Place]]:
    """Do what is due until nothing is; give what was done together."""
    states, waves = dict(states or {}), list[list[Place]]()
    while wave := due(spec, states):
        assert not set(wave) & states.keys()
        for place in wave:
            resolved(spec, step_of(spec, place[1]), round_=place[0], states=states)
        states |= {place: done(spec, place) for place in wave}
        waves.append(wave)
    assert complete(spec, states)
    return waves


def test_steps_come_after_what_they_refer_to_and_beside_each_other_where_they_can() -> None:
    spec = pipeline(WHOLE)
    check_graph(spec)
    names = [[id_ for _, id_ in wave] for wave in run(spec)]
    assert names == [["warmup"], ["rl"], ["collect", "judge"], ["distil"], ["measure"]]


def test_a_step_reads_what_those_before_it_made_and_has_the_pipelines_seed_and_priority() -> None:
    spec = pipeline(WHOLE, seed=7, priority=3)
    states = {(1, id_): done(spec, (1, id_)) for id_ in ("warmup", "rl", "collect", "distil")}
    measure = resolved(spec, step_of(spec, "measure"), round_=1, states=states)
    assert measure.model_dump()["models"] == ["default", "distil-1"]
    assert (measure.seed, measure.priority) == (7, 3)
    own = pipeline([step("one", WARMUP, seed=5, priority=-1)], seed=7, priority=3)
    warmup = resolved(own, own.steps[0], round_=1, states={})
    assert (warmup.seed, warmup.priority) == (5, -1)


def test_the_student_of_a_round_is_teacher_and_student_of_the_next() -> None:
    spec = pipeline(**TAUGHT_BY_ITSELF)
    check_graph(spec)
    assert len(run(spec)) == 6
    states: dict[Place, StepState] = {}
    played: list[Body] = []
    while wave := due(spec, states):
        for place in wave:
            body = resolved(spec, step_of(spec, place[1]), round_=place[0], states=states).model_dump()
            played += [body] if place[1] == "collect" else []
            states[place] = done(spec, place)
    assert [(body["teacher"], body["student"], body["seed"]) for body in played] == [
        ("default", "default", 0),
        ("distil-1", "distil-1", 1),
        ("distil-2", "distil-2", 2),
    ]


@pytest.mark.parametrize("status", ["failed", "cancelled"])
def test_nothing_more_is_due_once_a_step_has_ended_badly(status: str) -> None:
    spec = pipeline([step("a", WARMUP), step("b", WARMUP), step("c", WARMUP, "a")])
    assert due(spec, {(1, "a"): done(spec, (1, "a"))}) == [(1, "b"), (1, "c")]
    assert due(spec, {(1, "b"): done(spec, (1, "b"), status=status), (1, "a"): done(spec, (1, "a"))}) == []


TWO = [step("a", WARMUP), step("b", RL)]
REFUSED: list[tuple[str, Body, str, str]] = [
    ("two of one name", {"steps": [step("a", WARMUP), step("a", RL)]}, "/steps/1/id", "two steps are called a"),
    ("round", {"steps": [step("round", WARMUP)]}, "/steps/0/id", "no step can be called round"),
    ("after nobody", {"steps": [step("a", WARMUP, "c")]}, "/steps/0/after/0", "there is no step c"),
    ("after itself", {"steps": [step("a", WARMUP, "a")]}, "/steps/0/after/0", "cannot come after itself"),
    (
        "a typing error",
        {"steps": [step("collect", COLLECT), step("b", DISTILL, dataset="$colect.dataset")]},
        "/steps/1/spec/dataset",
        "did you mean collect",
    ),
    ("itself", {"steps": [step("a", RL, teacher="$a.teacher")]}, "/steps/0/spec/teacher", "what it makes itself"),
    (
        "what a step does not make",
        {"steps": [step("a", WARMUP), step("b", RL, teacher="$a.student")]},
        "/steps/1/spec/teacher",
        r"write \$a.teacher",
    ),
    (
        "a version for a dataset",
        {"steps": [step("a", WARMUP), step("b", RL, dataset="$a.teacher")]},
        "/steps/1/spec/dataset",
        "dataset takes a dataset",
    ),
    (
        "an evaluation for a version",
        {"steps": [step("a", EVALUATE, model="x"), step("b", RL, student=["x", "$a.evaluation"])]},
        "/steps/1/spec/student/1",
        "is a evaluation",
    ),
    ("half a reference", {"steps": [step("a", RL, teacher="$a")]}, "/steps/0/spec/teacher", "is no reference"),
    (
        "a field that cannot refer",
        {"steps": [step("a", WARMUP), step("b", DISTILL, student_base="$a.teacher")]},
        "/steps/1/spec/student_base",
        "student_base takes no reference",
    ),
    (
        "a ring",
        {"steps": [step("a", RL, "c"), step("b", RL, teacher="$a.teacher"), step("c", RL, teacher="$b.teacher")]},
        "/steps/",
        "wait for each other: .* -> ",
    ),
    ("no start", {"steps": [step("a", RL, teacher="$round.t")]}, "/steps/0/spec/teacher", "start gives no t"),
    ("no carry", {"steps": TWO, "rounds": 2, "start": {"t": "x"}}, "/carry", "from the second on"),
    ("carry without start", {"steps": TWO, "carry": {"t": "$a.teacher"}}, "/start", "in the first round"),
    ("a start that refers", {"steps": TWO, "start": {"t": "$a.teacher"}}, "/start/t", "name a version"),
    (
        "a carry from nobody",
        {"steps": TWO, "start": {"t": "x"}, "carry": {"t": "$c.teacher"}},
        "/carry/t",
        "there is no step c",
    ),
    (
        "a carried dataset for a teacher",
        {
            "steps": [step("a", COLLECT, teacher="$round.t")],
            "rounds": 2,
            "start": {"t": "x"},
            "carry": {"t": "$a.dataset"},
        },
        "/steps/0/spec/teacher",
        "takes a version",
    ),
]


@pytest.mark.parametrize(("body", "param", "why"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_a_graph_that_cannot_be_is_refused_at_its_place(body: Body, param: str, why: str) -> None:
    with pytest.raises(InvalidRequestError, match=why) as caught:
        check_graph(pipeline(**body))
    assert (caught.value.param or "").startswith(param)


def test_a_dollar_in_words_of_people_is_a_dollar() -> None:
    source = {"name": "r1", "model": "m", "prompt": "$5 a token: {question}"}
    check_graph(pipeline([step("a", COLLECT, name="$100 run", source=source)]))


@st.composite
def graphs(draw: st.DrawFn) -> list[Body]:
    """Draw steps each of which may come after any others, also in rings."""
    count = draw(st.integers(1, 7))
    ids = [f"s{place}" for place in range(count)]
    return [
        step(id_, RL | {"teacher": f"${draw(st.sampled_from(ids))}.teacher"} if draw(st.booleans()) else WARMUP,
             *draw(st.lists(st.sampled_from(ids), max_size=3, unique=True)))
        for id_ in ids
    ]  # fmt: skip


@given(steps=graphs(), rounds=st.integers(1, 3))
def test_what_is_not_refused_runs_to_its_end_with_each_step_once_a_round(steps: list[Body], rounds: int) -> None:
    spec = pipeline(steps, rounds=rounds)
    try:
        check_graph(spec)
    except InvalidRequestError:
        return
    waves = run(spec)
    places = [place for wave in waves for place in wave]
    assert sorted(places) == sorted((round_, one.id) for round_ in range(1, rounds + 1) for one in spec.steps)
    when = {place: number for number, wave in enumerate(waves) for place in wave}
    for round_, id_ in places:
        assert all(when[(round_, before)] < when[(round_, id_)] for before in needs(step_of(spec, id_)))
        assert all(when[(round_ - 1, one.id)] < when[(round_, id_)] for one in spec.steps if round_ > 1)


@given(steps=graphs())
def test_a_graph_is_refused_exactly_where_it_goes_in_a_ring(steps: list[Body]) -> None:
    spec = pipeline(steps)
    left, before = {one.id for one in spec.steps}, -1
    while len(left) != before:  # take away what waits for nothing that is left
        before = len(left)
        left = {one.id for one in spec.steps if one.id in left and set(needs(one)) & left}
    if left:
        with pytest.raises(InvalidRequestError):
            check_graph(spec)
    else:
        check_graph(spec)
        assert sorted(in_order(spec)) == sorted(one.id for one in spec.steps)


@given(steps=graphs(), data=st.data())
def test_what_is_taken_over_needs_nothing_that_is_done_again(steps: list[Body], data: st.DataObject) -> None:
    spec = pipeline(steps)
    try:
        check_graph(spec)
    except InvalidRequestError:
        return
    states = {(1, one.id): done(spec, (1, one.id)) for one in spec.steps}
    begin = data.draw(st.sampled_from([one.id for one in spec.steps]))
    taken = taken_over(spec, spec, states, step=begin, round_=1)
    again = {one.id for one in spec.steps} - {id_ for _, id_ in taken}
    assert again == downstream(spec, begin)
    assert all(not set(needs(step_of(spec, id_))) & again for _, id_ in taken)
    assert {id_ for wave in run(spec, taken) for _, id_ in wave} == again


def test_work_is_taken_over_only_where_it_was_the_same() -> None:
    before = pipeline(WHOLE)
    states = {(1, one.id): done(before, (1, one.id)) for one in before.steps}
    states[(1, "distil")] = done(before, (1, "distil"), status="failed")
    states.pop((1, "measure"))
    slower = pipeline([*WHOLE[:3], step("distil", DISTILL, dataset="$collect.dataset", epochs=2.0), *WHOLE[4:]])
    assert taken_over(slower, before, states, step="distil", round_=1).keys() == {
        (1, "warmup"), (1, "rl"), (1, "collect"), (1, "judge")
    }  # fmt: skip
    with pytest.raises(InvalidRequestError, match="distil of round 1 is failed") as caught:
        taken_over(before, before, states, step="measure", round_=1)
    assert caught.value.param == "/resume_from/step"
    other = pipeline([step("warmup", WARMUP, epochs=3.0), *WHOLE[1:]])
    with pytest.raises(InvalidRequestError, match="had another epochs") as caught:
        taken_over(other, before, states, step="distil", round_=1)
    assert caught.value.param == "/steps/0/spec/epochs"
    renamed = pipeline([step("warmup", WARMUP, name="again", priority=5), *WHOLE[1:]])
    assert taken_over(renamed, before, states, step="distil", round_=1)
    with pytest.raises(InvalidRequestError, match="another seed"):
        taken_over(pipeline(WHOLE, seed=1), before, states, step="distil", round_=1)


def test_a_branch_beside_it_that_never_ended_is_done_again() -> None:
    spec = pipeline(WHOLE)
    states = {(1, id_): done(spec, (1, id_)) for id_ in ("warmup", "rl", "collect")}
    taken = taken_over(spec, spec, states, step="distil", round_=1)
    assert (1, "judge") not in taken
    assert {id_ for wave in run(spec, taken) for _, id_ in wave} == {"judge", "distil", "measure"}


def test_a_round_is_taken_over_whole_and_with_what_it_was_given() -> None:
    spec = pipeline(**TAUGHT_BY_ITSELF)
    states = {(round_, one.id): done(spec, (round_, one.id)) for round_ in (1, 2) for one in spec.steps}
    taken = taken_over(spec, spec, states, step="distil", round_=2)
    assert taken.keys() == {(1, "collect"), (1, "distil"), (2, "collect")}
    other: Body = TAUGHT_BY_ITSELF | {"start": {"teacher": "algebra", "student": "default"}}
    elsewhere = pipeline(**other)
    with pytest.raises(InvalidRequestError, match="had another teacher"):
        taken_over(elsewhere, spec, states, step="distil", round_=2)
    with pytest.raises(InvalidRequestError, match="3 rounds"):
        taken_over(spec, spec, states, step="distil", round_=4)
    with pytest.raises(InvalidRequestError, match="there is no step distl: did you mean distil"):
        taken_over(spec, spec, states, step="distl", round_=2)


@pytest.mark.parametrize("kind", SPECS)
def test_every_kind_can_be_a_step_and_makes_something(kind: str) -> None:
    fields = {"dataset": DATASET, "kind": kind, "role": "teacher", "target_name": "x", "model": "x"}
    known = {name: value for name, value in fields.items() if name in SPECS[kind].model_fields}
    assert output_of(pipeline([step("a", known)]).steps[0].spec) in ("teacher", "student", "dataset", "evaluation")
