"""`client.projects`: tenants of a server, what each may use, their keys, who did what. For keys with `admin`."""

from rlt_client._calls import Call, get, path_of, write
from rlt_client._methods import Awaiting, Blocking, call
from rlt_core.schemas.base import Page
from rlt_core.schemas.projects import AuditEntry, KeyCard, Project, Quotas


class ProjectCalls:
    """Projects by their names; their keys are made on the server's machine (`rlt keys create --project`)."""

    @call
    def list(self) -> Call[Page[Project]]:
        """List every project, by name, with what it may use and has used."""
        return get(path_of("projects"), into=Page[Project])

    @call
    def get(self, name: str) -> Call[Project]:
        """Read what a project may use and has used."""
        return get(path_of("projects", name), into=Project)

    @call
    def create(self, name: str, quotas: Quotas | None = None) -> Call[Project]:
        """Make a project; raises ConflictError where there is one of that name."""
        body = {"name": name, "quotas": (quotas or Quotas()).model_dump(mode="json")}
        return write("POST", path_of("projects"), into=Project, body=body)

    @call
    def set_quotas(self, name: str, quotas: Quotas) -> Call[Project]:
        """Put these quotas in place of a project's; None has no limit."""
        body = quotas.model_dump(mode="json")
        return write("PUT", path_of("projects", name, "quotas"), into=Project, body=body)

    @call
    def keys(self) -> Call[Page[KeyCard]]:
        """List the keys of people and programs, without secrets."""
        return get(path_of("keys"), into=Page[KeyCard])

    @call
    def revoke_key(self, key_id: str) -> Call[KeyCard]:
        """End a key for good; repeatable."""
        return write("DELETE", path_of("keys", key_id), into=KeyCard)

    @call
    def audit(
        self, *, limit: int = 100, after: str | None = None, key: str | None = None, project: str | None = None
    ) -> Call[Page[AuditEntry]]:
        """List who did what and when, the newest first: of a key by its id, of a project by its name."""
        params = {"limit": limit, "after": after, "key": key, "project": project}
        return get(path_of("audit"), into=Page[AuditEntry], params=params)


class Projects(ProjectCalls, Blocking):
    """Projects by their names; their keys are made on the server's machine (`rlt keys create --project`)."""


class AsyncProjects(ProjectCalls, Awaiting):
    """Projects, awaited."""
