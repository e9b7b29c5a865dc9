"""The rows of the table of bad inputs that the control service refuses: training, datasets, jobs, versions, aliases."""

import json
from typing import Any
from urllib.parse import quote

from tests.support.bad_input import BadInput
from tests.support.bad_input_kinds import (
    FILE,
    FORM,
    JSONL,
    KEY,
    MALFORMED,
    NO_DATASET,
    NO_EVALUATION,
    NO_JOB,
    NOT_YET,
    RL,
    ROLLOUT,
    ROW,
    TOO_LARGE,
    TRAIN,
    WARMUP,
    WRONG_TYPE,
    absent,
    query,
    train,
    upload,
)

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
    train("several students", "/student", "name one", student=["default"], **NOT_YET),
    train("stale rollouts", "/max_staleness", "leave max_staleness at 0", max_staleness=1, **NOT_YET),
    train("evaluations during training", "/eval_every", "leave eval_every at 0", eval_every=1, **NOT_YET),
    train("a dataset of a hub", "/dataset", "upload the rows", dataset="hub:a/b", **NOT_YET),
    train("a split of a hub", "/splits/gate", "upload the rows", splits={"gate": "hub:a/b:test"}, **NOT_YET),
    train(
        "a checkpoint chosen by held-out questions",
        "/splits/select",
        "leave select at 0",
        splits={"select": 0.1},
        **NOT_YET,
    ),
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
    train("a group of one", "/samples_per_question", "2", samples_per_question=1),
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
)

MORE_TRAINING = (
    train("nearly greedy rollouts", "/temperature", "0.01", temperature=0.0099),
    train("rollouts colder than any float32", "/temperature", "0.01", temperature=5e-324),
)

INVALID: dict[str, Any] = {"code": "invalid_request"}
COLUMNS = INVALID | {"param": "/columns"}


def columns(mapping: object) -> str:
    """Write the query."""
    return "?columns=" + quote(mapping if isinstance(mapping, str) else json.dumps(mapping))


DATASETS = (
    upload("no rows", b"\n\n", "holds no row"),
    upload("a line that is no JSON", ROW + b"{", "Line 2: not JSON"),
    upload("a line that is no object", ROW + b"[1]", "Line 2: not a JSON object"),
    upload("a line without a question", b'{"solution": "s"}', "Line 1: no question; this line has solution"),
    upload("a line with an empty question", b'{"question": " ", "solution": "s"}', "question is empty"),
    upload("a number for a solution", b'{"question": "q", "solution": 7}', "solution must be text, not 7"),
    upload("a key twice in a line", b'{"question": "q", "solution": "s", "question": "r"}', "stands twice"),
    upload("NaN in a line", b'{"question": "q", "solution": "s", "x": NaN}', "NaN is no JSON number"),
    upload(
        "a number above all floats in a line", b'{"question": "q", "solution": "s", "x": 1e999}', "1e999 is too large"
    ),
    upload(
        "an integer of 4,500 digits in a line",
        b'{"question": "q", "solution": "s", "x": ' + b"9" * 4500 + b"}",
        "not JSON that is taken",
    ),
    upload("a line that is no UTF-8", b'{"question": "\xff", "solution": "s"}', "not UTF-8 at byte 15"),
    upload(
        "half of a surrogate pair in a line", b'{"question": "\\ud800", "solution": "s"}', "half of a surrogate pair"
    ),
    upload(
        "a line nested too deep",
        b'{"question": "q", "solution": "s", "x": ' + b"[" * 40 + b"]" * 40 + b"}",
        "nested deeper than 32",
    ),
    upload("an id twice", 2 * b'{"id": "a", "question": "q", "solution": "s"}\n', "stands in an earlier line too"),
    upload(
        "an id of 201 characters", b'{"id": "' + b"i" * 201 + b'", "question": "q", "solution": "s"}', "the id has 201"
    ),
    upload(
        "a column inside and beside metadata",
        b'{"question": "q", "solution": "s", "metadata": {"a": 1}, "a": 2}',
        "'a' stands both in",
    ),
    upload(
        "metadata that is no object", b'{"question": "q", "solution": "s", "metadata": 1}', "metadata must be an object"
    ),
    upload("more rows than are taken", ROW * 21, "more than 20 rows"),
    upload("more bytes than are taken", b"x" * 20_000, "10000 bytes", **TOO_LARGE),
    upload("more chunks than are taken", (b"x" * 4000,) * 4, "10000 bytes", **TOO_LARGE),
    upload("a dataset of no stated type", ROW, "without a content type", headers={"Content-Type": ""}, **WRONG_TYPE),
    upload(
        "a dataset that says it is a form",
        ROW,
        "send JSONL",
        headers={"Content-Type": "application/x-www-form-urlencoded"},
        **WRONG_TYPE,
    ),
    upload("a compressed dataset", ROW, "send it plain", headers={**JSONL, "Content-Encoding": "gzip"}, **WRONG_TYPE),
    upload("columns that are no JSON", ROW, "columns is no JSON", query=columns("x"), **COLUMNS),
    upload("columns that are no object", ROW, "give an object", query=columns([1]), **COLUMNS),
    upload("a template that is no text", ROW, "give a text", query=columns({"id": 1}), **COLUMNS),
    upload("a template that is never closed", ROW, "never closed", query=columns({"id": "{"}), **COLUMNS),
    upload(
        "a template of a target that there is not",
        ROW,
        "did you mean solution?",
        query=columns({"solutoin": "{x}"}),
        **COLUMNS,
    ),
    upload("a template of a column that there is not", ROW, "there is no column 'x'", query=columns({"id": "{x}"})),
    upload(
        "a template of a column that is a list",
        b'{"question": "q", "x": []}',
        "is a JSON array",
        query=columns({"solution": "{x}"}),
    ),
    upload(
        "a template that makes too much",
        b'{"question": "' + b"q" * 3000 + b'"}',
        "characters, 20000 are allowed",
        query=columns({"solution": "{question}" * 8}),
    ),
    upload("a name of 201 characters", ROW, "200", query="?name=" + "n" * 201, param="/name", **INVALID),
    upload(
        "a form without a boundary",
        ROW,
        "no boundary",
        headers={"Content-Type": "multipart/form-data"},
        status=400,
        **MALFORMED,
    ),
    upload(
        "a boundary of 300 characters",
        ROW,
        "no boundary",
        headers={"Content-Type": f"multipart/form-data; boundary={'b' * 300}"},
        status=400,
        **MALFORMED,
    ),
    upload("a form that is none", ROW, "broken", headers=FORM, status=400, **MALFORMED),
    upload("a form that is cut off", FILE + ROW, "closing boundary", headers=FORM, status=400, **MALFORMED),
    upload("a form without a file", b"--b--\r\n", "holds no file", headers=FORM, **INVALID),
    upload(
        "a form with a plain field",
        b'--b\r\nContent-Disposition: form-data; name="name"\r\n\r\nx\r\n--b--\r\n',
        "into the query",
        headers=FORM,
        **INVALID,
    ),
    upload(
        "a form with two files",
        (FILE + ROW + b"\r\n") * 2 + b"--b--\r\n",
        "a dataset is one file",
        headers=FORM,
        **INVALID,
    ),
    upload(
        "a file larger than is taken", FILE + b"x" * 12_000 + b"\r\n--b--\r\n", "10000 bytes", headers=FORM, **TOO_LARGE
    ),
    upload(
        "a form that goes on after its end",
        (FILE + ROW + b"\r\n--b--\r\n", b"x" * 80_000),
        "send the file alone",
        headers=FORM,
        **TOO_LARGE,
    ),
    upload(
        "a form with a key",
        FILE + ROW + b"\r\n--b--\r\n",
        "send JSONL as it is",
        headers={**FORM, KEY: "f"},
        param=f"/{KEY}",
        **NOT_YET,
    ),
    absent(
        "a dataset's rows that are not there", f"GET /v1/datasets/{NO_DATASET}/rows", "no dataset", param="/dataset"
    ),
    absent("a job's id where a dataset's is wanted", "GET /v1/datasets/$job_ended", "no dataset"),
    query("a word for an offset", "GET /v1/datasets/$dataset/rows?offset=x", "/offset", "integer"),
    query("a window of 1,001 rows", "GET /v1/datasets/$dataset/rows?limit=1001", "/limit", "1000"),
    query("a page of no datasets", "GET /v1/datasets?limit=0", "/limit", "got '0'"),
    query("a page of too many datasets", "GET /v1/datasets?limit=101", "/limit", "100"),
    upload("a bad line under a name that is no UTF-8", b'{"question": 1}', "no solution", query="?name=%ED%A0%80"),
    query("an offset before the first row", "GET /v1/datasets/$dataset/rows?offset=-1", "/offset", "got '-1'"),
    query("an offset of 70 bits", f"GET /v1/datasets/$dataset/rows?offset={2**70}", "/offset", "less than or equal"),
    query("a window of no rows", "GET /v1/datasets/$dataset/rows?limit=0", "/limit", "got '0'"),
    query("a page after what is not there", "GET /v1/datasets?after=ds_unknown", "/after", "ds_unknown"),
    BadInput(
        name="a dataset that a waiting job reads",
        call="DELETE /v1/datasets/$dataset_read",
        status=409,
        code="conflict",
        why="job_",
    ),
)


def publish(name: str, param: str | None, why: str, /, **fields: Any) -> BadInput:
    """Publish a policy as a trainer would, spoilt."""
    answer = {name: fields.pop(name) for name in ("status", "code") if name in fields}
    body = {"attempt": 1, "step": 1, "sha256": "0" * 64, **fields}
    return BadInput(name=name, call="POST /v1/jobs/$job_running/rollouts", body=body, param=param, why=why, **answer)


STATE: dict[str, Any] = {"status": 409, "code": "job_state"}

JOBS = (
    absent("a job that is not there", f"GET /v1/jobs/{NO_JOB}", "no job"),
    absent("a dataset's id where a job's is wanted", "GET /v1/jobs/$dataset/events", "no job"),
    absent("a job's id with a line feed at its end", "POST /v1/jobs/$job_ended%0A/cancel", "no job"),
    BadInput(name="to pause a job that has ended", call="POST /v1/jobs/$job_ended/pause", why="is cancelled", **STATE),
    BadInput(
        name="to resume a job that has ended", call="POST /v1/jobs/$job_ended/resume", why="is cancelled", **STATE
    ),
    query("a page of no jobs", "GET /v1/jobs?limit=0", "/limit", "got '0'"),
    query("a page of too many jobs", "GET /v1/jobs?limit=101", "/limit", "100"),
    query("a word for a page's size", "GET /v1/jobs?limit=ten", "/limit", "integer"),
    query("a status that there is not", "GET /v1/jobs?status=done", "/status", "'succeeded'"),
    query("a kind that is mistyped in a filter", "GET /v1/jobs?kind=warmpu", "/kind", "did you mean warmup?"),
    query("a kind of later work in a filter", "GET /v1/jobs?kind=distill", "/kind", "does not run distill", **NOT_YET),
    query("a page after an unknown job", "GET /v1/jobs?after=job_unknown", "/after", "job_unknown"),
    query("events after none", "GET /v1/jobs/$job_ended/events?after=-1", "/after", "got '-1'"),
    query("too many events", "GET /v1/jobs/$job_ended/events?limit=1001", "/limit", "1000"),
    query("a series of no points", "GET /v1/jobs/$job_ended/metrics?max_points=0", "/max_points", "got '0'"),
    query("a series after no step", "GET /v1/jobs/$job_ended/metrics?after_step=x", "/after_step", "integer"),
    query("a log of no bytes", "GET /v1/jobs/$job_ended/logs?max_bytes=0", "/max_bytes", "got '0'"),
    query("events after 70 bits", f"GET /v1/jobs/$job_ended/events?after={2**70}", "/after", "less than or equal"),
    publish("a policy of an attempt that is no number", "/attempt", "integer", attempt="one"),
    publish("a policy of hash null", "/sha256", "string", sha256=None),
    publish("a policy of attempt 0", "/attempt", "got 0", attempt=0),
    publish("a policy of a step before the first", "/step", "got -1", step=-1),
    publish("a policy without a hash", "/sha256", "match", sha256="X"),
    publish("a policy that was never written", None, "adapter_config.json", code="invalid_adapter"),
    publish("a policy of an attempt that is over", None, "attempt", attempt=2, status=409, code="stale_attempt"),
)


def register(
    name: str,
    param: str | None,
    why: str,
    /,
    *,
    target: str = "fresh",
    status: int = 422,
    code: str = "invalid_request",
    **fields: Any,
) -> BadInput:
    """Register a version, spoilt."""
    call = f"POST /v1/teachers/{target}/versions"
    return BadInput(name=name, call=call, body=fields, status=status, code=code, param=param, why=why)


IN_USE: dict[str, Any] = {"status": 409, "code": "version_in_use"}

VERSIONS = (
    register("no folder", "/folder", "missing"),
    register("an empty name of a folder", "/folder", "match", folder=""),
    register(
        "a folder that is not there", "/folder", "imports/nowhere", folder="nowhere", status=404, code="not_found"
    ),
    register("a folder that climbs", "/folder", "match", folder="../versions"),
    register("a folder that is dots", "/folder", "match", folder=".."),
    register("a folder from the root", "/folder", "match", folder="/etc"),
    register("a folder that holds nothing", None, "adapter", folder="empty", code="invalid_adapter"),
    register("a path beside the folder", "/path", "did you mean", folder="good", path="x", code="unknown_field"),
    register("a format that is not spoken", "/format", "speaks stratos@1", folder="good", format="r1@1"),
    register(
        "a parent that is not there",
        "/parent",
        "nobody",
        folder="good",
        parent="nobody@1",
        status=404,
        code="model_not_found",
    ),
    register("a parent without a number", "/parent", "match", folder="good", parent="nobody"),
    register("an alias for a version's name", "/name", "is an alias", target="default", folder="good"),
    register("the base's name for a version", "/name", "is a base", target="fake", folder="good"),
    register("a name in capitals", None, "no model", target="Fresh", folder="good", status=404, code="not_found"),
    register("a name of 64 characters", None, "no model", target="f" * 64, folder="good", status=404, code="not_found"),
    absent(
        "a name without versions", "GET /v1/teachers/nobody/versions", "nobody", code="model_not_found", param="/name"
    ),
    absent(
        "a number that no version has",
        "GET /v1/teachers/fake/versions/7",
        "fake@7",
        code="model_not_found",
        param="/version",
    ),
    absent("a number with a zero before it", "GET /v1/teachers/fake/versions/01/lineage", "no version number"),
    BadInput(
        name="to delete the base", call="DELETE /v1/teachers/fake/versions/0", status=409, code="conflict", why="base"
    ),
    BadInput(
        name="to delete what an alias points at",
        call="DELETE /v1/teachers/algebra/versions/2",
        why="points at it",
        **IN_USE,
    ),
    query("a page of too many versions", "GET /v1/teachers/fake/versions?limit=101", "/limit", "100"),
    query("a page after an unknown name", "GET /v1/students?after=nobody", "/after", "nobody"),
)


def move(
    name: str,
    param: str | None,
    why: str,
    /,
    *,
    alias: str = "teacher/main",
    status: int = 422,
    code: str = "invalid_request",
    **fields: Any,
) -> BadInput:
    """Move an alias, spoilt."""
    body = {"version": "algebra@1", "expected": "algebra@2", **fields}
    return BadInput(
        name=name, call=f"PUT /v1/aliases/{alias}", body=body, status=status, code=code, param=param, why=why
    )


def roll_back(
    name: str,
    param: str | None,
    why: str,
    /,
    *,
    alias: str = "teacher/main",
    status: int = 422,
    code: str = "invalid_request",
    **fields: Any,
) -> BadInput:
    """Roll an alias back, spoilt."""
    call = f"POST /v1/aliases/{alias}/rollback"
    return BadInput(name=name, call=call, body=fields, status=status, code=code, param=param, why=why)


MOVED: dict[str, Any] = {"status": 409, "code": "alias_moved"}
ABSENT: dict[str, Any] = {"status": 404, "code": "not_found"}
NO_VERSION: dict[str, Any] = {"status": 404, "code": "model_not_found"}

ALIASES = (
    move("a version that the alias should get and is not there", "/version", "nobody", version="nobody", **NO_VERSION),
    move("a number that was never given", "/version", "algebra@9", version="algebra@9", **NO_VERSION),
    move("a policy in training for an alias", "/version", "name a version", version=ROLLOUT),
    move("a version of another base for an alias", "/version", "of the base 'other'", version="$foreign"),
    move("an alias that should point at nothing", "/version", "is empty", version=""),
    move("a gate that there is not", "/gate", "'if_better' or 'none'", gate="always"),
    move("an evaluation that is not there", "/evaluation", "no evaluation", evaluation="eval_nothing", **ABSENT),
    move(
        "an evaluation of other versions",
        "/evaluation",
        "algebra",
        gate="if_better",
        evaluation="$unrelated",
        status=409,
        code="evaluation_required",
    ),
    move(
        "an evaluation that shows no gain",
        "/evaluation",
        "interval",
        gate="if_better",
        evaluation="$worse",
        status=409,
        code="not_better",
    ),
    move(
        "a gate with nothing to compare with",
        "/gate",
        "new",
        alias="teacher/fresh",
        expected=None,
        gate="if_better",
        status=409,
        code="evaluation_required",
    ),
    move("a reason of 501 characters", "/reason", "500", reason="r" * 501),
    move("an expectation that is mistyped", "/expect", "did you mean 'expected'?", expect=None, code="unknown_field"),
    move("an expectation that is out of date", "/expected", "algebra@2", expected="algebra@1", **MOVED),
    move("a new alias expected to point somewhere", "/expected", "fresh", alias="teacher/fresh", **MOVED),
    move("an alias that would hide versions", "/alias", "would hide them", alias="teacher/algebra", expected=None),
    move("an alias in capitals", None, "no alias", alias="teacher/X", **ABSENT),
    move("a version for an alias", None, "no alias", alias="teacher/a@1", **ABSENT),
    move("a role that there is not", None, "no role", alias="tutor/main", **ABSENT),
    roll_back(
        "to roll back what was never made", "/alias", "fresh", alias="teacher/fresh", expected="fake@0", **ABSENT
    ),
    roll_back("to roll back without an expectation", "/expected", "missing"),
    roll_back("to roll back with a wrong expectation", "/expected", "algebra@2", expected="fake@0", **MOVED),
    roll_back(
        "to roll back what never moved",
        "/to",
        "nothing but",
        alias="teacher/once",
        expected="algebra@1",
        status=409,
        code="conflict",
    ),
    roll_back("to roll back to what is not there", "/to", "nobody", expected="algebra@2", to="nobody@1", **NO_VERSION),
    roll_back("to roll back to a policy in training", "/to", "name a version", expected="algebra@2", to=ROLLOUT),
    move("an alias that would hide the base", "/alias", "would hide them", alias="teacher/fake", expected=None),
    move("a version that climbs", "/version", "no teacher", version="../algebra", **NO_VERSION),
    move("a move to nowhere", "/version", "string", version=None),
    move("an alias with a line feed at its end", None, "no alias", alias="teacher/main%0A", **ABSENT),
    move("a role with a line feed at its end", None, "no role", alias="teacher%0A/main", **ABSENT),
    move("an empty expectation", "/expected", "algebra@2", expected="", **MOVED),
    roll_back("to roll back an alias in capitals", None, "no alias", alias="teacher/MAIN", expected="fake@0", **ABSENT),
    roll_back("to roll back what is expected to be nothing", "/expected", "string", expected=None),
    roll_back("to roll back to an empty name", "/to", "no teacher", expected="algebra@2", to="", **NO_VERSION),
    query("a page of no moves", "GET /v1/aliases/teacher/main/history?limit=0", "/limit", "got '0'"),
    query(
        "a page of a history after 30 digits", f"GET /v1/aliases/teacher/main/history?after={10**30}", "/after", "match"
    ),
    absent("a history of a role that there is not", "GET /v1/aliases/tutor/main/history", "no role"),
    absent("a history that is not there", "GET /v1/aliases/teacher/fresh/history", "fresh", param="/alias"),
    query("a page of a history after a word", "GET /v1/aliases/teacher/main/history?after=x", "/after", "match"),
)


def shadow(
    name: str,
    param: str | None,
    why: str,
    /,
    *,
    alias: str = "teacher/main",
    status: int = 422,
    code: str = "invalid_request",
    **fields: Any,
) -> BadInput:
    """Begin a shadow, spoilt."""
    call = f"PUT /v1/aliases/{alias}/shadow"
    return BadInput(
        name=name, call=call, body={"version": "algebra@1", **fields}, status=status, code=code, param=param, why=why
    )


SHADOWS = (
    shadow("a shadow of a student's alias", "/role", "teacher", alias="student/default"),
    shadow("a shadow of no alias", "/alias", "nobody", alias="teacher/nobody", **ABSENT),
    shadow("a shadow that serves already", "/version", "algebra@2", version="algebra@2", status=409, code="conflict"),
    shadow("a shadow that is not there", "/version", "algebra@9", version="algebra@9", **NO_VERSION),
    shadow("a share of no traffic", "/share", "greater than 0", share=0),
    shadow("a share of more than all traffic", "/share", "less than or equal to 1", share=1.01),
    shadow("a shadow that may have nothing in flight", "/max_in_flight", "1", max_in_flight=0),
    shadow("a shadow that nobody judges", "/student", "nobody", student="nobody", **NO_VERSION),
    absent("to end a shadow that there is not", "DELETE /v1/aliases/teacher/main/shadow", "main", param="/alias"),
    absent(
        "to evaluate a shadow that there is not",
        "POST /v1/aliases/teacher/main/shadow/evaluation",
        "main",
        param="/alias",
    ),
)

OTHERS = (
    absent(
        "an evaluation's rows that are not there",
        f"GET /v1/evaluations/{NO_EVALUATION}/rows",
        "no evaluation",
        param="/evaluation",
    ),
    absent("a dataset's id where an evaluation's is wanted", "GET /v1/evaluations/$dataset", "no evaluation"),
    query("a window of too many rows", "GET /v1/evaluations/$worse/rows?limit=1001", "/limit", "1000"),
    absent("a format that is not there", "GET /v1/formats/stratos@9", "this server has"),
    absent("a format without a version", "GET /v1/formats/stratos", "no format"),
)

CONTROL = {
    "Training": (*TRAINING, *MORE_TRAINING),
    "Datasets": DATASETS,
    "Jobs": JOBS,
    "Versions": VERSIONS,
    "Aliases": ALIASES,
    "Shadows": SHADOWS,
    "Evaluations and formats": OTHERS,
}
