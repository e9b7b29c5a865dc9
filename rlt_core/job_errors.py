"""Kinds of error that end or stop a job, each with what to do about it. Pure."""

REMEDIES: dict[str, str] = {
    "worker_lost": "Look at log_tail and at the machine's log (a kernel that is out of memory kills without a word), "
    "then submit it again.",
    "out_of_memory": "Ask for less: fewer questions_per_step or samples_per_question, "
    "a smaller batch_size, max_tokens or lora.rank.",
    "engine_unavailable": "Start the service again that serves teacher and student; "
    "the job waits for it and goes on by itself.",
    "invalid": "Mend what the message names and submit the job again: another attempt of the same would end the same.",
    "disk_full": "Free some space where the state folder (RLT_HOME) lies, or make it writable, then resume the job.",
    "max_runtime": "Ask for a greater max_runtime_s, or for less work.",
    "trainer_failed": "Look at log_tail: the trainer's own code broke. Report it with the spec if it is not plain why.",
}
_OTHERWISE = "Look at the message and at log_tail."


def remedy_of(code: str) -> str:
    """Say what to do about an error of this kind."""
    return REMEDIES.get(code, _OTHERWISE)
