"""Own the traffic of shadows: candidates answer a sample of what aliases were asked, unseen and within bounds."""

import asyncio
import hashlib
import logging
import random
from collections import Counter
from collections.abc import Sequence
from contextvars import Context
from typing import Protocol

from rlt_core.comparison import states_solution
from rlt_core.errors import RltError
from rlt_core.schemas.explain import ExplainRequest, ExplainResponse, Explanation
from rlt_core.schemas.score import ExplanationInput, Score, ScoreRequest, ScoreResponse
from rlt_core.schemas.teachers import EvaluationRow
from rlt_service.engine.gate import one_flow
from rlt_service.in_hand import InHand
from rlt_service.store.resolution import ShadowPlan
from rlt_service.store.shadows import Fate, Outcome, ShadowPair
from rlt_service.teacher.generation import Generation

LOGGER = logging.getLogger(__name__)

BUSY_SHARE = 0.25
"""Of the room for requests or tokens: with more in hand, callers wait for each other already."""
WRITE_EVERY_S = 0.5
"""Between two writes of what shadows have come to; a request itself writes nothing."""


class Explains(Protocol):
    """The use case of /v1/explain."""

    async def explain(self, request: ExplainRequest) -> ExplainResponse:
        """Sample explanations by one version."""
        ...


class Scores(Protocol):
    """The use case of /v1/score."""

    async def score(self, request: ScoreRequest) -> ScoreResponse:
        """Judge explanations by one student."""
        ...


class Records(Protocol):
    """Where outcomes go."""

    def record(self, outcomes: Sequence[Outcome]) -> None:
        """Keep them."""
        ...


class ShadowTraffic:
    """Draws answered requests, lets the candidates answer them too, and writes down what both were worth."""

    def __init__(self, store: Records, *, in_hand: InHand, dice: random.Random | None = None) -> None:
        """Take where outcomes go, and what says how busy the service is; `dice` draw the sample."""
        self._store = store
        self._in_hand = in_hand
        self._dice = dice or random.Random()
        self._open = False
        self._writing: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[None]] = set()
        self._in_flight: Counter[str] = Counter()
        self._noted: list[Outcome] = []

    def start(self) -> None:
        """Begin to take offers."""
        self._open = True
        self._writing = asyncio.create_task(self._keep_writing())

    async def stop(self) -> None:
        """End the candidates' work, and write what is done."""
        self._open = False
        ending = [*self._running, *([] if self._writing is None else [self._writing])]
        for task in ending:
            task.cancel()
        await asyncio.gather(*ending, return_exceptions=True)
        await self._write()

    def offer(
        self, work: Generation, explanations: Sequence[Explanation], *, explainer: Explains, scorer: Scores
    ) -> None:
        """Draw an answered request, or not; returns at once, and whatever comes of it never reaches the caller.

        Samples of a distribution that was cut off (`top_p`, `top_k`) are not compared with a candidate's.
        """
        plan = work.teacher.shadow
        if plan is None or not self._open or work.is_cut_off or explanations[0].finish_reason == "abort":
            return
        if self._dice.random() >= plan.share:
            return
        if self._in_flight[plan.alias] >= plan.max_in_flight or self._in_hand.fullness > BUSY_SHARE:
            self._note(plan, "skipped")
            return
        self._in_flight[plan.alias] += 1
        answering = self._answer(
            plan, work.request, explanations[0], served=work.teacher.version, explainer=explainer, scorer=scorer
        )
        # In nobody's name: the caller need not know of the candidate.
        task = asyncio.create_task(answering, context=Context())
        self._running.add(task)
        task.add_done_callback(self._running.discard)
        task.add_done_callback(lambda _: self._in_flight.subtract([plan.alias]))

    async def _answer(
        self,
        plan: ShadowPlan,
        request: ExplainRequest,
        shown: Explanation,
        *,
        served: str,
        explainer: Explains,
        scorer: Scores,
    ) -> None:
        """Let the candidate answer, judge both, and note how it went."""
        try:
            # A flow of its own: it takes turns with callers, and none of the turns of the one who asked.
            with one_flow():
                made = await explainer.explain(_as_candidate(request, version=plan.version))
                judged = await scorer.score(_judgement(request, [shown, *made.explanations], student=plan.student))
            rows = [
                _row(request, explanation, score, version=version, engine=judged.engine.name)
                for explanation, score, version in zip(
                    [shown, *made.explanations], judged.scores, (served, plan.version), strict=True
                )
            ]
        except Exception as error:  # the task's boundary: a candidate that breaks is counted, nobody else hears of it
            exc_info = _unexpected(error)
            LOGGER.warning("the shadow %s of %s failed: %s", plan.version, plan.alias, error, exc_info=exc_info)
            self._note(plan, "failed")
            return
        pair = ShadowPair(before=rows[0], after=rows[1], student=judged.student.version)
        self._note(plan, "answered", pair=pair)

    def _note(self, plan: ShadowPlan, fate: Fate, *, pair: ShadowPair | None = None) -> None:
        self._noted.append(Outcome(alias=plan.alias, version=plan.version, fate=fate, pair=pair))

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(WRITE_EVERY_S)
            await self._write()

    async def _write(self) -> None:
        noted, self._noted = self._noted, []
        if not noted:
            return
        try:
            await asyncio.to_thread(self._store.record, noted)
        except Exception as error:  # the task's boundary: a full disk, say; callers are served all the same
            LOGGER.warning("%d outcomes of shadows are lost: %s", len(noted), error, exc_info=_unexpected(error))


def _unexpected(error: Exception) -> Exception | None:
    """Give an error that is none of the contract's, whose traceback is worth a log's lines."""
    return None if isinstance(error, RltError) else error


def _as_candidate(request: ExplainRequest, *, version: str) -> ExplainRequest:
    """Ask the candidate, by its exact name, what the caller asked."""
    return ExplainRequest(
        question=request.question,
        solution=request.solution,
        teacher=version,
        temperature=request.temperature,
        max_tokens=request.max_tokens,
        seed=request.seed,
        include=["tokens"],
    )


def _judgement(request: ExplainRequest, explanations: Sequence[Explanation], *, student: str) -> ScoreRequest:
    """Ask the student about all of them at once, on the ids and log-probs that were generated."""
    return ScoreRequest(
        question=request.question,
        solution=request.solution,
        explanations=[
            ExplanationInput(text=made.text, tokens=made.tokens, well_formed=made.well_formed) for made in explanations
        ],
        student=student,
    )


def _row(
    request: ExplainRequest, explanation: Explanation, score: Score, *, version: str, engine: str
) -> EvaluationRow:
    start, end = (0, 0) if explanation.tokens is None else explanation.tokens.explanation
    asked = hashlib.sha256(f"{request.question}\0{request.solution}".encode("utf-8", errors="surrogatepass"))
    return EvaluationRow(
        question_id=f"live-{asked.hexdigest()[:16]}",
        question=request.question,
        solution=request.solution,
        version=version,
        text=explanation.text,
        reward=score.reward,
        r_ss=score.r_ss,
        r_kl=score.r_kl,
        format=score.format,
        length=end - start,
        closed=explanation.well_formed,
        verbatim=states_solution(explanation.text, solution=request.solution),
        engine=engine,
    )
