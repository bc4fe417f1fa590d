"""The forms of redis_url: what each says, and what is refused, with which words."""

import pytest

from router.settings.redis_url import Layout, RedisAddress, parse_redis_url


@pytest.mark.parametrize(
    ("url", "address"),
    [
        ("redis://cache", RedisAddress(Layout.SINGLE, (("cache", 6379),))),
        ("redis://cache/", RedisAddress(Layout.SINGLE, (("cache", 6379),))),
        ("rediss://10.0.0.7:7000/3", RedisAddress(Layout.SINGLE, (("10.0.0.7", 7000),), db=3, tls=True)),
        ("redis://[::1]:7000", RedisAddress(Layout.SINGLE, (("::1", 7000),))),
        ("redis://:p%40ss@cache", RedisAddress(Layout.SINGLE, (("cache", 6379),), password="p@ss")),
        ("redis://me:pa:ss@cache", RedisAddress(Layout.SINGLE, (("cache", 6379),), username="me", password="pa:ss")),
        ("unix:///run/redis.sock", RedisAddress(Layout.SINGLE, path="/run/redis.sock")),
        ("unix://:pass@/run/r%20s.sock?db=2", RedisAddress(Layout.SINGLE, path="/run/r s.sock", db=2, password="pass")),
        (
            "redis+sentinel://a,b:26380/main",
            RedisAddress(Layout.SENTINEL, (("a", 26379), ("b", 26380)), service="main"),
        ),
        (
            "rediss+sentinel://me:pass@a,[::1]:1/main.eu_1/4",
            RedisAddress(
                Layout.SENTINEL,
                (("a", 26379), ("::1", 1)),
                service="main.eu_1",
                db=4,
                tls=True,
                username="me",
                password="pass",
            ),
        ),
        ("redis+cluster://a,b:7001", RedisAddress(Layout.CLUSTER, (("a", 6379), ("b", 7001)))),
        ("redis+cluster://a/", RedisAddress(Layout.CLUSTER, (("a", 6379),))),
        ("rediss+cluster://:pass@a", RedisAddress(Layout.CLUSTER, (("a", 6379),), tls=True, password="pass")),
    ],
)
def test_what_each_form_says(url: str, address: RedisAddress) -> None:
    """Servers, service, database, credentials and TLS."""
    assert parse_redis_url(url) == address


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "must be a redis://"),
        ("cache:6379", "must be a redis://"),
        ("redis", "must be a redis://"),
        ("http://cache", "must be a redis://"),
        ("REDIS://cache", "must be a redis://"),
        ("redis://", "'' is not HOST"),
        ("redis://cache:0", "'cache:0' is not HOST"),
        ("redis://cache:65536", "is not HOST"),
        ("redis://cache:x", "is not HOST"),
        ("redis://ca che", "is not HOST"),
        ("redis://::1", "is not HOST"),
        ("redis://a,b", "several servers"),
        ("redis://cache/x", "'x' is not a database number"),
        ("redis://cache/-1", "is not a database number"),
        ("redis://cache/1/2", "a path that is no database"),
        ("redis://cache?ssl=1", "takes no ?options"),
        ("redis://cache#0", "takes no ?options"),
        ("redis://secret@cache", "credentials"),
        ("redis://me:@cache", "credentials"),
        ("redis://me:secret@more@cache", "credentials"),
        ("redis+sentinel://a,b", "must name the service"),
        ("redis+sentinel://a,b/", "must name the service"),
        ("redis+sentinel://a/ma in", "must name the service"),
        ("redis+sentinel://a,,b/main", "'' is not HOST"),
        ("redis+sentinel://a/main/x", "is not a database number"),
        ("redis+sentinel://a/main/1/2", "a path that is no database"),
        ("redis+cluster://a/0", "a Cluster has no databases"),
        ("redis+cluster://a,b/main", "a Cluster has no databases"),
        ("unix://", "must be unix:///"),
        ("unix:///", "must be unix:///"),
        ("unix://cache/run/redis.sock", "must be unix:///"),
        ("unix:///run/redis.sock?db=x", "is not a database number"),
        ("unix:///run/redis.sock?timeout=1", "no option but"),
    ],
)
def test_what_is_refused(url: str, why: str) -> None:
    """With a word that says what to write instead, and never with the password."""
    with pytest.raises(ValueError) as refused:
        parse_redis_url(url)
    assert why in str(refused.value)
    assert "secret" not in str(refused.value)


def test_a_password_does_not_show() -> None:
    """An address may be logged."""
    assert "hunter2" not in repr(parse_redis_url("redis://:hunter2@cache"))
