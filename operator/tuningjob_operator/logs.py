"""One JSON object per line, with the TuningJob's name on each line that is about one."""

import datetime as dt
import json
import logging
from contextvars import ContextVar
from typing import Any, Final

# Set by the worker around a pass; a context variable, so that the functions called inside need not pass it on.
current_tuningjob: Final[ContextVar[str | None]] = ContextVar("current_tuningjob", default=None)

_STANDARD: Final = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}
# what kopf and uvicorn put on their records, for their own formatters
_FOREIGN: Final = frozenset({"settings", "k8s_skip", "k8s_ref", "color_message"})


class JsonFormatter(logging.Formatter):
    """Formats a record and its extras as JSON."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as one line of JSON."""
        line: dict[str, Any] = {
            "time": dt.datetime.fromtimestamp(record.created, tz=dt.UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        about = current_tuningjob.get() or _kopfs_object(record)
        if about is not None:
            line["tuningjob"] = about
        extras = vars(record).keys() - _STANDARD - _FOREIGN
        line |= {name: getattr(record, name) for name in sorted(extras)}
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str, ensure_ascii=False)


def _kopfs_object(record: logging.LogRecord) -> str | None:
    reference = getattr(record, "k8s_ref", None)
    return f"{reference.get('namespace')}/{reference.get('name')}" if reference else None


LEVELS: Final = ("debug", "info", "warning", "error")
OURS: Final = ("tuningjob", "tuningjob_operator")
# kopf says "succeeded" for each event of each object, and with aiohttp for each probe; alembic names its plugins at each start
CHATTERERS: Final = ("kopf.objects", "kopf.activities", "aiohttp.access", "alembic.runtime.plugins")


def configure() -> None:
    """Send everything to stderr, as JSON."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(handlers=[handler], force=True)
    set_level("info")


def set_level(name: str) -> None:
    """Log from this level on, one of LEVELS.

    ``debug`` is for our own loggers only: those of a bucket's or a database's client log what they send, with credentials.
    """
    level = logging.getLevelNamesMapping()[name.upper()]
    logging.getLogger().setLevel(max(level, logging.INFO))
    for ours in OURS:
        logging.getLogger(ours).setLevel(level)
    for chatterer in CHATTERERS:
        logging.getLogger(chatterer).setLevel(max(level, logging.WARNING))
