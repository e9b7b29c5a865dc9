"""The rows of the table of bad inputs that the control service refuses: jobs, versions, aliases, and what they use."""

from typing import Any

from tests.service.bad_inputs_datasets import DATASETS
from tests.service.bad_inputs_pipelines import PIPELINES
from tests.service.bad_inputs_projects import PROJECTS
from tests.service.bad_inputs_training import TRAINING
from tests.support.bad_input import BadInput
from tests.support.bad_input_kinds import NO_EVALUATION, NO_JOB, ROLLOUT, absent, query


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
    absent(
        "the versions of a student that is not there",
        "GET /v1/students/nobody/versions",
        "no student 'nobody'",
        code="model_not_found",
        param="/name",
    ),
    absent(
        "a version of a student that is not there",
        "GET /v1/students/nobody/versions/3",
        "no student 'nobody@3'",
        code="model_not_found",
        param="/version",
    ),
    absent(
        "the lineage of a student that is not there",
        "GET /v1/students/nobody/versions/3/lineage",
        "no student 'nobody@3'",
        code="model_not_found",
        param="/version",
    ),
    absent(
        "the end of a student that is not there",
        "DELETE /v1/students/nobody/versions/3",
        "no student 'nobody@3'",
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
    absent("a history of an alias in capitals", "GET /v1/aliases/teacher/MAIN/history", "no alias"),
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
    "Training": TRAINING,
    "Pipelines": PIPELINES,
    "Datasets": DATASETS,
    "Jobs": JOBS,
    "Versions": VERSIONS,
    "Aliases": ALIASES,
    "Shadows": SHADOWS,
    "Evaluations and formats": OTHERS,
    "Projects, keys and the audit log": PROJECTS,
}
