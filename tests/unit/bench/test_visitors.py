"""The traffic of the bench's visitors is what the bench says it is."""

import re
from collections import Counter

from bench.visitors import AGENTS, COOKIES, HOSTS, VISITS, responses, visits


def _name(number: int) -> str:
    return f"box{number}.example.com"


def _value(head: bytes, name: bytes) -> bytes:
    found = re.search(rb"^%b: (.*)\r$" % name, head, re.MULTILINE)
    assert found, name
    return found[1]


def test_no_two_heads_are_alike() -> None:
    """Targets, referers and cookies differ all the time; so no memory of heads or of their parts helps."""
    heads = [visit.head for visit in visits(_name, 3000)]
    for part in (
        lambda head: head.split(b" ")[1],
        lambda head: _value(head, b"Referer"),
        lambda head: _value(head, b"Cookie"),
    ):
        assert len(set(map(part, heads))) == len(heads)


def test_hosts_in_zipf_order() -> None:
    """The first of 300 hosts is asked twice as often as the second, and every one is asked."""
    count = Counter(visit.host for visit in visits(_name))
    assert count.total() == VISITS
    assert sorted(count) == list(range(HOSTS))
    assert 1.8 < count[0] / count[1] < 2.2
    assert 8 < count[0] / count[9] < 12


def test_browsers_cookies_and_conditions() -> None:
    asked = list(visits(_name, 3000))
    assert {_value(visit.head, b"User-Agent").decode() for visit in asked} == set(AGENTS)
    assert len(AGENTS) == 60
    lengths = {len(_value(visit.head, b"Cookie")) for visit in asked}
    assert min(lengths) >= COOKIES[0]
    assert max(lengths) <= COOKIES[1]
    assert max(lengths) - min(lengths) > 1300
    conditional = [visit for visit in asked if b"\r\nIf-None-Match: " in visit.head]
    assert 0.30 < len(conditional) / len(asked) < 0.36
    assert {visit.fresh for visit in conditional} == {True, False}
    assert not any(visit.fresh for visit in asked if visit not in conditional)


def test_each_run_makes_the_same_visits() -> None:
    """Otherwise proxies would not be compared on the same work."""
    assert list(visits(_name, 50)) == list(visits(_name, 60))[:50]


def test_responses_differ_and_say_their_length() -> None:
    asked = list(visits(_name, 300))
    answers = list(responses(asked))
    heads = [answer.partition(b"\r\n\r\n")[0] + b"\r\n" for answer in answers]
    for name in (b"ETag", b"Set-Cookie"):
        assert len({_value(head, name) for head in heads}) == len(heads)
    for visit, head, answer in zip(asked, heads, answers, strict=True):
        body = answer.partition(b"\r\n\r\n")[2]
        if visit.fresh:
            assert (head[:13], body) == (b"HTTP/1.1 304 ", b"")
        else:
            assert (head[:13], len(body)) == (b"HTTP/1.1 200 ", int(_value(head, b"Content-Length")))
            assert 1024 <= len(body) <= 20 * 1024
