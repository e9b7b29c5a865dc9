"""Own a small discrete-event model of one RL step: calls to teachers, scores by students, training, the next policy.

A call of `/explain` goes to the teacher with the fewest sequences in hand and brings `samples` sequences. A teacher
works on up to `slots` of them; each takes `first_s` until its first token and then a step for each further one, and a
step takes `fixed_s + each_s · b` with b at work. When all samples of a question are there, one call of `/score` goes to
the first free student. Pure: lengths in, seconds out.
"""

import heapq
import math
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

Lengths = Sequence[Sequence[int]]
"""Tokens of each sample of each question, at least one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """How fast one teacher generates."""

    slots: int
    """Sequences at work at a time."""
    first_s: float
    fixed_s: float
    each_s: float

    def step_s(self, at_work: int) -> float:
        """Give the time of a step with so many sequences at work."""
        return self.fixed_s + self.each_s * at_work


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What is set up for a step, all times in seconds."""

    teacher: Engine
    teachers: int
    students: int
    score_token_s: float
    """Of a student, for each token of a sequence."""
    around_tokens: int = 0
    """Of a scored sequence beside the explanation: question, solution, templates."""
    call_s: float = 0.0
    """What a call takes beside its engine."""
    read_token_s: float = 0.0
    """That the one process of the trainer which calls takes to read an answer, for each token."""
    questions_at_once: int | None = None
    """Calls that the trainer keeps open; None is all of them."""
    train_token_s: float = 0.0
    """Of all trainers together, for each generated token."""
    publish_s: float = 0.0
    """Until every teacher has the next policy."""
    ahead: int = 0
    """Steps by which rollouts may be ahead of the training (`max_staleness`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How one step went, in seconds from its first call on."""

    generated_s: float
    """Until the last token."""
    rollouts_s: float
    """Until the last score was read."""
    read_s: float
    """That the trainer's process read answers, in all."""
    train_s: float
    publish_s: float
    step_s: float
    tokens: int
    teachers_fill: float
    """Mean share of all slots that were at work until the last token."""
    students_busy: float
    """Mean share of the time in which students scored, until the last score."""

    @property
    def bottleneck(self) -> str:
        """Name the part that a step would be shorter without by most."""
        parts = {
            "generation": self.generated_s - self.read_s,
            "scores behind the last token": self.rollouts_s - self.generated_s,
            "reading of answers": self.read_s,
            "training": self.train_s,
            "publishing": self.publish_s,
        }
        return max(parts, key=lambda name: parts[name])


def drawn(*, questions: int, samples: int, mean: float, spread: float, most: int, seed: int) -> list[list[int]]:
    """Draw lengths, lognormal around `mean` tokens with sigma `spread`, cut off at `most` as a limit does."""
    dice = random.Random(seed)
    middle = math.log(mean) - spread * spread / 2
    return [
        [min(most, max(1, round(dice.lognormvariate(middle, spread)))) for _ in range(samples)]
        for _ in range(questions)
    ]


def simulate(plan: Plan, lengths: Lengths) -> Step:
    """Carry out one step; raises ValueError where there is nothing to do or nobody to do it."""
    if not lengths or not all(lengths) or min(plan.teachers, plan.students, plan.teacher.slots) < 1:
        raise ValueError("a step needs questions with samples, a teacher with a slot, and a student")
    course = _Course(plan, lengths)
    course.run()
    tokens = sum(map(sum, lengths))
    train_s, rollouts_s = tokens * plan.train_token_s, course.now_s
    in_turn_s = rollouts_s + train_s + plan.publish_s
    return Step(
        generated_s=course.generated_s,
        rollouts_s=rollouts_s,
        read_s=course.read_s,
        train_s=train_s,
        publish_s=plan.publish_s,
        # Ahead, rollouts of the next step are made while this one is trained: the longer of both counts.
        step_s=in_turn_s if plan.ahead == 0 else max(rollouts_s, train_s + plan.publish_s),
        tokens=tokens,
        teachers_fill=course.slot_s() / (plan.teachers * plan.teacher.slots * course.generated_s),
        students_busy=course.scored_s / (plan.students * rollouts_s),
    )


@dataclass(slots=True)
class _Teacher:
    """One engine; its sequences advance together, so that their ends are kept in steps, not in seconds."""

    engine: Engine
    now_s: float = 0.0
    steps: float = 0.0
    slot_s: float = 0.0
    """Slots in use, times seconds."""
    in_hand: int = 0
    stamp: int = 0
    """Of the newest event of its next end: older ones are void."""
    first: int = 0
    """Sequences that hold a slot and have no token yet."""
    running: list[tuple[float, int]] = field(default_factory=list[tuple[float, int]])
    """At which step which question's sequence ends, a heap."""
    waiting: deque[tuple[int, int]] = field(default_factory=deque[tuple[int, int]])
    """Question and tokens."""

    def advance(self, now_s: float) -> None:
        """Compute until now."""
        past_s = now_s - self.now_s
        self.slot_s += past_s * (len(self.running) + self.first)
        if self.running:
            self.steps += past_s / self.engine.step_s(len(self.running))
        self.now_s = now_s

    def next_end_s(self) -> float | None:
        """Say when the next sequence ends if nothing else happens."""
        if not self.running:
            return None
        return self.now_s + max(0.0, self.running[0][0] - self.steps) * self.engine.step_s(len(self.running))


class _Course:
    """The events of one step, in the order of their times."""

    def __init__(self, plan: Plan, lengths: Lengths) -> None:
        self._plan = plan
        self._lengths = lengths
        self._teachers = [_Teacher(engine=plan.teacher) for _ in range(plan.teachers)]
        self._left = [len(samples) for samples in lengths]
        self._events: list[tuple[float, int, str, int, int]] = []
        """When, in which order of two at once, what, whose (teacher or question), and a stamp or tokens."""
        self._order = 0
        self._free_s: list[float] = [0.0] * plan.students
        self._reader_s = 0.0
        self._asked = 0
        self._done = 0
        self.now_s = 0.0
        self.generated_s = 0.0
        self.scored_s = 0.0
        self.read_s = 0.0

    def run(self) -> None:
        """Go from event to event until the last question is scored."""
        for _ in range(min(len(self._lengths), self._plan.questions_at_once or len(self._lengths))):
            self._ask()
        steps = {
            "arrive": self._arrive,
            "first": self._begin,
            "end": self._end,
            "score": self._score,
            "read": self._read,
        }
        while self._done < len(self._lengths):
            at_s, _, what, whose, detail = heapq.heappop(self._events)
            if what == "end" and detail != self._teachers[whose].stamp:
                continue
            self.now_s = at_s
            steps[what](whose, detail)

    def slot_s(self) -> float:
        """Give the slots in use of all teachers, times seconds."""
        return sum(teacher.slot_s for teacher in self._teachers)

    def _push(self, at_s: float, what: str, whose: int, detail: int = 0) -> None:
        self._order += 1
        heapq.heappush(self._events, (at_s, self._order, what, whose, detail))

    def _ask(self) -> None:
        self._push(self.now_s + self._plan.call_s, "arrive", self._asked)
        self._asked += 1

    def _arrive(self, question: int, _: int) -> None:
        place = min(range(len(self._teachers)), key=lambda n: self._teachers[n].in_hand)
        teacher = self._teachers[place]
        teacher.in_hand += len(self._lengths[question])
        teacher.waiting.extend((question, tokens) for tokens in self._lengths[question])
        self._let_in(place)

    def _let_in(self, place: int) -> None:
        teacher = self._teachers[place]
        teacher.advance(self.now_s)
        while teacher.waiting and len(teacher.running) + teacher.first < teacher.engine.slots:
            question, tokens = teacher.waiting.popleft()
            teacher.first += 1
            self._push(self.now_s + teacher.engine.first_s, "first", place, question * _MOST + tokens)

    def _begin(self, place: int, packed: int) -> None:
        question, tokens = divmod(packed, _MOST)
        teacher = self._teachers[place]
        teacher.advance(self.now_s)
        teacher.first -= 1
        heapq.heappush(teacher.running, (teacher.steps + tokens - 1, question))
        self._look_ahead(place)

    def _end(self, place: int, _: int) -> None:
        teacher = self._teachers[place]
        teacher.advance(self.now_s)
        question = heapq.heappop(teacher.running)[1]
        teacher.in_hand -= 1
        self._let_in(place)
        self._look_ahead(place)
        self._left[question] -= 1
        if self._left[question] == 0:
            self.generated_s = self.now_s
            self._push(self._read_by(question) + self._plan.call_s, "score", question)

    def _look_ahead(self, place: int) -> None:
        teacher = self._teachers[place]
        teacher.stamp += 1
        end_s = teacher.next_end_s()
        if end_s is not None:
            self._push(end_s, "end", place, teacher.stamp)

    def _read_by(self, question: int) -> float:
        """Have the one reader read an answer after those that came before; gives when it is done."""
        takes_s = self._plan.read_token_s * sum(self._lengths[question])
        self._reader_s = max(self._reader_s, self.now_s) + takes_s
        self.read_s += takes_s
        return self._reader_s

    def _score(self, question: int, _: int) -> None:
        samples = self._lengths[question]
        takes_s = self._plan.score_token_s * (sum(samples) + len(samples) * self._plan.around_tokens)
        ends_s = max(self.now_s, heapq.heappop(self._free_s)) + takes_s
        heapq.heappush(self._free_s, ends_s)
        self.scored_s += takes_s
        self._push(ends_s, "read", question)

    def _read(self, _: int, __: int) -> None:
        self._done += 1
        if self._asked < len(self._lengths):
            self._ask()


_MOST = 1 << 32
"""More than the tokens of any sequence: an event carries a question and its tokens as one number."""
