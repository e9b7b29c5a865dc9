"""Paths of the contract that come with later work: they say so, instead of being unknown."""

from fastapi import APIRouter

from rlt_core.errors import NotImplementedYetError

router = APIRouter(include_in_schema=False)


@router.get("/docs", response_model=None)
async def docs() -> None:
    """Refuse: the framework's page loads its scripts from a CDN, and a local one is not there yet."""
    raise NotImplementedYetError("/docs is not available yet: read the contract at /openapi.json")
