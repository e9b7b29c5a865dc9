"""Own how stored documents are read: releases one apart write and read the same rows (docs/upgrading.md)."""

from typing import TypeVar

from pydantic import BaseModel

ModelT = TypeVar("ModelT", bound=BaseModel)


def read_document(into: type[ModelT], document: object) -> ModelT:
    """Read what this release or the next one has stored: fields that are not known here yet are left out.

    Raises ValidationError for anything else that does not fit. Specs are not read so: to leave a wish out would be to
    do something else (`SPEC_VERSION`).
    """
    return into.model_validate(document, extra="ignore")
