"""/v1/projects, /v1/keys, /v1/audit: who uses this server, what each may, and who did what. For admin alone.

Keys are made on the server's machine (`rlt keys`): a secret travels through no answer. They are ended here too.
"""

from typing import Annotated

from fastapi import APIRouter, Query, Response

from rlt_core.schemas.base import Page
from rlt_core.schemas.projects import AuditEntry, KeyCard, Project, ProjectPost, Quotas
from rlt_service.access.key_cards import card_of
from rlt_service.access.scopes import Needs
from rlt_service.container import ServicesDep
from rlt_service.control.routes.parameters import KeyId, ProjectName
from rlt_service.idempotency import Once
from rlt_service.json_bodies import JsonRoute
from rlt_service.openapi import LOCATION, refusals
from rlt_service.store.keys import KeyStore
from rlt_service.store.projects import ProjectStore

router = APIRouter(prefix="/v1", tags=["access"], route_class=JsonRoute, dependencies=[Needs("admin")])
EntryLimit = Annotated[int, Query(ge=1, le=1000, description="Most entries of the answer.")]
AfterEntry = Annotated[str | None, Query(pattern=r"^[0-9]{1,18}$", description="The `last_id` of the page before.")]
OfKey = Annotated[str | None, Query(max_length=16, description="Of this key alone, by its id.")]
OfProject = Annotated[str | None, Query(max_length=63, description="Of this project's keys alone, by its name.")]


@router.get("/projects")
def list_projects(services: ServicesDep) -> Page[Project]:
    """List every project, by name, with what it may use and has used."""
    return Page[Project](data=list(ProjectStore(services.database).list()))


@router.post("/projects", status_code=201, dependencies=[Once], responses={201: {"headers": LOCATION}, **refusals(409)})
def create_project(request: ProjectPost, services: ServicesDep, response: Response) -> Project:
    """Make a project; keys are made for it with `rlt keys create --project`."""
    made = ProjectStore(services.database).create(request.name, request.quotas)
    response.headers["Location"] = f"/v1/projects/{made.name}"
    return made


@router.get("/projects/{project}")
def get_project(project: ProjectName, services: ServicesDep) -> Project:
    """Read what a project may use and has used."""
    return ProjectStore(services.database).get(project)


@router.put("/projects/{project}/quotas", dependencies=[Once])
def put_quotas(project: ProjectName, request: Quotas, services: ServicesDep) -> Project:
    """Put these quotas in place of a project's; what is left out has no limit."""
    return ProjectStore(services.database).bound(project, request)


@router.get("/keys")
def list_keys(services: ServicesDep) -> Page[KeyCard]:
    """List the keys of people and programs, the oldest first, without secrets."""
    names = ProjectStore(services.database).names()
    return Page[KeyCard](data=[card_of(key, names) for key in KeyStore(services.database).list()])


@router.delete("/keys/{key_id}", dependencies=[Once])
def revoke_key(key_id: KeyId, services: ServicesDep) -> KeyCard:
    """End a key for good, within 2 s in every process; repeatable."""
    return card_of(KeyStore(services.database).revoke(key_id), ProjectStore(services.database).names())


@router.get("/audit", responses=refusals(404))
def list_audit(
    services: ServicesDep,
    limit: EntryLimit = 100,
    after: AfterEntry = None,
    key: OfKey = None,
    project: OfProject = None,
) -> Page[AuditEntry]:
    """List who did what and when, the newest first."""
    of_project = None if project is None else ProjectStore(services.database).get(project).id
    return services.audit.list(limit=limit, after=after, key=key, project=of_project)
