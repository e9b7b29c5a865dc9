"""Own the refusal of an answer that is not what was asked for."""

from rlt_train.errors import RolloutMismatchError


def expect(seen: object, wanted: object, *, what: str) -> None:
    """Raise RolloutMismatchError unless an answer says what was asked for."""
    if seen != wanted:
        shown = f"asked for {_short(wanted)}, got {_short(seen)}"
        raise RolloutMismatchError(f"{what}: {shown}; nothing of this answer is used")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}… ({len(text)} characters)"
