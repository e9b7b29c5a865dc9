"""Own which answer leads to which calls: OpenAPI links, by which a reader (or a fuzzer) goes on from what it made."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Lead:
    """From the answer of one call to the calls that take what it holds as their parameters."""

    source: tuple[str, str, str]
    """Method, path, status."""
    parameters: dict[str, str]
    """Parameter by runtime expression (OpenAPI 3.1, section 4.7.20.4)."""
    targets: tuple[tuple[str, str], ...]
    """Method and path each."""


_JOB = "/v1/jobs/{job_id}"
_DATASET = "/v1/datasets/{dataset_id}"
_EVALUATION = "/v1/evaluations/{evaluation_id}"
_ALIAS = "/v1/aliases/{role}/{alias}"
_OF_ALIAS = {"role": "$request.path.role", "alias": "$request.path.alias"}


def _of_version(role: str) -> Lead:
    version = f"/v1/{role}s/{{name}}/versions/{{number}}"
    return Lead(
        source=("post", f"/v1/{role}s/{{name}}/versions", "201"),
        parameters={"name": "$response.body#/name", "number": "$response.body#/number"},
        targets=(("get", version), ("get", f"{version}/lineage"), ("delete", version)),
    )


LEADS = (
    Lead(
        source=("post", "/v1/train", "202"),
        parameters={"job_id": "$response.body#/id"},
        targets=(
            ("get", _JOB),
            ("get", f"{_JOB}/events"),
            ("get", f"{_JOB}/metrics"),
            ("get", f"{_JOB}/logs"),
            ("get", f"{_JOB}/checkpoints"),
            ("post", f"{_JOB}/pause"),
            ("post", f"{_JOB}/resume"),
            ("post", f"{_JOB}/cancel"),
        ),
    ),
    Lead(
        source=("post", "/v1/datasets", "201"),
        parameters={"dataset_id": "$response.body#/id"},
        targets=(("get", _DATASET), ("get", f"{_DATASET}/rows"), ("delete", _DATASET)),
    ),
    Lead(
        source=("post", "/v1/projects", "201"),
        parameters={"project": "$response.body#/name"},
        targets=(("get", "/v1/projects/{project}"), ("put", "/v1/projects/{project}/quotas")),
    ),
    _of_version("teacher"),
    _of_version("student"),
    Lead(
        source=("put", _ALIAS, "200"),
        parameters=_OF_ALIAS,
        targets=(("get", f"{_ALIAS}/history"), ("post", f"{_ALIAS}/rollback"), ("put", f"{_ALIAS}/shadow")),
    ),
    Lead(
        source=("put", f"{_ALIAS}/shadow", "200"),
        parameters=_OF_ALIAS,
        targets=(
            ("get", f"{_ALIAS}/shadow"),
            ("post", f"{_ALIAS}/shadow/evaluation"),
            ("delete", f"{_ALIAS}/shadow"),
        ),
    ),
    Lead(
        source=("post", f"{_ALIAS}/shadow/evaluation", "201"),
        parameters={"evaluation_id": "$response.body#/id"},
        targets=(("get", _EVALUATION), ("get", f"{_EVALUATION}/rows")),
    ),
)


def add_links(paths: dict[str, Any]) -> None:
    """Write the leads into an OpenAPI file's paths; a process that lacks a role has neither source nor target."""
    for lead in LEADS:
        method, path, status = lead.source
        if path not in paths:
            continue
        links = paths[path][method]["responses"][status].setdefault("links", {})
        for to_method, to_path in lead.targets:
            operation = paths[to_path][to_method]
            links[operation["operationId"]] = {
                "operationId": operation["operationId"],
                "parameters": dict(lead.parameters),
                "description": operation["summary"],
            }
