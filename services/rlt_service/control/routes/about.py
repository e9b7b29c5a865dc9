"""What the server says of itself: models, formats, capabilities."""

from fastapi import APIRouter

from rlt_core.schemas.server import Capabilities, FormatInfo, FormatList
from rlt_core.schemas.teachers import ModelList
from rlt_service.access.scopes import Needs
from rlt_service.container import ServicesDep
from rlt_service.control import about
from rlt_service.control.routes.parameters import FormatId
from rlt_service.control.routes.wiring import running_engines

router = APIRouter(prefix="/v1", tags=["about"], dependencies=[Needs("any")])


@router.get("/models")
def list_models(services: ServicesDep) -> ModelList:
    """List every name that can be called, in OpenAI's form."""
    return ModelList(data=services.registry.callable_models())


@router.get("/formats")
def list_formats() -> FormatList:
    """List the formats that this server speaks."""
    return about.formats()


@router.get("/formats/{format_id}")
def get_format(format_id: FormatId) -> FormatInfo:
    """Read a format's tags and instructions."""
    return about.format_info(format_id)


@router.get("/capabilities")
def capabilities(services: ServicesDep) -> Capabilities:
    """Read limits, lengths, engine, models, and the kinds of job that this server runs."""
    models = [card.id for card in services.registry.callable_models()]
    return about.capabilities(
        services.settings, engines=running_engines(services), base_model=services.base_models[0], models=models
    )
