"""What request and response models are made of: base classes and field types that carry the API's conventions.

A request body is strict (`"5"` is not 5). What creates something forgives unknown fields, since clients send there what
other services of the platform read; a change (`Exact`) refuses them, so that no caller takes for done
what was ignored. A query arrives as text, so its numbers and flags are read from text, as strictly. Field types put the limits where SQL and JSON agree with each other: a number
that fits a 32-bit column, a text without NUL (PostgreSQL stores none).
"""

import enum
import re
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    StringConstraints,
    WithJsonSchema,
)

from router.api.messages import BLANK
from router.base.clock import iso
from router.base.paging import Window
from router.hostname import MAX_NAME, MAX_SLUG, RESERVED_SLUGS

E = TypeVar("E", bound=enum.Enum)

MAX_INTEGER = 2**31 - 1
PAGE_SIZE = 20
MAX_PAGE_SIZE = 100

UUID = re.compile(r"[0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}")

_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?([Zz]|[+-][0-9]{2}:[0-9]{2})"
)
PORT_NAME = r"^([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])$"
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,79}")
_DIGITS = re.compile(r"-?[0-9]{1,4000}")  # int() takes no more than 4300
# What `str.strip` takes for blank, written out: `\s` is another set in each dialect of patterns.
_BLANKS = r"\t-\r\u001c- \u0085\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
NOT_BLANK = {"pattern": rf"^[^\u0000]*[^{_BLANKS}\u0000][^\u0000]*$"}


# `defer_build`: validators and serializers are made when a model is first used. Those of all 200 would be a sixth of a start, and a
# node uses few of them.
class Body(BaseModel):
    """A request's JSON object."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True, defer_build=True)

    def given(self) -> dict[str, Any]:
        """The fields that the request named, null included: what a PATCH changes."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class Exact(Body):
    """A request's JSON object in which every field must be one that we know: every PATCH, and every PUT of customers."""

    model_config = ConfigDict(extra="forbid")


class Query(BaseModel):
    """A request's query parameters."""

    model_config = ConfigDict(extra="ignore", frozen=True, defer_build=True)


class Out(BaseModel):
    """What a response shows. Reads its values from the attributes of a record: `Workspace.model_validate(record)`."""

    model_config = ConfigDict(frozen=True, from_attributes=True, defer_build=True)


class Deleted(Out):
    """That it is gone, where a page shows nothing else."""

    deleted: bool


def read_number(value: object) -> object:
    """A number in a query: decimal digits, as pydantic's own reading would allow `1_000`, `1.0` and blanks."""
    if isinstance(value, str):
        if _DIGITS.fullmatch(value) is None:
            raise ValueError("is invalid")
        return int(value)
    return value


def at_most_100(value: object) -> object:
    number = read_number(value)
    return min(number, MAX_PAGE_SIZE) if isinstance(number, int) else number


def _flag(value: object) -> object:
    if isinstance(value, str):
        if value not in {"true", "false"}:
            raise ValueError("is invalid")
        return value == "true"
    return value


def _id(value: str) -> str:
    if UUID.fullmatch(value) is None:
        raise ValueError("must be a UUID")
    return value.lower()


def stripped(value: str) -> str:
    """Without the blanks around it. They do count towards the longest that is taken: a schema can't leave them out."""
    value = value.strip()
    if not value:
        raise ValueError(BLANK)
    return value


def _slug(value: str) -> str:
    if _SLUG.fullmatch(value) is None:
        raise ValueError("must start with alphanumeric and contain only a-z 0-9 -")
    return value


Id = Annotated[str, AfterValidator(_id), Field(json_schema_extra={"format": "uuid", "pattern": f"^{UUID.pattern}$"})]
# A member of an enumeration, as `Choice[State]`. JSON has texts only, which a strict model would not take for one.
Choice = Annotated[E, Field(strict=False)]
Integer = Annotated[int, Field(ge=0, le=MAX_INTEGER)]
Port = Annotated[int, Field(ge=1, le=65535)]
Name = Annotated[
    str, StringConstraints(min_length=1, max_length=120), AfterValidator(stripped), Field(json_schema_extra=NOT_BLANK)
]
Text = Annotated[str, StringConstraints(max_length=10_000)]
Description = Annotated[str, StringConstraints(max_length=2000)]
Slug = Annotated[str, AfterValidator(_slug), Field(json_schema_extra={"pattern": f"^{_SLUG.pattern}$"})]
# A slug that stands in a host. Whether it is free is checked by the service.
HostSlug = Annotated[
    str,
    Field(
        max_length=MAX_SLUG,
        description=f"A part of its hosts: up to {MAX_SLUG} of a-z, 0-9 and hyphens; unique on the platform.",
        json_schema_extra={
            "pattern": rf"^(?!({'|'.join(sorted(RESERVED_SLUGS))})$)(?![0-9]+-)(?!..--)"
            rf"[a-z0-9]([a-z0-9-]{{0,{MAX_SLUG - 2}}}[a-z0-9])?$"
        },
    ),
]
ExternalId = Annotated[
    str, StringConstraints(min_length=1, max_length=255), AfterValidator(stripped), Field(json_schema_extra=NOT_BLANK)
]
# Either form of an internationalized name; everything else about a name is checked by the service.
HostName = Annotated[str, Field(json_schema_extra={"format": "idn-hostname", "maxLength": MAX_NAME})]
Metadata = dict[str, Any]
MAX_TAGS = 50
MAX_TAG = 64
Tag = Annotated[str, StringConstraints(min_length=1, max_length=MAX_TAG, pattern=r"^[^,\x00]*$")]  # lists are a,b
Tags = Annotated[list[Tag], Field(max_length=MAX_TAGS)]
PortName = Annotated[str, StringConstraints(pattern=PORT_NAME)]  # a port as a key of a JSON object
PortMap = Annotated[
    dict[PortName, Port],
    WithJsonSchema(
        {
            "type": "object",
            "propertyNames": {"pattern": PORT_NAME},
            "additionalProperties": {"type": "integer", "minimum": 1, "maximum": 65535},
        }
    ),
]
Flag = Annotated[bool, BeforeValidator(_flag)]
Number = Annotated[int, Field(ge=0, le=MAX_INTEGER), BeforeValidator(read_number)]


def moment(value: object) -> object:
    """A time in a request: RFC 3339 with its offset, as pydantic's own reading would allow bare numbers and dates."""
    if isinstance(value, str):
        if _TIME.fullmatch(value) is None:
            raise ValueError("is invalid")
        try:
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
        except (ValueError, OverflowError):  # the 30th of February, or an hour before the year 1
            raise ValueError("is invalid") from None
    return value


Moment = Annotated[datetime, BeforeValidator(moment)]
Instant = Annotated[
    datetime,
    PlainSerializer(iso, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time", "examples": ["2026-05-17T10:00:00Z"]}),
]


class Paging(Query):
    """The pagination of every list. A `page_size` over 100 counts as 100; `limit` is another name of it, and counts where
    both are given."""

    page: Annotated[int, Field(ge=1, le=MAX_INTEGER), BeforeValidator(read_number)] = 1
    page_size: Annotated[int, Field(ge=1), BeforeValidator(at_most_100)] = PAGE_SIZE
    limit: Annotated[
        Annotated[int, Field(ge=1), BeforeValidator(at_most_100)] | None,
        Field(description="How many items to answer with; more than 100 count as 100."),
    ] = None

    @property
    def size(self) -> int:
        """How many items a page has at most."""
        return self.limit or self.page_size

    @property
    def window(self) -> Window:
        """The part of the list that this page is."""
        return Window(offset=(self.page - 1) * self.size, limit=self.size)


class DnsProviderOut(Out):
    """Who has the domain's zone, by its name servers as the last check saw them, and how to enter the `records` there.

    `panel_url` is where its customers change records. `host_field` and `value_field` are what its form calls a record's
    `host` and `value`; `apex` is what to type there for the domain itself, where the `host` is `@`: the same, or nothing.
    `apex_record` is the type of record that leads the domain itself to another name; null where A and AAAA records do.
    `hint` is a sentence on what goes wrong there most often.
    """

    id: str
    name: str
    panel_url: str
    host_field: str
    value_field: str
    apex: str
    apex_record: str | None
    hint: str | None


class RecordOut(Out):
    """A DNS record that has to exist, or may instead where it is not `required`.

    `fqdn` is its full name, `host` the label to type at the registrar, `name` what the domain's page calls it; `expected`
    and `value` are what it must say. `status` is what the last look that told anything found: pending (none yet), valid,
    missing, wrong, propagating or unknown; `observed` what was there; `reason` a word on what is wrong,
    also with one that is valid (`redirect_loop`, `not_authoritative`). `alternative` is another value that does as well and
    proves whose the domain is; `warning` a sentence on what this record alone may do.
    """

    purpose: str
    type: str
    name: str
    host: str
    fqdn: str
    value: str
    expected: str
    required: bool
    observed: list[str]
    status: str
    reason: str | None
    checked_at: Instant | None
    alternative: str | None
    warning: str | None
