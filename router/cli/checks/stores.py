"""The database and Redis: reached, in time, in a role that takes writes, with this version's schema."""

from router.cli.checks.finding import Finding, Report, error, unknown, warning
from router.cli.checks.known import Known

_SLOW = 0.05  # seconds for one round trip


async def check_store(known: Known) -> Report:
    facts = known.store
    if isinstance(facts, str):
        return Report(
            [
                error(
                    "store_unavailable",
                    f"the store can't be used ({facts})",
                    "so known hosts are served from memory only, and nothing can be changed",
                    "see that `database_url` is right, that the database runs and that it lets this machine in",
                )
            ]
        )
    findings: list[Finding] = []
    if facts.standby:
        findings.append(
            error(
                "store_standby",
                "the PostgreSQL server of `database_url` is a standby",
                "so every change is refused",
                "name the primary, or all servers with `target_session_attrs=read-write`",
            )
        )
    if not facts.fits:
        findings.append(
            error(
                "store_schema",
                f"the database is at revision {facts.revision or 'none'}, and this version needs {facts.head}",
                "so a node of this version does not start with it",
                "run `miosa-router db upgrade`",
            )
        )
    elif facts.newer:
        findings.append(
            warning(
                "store_newer",
                f"the database is at revision {facts.revision}, which this version ({facts.head}) does not know",
                "so a newer version has been here, and this one lacks what it knows",
                "upgrade this node too",
            )
        )
    if facts.latency > _SLOW:
        findings.append(_slow("store", f"the store took {facts.latency * 1000:.0f} ms for one round trip"))
    seen = f"{facts.kind} {facts.version}, {facts.latency * 1000:.1f} ms, schema {facts.revision}"
    return Report(findings, seen)


async def check_redis(known: Known) -> Report:
    facts = known.redis
    if facts is None:
        return Report(seen="none is used (`redis_url`)")
    if isinstance(facts, str):
        return Report(
            [
                error(
                    "redis_unavailable",
                    f"the Redis of `redis_url` can't be used ({facts})",
                    "so each node asks the store for what it has not cached, and counts rates for itself",
                    "see that `redis_url` is right, that Redis runs and that it lets this machine in",
                )
            ]
        )
    findings: list[Finding] = []
    if facts.role == "unknown":
        findings.append(
            unknown(
                "redis_role",
                "this user of Redis may not run INFO",
                "so it is not known whether Redis takes writes, and what it does when it is full",
                "allow it (`ACL SETUSER … +info`), or ask Redis as another user",
            )
        )
    elif facts.role != "master":
        findings.append(
            error(
                "redis_replica",
                f"the Redis of `redis_url` is a {facts.role}",
                "so every write is refused",
                "name the master, or use redis+sentinel://",
            )
        )
    if facts.max_memory and facts.policy == "noeviction":
        findings.append(
            warning(
                "redis_no_eviction",
                f"Redis has `maxmemory` ({facts.max_memory >> 20} MiB, {facts.used_memory >> 20} used) and the policy noeviction",
                "so once it is full it refuses records and counts of rates instead of dropping old ones",
                "set `maxmemory-policy allkeys-lru`",
            )
        )
    if facts.latency > _SLOW:
        findings.append(_slow("redis", f"Redis took {facts.latency * 1000:.0f} ms for one round trip"))
    return Report(findings, f"Redis {facts.version}, {facts.role}, {facts.latency * 1000:.1f} ms, {facts.policy}")


def _slow(of: str, what: str) -> Finding:
    return warning(
        f"{of}_slow",
        what,
        "so each request for a host that is not cached waits at least that long",
        "put it closer to this node, or find out what keeps it busy",
    )
