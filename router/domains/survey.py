"""What DNS says of a domain, as far as a diagnosis wants to know it. All that can be asked at once is.

A domain needs records: a custom domain one at its own name, a preview domain two wildcards. Each is a `Spot`. A wildcard is
looked at through a name that nobody has, so its records are that name's.

DNS providers add the zone's name to what is typed. Whoever types the full name gets a record one zone too deep, at
`app.example.com.example.com`: that name is looked at too, beside one that nobody has, as the zone may have a wildcard.
"""

import secrets
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from router.domains.caa import CaaFinding, look_at_caa
from router.domains.challenge import txt_name
from router.domains.lookup import Answer, Lookup, Outcome, Question, RecordType
from router.domains.names import enclosing, registered_domain
from router.domains.pointing import Finding, Pointing, follow
from router.settings import Ca

_ADDRESSES = (RecordType.A, RecordType.AAAA)
# What may stand at a name. NS and SOA make it the top of a zone.
_HELD = (RecordType.CNAME, *_ADDRESSES, RecordType.MX, RecordType.TXT, RecordType.NS, RecordType.SOA)
_DOUBLED = (RecordType.CNAME, *_ADDRESSES)


@dataclass(frozen=True, slots=True)
class Needed:
    """A record that has to exist: its name at the DNS provider, and a name whose records it gives."""

    name: str
    probe: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is looked at. `hosts` are names that a wildcard should cover. `token` is what a TXT record shows as a proof
    that the name is its owner's; `to_prove` is whether one has to be given."""

    name: str
    target: str
    needed: tuple[Needed, ...]
    hosts: tuple[str, ...] = ()
    token: str | None = None
    to_prove: bool = False


def of_host(fqdn: str, target: str, *, token: str | None = None, to_prove: bool = False) -> Subject:
    """A custom domain."""
    return Subject(name=fqdn, target=target, needed=(Needed(fqdn, fqdn),), token=token, to_prove=to_prove)


def of_zone(domain: str, target: str, wildcards: Sequence[str], hosts: Sequence[str] = ()) -> Subject:
    """A preview domain, whose wildcards are `*` and `*.sandbox`."""
    label = _nobody()
    needed = tuple(Needed(f"{wildcard}.{domain}", f"{label}{wildcard[1:]}.{domain}") for wildcard in wildcards)
    return Subject(name=domain, target=target, needed=needed, hosts=tuple(hosts))


@dataclass(frozen=True, slots=True)
class Spot:
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
        return self.pointing.finding is Finding.VALID

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
        return self.token in own_values(self.seen)


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What was seen. `zone` is the zone that the name lies in, `registered` what was bought, `top` the answer to whether
    that is there; `addresses` are the target's, `caa` is what CAA says about each spot's name."""

    subject: Subject
    zone: str
    registered: str
    top: Answer
    spots: tuple[Spot, ...]
    hosts: tuple[Spot, ...]
    proof: Proof | None
    addresses: Mapping[RecordType, tuple[str, ...]]
    caa: tuple[CaaFinding, ...]

    def label(self, name: str) -> str:
        """What to type for a name at the DNS provider, which adds the zone itself."""
        return "@" if name == self.zone else name.removesuffix(f".{self.zone}")

    def is_top(self, spot: Spot) -> bool:
        """Whether the name is the top of its zone, where no alias may be."""
        return spot.name == self.zone


def own_values(answer: Answer | None) -> tuple[str, ...]:
    """The records at the name asked for; none where it is an alias."""
    return answer.values if answer is not None and answer.outcome is Outcome.FOUND and not answer.aliases else ()


async def survey(lookup: Lookup, subject: Subject, targets: Collection[str], ca: Ca, until: float) -> Survey:
    """Look. `targets` are all names of ours that records may lead to, `ca` is who issues our certificates; `until` is an
    instant of the monotonic clock."""
    registered = registered_domain(subject.name)
    above = [name for name in enclosing(subject.name) if name == registered or name.endswith(f".{registered}")]
    names = [(needed.name, needed.probe) for needed in subject.needed] + [(host, host) for host in subject.hosts]
    asked = [Question(name, RecordType.SOA) for name in above]
    asked += [Question(probe, kind) for _, probe in names for kind in _HELD]
    asked += [Question(subject.target, kind) for kind in _ADDRESSES]
    seen = dict(zip(asked, await lookup.ask(asked, until, fresh=True), strict=True))
    zone = next((name for name in above if own_values(seen[Question(name, RecordType.SOA)])), registered)
    pointings = await follow(lookup, [probe for _, probe in names], targets, until, fresh=True)
    proof_name = txt_name(subject.name)
    nobody = f"{_nobody()}.{zone}"
    deeper = [
        Question(name, kind) for name in (nobody, *(f"{probe}.{zone}" for _, probe in names)) for kind in _DOUBLED
    ]
    if subject.token is not None:
        deeper += [Question(name, RecordType.TXT) for name in (proof_name, f"{proof_name}.{zone}")]
    seen |= dict(zip(deeper, await lookup.ask(deeper, until, fresh=True), strict=True))
    spots = [
        _spot(name, probe, zone, pointing, nobody, seen)
        for (name, probe), pointing in zip(names, pointings, strict=True)
    ]
    caa = [await look_at_caa(lookup, needed.probe, ca, until, fresh=True) for needed in subject.needed]
    count = len(subject.needed)
    return Survey(
        subject=subject,
        zone=zone,
        registered=registered,
        top=seen[Question(registered, RecordType.SOA)],
        spots=tuple(spots[:count]),
        hosts=tuple(spots[count:]),
        proof=_proof(proof_name, subject.token, zone, seen),
        addresses={kind: seen[Question(subject.target, kind)].values for kind in _ADDRESSES},
        caa=tuple(dict.fromkeys(caa)),
    )


def _spot(name: str, probe: str, zone: str, pointing: Pointing, nobody: str, seen: Mapping[Question, Answer]) -> Spot:
    held = {kind: seen[Question(probe, kind)] for kind in _HELD}
    for kind in _DOUBLED:
        doubled = own_values(seen[Question(f"{probe}.{zone}", kind)])
        if doubled and doubled != own_values(seen[Question(nobody, kind)]):
            return Spot(name, held, pointing, f"{name}.{zone}", doubled, kind)
    return Spot(name, held, pointing, f"{name}.{zone}")


def _proof(name: str, token: str | None, zone: str, seen: Mapping[Question, Answer]) -> Proof | None:
    if token is None:
        return None
    doubled = f"{name}.{zone}"
    return Proof(name, token, seen[Question(name, RecordType.TXT)], doubled, seen[Question(doubled, RecordType.TXT)])


def _nobody() -> str:
    """A label that nobody has."""
    return f"miosa-{secrets.token_hex(8)}"
