"""The rows of the table of bad inputs that projects, keys and the audit log refuse."""

from typing import Any

from tests.support.bad_input import BadInput
from tests.support.bad_input_kinds import absent, query


def quotas(name: str, param: str, why: str, /, *, code: str = "invalid_request", **fields: Any) -> BadInput:
    """Bound a project, spoilt."""
    return BadInput(name=name, call="PUT /v1/projects/nobody/quotas", body=fields, code=code, param=param, why=why)


PROJECTS = (
    absent("a project that is not there", "GET /v1/projects/nobody", "no project 'nobody'", param="/project"),
    BadInput(
        name="a project's name in capitals",
        call="POST /v1/projects",
        body={"name": "Algebra"},
        param="/name",
        why="match",
    ),
    quotas("a quota below none", "/disk_bytes", "got -1", disk_bytes=-1),
    quotas("a quota as text", "/jobs_at_once", "integer", jobs_at_once="2"),
    quotas("a quota that is mistyped", "/token_per_day", "did you mean", token_per_day=1, code="unknown_field"),
    absent("a key to end that is not there", f"DELETE /v1/keys/{'0' * 12}", "no key '000000000000'"),
    absent("a key's secret for its id", "DELETE /v1/keys/rlt_secret", "no key"),
    query("an audit log of no entries", "GET /v1/audit?limit=0", "/limit", "got '0'"),
    query("entries after a word", "GET /v1/audit?after=x", "/after", "match"),
    absent(
        "the audit log of a project that is not there",
        "GET /v1/audit?project=nobody",
        "no project 'nobody'",
        param="/project",
    ),
)
