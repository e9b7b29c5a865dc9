"""The same question goes to the same server, while it is well and not much fuller than the others."""

import random
from collections import Counter

import pytest

from rlt_core.addresses import addresses_of
from rlt_core.errors import ConfigurationError
from rlt_core.replicas import LONGEST_AWAY_S, Asked, Replicas, ranked

URLS = [f"http://{name}.test" for name in "abcd"]
QUESTIONS = [Asked(f"What is {number} + 3?") for number in range(400)]
SCORE = "/v1/score"


class Clock:
    """Time that passes when it is told to."""

    def __init__(self) -> None:
        self.now_s = 1000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def four(clock: Clock) -> Replicas:
    return Replicas(addresses_of(URLS), own_key="mine", monotonic=clock)


def asked_alone(replicas: Replicas, asked: Asked) -> str:
    """Choose while nothing else is open."""
    url = replicas.take(SCORE, asked)
    replicas.give_back(url, weight=asked.weight)
    return url


def test_a_question_goes_to_the_same_server_for_every_client(four: Replicas) -> None:
    other = Replicas(addresses_of(list(reversed(URLS))), own_key="another's")
    chosen = [asked_alone(four, asked) for asked in QUESTIONS]
    assert chosen == [asked_alone(other, asked) for asked in QUESTIONS]
    counts = Counter(chosen)
    assert set(counts) == set(URLS)
    assert max(counts.values()) < 2 * min(counts.values())


def test_one_that_goes_moves_its_own_questions_alone() -> None:
    for asked in QUESTIONS:
        before, after = ranked(asked.key or "", URLS), ranked(asked.key or "", URLS[1:])
        assert after == [url for url in before if url != URLS[0]]


def test_what_asks_no_question_goes_by_a_key_of_the_client(four: Replicas) -> None:
    assert len({asked_alone(four, Asked()) for _ in range(20)}) == 1
    clients = [Replicas(addresses_of(URLS)) for _ in range(60)]
    assert {asked_alone(client, Asked()) for client in clients} == set(URLS)


def test_no_server_holds_more_than_its_share(four: Replicas) -> None:
    same = [four.take(SCORE, QUESTIONS[0]) for _ in range(40)]
    counts = Counter(same)
    assert set(counts) == set(URLS)
    assert max(counts.values()) <= 13  # 1.25 x 40 / 4, rounded up
    assert same[0] == asked_alone(Replicas(addresses_of(URLS)), QUESTIONS[0])


def test_few_and_large_calls_find_their_servers_again_and_few_servers_idle() -> None:
    # 16 calls of 16 sequences open at 8 servers: two are an even share, three the most.
    replicas, dice = Replicas(addresses_of([f"http://s{number}.test" for number in range(8)])), random.Random(0)
    urls, opened, found, idle = [one.url for one in replicas.addresses], list[str](), 0, 0
    for number in range(1000):
        if number >= 16:
            replicas.give_back(opened.pop(dice.randrange(16)), weight=16)
        asked = Asked(dice.choice(QUESTIONS).key, 16)
        opened.append(replicas.take(SCORE, asked))
        found += opened[-1] == ranked(asked.key or "", urls)[0]
        assert max(Counter(opened).values()) <= 3
        idle += 8 - len(set(opened)) if number >= 16 else 0
    assert found > 600
    assert idle < 8 * 1000 * 0.05


def test_what_is_larger_than_any_share_goes_to_an_idle_server_its_own_first(four: Replicas) -> None:
    order, large = ranked(QUESTIONS[0].key or "", URLS), Asked(QUESTIONS[0].key, 1000)
    assert asked_alone(four, large) == order[0]
    four.take(SCORE, QUESTIONS[0], preferred=order[0])
    assert asked_alone(four, large) == order[1]


def test_a_call_that_has_ended_weighs_nothing(four: Replicas) -> None:
    own = asked_alone(four, QUESTIONS[0])
    for _ in range(100):
        assert asked_alone(four, QUESTIONS[0]) == own


def test_a_server_that_failed_is_left_alone_and_then_tried_by_one_call(four: Replicas, clock: Clock) -> None:
    asked = QUESTIONS[0]
    own, following, *_ = ranked(asked.key or "", URLS)
    four.away(own)
    assert asked_alone(four, asked) == following
    clock.now_s += 1.0
    for other in URLS:
        if other != own:
            four.take(SCORE, Asked(weight=8), preferred=other)
    probe = four.take(SCORE, asked)
    assert probe == own
    assert asked_alone(four, asked) == following, "others wait for what the probe finds"
    four.answered(own)
    four.give_back(own)
    assert [asked_alone(four, asked) for _ in range(2)] == [own, own]


def test_pauses_double_up_to_a_bound_and_begin_anew_after_an_answer(four: Replicas, clock: Clock) -> None:
    own = asked_alone(four, QUESTIONS[0])
    pauses = []
    for _ in range(8):
        began_s = clock.now_s
        four.away(own)
        four.away(own)  # of a call that failed with it
        while asked_alone(four, QUESTIONS[0]) != own:
            clock.now_s += 0.5
        pauses.append(clock.now_s - began_s)
    assert pauses == [1.0, 2.0, 4.0, 8.0, 16.0, LONGEST_AWAY_S, LONGEST_AWAY_S, LONGEST_AWAY_S]
    four.answered(own)
    four.away(own)
    clock.now_s += 1.0
    assert asked_alone(four, QUESTIONS[0]) == own


def test_a_server_says_how_long_it_wants_to_be_left_alone(four: Replicas, clock: Clock) -> None:
    own = asked_alone(four, QUESTIONS[0])
    four.away(own, for_s=7.0)
    clock.now_s += 6.5
    assert asked_alone(four, QUESTIONS[0]) != own
    clock.now_s += 0.5
    assert asked_alone(four, QUESTIONS[0]) == own
    four.away(own, for_s=86_400.0)
    clock.now_s += LONGEST_AWAY_S
    assert asked_alone(four, QUESTIONS[0]) == own


def test_a_probe_that_was_given_up_lets_another_call_try(four: Replicas, clock: Clock) -> None:
    own = asked_alone(four, QUESTIONS[0])
    four.away(own)
    clock.now_s += 1.0
    assert asked_alone(four, QUESTIONS[0]) == own  # given back without a word
    assert asked_alone(four, QUESTIONS[0]) == own


def test_where_nobody_is_well_somebody_is_asked_all_the_same(four: Replicas, clock: Clock) -> None:
    for passed_s, url in enumerate(URLS):
        clock.now_s += passed_s / 10
        four.away(url)
    assert asked_alone(four, QUESTIONS[0]) == URLS[0]
    alone = Replicas(addresses_of("http://only.test"), monotonic=clock)
    alone.away("http://only.test")
    assert [alone.take(SCORE, asked) for asked in QUESTIONS[:3]] == ["http://only.test"] * 3


def test_what_was_tried_is_not_taken_again(four: Replicas) -> None:
    order = ranked(QUESTIONS[0].key or "", URLS)
    assert four.take(SCORE, QUESTIONS[0], tried=order[:2]) == order[2]
    assert four.others(SCORE, tried=order[:3])
    four.away(order[3])
    assert not four.others(SCORE, tried=order[:3])


def test_who_was_dealt_a_part_gets_it_while_he_is_well(four: Replicas) -> None:
    order = ranked(QUESTIONS[0].key or "", URLS)
    assert four.take(SCORE, QUESTIONS[0], preferred=order[3]) == order[3]
    four.away(order[3])
    assert four.take(SCORE, QUESTIONS[0], preferred=order[3]) == order[0]


def test_a_batch_is_dealt_out_by_question_within_shares(four: Replicas) -> None:
    dealt = four.spread(SCORE, QUESTIONS)
    assert max(Counter(dealt).values()) <= 125
    own = [asked_alone(four, asked) for asked in QUESTIONS]
    assert sum(url == mine for url, mine in zip(dealt, own, strict=True)) > 380
    heavy = four.spread(SCORE, [Asked(QUESTIONS[0].key, 64)] * 4)
    assert set(heavy) == set(URLS)
    assert asked_alone(four, QUESTIONS[0]) == own[0], "dealing out opens nothing"


def test_a_batch_is_dealt_out_beside_what_is_open(four: Replicas) -> None:
    own = [asked_alone(four, asked) for asked in QUESTIONS]
    for url in URLS:
        four.take(SCORE, Asked(weight=100), preferred=url)
    dealt = four.spread(SCORE, QUESTIONS)
    assert sum(url == mine for url, mine in zip(dealt, own, strict=True)) > 380


def test_a_batch_leaves_out_who_is_away_and_minds_what_is_open(four: Replicas) -> None:
    four.away(URLS[0])
    assert set(four.spread(SCORE, QUESTIONS)) == set(URLS[1:])
    busy = asked_alone(four, QUESTIONS[0])
    four.take(SCORE, Asked(QUESTIONS[0].key, 600), preferred=busy)
    assert Counter(four.spread(SCORE, QUESTIONS))[busy] == 0


def test_nothing_is_dealt_out_where_there_is_one_server() -> None:
    alone = Replicas(addresses_of("teacher+control=http://t,student=http://s"))
    assert alone.spread(SCORE, QUESTIONS[:2]) == [None, None]


def test_a_path_that_nobody_answers_says_whom_to_name() -> None:
    teachers = Replicas(addresses_of("teacher=http://t"))
    with pytest.raises(ConfigurationError, match=r"answers /v1/score: name one that plays student, as student=http://"):
        teachers.take(SCORE)
    with pytest.raises(ConfigurationError, match=r"teacher\+control="):
        teachers.take("/v1/train")
