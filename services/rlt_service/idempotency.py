"""Own what happens to an `Idempotency-Key`: none is honoured yet, so calls that do something refuse it."""

from typing import Annotated

from fastapi import Depends, Header

from rlt_core.errors import NotAvailableYetError


def refuse_idempotency_key(
    key: Annotated[str | None, Header(alias="Idempotency-Key", description="Not available yet.")] = None,
) -> None:
    """Raise NotAvailableYetError rather than leave a caller in the belief that a second call is harmless."""
    if key is not None:
        raise NotAvailableYetError(
            "Idempotency-Key is not available yet: send the call without it, and look at what is there before sending "
            "it again",
            param="/Idempotency-Key",
        )


NotTwice = Depends(refuse_idempotency_key)
