"""Logs of the program itself: structured, on standard error, without secrets, ours and the libraries' alike.

Every line goes through the standard library's root logger, so that aiohttp, alembic and asyncio look like us. On a
terminal lines are text, elsewhere one JSON object each; an exception's traceback is a member of it, not more lines.
"""

import logging
import re
import sys
from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any

import structlog
from structlog.typing import Processor

from router.observe.output import Output
from router.observe.secrets import MASK, is_secret, mask_text
from router.settings import Settings

_DEEPEST = 6  # levels of nested values that are searched; below, the text form is
_CONTROLS = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
_CONTROLS_BUT_LINES = re.compile(_CONTROLS.pattern.replace(r"\x00-\x1f", r"\x00-\x08\x0b-\x1f"))
_BASE: list[int] = []  # the level of `configure`
_OTHERS: list[str] = []  # modules that have one of their own
_SEVERAL_LINES = ("exception", "stack")  # what may have several lines in the text form


def configure(settings: Settings, worker: int | None = None) -> None:
    """Set up logging for this process; a later call replaces what an earlier one did.

    `worker` is put on every line where there are several processes.
    """
    level = logging.getLevelNamesMapping()[settings.log_level.upper()]
    terminal = sys.stderr.isatty()
    as_text = settings.log_format == "text" or (settings.log_format == "auto" and terminal)
    before: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        _Worker(worker),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        mask_secrets,
    ]
    render: list[Processor] = [structlog.stdlib.ProcessorFormatter.remove_processors_meta]
    if as_text:
        plain = structlog.dev.plain_traceback
        console = structlog.dev.ConsoleRenderer(colors=terminal, timestamp_key="ts", exception_formatter=plain)
        render += [escape_controls, _short_time, console]
    else:
        render += [structlog.processors.JSONRenderer()]
    handler = _handler(settings.log_buffer)
    handler.setFormatter(structlog.stdlib.ProcessorFormatter(foreign_pre_chain=before, processors=render))
    root = logging.getLogger()
    for before_it in root.handlers:
        before_it.flush()
    root.handlers[:] = [handler]
    root.setLevel(level)
    _BASE.clear()
    _BASE.append(level)
    logging.captureWarnings(True)
    structlog.configure(
        processors=[*before, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        # Modules keep their loggers from before this call; caching would keep their old configuration too.
        cache_logger_on_first_use=False,
    )
    set_levels({})


def set_levels(levels: Mapping[str, str]) -> None:
    """Let these modules log from other levels on than `configure` says, and all others as it says."""
    level = _BASE[-1] if _BASE else logging.INFO
    numbers = logging.getLevelNamesMapping()
    for name in _OTHERS:
        logging.getLogger(name).setLevel(logging.NOTSET)
    _OTHERS[:] = levels
    # The store says what it migrated.
    wanted = {"alembic": max(level, logging.WARNING)} | {name: numbers[one.upper()] for name, one in levels.items()}
    for name, number in wanted.items():
        logging.getLogger(name).setLevel(number)
    # Ours are dropped before they are put together where all have one level; else each by its module's.
    before = [one for one in structlog.get_config()["processors"] if one is not structlog.stdlib.filter_by_level]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *before] if levels else before,
        wrapper_class=structlog.make_filtering_bound_logger(min([level, *wanted.values()] if levels else [level])),
    )


def take_lost() -> int:
    """How many lines of this process have been lost since this was last asked."""
    return sum(handler.take_lost() for handler in logging.getLogger().handlers if isinstance(handler, LineHandler))


def _handler(waiting: int) -> logging.Handler:
    try:
        return LineHandler(Output(sys.stderr.fileno(), waiting=waiting))
    except (OSError, ValueError):  # it is no descriptor, or none that is open
        return logging.StreamHandler(sys.stderr)


class LineHandler(logging.Handler):
    """Writes to an output, which never waits. Lines that are lost are counted in a line of their own afterwards."""

    def __init__(self, output: Output) -> None:
        super().__init__()
        self._output = output
        output.on_flow(self._confess)

    def emit(self, record: logging.LogRecord) -> None:
        """See logging.Handler."""
        try:
            self._output.write(self._line(record))
        except Exception:  # noqa: BLE001 - a record that can't be formatted must not stop who logs it
            self.handleError(record)

    def flush(self) -> None:
        """Wait until it is written, for a moment."""
        self._output.flush()

    def take_lost(self) -> int:
        """See `Output`."""
        return self._output.take_lost()

    def _line(self, record: logging.LogRecord) -> bytes:
        return f"{self.format(record)}\n".encode("utf-8", "backslashreplace")

    def _confess(self, lost: int) -> bytes:
        said = "%d log lines were lost"
        return self._line(logging.LogRecord("router.observe", logging.WARNING, __file__, 0, said, (lost,), None))


def _short_time(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """The time as access lines have it in their text form: `10:00:00.123`, UTC."""
    event["ts"] = event["ts"][11:23].removesuffix("Z")
    return event


class _Worker:
    def __init__(self, worker: int | None) -> None:
        self._worker = worker

    def __call__(self, _logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        if self._worker is not None:
            event["worker"] = self._worker
        return event


def mask_secrets(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask values under names such as `api_key` or `cookie`, and what looks like a secret inside any other text."""
    for name, value in event.items():
        if not name.startswith("_"):  # structlog's own
            event[name] = _mask(name, value, 0)
    return event


def _mask(name: str, value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if is_secret(name):
        return MASK
    if isinstance(value, int | float):
        return value
    if isinstance(value, str):
        return mask_text(value)
    if depth < _DEEPEST:
        if isinstance(value, Mapping):
            return {str(key): _mask(str(key), inner, depth + 1) for key, inner in value.items()}
        if isinstance(value, Sequence | set | frozenset) and not isinstance(value, bytes | bytearray):
            return [_mask("", inner, depth + 1) for inner in value]
    return mask_text(str(value))


def escape_controls(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape what could forge a line or drive a terminal, in texts that strangers may have chosen. JSON does it itself."""
    for name, value in event.items():
        if isinstance(value, str):
            controls = _CONTROLS_BUT_LINES if name in _SEVERAL_LINES else _CONTROLS
            event[name] = controls.sub(lambda match: match[0].encode("unicode_escape").decode("ascii"), value)
    return event
