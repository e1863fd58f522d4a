"""Structured logs. Secrets never reach them: nothing logs a body, a header or an address with a query."""

import logging

import structlog


def configure(json: bool, level: int = logging.INFO) -> None:
    """JSON lines for machines, aligned colours for people."""
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info if json else structlog.dev.set_exc_info,
            # Its prettier traceback shows local variables, of which some are secret, and takes many seconds.
            structlog.processors.JSONRenderer()
            if json
            else structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=True,
    )
    logging.basicConfig(level=logging.WARNING, format="%(message)s")
