"""Kinds of error that end or stop a job, each with what to do about it; how a call's error becomes one. Pure."""

REMEDIES: dict[str, str] = {
    "worker_lost": "Look at log_tail and at the machine's log (a kernel that is out of memory kills without a word), "
    "then submit it again.",
    "out_of_memory": "Ask for less: gradient_checkpointing, a smaller max_tokens or lora.rank, fewer "
    "questions_per_step or samples_per_question, a smaller batch_size; or run the worker where more memory is free.",
    "engine_unavailable": "Start the service again that serves teacher and student; "
    "the job waits for it and goes on by itself.",
    "service_failed": "Look at the service's log, under the request id that the message names, then submit it again.",
    "rollout_mismatch": "Let nothing else serve under the address of the service (RLT_SERVICE_URL), and run trainer "
    "and service from the same installation.",
    "invalid_adapter": "Look at log_tail: what was trained cannot be served. A lower learning_rate helps where its "
    "numbers are not finite.",
    "invalid_weights": "Look at log_tail: the model that was trained cannot be served. A lower learning_rate helps "
    "where its numbers are not finite.",
    "diverged": "Lower learning_rate (or raise beta and the length of the warm-up), then submit it again; the last "
    "checkpoint is of the step before. Raise divergence in the spec where such a step is to be taken.",
    "invalid": "Mend what the message names and submit the job again: another attempt of the same would end the same.",
    "configuration": "Run workers and service from the same installation, with the same base model and format.",
    "disk_full": "Free some space where the state folder (RLT_HOME) lies, or make it writable, then resume the job.",
    "max_runtime": "Ask for a greater max_runtime_s, or for less work.",
    "trainer_hung": "Look at log_tail for what it did last, then submit the job again. Where a step may take that long "
    "without a word, raise RLT_TRAINER_SILENCE_S.",
    "step_failed": "Look at the step's own job, which the message names, then submit the pipeline again with "
    "resume_from: what succeeded before need not be done again.",
    "step_refused": "Mend what the message names and submit the pipeline again with resume_from at that step.",
    "step_cancelled": "Submit the pipeline again with resume_from at that step; to end a whole pipeline cancel it, not "
    "a step.",
    "trainer_failed": "Look at log_tail: the trainer's own code broke. Report it with the spec if it is not plain why.",
}
_OTHERWISE = "Look at the message and at log_tail."
_AWAY_STATUS = frozenset({429, 502, 503, 504})


def remedy_of(code: str) -> str:
    """Say what to do about an error of this kind."""
    return REMEDIES.get(code, _OTHERWISE)


def job_code(code: str, *, status: int) -> str:
    """Give the kind of error that an error of a call is to a job, by its code and HTTP status."""
    if code in REMEDIES:
        return code
    if status in _AWAY_STATUS:
        return "engine_unavailable"
    return "service_failed" if status >= 500 else "invalid"
