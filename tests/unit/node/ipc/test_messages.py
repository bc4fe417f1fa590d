"""Messages between processes: every one comes back from JSON as it was, and two versions understand each other."""

import json
from dataclasses import fields
from typing import Any

import pytest

from router.errors import StoreUnavailableError
from router.node.ipc import messages, process_messages
from router.node.ipc.messages import (
    TO_CONTROL,
    TO_WORKER,
    Change,
    ChangesAnswer,
    ChangesRequest,
    EndSessionRequest,
    ErrorSeen,
    Fault,
    FaultError,
    FiguresRequest,
    HandOverRequest,
    HostRefused,
    NewestRequest,
    NumberAnswer,
    OldestRequest,
    OperatorEvent,
    OperatorRequest,
    OutboxMoved,
    PasswordRequest,
    RecordsAnswer,
    RecordsRequest,
    ReplayRequest,
    Request,
    RequestCaptured,
    RequestRecords,
    Serving,
    SignInRequest,
    Stats,
    StatsRequest,
    StoreReady,
    Unavailable,
    UseUpAnswer,
    UseUpRequest,
    VerifyCiAnswer,
    VerifyCiRequest,
    WakeRequest,
    records_line,
)
from router.node.ipc.process_messages import (
    TO_CHILD,
    TO_SUPERVISOR,
    Connect,
    Drain,
    End,
    Failed,
    Heartbeat,
    HeartbeatRequest,
    Ready,
    ReopenLogs,
    SetLogLevels,
    StandBack,
    StandIn,
    Start,
)
from router.node.ipc.wire import Direction, Message, encode
from router.records.packing import FORM

EXAMPLES: list[tuple[Direction, Message]] = [
    (TO_WORKER, Change(["slug:a"], 7, ["slug:a"])),
    (TO_WORKER, OutboxMoved()),
    (TO_WORKER, OutboxMoved(3, 5, ["slug:a", "zone:b"], ["slug:a"])),
    (TO_WORKER, StoreReady()),
    (TO_WORKER, StatsRequest(4.5)),
    (TO_WORKER, FiguresRequest()),
    (TO_WORKER, HostRefused("id", "a", 3000, "boot-1", "vite", "localhost:3000")),
    (TO_CONTROL, HostRefused("id", "a", 3000, "boot-1", "rails")),
    (TO_CONTROL, ErrorSeen("id", 3000, "bad_backend_response", "speaks_tls", "It speaks TLS.", 1.5, 2.5, 3)),
    (TO_SUPERVISOR, SetLogLevels({"router.proxy": ["debug", 4.5]})),
    (TO_WORKER, OperatorRequest("process", {"of": "all"})),
    (TO_CONTROL, OperatorEvent("tapped", {"lost": 1})),
    (TO_CONTROL, RequestRecords("cGFjaw==", 1, [["00", "01", 5]])),
    (
        TO_CONTROL,
        RequestCaptured({"tenant": "t", "request": {"headers": [["Accept", "*/*", False]]}, "response": None}),
    ),
    (TO_WORKER, ReplayRequest({"host": "shop.miosa.app", "headers": [["Accept", "*/*"]]})),
    (TO_CONTROL, Serving(True)),
    (TO_CONTROL, Stats({"a": 1.5}, {"shop.example": 2.0}, {"link-1": 2.5})),
    (TO_CONTROL, RecordsRequest(["slug:a"], 2.0)),
    (TO_CONTROL, NewestRequest(2.0)),
    (TO_CONTROL, OldestRequest(2.0)),
    (TO_CONTROL, ChangesRequest(41, 2.0, 1000)),
    (TO_CONTROL, UseUpRequest("link-1", 2.0)),
    (TO_CONTROL, WakeRequest("id", 3000, "http", "req-1", 2.0)),
    (TO_CONTROL, PasswordRequest("password-1", "what was typed", "192.0.2.1", 2.0)),
    (TO_CONTROL, SignInRequest("start", "192.0.2.1", {"host": "a.example"}, {"__Host-miosa-anew": "1"}, "acme", 9.5)),
    (TO_CONTROL, HandOverRequest("code", "a.example", "0" * 64, 2.0)),
    (TO_CONTROL, EndSessionRequest("ses_1", 2.0)),
    (TO_CONTROL, VerifyCiRequest("acme", "a.b.c", 2.0)),
    (TO_CHILD, Start(1, {"workers": 2}, {"roles": ["proxy"]}, {"proxy": ["127.0.0.1", 80]}, 0.25, "again")),  # type: ignore[dict-item]
    (TO_CHILD, Connect(2)),
    (TO_CHILD, StandIn(0)),
    (TO_CHILD, StandBack(0)),
    (TO_CHILD, HeartbeatRequest()),
    (TO_CHILD, ReopenLogs()),
    (TO_CHILD, Drain(replaced=True, stay=False)),
    (TO_CHILD, End()),
    (TO_SUPERVISOR, Ready(335.0, stands_in=True, answers=True)),
    (TO_SUPERVISOR, Failed("1 problem", [["limits.dial", "too small"]])),  # type: ignore[list-item]
    (TO_SUPERVISOR, Heartbeat()),
]


def over_the_wire(message: Message) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(encode(message)))
    return found


def same(found: Message, message: Message) -> None:
    """Equal but for tuples, which JSON has as lists."""
    assert type(found) is type(message)
    assert over_the_wire(found) == over_the_wire(message)


@pytest.mark.parametrize(("direction", "message"), EXAMPLES, ids=lambda one: type(one).__name__)
def test_every_message_comes_back_as_it_was(direction: Direction, message: Message) -> None:
    """Each in the direction that hears it."""
    same(direction.decode(over_the_wire(message)), message)


def test_the_table_names_every_message() -> None:
    """Who sends it and who answers stands in the docstring; each has an example here."""
    kinds = set()
    for module in (messages, process_messages):
        own = {
            kind.__name__
            for kind in vars(module).values()
            if isinstance(kind, type) and issubclass(kind, Message) and "do" in vars(kind)
        }
        assert all(f"`{kind}`" in (module.__doc__ or "") for kind in own)
        kinds |= own
    answers = {"RecordsAnswer", "NumberAnswer", "ChangesAnswer", "UseUpAnswer", "WakeNoted", "Unavailable", "Fault"}
    answers |= {"SignInAnswer", "HandOverAnswer", "EndSessionAnswer", "VerifyCiAnswer", "PasswordAnswer"}
    assert {type(message).__name__ for _, message in EXAMPLES} == kinds - answers


@pytest.mark.parametrize(("direction", "message"), EXAMPLES, ids=lambda one: type(one).__name__)
def test_what_a_newer_version_adds_is_skipped(direction: Direction, message: Message) -> None:
    """A field that this version does not know changes nothing."""
    same(direction.decode({**over_the_wire(message), "since_2_0": [1]}), message)


@pytest.mark.parametrize(
    ("direction", "wire", "message"),
    [
        (TO_WORKER, {"do": "moved"}, OutboxMoved()),
        (TO_WORKER, {"do": "change", "keys": ["slug:a"], "number": 1}, Change(["slug:a"], 1)),
        (TO_CONTROL, {"do": "news", "used": {"a": 1.5}, "https": {}}, Stats({"a": 1.5}, {})),
        (TO_CHILD, {"do": "start", "number": 1, "values": {}, "fixed": {}, "addresses": {}}, Start(1, {}, {}, {})),
        (TO_SUPERVISOR, {"alive": True}, Heartbeat()),
        (TO_SUPERVISOR, {"ready": 12.0}, Ready(12.0)),
        (TO_SUPERVISOR, {"failed": "no", "settings": []}, Failed("no", [])),
    ],
)
def test_what_an_older_version_sends_is_understood(
    direction: Direction, wire: dict[str, Any], message: Message
) -> None:
    """A process from before 1.0 may be at the other end during a reload."""
    same(direction.decode(wire), message)


def test_what_an_older_version_reads_is_there() -> None:
    """Under the names that it looks for."""
    ready = {"do": "ready", "ready": 12.0, "stands_in": True, "answers": False}
    assert over_the_wire(Ready(12.0, stands_in=True)) == ready
    assert over_the_wire(Heartbeat())["alive"] is True
    assert over_the_wire(Failed("no"))["failed"] == "no"
    assert over_the_wire(Start(0, {}, {}, {}, 0.25))["beat"] == 0.25
    assert over_the_wire(ChangesRequest(1, 2.0, 1000)) == {"do": "after", "number": 1, "within": 2.0, "most": 1000}
    assert over_the_wire(OutboxMoved(1, 2, ["slug:a"]))["do"] == "moved"


@pytest.mark.parametrize("wire", [{"do": "sing"}, {}, {"do": "alive"}])
def test_unknown_messages_are_refused(wire: dict[str, Any]) -> None:
    """Also one that is known in another direction only."""
    with pytest.raises(LookupError):
        TO_WORKER.decode(wire)


def test_a_message_without_its_fields_is_refused() -> None:
    """It names what is missing."""
    with pytest.raises(TypeError, match="number"):
        TO_CHILD.decode({"do": "join"})


ANSWERED: list[tuple[Request[Any], Message]] = [
    (StatsRequest(0.0), Stats({"a": 1.0}, {})),
    (RecordsRequest([], 1.0), RecordsAnswer(41, {"slug:a": "7 {}"})),
    (NewestRequest(1.0), NumberAnswer(41)),
    (OldestRequest(1.0), NumberAnswer(1)),
    (ChangesRequest(1, 1.0, 10), ChangesAnswer([[42, "slug:a", "2026-01-01T00:00:00Z", False]])),  # type: ignore[list-item]
    (UseUpRequest("link-1", 1.0), UseUpAnswer(first=True)),
    (VerifyCiRequest("acme", "a.b.c", 1.0), VerifyCiAnswer("accepted", [["rule", 1]], "repo:acme/shop", 2.5)),  # type: ignore[list-item]
]


@pytest.mark.parametrize(("request_", "answer"), ANSWERED, ids=lambda one: type(one).__name__)
def test_answers_come_back_as_they_were(request_: Request[Any], answer: Message) -> None:
    """Or as the error that they are: of the store, or a bug."""
    same(request_.answer(over_the_wire(answer)), answer)
    if "within" in {field.name for field in fields(request_)}:  # type: ignore[arg-type]
        with pytest.raises(StoreUnavailableError, match="away"):
            request_.answer(over_the_wire(Unavailable("away")))
        with pytest.raises(FaultError, match="KeyError"):
            request_.answer(over_the_wire(Fault("KeyError: 1")))


def test_records_are_written_past_json() -> None:
    """As JSON would write them."""
    line = json.loads(records_line(FORM, b"\x00pack"))
    assert TO_CONTROL.decode(line) == RequestRecords("AHBhY2s=", FORM)
