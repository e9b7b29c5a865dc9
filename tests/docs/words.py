"""Words that would be a second name for a thing that has one (docs/glossary.md), each with why it is kept out."""

import re
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Word:
    """A pattern for whole words, any case; what is said here in its place; why the other word misleads."""

    pattern: str
    instead: str
    why: str

    def found_in(self, text: str) -> list[str]:
        """Give every place that says it, as it stands there."""
        return [match[0] for match in re.finditer(rf"(?<![A-Za-z]){self.pattern}(?![A-Za-z])", text, re.IGNORECASE)]


FORBIDDEN = (
    Word(r"rationales?", "explanation", "what a teacher writes has one name, also in fields"),
    Word(r"(?:tutors?|instructors?|mentors?)", "teacher", "there is one role that explains"),
    Word(r"(?:learners?|trainees?)", "student", "who judges may not be learning at all"),
    Word(
        r"(?:ground[ _-]truths?|answer[ _-]keys?|gold[ _-]answers?)",
        "solution, answer",
        "two columns, two meanings",
    ),
    Word(r"(?:task|run)_ids?", "job", "Celery's tasks are bells, and a run may be any of several attempts"),
    Word(
        r"(?:validation|test)[ _-]sets?",
        "select, gate or report split",
        "which of the three decides what it may be used for",
    ),
    Word(r"deploy(?:s|ed|ment|ments|ing)?", "promote, start", "moving an alias and starting a server are two things"),
    Word(
        r"(?:go(?:es)? live|canar(?:y|ies)|challengers?)",
        "promote, shadow",
        "a candidate that answers unseen is a shadow",
    ),
    Word(r"(?:reverts?|reverted)", "roll back", "the call and the command are named rollback"),
    Word(
        r"(?:log[ _-]?likelihoods?|logp|logps|log_probs?)",
        "logprob, log-prob",
        "fields end in logprob, prose says log-prob",
    ),
    Word(r"(?:graders?|graded)", "verdict, score", "a rule gives a verdict, a student a score"),
    Word(r"(?:whitelists?|blacklists?)", "what is allowed, refused", "says less than the plain word"),
)
