"""Whose turn it is: pure, no clock and no tasks."""

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from rlt_service.engine.fair_queue import FairQueue, Flow, Turn


def ask(queue: FairQueue, flow: Flow, count: int, *, cost: int = 1) -> list[Turn]:
    return [queue.ask(flow, cost=cost) for _ in range(count)]


def flows_of(turns: list[Turn], *flows: Flow) -> list[int]:
    return [flows.index(turn.flow) for turn in turns]


def test_a_flow_alone_fills_the_shared_room_in_the_order_in_which_it_asked() -> None:
    queue = FairQueue(capacity=8, reserve=2, beside=8)
    turns = ask(queue, Flow(), 10)
    assert queue.admit(alone=True) == turns[:6]
    assert queue.admit(alone=True) == []


def test_a_single_request_begins_at_once_beside_a_bulk_flow() -> None:
    queue = FairQueue(capacity=8, reserve=2, beside=8)
    ask(queue, Flow(), 256)
    queue.admit(alone=True)
    (single,) = ask(queue, Flow(), 1)
    assert queue.admit(alone=True) == [single]
    assert single.pool == "reserve"


def test_a_second_bulk_flow_gets_half_of_the_room_as_it_comes_free() -> None:
    queue = FairQueue(capacity=4, reserve=0, beside=4)
    first, second = Flow(), Flow()
    running = ask(queue, first, 100)[:4]
    assert queue.admit(alone=True) == running
    ask(queue, second, 100)
    taken: list[Turn] = []
    for turn in running:
        queue.leave(turn)
        taken += queue.admit(alone=True)
    assert flows_of(taken, first, second) == [1, 1, 0, 0]


def test_a_flow_beside_others_takes_no_more_than_its_share_and_keeps_nobody_from_the_rest() -> None:
    queue = FairQueue(capacity=12, reserve=2, beside=4)
    bulk, other = Flow(), Flow()
    assert not queue.crowded
    ask(queue, bulk, 100)
    few = ask(queue, other, 3)
    assert queue.crowded
    taken = queue.admit(alone=False)
    assert Counter(flows_of(taken, bulk, other)) == {0: 4, 1: 3}
    for turn in few:
        queue.leave(turn)
    assert not queue.crowded
    assert queue.admit(alone=False) == []
    assert len(queue.admit(alone=True)) == 6


def test_a_turn_larger_than_a_share_is_taken_by_a_flow_that_holds_nothing() -> None:
    queue = FairQueue(capacity=100, reserve=20, beside=20)
    bulk = Flow()
    first, _ = ask(queue, bulk, 2, cost=50)
    (single,) = ask(queue, Flow(), 1, cost=10)
    assert queue.admit(alone=False) == [first, single]


def test_equal_flows_are_served_in_turn() -> None:
    queue = FairQueue(capacity=1, reserve=0, beside=1)
    flows = [Flow() for _ in range(3)]
    for flow in flows:
        ask(queue, flow, 3)
    order: list[int] = []
    while turns := queue.admit(alone=True):
        order += flows_of(turns, *flows)
        queue.leave(turns[0])
    assert order == [0, 1, 2] * 3


def test_a_stream_of_newcomers_does_not_starve_a_bulk_flow() -> None:
    queue = FairQueue(capacity=2, reserve=0, beside=2)
    bulk = Flow()
    ask(queue, bulk, 50)
    running = queue.admit(alone=True)
    served = 0
    for _ in range(40):
        ask(queue, Flow(), 2)
        queue.leave(running.pop(0))
        running += (admitted := queue.admit(alone=True))
        served += sum(turn.flow is bulk for turn in admitted)
    assert served >= 2


def test_what_passes_through_the_reserve_does_not_delay_a_large_turn_that_waits() -> None:
    queue = FairQueue(capacity=100, reserve=20, beside=100)
    busy = ask(queue, Flow(), 2, cost=40)
    assert queue.admit(alone=True) == busy
    (large,) = ask(queue, Flow(), 1, cost=80)
    for _ in range(10):
        (small,) = ask(queue, Flow(), 1, cost=10)
        assert queue.admit(alone=True) == [small]
        queue.leave(small)
    small = ask(queue, Flow(), 2, cost=10)
    assert queue.admit(alone=True) == small
    ask(queue, Flow(), 1, cost=10)
    queue.leave(busy[0])
    assert queue.admit(alone=True) == []  # nobody slips past the large one into shared room
    queue.leave(busy[1])
    assert queue.admit(alone=True) == [large]


def test_a_turn_larger_than_the_room_is_taken_alone() -> None:
    queue = FairQueue(capacity=100, reserve=20, beside=100)
    (large,) = ask(queue, Flow(), 1, cost=10_000)
    assert queue.admit(alone=True) == [large]
    ask(queue, Flow(), 1, cost=30)
    assert queue.admit(alone=True) == []


def test_who_leaves_the_line_lets_the_next_one_through() -> None:
    queue = FairQueue(capacity=1, reserve=0, beside=1)
    first, second, third = (queue.ask(Flow(), cost=1) for _ in range(3))
    queue.admit(alone=True)
    queue.leave(second)
    queue.leave(first)
    assert queue.admit(alone=True) == [third]


@given(
    capacity=st.integers(1, 12),
    steps=st.lists(st.tuples(st.integers(0, 4), st.integers(1, 15), st.booleans()), max_size=60),
)
def test_room_is_never_exceeded_and_everyone_is_served(capacity: int, steps: list[tuple[int, int, bool]]) -> None:
    queue = FairQueue(capacity=capacity, reserve=capacity // 4, beside=capacity)
    flows = [Flow() for _ in range(5)]
    asked: list[Turn] = []
    running: list[Turn] = []
    served: list[Turn] = []
    for flow, cost, ends in steps:
        asked.append(queue.ask(flows[flow], cost=cost))
        if ends and running:
            queue.leave(running.pop(0))
        running += (admitted := queue.admit(alone=True))
        served += admitted
        assert sum(turn.cost for turn in running) <= capacity
    while running:
        queue.leave(running.pop(0))
        running += (admitted := queue.admit(alone=True))
        served += admitted
    assert set(served) == set(asked)
    for flow in flows:  # within a flow, in the order in which it asked
        assert [turn for turn in served if turn.flow is flow] == [turn for turn in asked if turn.flow is flow]
