"""Own batches: every item is read, answered and refused for itself, and all are at work at the same time."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from pydantic import BaseModel, ValidationError

from rlt_core.errors import RltError
from rlt_core.schemas.server import BatchItemError
from rlt_service.problems import problem_of, unexpected
from rlt_service.validation import invalid_request

LOGGER = logging.getLogger(__name__)

RequestT = TypeVar("RequestT", bound=BaseModel)
AnswerT = TypeVar("AnswerT")


async def answer_items(
    items: Sequence[object],
    *,
    model: type[RequestT],
    answer: Callable[[RequestT], Awaitable[AnswerT]],
    request_id: str,
) -> list[AnswerT | BatchItemError]:
    """Answer every item in its place; a failed one is a BatchItemError, its `param` points into the item."""

    async def one(index: int, item: object) -> AnswerT | BatchItemError:
        try:
            # In a thread: hundreds of items in one turn of the event loop would hold every other caller up.
            return await answer(await asyncio.to_thread(read_item, item, model=model))
        except RltError as error:
            found = error
        except Exception:  # an item's boundary: what breaks one of ours must not take the others along
            LOGGER.exception("request %s, item %d broke", request_id, index)
            found = unexpected(request_id=request_id)
        return BatchItemError(index=index, problem=problem_of(found, request_id=request_id))

    return list(await asyncio.gather(*[one(index, item) for index, item in enumerate(items)]))


def read_item(item: object, *, model: type[RequestT]) -> RequestT:
    """Validate one item; raises InvalidRequestError as its own call would."""
    try:
        return model.model_validate(item)
    except ValidationError as error:
        raise invalid_request(error.errors(include_url=False), body=item, model=model) from error
