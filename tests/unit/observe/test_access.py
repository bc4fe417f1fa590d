"""Access lines, in both forms."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router import errors
from router.observe.access import JsonLines, TextLines
from router.routes.chain import Decision, Level
from router.routes.route import Route
from tests.support.ended import ended, route
from tests.support.records import resource

EPOCH = 1_767_225_600.0  # 2026-01-01T00:00:00Z

KEYS = ["ts", "request_id", "client", "method", "scheme", "host", "path", "query", "bytes_in", "bytes_out"]
KEYS += ["duration_ms", "first_byte_ms", "http", "status", "ending", "level", "source", "resource", "slug", "tenant"]
KEYS += ["port", "backend", "tries", "reused", "error", "worker", "ua", "referer"]


def line(**changes: Any) -> dict[str, Any]:
    """The parsed JSON line of one exchange."""
    text = JsonLines().render([ended(**changes)], EPOCH)
    assert text.endswith(b"\n")
    assert text.count(b"\n") == 1
    found = json.loads(text)
    assert isinstance(found, dict)
    return found


def test_a_line_says_everything() -> None:
    """One exchange, every key."""
    assert line() == {
        "ts": "2026-01-01T00:00:10.250Z",
        "request_id": "0193f0a1c2d3",
        "client": "203.0.113.9",
        "method": "GET",
        "scheme": "https",
        "host": "shop.miosa.app",
        "path": "/index.html",
        "query": "",
        "bytes_in": 0,
        "bytes_out": 1234,
        "duration_ms": 250.0,
        "first_byte_ms": 100.0,
        "http": "1.1",
        "status": 200,
        "ending": "--",
        "level": "platform",
        "source": "sql",
        "resource": "id-of-shop",
        "slug": "shop",
        "tenant": "acme",
        "port": 3000,
        "backend": "10.0.0.1:3000",
        "tries": 1,
        "reused": False,
        "error": None,
        "worker": None,
        "ua": "curl/8",
        "referer": "",
    }


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"route": None, "backend": "", "status": 0, "first_byte": 0.0, "client": ""},
        {"problem": errors.HOST_NOT_FOUND, "route": Route("x.org", Decision(Level.NONE, "unknown_host"), keys=(), source="none", expires=0)},
        {"target": b"*", "method": b"OPTIONS"},
        {"host": b"\xff", "target": b'/"', "user_agent": b"\\", "id": b"\n"},
    ],
)  # fmt: skip
def test_the_keys_are_always_the_same(changes: dict[str, Any]) -> None:
    """Every key is on every line, in one order."""
    assert list(line(**changes)) == KEYS


def test_what_has_no_value_is_null() -> None:
    """An exchange that never came to a host, and got no answer."""
    found = line(route=None, backend="", status=0, first_byte=0.0, ending="CR")
    absent = ("first_byte_ms", "level", "source", "resource", "slug", "tenant", "port", "backend", "error")
    assert {key: found[key] for key in absent} == dict.fromkeys(absent)
    assert found["status"] == 0


def test_an_answer_of_our_own_has_its_code() -> None:
    """`error` is the problem's code."""
    assert line(problem=errors.PORT_CLOSED, status=502, ending="BD")["error"] == "port_closed"


@pytest.mark.parametrize(
    ("source", "looked_up", "said"),
    [("sql", True, "sql"), ("redis", True, "redis"), ("sql", False, "process"), ("stale", False, "stale")],
)
def test_the_source_is_the_process_unless_it_was_looked_up(source: str, looked_up: bool, said: str) -> None:
    """A remembered route came from the process, but a stale one is always called that."""
    assert line(route=route(source=source), looked_up=looked_up)["source"] == said


TRACE = "0af7651916cd43dd8448eb211c80319c"


def test_the_trace_is_on_the_line_where_there_is_one() -> None:
    """In both forms; what is no traceparent is left out."""
    right = f"00-{TRACE}-b7ad6b7169203331-01".encode()
    assert line(traceparent=right)["trace_id"] == TRACE
    assert f" trace_id={TRACE}" in TextLines(colours=False).render([ended(traceparent=right)], EPOCH).decode()
    for wrong in (b"", b'00-"}-x', b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01"):
        assert list(line(traceparent=wrong)) == KEYS
        assert b"trace_id" not in TextLines(colours=False).render([ended(traceparent=wrong)], EPOCH)


def test_the_worker_is_on_the_line() -> None:
    """Where there are several processes, a line says which."""
    assert json.loads(JsonLines(3).render([ended()], EPOCH))["worker"] == 3


def test_the_query_is_masked_and_the_referers_dropped() -> None:
    """Secrets in URLs stay out of the log."""
    found = line(target=b"/a?x=1&miosa_token=s3cret", referer=b"https://other.example/b?code=s3cret")
    assert (found["path"], found["query"]) == ("/a", "x=1&miosa_token=***")
    assert found["referer"] == "https://other.example/b"


def test_keys_are_masked_wherever_they_stand() -> None:
    """One of our keys in a path, an agent or a host is no less secret."""
    text = JsonLines().render(
        [
            ended(
                target=b"/msk_live_abc/x",
                user_agent=b"bot msk_live_abc",
                host=b"msk_live_abc.x",
                referer=b"msk_live_abc",
            )
        ],
        EPOCH,
    )
    assert b"live_abc" not in text
    assert b"live_abc" not in TextLines(colours=False).render([ended(target=b"/msk_live_abc/x")], EPOCH)


def test_a_referer_that_equals_a_user_agent_still_loses_its_query() -> None:
    """What is remembered of one field is never used for another."""
    same = b"https://x.example/?code=s3cret"
    assert b"s3cret" not in JsonLines().render([ended(user_agent=b"y"), ended(user_agent=b"x", referer=same)], EPOCH)
    assert (
        json.loads(JsonLines().render([ended(user_agent=same, referer=same)], EPOCH))["referer"] == "https://x.example/"
    )


def test_long_fields_are_cut() -> None:
    """No visitor writes megabytes of log."""
    found = line(target=b"/" + b"a" * 16_000 + b"?" + b"b" * 16_000, user_agent=b"\x00" * 16_000)
    assert found["path"] == "/" + "a" * 1023 + "…"
    assert len(found["query"]) == 1025
    assert len(found["ua"]) == 1025


def test_lines_of_a_batch_do_not_mix() -> None:
    """What is shared inside a batch is shared only by those that have it in common."""
    batch = [
        ended(host=b"a", status=200, route=route("a"), user_agent=b"one", client="192.0.2.1"),
        ended(host=b"b", status=404, route=route("b"), user_agent=b"two", client="192.0.2.2", ended=11.9),
        ended(host=b"a", status=502, route=route("a"), problem=errors.PORT_CLOSED, backend="", tries=4),
        ended(host=b"a", status=502, route=route("a"), problem=errors.BAD_BACKEND_RESPONSE, backend="", tries=4),
    ]
    together = JsonLines().render(batch, EPOCH)
    assert together == b"".join(JsonLines().render([one], EPOCH) for one in batch)


def test_a_burst_on_one_route_is_written_like_single_visits() -> None:
    """What is kept from line to line is right for each, also where only the look-up differs."""
    shop, blog = route("shop"), route("blog")
    batch = [ended(route=shop), ended(route=shop, looked_up=False), ended(route=shop, looked_up=False)]
    batch += [ended(route=blog), ended(route=None), ended(route=blog)]
    assert JsonLines().render(batch, EPOCH) == b"".join(JsonLines().render([one], EPOCH) for one in batch)


def test_ids_from_outside_are_escaped_too() -> None:
    """The platform chooses ids; they forge nothing either."""
    led = route()
    odd = replace(resource(), id='a"b', tenant_id="c\nd")
    found = line(route=Route(led.host, replace(led.decision, resource=odd), keys=(), source="sql", expires=0.0))
    assert (found["resource"], found["slug"], found["tenant"]) == ('a"b', "shop", "c\nd")


def test_dates_across_seconds_and_years() -> None:
    """A date is built once per second, and changes when the second does."""
    batch = [ended(ended=seconds) for seconds in (-0.5, 0.0, 0.9994, 1.0, 86399.9999)]
    dates = [json.loads(text)["ts"] for text in JsonLines().render(batch, EPOCH).splitlines()]
    assert dates == [
        "2025-12-31T23:59:59.500Z",
        "2026-01-01T00:00:00.000Z",
        "2026-01-01T00:00:00.999Z",
        "2026-01-01T00:00:01.000Z",
        "2026-01-01T23:59:59.999Z",
    ]


ANYTHING = st.binary(max_size=40) | st.sampled_from([b'"', b"\\", b"\r\n", b"\x1b[31m", b"\x7f", "é…".encode(), b"?"])


@given(method=ANYTHING, target=ANYTHING, host=ANYTHING, agent=ANYTHING, referer=ANYTHING, identity=ANYTHING)
def test_hostile_bytes_forge_nothing(
    method: bytes, target: bytes, host: bytes, agent: bytes, referer: bytes, identity: bytes
) -> None:
    """Whatever a stranger sends: one line, printable ASCII, and valid JSON with the same keys."""
    batch = [ended(method=method, target=target, host=host, user_agent=agent, referer=referer, id=identity)]
    as_json = JsonLines().render(batch, EPOCH)
    assert list(json.loads(as_json)) == KEYS
    for text in (as_json, TextLines(colours=False).render(batch, EPOCH)):
        assert text.endswith(b"\n")
        assert text[:-1].decode("ascii").isprintable()


def test_bytes_that_are_text_come_back() -> None:
    """Escaping loses nothing of UTF-8, and shows what is none."""
    assert line(target="/grün".encode(), user_agent=b'a"b\\c\xff')["path"] == "/grün"
    assert line(user_agent=b'a"b\\c\xff')["ua"] == 'a"b\\c\\xff'


def test_the_text_form_is_for_people() -> None:
    """Time, status, ending and what was asked, in one short line."""
    assert TextLines(colours=False).render([ended(target=b"/a?token=s3cret&b=1")], EPOCH) == (
        b"00:00:10.250 200 -- GET shop.miosa.app/a?token=***&b=1 250.0ms in=0 out=1234 backend=10.0.0.1:3000\n"
    )
    refused = ended(status=404, ending="EA", backend="", problem=errors.HOST_NOT_FOUND, sent=99)
    assert TextLines(colours=False).render([refused], EPOCH) == (
        b"00:00:10.250 404 EA GET shop.miosa.app/index.html 250.0ms in=0 out=99 error=host_not_found\n"
    )


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        (101, b"\x1b[36m101\x1b[0m"),
        (200, b"\x1b[32m200"),
        (302, b"\x1b[36m302"),
        (404, b"\x1b[33m404"),
        (502, b"\x1b[31m502"),
        (0, b"\x1b[35m---\x1b[0m"),
        (999, b"\x1b[35m999\x1b[0m"),
    ],
)
def test_a_status_has_the_colour_of_its_class(status: int, shown: bytes) -> None:
    """Also one that is out of the ordinary, and none at all."""
    assert shown in TextLines(colours=True).render([ended(status=status)], EPOCH)
