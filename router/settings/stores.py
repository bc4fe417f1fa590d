"""`database.*`, `cache.*`, `redis.*`: where records come from, and how long is waited for them."""

from pathlib import Path
from typing import Annotated

from router.settings.model import Field, SecretStr
from router.settings.types import Count, Group, KeyPrefix, Seconds


class Database(Group):
    """How the store is talked to. Times in seconds. Each process that has the store has its own connections to
    PostgreSQL: of several on a node only the control process, which the workers ask."""

    connections: Count = Field(
        10, description="PostgreSQL: largest number of connections for changes, and as many again for look-ups."
    )
    connect_time: Seconds = Field(3.0, description="PostgreSQL: time to connect.")
    statement_time: Seconds = Field(5.0, description="PostgreSQL: time for one statement.")
    lock_time: Seconds = Field(
        5.0, description="Time to wait for a lock that another holds, or for a connection to be free."
    )


class Cache(Group):
    """The process's cache of routes. Times in seconds."""

    hosts: Count = Field(12_000, description="Routes kept, about 3 KB each; the oldest go first.")
    unknown_hosts: Count = Field(5_000, description="Unknown hosts remembered, apart, so that a scan evicts no route.")
    ttl: Seconds = Field(60.0, description="How long a route is used. A backstop: changes evict at once.")
    unknown_ttl: Seconds = Field(5.0, description="How long an unknown host is remembered. A backstop as well.")
    stale_if_error: Seconds = Field(300.0, description="How long past its ttl a route is used while the store is down.")
    fetches: Count = Field(4, description="Round trips to Redis and the store at once. Look-ups share them.")
    fetch_time: Seconds = Field(2.0, description="Time for one round trip; then the store counts as down.")


class Redis(Group):
    """The cache that all processes share and the bus between them, where `redis_url` is set. Times in seconds."""

    prefix: KeyPrefix = Field(
        "miosa-router:", description="What each of our keys begins with. Two fleets on one Redis need two."
    )
    operation_time: Seconds = Field(0.25, description="Time for one operation; then the store is asked instead.")
    connections: Count = Field(32, description="Operations at once per process, each on a connection of its own.")
    failures: Count = Field(
        5, description="Failures in a row after which Redis is not used for a while (circuit breaker)."
    )
    pause: Seconds = Field(1.0, description="How long it is not used; then one operation tries again.")
    ttl: Seconds = Field(3600.0, description="How long a record is kept. A backstop: changes replace it at once.")
    unknown_ttl: Seconds = Field(
        300.0, description="How long it is kept that there is no record. A scan fills Redis with these."
    )
    jitter: Annotated[float, Field(ge=0, lt=1)] = Field(
        0.1, description="Share by which each ttl is varied, so that not all records expire at once."
    )
    heartbeat: Seconds = Field(1.0, description="How often the bus says that it is there, and is checked for losses.")
    silence: Seconds = Field(4.0, description="Without a word from the bus for so long it counts as lost.")
    ca_file: Path | None = Field(None, description="CA certificates for rediss://. None: the system's.")
    cert_file: Path | None = Field(None, description="Our certificate for rediss://, where the servers ask for one.")
    key_file: Path | None = Field(None, description="The key of `cert_file`.")
    check_names: bool = Field(True, description="Whether a server's certificate must be for the name in the address.")
    sentinel_username: str | None = Field(None, description="User for the Sentinels, where they ask for one.")
    sentinel_password: SecretStr | None = Field(None, description="Password for the Sentinels.")
