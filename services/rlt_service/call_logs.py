"""Own what the log says of each call: caller, method, path, status. Not the query, in which texts of users stand."""

import logging

ACCESS_LOGGER = "uvicorn.access"


class WithoutQuery(logging.Filter):
    """Cuts the query off the path of uvicorn's access log."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Change the record, and let it through."""
        match record.args:
            case (caller, method, str(path), *rest):
                record.args = (caller, method, path.partition("?")[0], *rest)
            case _:
                pass
        return True


def keep_queries_out() -> None:
    """See to it, once, that no query is logged; repeatable."""
    logger = logging.getLogger(ACCESS_LOGGER)
    if not any(isinstance(found, WithoutQuery) for found in logger.filters):
        logger.addFilter(WithoutQuery())
