"""Words that would be a second name for a thing that has one (docs/glossary.md), each with why it is kept out."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """What others say; what is said here in its place; why the other word misleads; a pattern for whole words."""

    said: str
    instead: str
    why: str
    pattern: str

    def found_in(self, text: str) -> list[str]:
        """Give every place that says it, in any case, as it stands there."""
        return [match[0] for match in re.finditer(rf"(?<![A-Za-z]){self.pattern}(?![A-Za-z])", text, re.IGNORECASE)]

    @property
    def row(self) -> str:
        """Give its line of the glossary."""
        return f"| {self.said} | {self.instead} | {self.why} |"


FORBIDDEN = (
    Word("rationale", "explanation", "what a teacher writes has one name, in fields too", r"rationales?"),
    Word("tutor, instructor, mentor", "teacher", "one role explains", r"(?:tutors?|instructors?|mentors?)"),
    Word("learner, trainee", "student", "who judges may not be learning at all", r"(?:learners?|trainees?)"),
    Word(
        "ground truth, answer key",
        "solution, answer",
        "two columns with two meanings",
        r"(?:ground[ _-]truths?|answer[ _-]keys?|gold[ _-]answers?)",
    ),
    Word("run id, task id", "job", "a job may have several attempts, and is no task of Celery's", r"(?:task|run)_ids?"),
    Word(
        "validation set, test set",
        "the splits `select`, `gate`, `report`",
        "each may be used for one thing",
        r"(?:validation|test)[ _-]sets?",
    ),
    Word(
        "deploy a model",
        "promote a version",
        "machines are deployed to; which version serves is an alias",
        r"deploy(?:s|ed|ing)?[ _-](?:an? |the )?(?:teachers?|students?|versions?|models?|adapters?)",
    ),
    Word(
        "canary, challenger",
        "shadow",
        "a candidate answers unseen, and serves nobody",
        r"(?:canar(?:y|ies)|challengers?)",
    ),
    Word("revert", "roll back", "the call and the command are named `rollback`", r"(?:reverts?|reverted)"),
    Word(
        "log-likelihood, logp, log_prob",
        "log-prob, `logprob`",
        "the second is the end of a field's name",
        r"(?:log[ _-]?likelihoods?|logps?|log_probs?)",
    ),
    Word("grade", "verdict, score", "a rule gives a verdict, a student a score", r"(?:graders?|graded)"),
    Word("whitelist, blacklist", "what is allowed, refused", "the plain word says more", r"(?:white|black)lists?"),
)
