"""What DNS says of a domain, as far as a diagnosis wants to know it. All that can be asked at once is.

A domain needs records: a custom domain one at its own name, a preview domain two wildcards. Each is a `NameState`. A wildcard is
checked through a random name below it, so its records are that name's.

Where the name leads was seen by a check already, where there was one (`checks/judgement.py`): what is asked here says why,
and which record to change.

A wildcard beside the name may lead to us while the name itself has no record: then something below the name hides the
wildcard from it (RFC 4592 §2.2.2). Random names beside it show that.

DNS providers add the zone's name to what is typed. An owner who types the full name gets a record one zone too deep, at
`app.example.com.example.com`: that name is asked for too, and a random one beside it, as the zone may have a wildcard.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from router.domains.checks.caa import CaaFinding, check_caa
from router.domains.checks.challenge import shows, txt_name
from router.domains.checks.judgement import Check
from router.domains.checks.pointing import CheckResult, Pointing, follow
from router.domains.diagnosis.delegation_snapshot import Delegated, DelegationState, look_at_delegation
from router.domains.lookup import Answer, Lookup, Outcome, Question, RecordType
from router.domains.names import enclosing, registered_domain
from router.settings import Ca

_ADDRESSES = (RecordType.A, RecordType.AAAA)
# What may stand at a name. NS and SOA make it the top of a zone.
_HELD = (
    RecordType.CNAME,
    *_ADDRESSES,
    RecordType.MX,
    RecordType.TXT,
    RecordType.HTTPS,
    RecordType.NS,
    RecordType.SOA,
)
_DOUBLED = (RecordType.CNAME, *_ADDRESSES)


@dataclass(frozen=True, slots=True)
class Needed:
    """A record that has to exist: its name at the DNS provider, and a name whose records it gives."""

    name: str
    probe: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What is diagnosed. `hosts` are names that a wildcard should cover. `token` is what a TXT record shows as a proof
    that the name is its owner's; `to_prove` is whether one has to be given. `own` is the target that is this
    registration's alone. `delegated` is what a zone's owner may delegate to us."""

    name: str
    target: str
    needed: tuple[Needed, ...]
    hosts: tuple[str, ...] = ()
    token: str | None = None
    to_prove: bool = False
    own: str | None = None
    delegated: Delegated | None = None

    @property
    def is_zone(self) -> bool:
        """Whether its records are wildcards."""
        return self.needed[0].name != self.needed[0].probe

    @property
    def best(self) -> str:
        """The target to recommend; for a preview domain the one that its page shows."""
        return self.target if self.is_zone or self.own is None else self.own


def of_host(
    fqdn: str, target: str, *, token: str | None = None, to_prove: bool = False, own: str | None = None
) -> Target:
    """A custom domain."""
    return Target(name=fqdn, target=target, needed=(Needed(fqdn, fqdn),), token=token, to_prove=to_prove, own=own)


def of_zone(
    domain: str,
    target: str,
    wildcards: Sequence[str],
    hosts: Sequence[str] = (),
    *,
    token: str | None = None,
    own: str | None = None,
    delegated: Delegated | None = None,
) -> Target:
    """A preview domain, whose wildcards are `*` and `*.sandbox`."""
    label = _random_label()
    needed = tuple(Needed(f"{wildcard}.{domain}", f"{label}{wildcard[1:]}.{domain}") for wildcard in wildcards)
    return Target(
        name=domain, target=target, needed=needed, hosts=tuple(hosts), token=token, own=own, delegated=delegated
    )


@dataclass(frozen=True, slots=True)
class NameState:
    """One name: what it holds, where it leads, and what is at its name with the zone's behind it."""

    name: str
    held: Mapping[RecordType, Answer]
    pointing: Pointing
    doubled_name: str
    doubled: tuple[str, ...] = ()
    doubled_type: RecordType = RecordType.CNAME

    @property
    def right(self) -> bool:
        """Whether it leads to us."""
        return self.pointing.result is CheckResult.VALID

    def values(self, record_type: RecordType) -> tuple[str, ...]:
        """Its own records of a type: not those at the end of its aliases."""
        return own_values(self.held.get(record_type))

    @property
    def alias(self) -> str | None:
        """What it is an alias of."""
        found = self.values(RecordType.CNAME)
        return found[0] if found else None

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its own addresses."""
        return tuple(address for kind in _ADDRESSES for address in self.values(kind))


@dataclass(frozen=True, slots=True)
class Proof:
    """The TXT record that proves who owns a name: where it has to be, what is there, what is one zone too deep."""

    name: str
    token: str
    seen: Answer
    doubled_name: str
    doubled: Answer

    @property
    def given(self) -> bool:
        """Whether the record is there."""
        return shows(own_values(self.seen), self.token)


@dataclass(frozen=True, slots=True, kw_only=True)
class DnsSnapshot:
    """What was seen. `zone` is the zone that the name lies in, `registered` what was bought, `top` the answer to whether
    that is there; `addresses` are the target's, `caa` is what CAA says about each state's name; `beside` is where
    random names beside a custom domain and beside the names above it lead, the nearest first;
    `dname` is a name above it that is a DNAME, and what of; `delegation` is what stands where a zone's owner may delegate to us."""

    subject: Target
    zone: str
    registered: str
    top: Answer
    states: tuple[NameState, ...]
    hosts: tuple[NameState, ...]
    proof: Proof | None
    addresses: Mapping[RecordType, tuple[str, ...]]
    caa: tuple[CaaFinding, ...]
    beside: tuple[Pointing, ...] = ()
    dname: tuple[str, str] | None = None
    delegation: DelegationState | None = None

    def label(self, name: str) -> str:
        """What to type for a name at the DNS provider, which adds the zone itself."""
        return "@" if name == self.zone else name.removesuffix(f".{self.zone}")

    def is_top(self, state: NameState) -> bool:
        """Whether the name is the top of its zone, where no alias may be."""
        return state.name == self.zone


def own_values(answer: Answer | None) -> tuple[str, ...]:
    """The records at the name asked for; none where it is an alias."""
    return answer.values if answer is not None and answer.outcome is Outcome.FOUND and not answer.aliases else ()


async def take_snapshot(
    lookup: Lookup, subject: Target, targets: Collection[str], ca: Ca, until: float, *, check: Check | None = None
) -> DnsSnapshot:
    """Ask DNS. `targets` are all names of ours that records may lead to, `ca` is who issues our certificates; `until` is an
    instant of the monotonic clock. What a `check` saw is not asked again."""
    registered = registered_domain(subject.name)
    above = [name for name in enclosing(subject.name) if name == registered or name.endswith(f".{registered}")]
    checked = () if check is None else check.pointings
    probes = [one.name for one in checked] or [needed.probe for needed in subject.needed]
    needed = list(zip((one.name for one in subject.needed), probes, strict=True))
    names = [*needed, *((host, host) for host in subject.hosts)]
    asked = [Question(name, RecordType.SOA) for name in above]
    asked += [Question(name, RecordType.DNAME) for name in above if name != subject.name]
    asked += [Question(probe, kind) for _, probe in names for kind in _HELD]
    asked += [Question(subject.target, kind) for kind in _ADDRESSES]
    seen = dict(zip(asked, await lookup.ask(asked, until, fresh=True), strict=True))
    zone = next((name for name in above if own_values(seen[Question(name, RecordType.SOA)])), registered)
    beside = [] if subject.is_zone else [f"{_random_label()}.{name}" for name in above if name != subject.name]
    unseen = [probe for _, probe in names[len(checked) :]]
    followed = await follow(lookup, [*unseen, *beside], targets, until, fresh=True)
    pointings = [*checked, *followed[: len(unseen)]]
    proof_name = txt_name(subject.name)
    random_name = f"{_random_label()}.{zone}"
    deeper = [
        Question(name, kind) for name in (random_name, *(f"{probe}.{zone}" for _, probe in names)) for kind in _DOUBLED
    ]
    if subject.token is not None:
        deeper += [Question(name, RecordType.TXT) for name in (proof_name, f"{proof_name}.{zone}", random_name)]
    seen |= dict(zip(deeper, await lookup.ask(deeper, until, fresh=True), strict=True))
    states = [
        _state_of(name, probe, zone, pointing, random_name, seen)
        for (name, probe), pointing in zip(names, pointings, strict=True)
    ]
    if check is not None and not subject.is_zone:
        caa = [check.caa]
    else:
        caa = [await check_caa(lookup, probe, ca, until, fresh=True) for _, probe in needed]
    delegation = None
    if subject.delegated is not None:
        delegation = await look_at_delegation(lookup, subject.delegated, subject.name, zone, ca, until)
    count = len(subject.needed)
    return DnsSnapshot(
        subject=subject,
        zone=zone,
        registered=registered,
        top=seen[Question(registered, RecordType.SOA)],
        states=tuple(states[:count]),
        hosts=tuple(states[count:]),
        proof=_proof(proof_name, subject.token, zone, random_name, seen),
        addresses={kind: seen[Question(subject.target, kind)].values for kind in _ADDRESSES},
        caa=tuple(dict.fromkeys(caa)),
        beside=followed[len(unseen) :],
        delegation=delegation,
        dname=next(
            (
                (name, values[0])
                for name in above
                if name != subject.name and (values := own_values(seen[Question(name, RecordType.DNAME)]))
            ),
            None,
        ),
    )


def _state_of(
    name: str, probe: str, zone: str, pointing: Pointing, random_name: str, seen: Mapping[Question, Answer]
) -> NameState:
    held = {kind: seen[Question(probe, kind)] for kind in _HELD}
    for kind in _DOUBLED:
        doubled = own_values(seen[Question(f"{probe}.{zone}", kind)])
        if doubled and doubled != own_values(seen[Question(random_name, kind)]):
            return NameState(name, held, pointing, f"{name}.{zone}", doubled, kind)
    return NameState(name, held, pointing, f"{name}.{zone}")


def _proof(name: str, token: str | None, zone: str, random_name: str, seen: Mapping[Question, Answer]) -> Proof | None:
    if token is None:
        return None
    doubled_name = f"{name}.{zone}"
    doubled, random = (seen[Question(one, RecordType.TXT)] for one in (doubled_name, random_name))
    if own_values(doubled) == own_values(random):  # by a wildcard
        doubled = Answer(Outcome.NXDOMAIN)
    return Proof(name, token, seen[Question(name, RecordType.TXT)], doubled_name, doubled)


def _random_label() -> str:
    """A label that no record has, unless a wildcard covers it."""
    return f"miosa-{secrets.token_hex(8)}"
