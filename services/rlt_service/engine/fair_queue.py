"""Own whose turn it is before an engine: calls are flows, and the flow that holds least goes next. Pure; no waiting.

Two pools of room. `shared` is for everybody; `reserve` is a small one that only flows which hold little may use, so
that a single request begins at once although a bulk caller has filled the rest. Each pool is counted for itself: what
passes through the reserve never keeps somebody who waits for shared room waiting longer.

A flow alone may fill the shared room; beside others it takes no more than `beside`, since everything that an engine
computes at the same time slows down everything else.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal


@dataclass(eq=False, slots=True, weakref_slot=True)
class Flow:
    """All that one call, or several that say so, ask of the engine; equal only to itself."""


@dataclass(eq=False, slots=True, kw_only=True)
class Turn:
    """A place in the line, later a hold on room; `cost` in the units of the queue's capacity."""

    flow: Flow
    cost: int
    pool: Literal["shared", "reserve"] | None = None
    """None while it waits."""


class FairQueue:
    """Hands out `capacity`, `reserve` of it to flows that hold no more than that."""

    def __init__(self, *, capacity: int, reserve: int, beside: int) -> None:
        self._free = {"shared": capacity - reserve, "reserve": reserve}
        self._shared, self._reserve, self._beside = capacity - reserve, reserve, beside
        self._lines: dict[Flow, deque[Turn]] = {}
        """Who waits, by flow; the flow that was served longest ago comes first."""
        self._held: dict[Flow, int] = {}

    def ask(self, flow: Flow, *, cost: int) -> Turn:
        """Stand in line; more than all of the shared room counts as all of it, or it would wait for ever."""
        turn = Turn(flow=flow, cost=min(cost, self._shared))
        self._lines.setdefault(flow, deque()).append(turn)
        return turn

    @property
    def crowded(self) -> bool:
        """Whether there is more than one flow."""
        return len(self._lines.keys() | self._held.keys()) > 1

    def admit(self, *, alone: bool) -> list[Turn]:
        """Take from the line, in order, everyone for whom there is room; a flow alone may take all that is shared."""
        admitted: list[Turn] = []
        while (turn := self._next(most=self._shared if alone else self._beside)) is not None:
            admitted.append(turn)
        return admitted

    def leave(self, turn: Turn) -> None:
        """Give back what a turn holds, or its place in the line."""
        if turn.pool is None:
            self._lines[turn.flow].remove(turn)
            self._forget_empty_line(turn.flow)
            return
        self._free[turn.pool] += turn.cost
        self._held[turn.flow] -= turn.cost
        if not self._held[turn.flow]:
            del self._held[turn.flow]

    def _next(self, *, most: int) -> Turn | None:
        """Admit one. A flow that must wait for shared room keeps those behind it from taking that room first."""
        shared_is_open = True
        for flow in self._by_what_they_hold():
            turn, held = self._lines[flow][0], self._held.get(flow, 0)
            if held and held + turn.cost > most:
                continue  # it waits for its own to end, not for room
            if shared_is_open and turn.cost <= self._free["shared"]:
                return self._admitted(turn, pool="shared")
            if turn.cost <= self._free["reserve"] and held + turn.cost <= self._reserve:
                return self._admitted(turn, pool="reserve")
            shared_is_open = False
        return None

    def _by_what_they_hold(self) -> Iterable[Flow]:
        return sorted(self._lines, key=lambda flow: self._held.get(flow, 0))  # stable: equals stay in their order

    def _admitted(self, turn: Turn, *, pool: Literal["shared", "reserve"]) -> Turn:
        turn.pool = pool
        self._free[pool] -= turn.cost
        self._held[turn.flow] = self._held.get(turn.flow, 0) + turn.cost
        line = self._lines.pop(turn.flow)
        line.popleft()
        if line:
            self._lines[turn.flow] = line  # at the end: served last
        return turn

    def _forget_empty_line(self, flow: Flow) -> None:
        if not self._lines[flow]:
            del self._lines[flow]
