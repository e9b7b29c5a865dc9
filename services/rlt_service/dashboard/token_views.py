"""Own how scored tokens are shown: each with a class for how hard the student found it, its figures beside. Pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rlt_core.schemas.score import Score, ScoreResponse, SolutionScore, TokenScore
from rlt_service.dashboard.figures import NONE, figure, signed
from rlt_service.dashboard.markup import Markup, joined, tag

LEVELS: Final = ((0.9, "p ≥ 90%"), (0.5, "≥ 50%"), (0.2, "≥ 20%"), (0.05, "≥ 5%"), (0.01, "≥ 1%"), (0.0, "below 1%"))
"""Lowest probability of each level, the easiest first, and what the legend calls it."""

READOUT: Final = "Point at a token, or go there with the arrow keys, to read its figures."


@dataclass(frozen=True, slots=True, kw_only=True)
class ShownToken:
    """One token as it is drawn."""

    text: str
    level: int
    """0: the student saw it coming; 5: it did not."""
    figures: str
    """In words, for the pointer and for a screen reader."""


def level_of(logprob: float) -> int:
    """Give the level of a natural log-prob."""
    probability = math.exp(min(0.0, logprob))
    return next(index for index, (lowest, _) in enumerate(LEVELS) if probability >= lowest)


def shown(token: TokenScore) -> ShownToken:
    """Say what is drawn for a token."""
    parts = [f"log p {figure(token.logprob)}", f"p {100 * math.exp(min(0.0, token.logprob)):.1f}%"]
    if token.teacher_logprob is not None:
        parts.append(f"teacher {figure(token.teacher_logprob)}")
    if token.kl is not None:
        parts.append(f"KL {signed(token.kl)}")
    return ShownToken(text=token.text, level=level_of(token.logprob), figures=" · ".join(parts))


def hardest(tokens: Sequence[TokenScore], *, most: int = 3) -> list[TokenScore]:
    """Give the tokens that the student expected least, the hardest first."""
    return sorted(tokens, key=lambda token: token.logprob)[:most]


def running_text(tokens: Sequence[TokenScore], *, label: str) -> Markup:
    """Write tokens as running text: one stop of the keyboard, arrows go from token to token."""
    spans = [_span(shown(token), first=index == 0) for index, token in enumerate(tokens)]
    return tag("div", spans, class_="tokens", role="group", aria_label=label)


def legend() -> Markup:
    """Say what the colours mean."""
    keys = [tag("span", name, class_=f"tok tok-{level}") for level, (_, name) in enumerate(LEVELS)]
    return tag("div", tag("span", "The student expected each token with", class_="muted"), keys, class_="legend")


def scored(answer: ScoreResponse, score: Score, *, title: str) -> Markup:
    """Write one explanation's score: figures, then its tokens, explanation and solution apart."""
    tokens = score.tokens or []
    parts = [
        running_text(found, label=f"{segment} by token")
        for segment in ("explanation", "solution")
        if (found := [token for token in tokens if token.segment == segment])
    ]
    names = ["Explanation", "Solution"] if len(parts) == 2 else ["Solution"]
    return tag(
        "section",
        tag("h3", title),
        tag("p", f"read by {answer.student.version} · engine {answer.engine.name}", class_="muted"),
        facts(score_facts(score, baseline=answer.baseline)),
        [joined(tag("h4", name), part) for name, part in zip(names, parts, strict=False)],
        tag("p", READOUT, class_="readout"),
        class_="scored",
    )


def score_facts(score: Score, *, baseline: SolutionScore | None) -> list[tuple[str, str]]:
    """Name the figures of a score, the reward first."""
    found = [
        ("reward", signed(score.reward)),
        ("r_SS", signed(score.r_ss)),
        ("r_KL", figure(score.r_kl) if score.kl is not None else NONE),
        ("solution, mean log p", figure(score.solution.mean)),
        ("hardest token", figure(score.solution.min)),
    ]
    if baseline is not None:
        found += [("without explanation", figure(baseline.mean)), ("uplift", signed(score.uplift))]
    return found if score.well_formed else [*found, ("format", f"{signed(score.format)}, never closed")]


def facts(pairs: Sequence[tuple[str, str]]) -> Markup:
    """Write figures under their names."""
    return tag("dl", [tag("div", tag("dt", name), tag("dd", value)) for name, value in pairs], class_="facts")


def _span(token: ShownToken, *, first: bool) -> Markup:
    return tag(
        "span",
        token.text,
        class_=f"tok tok-{token.level}",
        tabindex=0 if first else -1,
        data_figures=token.figures,
        role="img",
        aria_label=f"{token.text.strip() or 'space'}: {token.figures}",
    )
