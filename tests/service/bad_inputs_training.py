"""The rows of the table of bad inputs that a submission of a job is."""

from typing import Any

from tests.support.bad_input import BadInput
from tests.support.bad_input_kinds import NO_DATASET, NOT_YET, RL, ROLLOUT, TRAIN, WARMUP, train

NOT_FOUND: dict[str, Any] = {"status_": 404, "code": "not_found"}
NO_MODEL: dict[str, Any] = {"status_": 404, "code": "model_not_found"}
REWARD_IS_COLD = {"temperature": 0}

TRAINING = (
    train("a kind that is missing", "/kind", "missing", kind=None),
    train("a kind that is mistyped", "/kind", "did you mean warmup?", kind="warmpu"),
    train("a kind that is a list", "/kind", "no kind of job", kind=["rl"]),
    train("a kind that is an object", "/kind", "no kind of job", kind={"rl": 1}),
    *(
        train(f"a kind of later work: {kind}", "/kind", "does not run", kind=kind, **NOT_YET)
        for kind in ("collect", "distill", "evaluate", "rlvr", "pipeline")
    ),
    train("a field of another kind", "/epochs", "no field", code="unknown_field", epochs=1),
    train("a field that is mistyped in training", "/stepz", "did you mean 'steps'?", code="unknown_field", stepz=3),
    train("full fine-tuning", "/lora", "not available yet", lora=None, **NOT_YET),
    train("going on from a checkpoint", "/resume_from", "not available yet", resume_from="ckpt_1", **NOT_YET),
    train("no student at all", "/student", "1", student=[]),
    train("one student twice", "/student/1", "named before", student=["default", "default"]),
    train("a second student that is not there", "/student/1", "no student", student=["default", "nobody"], **NO_MODEL),
    train("stale rollouts", "/max_staleness", "leave max_staleness at 0", max_staleness=1, **NOT_YET),
    train("measurements without questions", "/splits/select", "splits.select", eval_every=1),
    train("patience without measurements", "/patience", "eval_every", patience=2),
    train("a dataset of a hub", "/dataset", "upload the rows", dataset="hub:a/b", **NOT_YET),
    train("a split of a hub", "/splits/gate", "upload the rows", splits={"gate": "hub:a/b:test"}, **NOT_YET),
    train("questions held out for nothing", "/eval_every", "never looked at", splits={"select": 0.1}),
    train("a dataset that is not there", "/dataset", "no dataset", dataset=NO_DATASET, **NOT_FOUND),
    train("a job's id for a dataset", "/dataset", "no dataset", dataset="$job_ended", **NOT_FOUND),
    train("a path for a dataset", "/dataset", "no dataset", dataset="../../etc/passwd", **NOT_FOUND),
    train("a NUL for a dataset", "/dataset", "no dataset", dataset="\x00\n", **NOT_FOUND),
    train("an empty dataset id", "/dataset", "is empty", dataset=""),
    train("a split that is not there", "/splits/gate", "no dataset", splits={"gate": NO_DATASET}, **NOT_FOUND),
    train("a negative share", "/splits/gate", "at least 0 and below 1", splits={"gate": -0.1}),
    train("a share of everything", "/splits/gate", "is 1.0", splits={"gate": 1.0}),
    train("shares that leave nothing", "/splits", "leave something", splits={"gate": 0.5, "report": 0.5}),
    train("a share that leaves no row", "/splits", "hold less out", splits={"gate": 0.95}),
    train("a split that there is not", "/splits/test", "gate", code="unknown_field", splits={"test": 0.5}),
    train("a split of the dataset itself", "/splits", "hold less out", splits={"gate": "$dataset"}),
    train(
        "two splits of the same questions",
        "/splits/report",
        "question",
        splits={"gate": "$dataset_read", "report": "$dataset_read"},
    ),
    train("a start that is not there", "/teacher", "no teacher", teacher="nobody", **NO_MODEL),
    train("a judge that is not there", "/student", "no student", student="nobody@3", **NO_MODEL),
    train("a policy in training as a start", "/teacher", "name a version", teacher=ROLLOUT),
    train("a policy in training as a judge", "/student", "name a version", student=ROLLOUT),
    train("a start of another base", "/teacher", "of the base 'other'", teacher="$foreign"),
    train("a rank above the engine's", "/lora/rank", "RLT_MAX_LORA_RANK", lora={"rank": 33}),
    train("a rank of 0", "/lora/rank", "got 0", lora={"rank": 0}),
    train("another rank than the start's", "/lora/rank", "leave lora out", teacher="algebra@1", lora={"rank": 8}),
    train("a layer that scoring leaves out", "/lora/targets/1", "#51594", lora={"targets": ["q_proj", "lm_head"]}),
    train("a layer that is no target", "/lora/targets/0", "use q_proj", lora={"targets": ["embed_tokens"]}),
    train("no layer at all", "/lora/targets", "1", lora={"targets": []}),
    train("an alias for a name", "/target_name", "is an alias", target_name="default"),
    train("the base's name", "/target_name", "is a base", target_name="fake"),
    train("a name with spaces", "/target_name", "match", target_name="Algebra 1"),
    train("a target that climbs", "/target_name", "match", target_name="../algebra"),
    train("no name", "/target_name", "string", target_name=None),
    train("a gate without questions", "/splits/gate", "at least 2", promote={"when": "if_better"}),
    train("a gate of one question", "/splits/gate", "at least 2", promote={"when": "if_better"}, splits={"gate": 0.1}),
    train("an alias of wrong form", "/promote/alias", "match", promote={"alias": "A", "when": "always"}),
    train(
        "an alias that hides versions",
        "/promote/alias",
        "would hide them",
        promote={"alias": "algebra", "when": "always"},
    ),
    train("a promotion now and then", "/promote/when", "'never'", promote={"when": "sometimes"}),
    train("more questions a step than rows", "/questions_per_step", "lower it", questions_per_step=11),
    train(
        "prompts that do not fit",
        "/max_tokens",
        "more than the 1024 that the engine holds",
        code="prompt_too_long",
        max_tokens=1000,
    ),
    train("a distribution cut off", "/top_p", "1", top_p=0.9),
    train("a distribution of a few tokens", "/top_k", "0", top_k=50),
    train("a group of one", "/samples_per_question", "2", samples_per_question=1),
    train("a reference that nothing refers to", "/reference_every", "beta", reference_every=4, beta=0.0),
    train("a loss that is not known", "/loss_type", "'dapo'", loss_type="ppo"),
    train("a spread that is not known", "/scale_rewards", "'batch'", scale_rewards="question"),
    train("a correction that is not known", "/importance_correction", "'ratio'", importance_correction="vtrace"),
    train("a cap that cuts off what is right", "/importance_cap", "1", importance_cap=0.5),
    train("a clip of everything", "/epsilon", "less than 1", epsilon=1.0),
    train("a learning rate of 0", "/learning_rate", "greater than 0", learning_rate=0.0),
    train("a rate that only rises", "/warmup_ratio", "less than 1", warmup_ratio=1.0),
    train("a schedule that is not known", "/schedule", "'cosine'", schedule="exponential"),
    train("a reference that stays where it is", "/reference_mix", "greater than 0", reference_mix=0.0),
    train("a word for a number", "/learning_rate", "number", learning_rate="fast"),
    train("a day for an instant", "/not_before", "datetime", not_before="tomorrow"),
    train("an instant without a zone", "/not_before", "Z for UTC", not_before="2030-01-01T00:00:00"),
    train(
        "an instant before the calendar", "/not_before", "outside the calendar", not_before="0001-01-01T00:00:00+10:00"
    ),
    train(
        "an instant after the calendar", "/not_before", "outside the calendar", not_before="9999-12-31T23:59:59-10:00"
    ),
    train("a time that has passed before it began", "/max_runtime_s", "greater than 0", max_runtime_s=-1),
    train("a priority beyond its bounds", "/priority", "100", priority=101),
    train("a cold reward", "/reward/temperature", "0.01", reward=REWARD_IS_COLD),
    train("greedy rollouts", "/temperature", "0.01", temperature=0),
    BadInput(name="a run that is perhaps dry", call=f"{TRAIN}?dry_run=maybe", body=RL, param="/dry_run", why="boolean"),
    BadInput(name="a list for a submission", call=TRAIN, body=[], param="", why="object"),
    BadInput(
        name="a warm-up's checkpoint chosen by held-out questions",
        call=TRAIN,
        body=WARMUP | {"splits": {"select": 0.1}},
        param="/splits/select",
        why="leave select at 0",
        **NOT_YET,
    ),
    BadInput(
        name="a base that is not served",
        call=TRAIN,
        body=WARMUP | {"base_model": "other/model"},
        param="/base_model",
        why="leave base_model out",
        **NOT_YET,
    ),
    BadInput(
        name="rows without a trace to imitate",
        call=TRAIN,
        body=WARMUP | {"dataset": "$untraced"},
        param="/dataset",
        why="10 of 10 rows have no reasoning_trace",
    ),
    BadInput(
        name="rows that are all dropped", call=TRAIN, body=WARMUP | {"max_tokens": 16}, param="/max_tokens", why="row"
    ),
    BadInput(
        name="a role that nobody plays",
        call=TRAIN,
        body=WARMUP | {"role": "tutor"},
        param="/role",
        why="'teacher' or 'student'",
    ),
    train("nearly greedy rollouts", "/temperature", "0.01", temperature=0.0099),
    train("rollouts colder than any float32", "/temperature", "0.01", temperature=5e-324),
)
