"""certificates.challenges.ChallengeRecords by dynamic updates (RFC 2136) of the operator's own primary name server, signed by
TSIG (RFC 8945).

An update replaces the TXT records of one name, `<token>.<zone>`, or takes single ones of them away. A token is ours alone, so nothing
else is touched, and an update that is sent again changes nothing. It has no prerequisites. Messages go over TCP, so nothing is cut off. What the
primary says counts as done only where it has signed it with the same key.

After an update the primary is asked until it answers the values itself, and then every name server of the zone, as an
authority may ask any of them.
"""

import asyncio
import struct
from collections.abc import Callable, Sequence
from typing import cast

import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.TXT
import dns.tsig
import dns.update

from router.base.clock import Clock
from router.certificates.challenges import ChallengeError
from router.dns.published import WITHIN, can_not_be_asked, wait_until_answered
from router.domains.lookup import Lookup
from router.settings import DnsUpdate

TTL = 1  # seconds: these values must not hide the next order's
EXCHANGE = 5.0  # seconds for one message to the primary and its answer
PAUSE = 0.2  # seconds between two looks at the primary
_MAX_ANSWER = 16 * 1024  # bytes; one needs some hundred
_LENGTH = struct.Struct("!H")

# What the primary may say (RFC 2136 section 2.2, RFC 8945 section 5.3.2), and what to do about it.
_REFUSALS = {
    dns.rcode.NOTAUTH: "it is not in charge of {zone} (NOTAUTH): `acme_dns_update` has to name the primary of `acme_zone`",
    dns.rcode.REFUSED: "it refuses the key {key} (REFUSED): its policy has to let that key change TXT records in {zone}",
    dns.rcode.NOTZONE: "the name is not in its zone (NOTZONE): {zone} has to be a zone of its own there",
    dns.rcode.NOTIMP: "it takes no dynamic updates (NOTIMP): allow them for {zone}",
    dns.rcode.SERVFAIL: "it could not carry it out (SERVFAIL): its log says why",
}
_KEY_PROBLEMS = {
    dns.tsig.PeerBadKey: "it does not know the key {key} with that algorithm, or lets it change nothing in {zone} (BADKEY): compare `acme_dns_key_name` and `acme_dns_key_algorithm` with its own",
    dns.tsig.PeerBadSignature: "its key {key} has another secret (BADSIG): compare `acme_dns_key`",
    dns.tsig.PeerBadTruncation: "it wants longer signatures (BADTRUNC)",
    dns.tsig.BadSignature: "its answer is signed with another secret than `acme_dns_key`",
    dns.tsig.BadTime: "its answer was signed more than 5 minutes ago, or ahead of our clock: compare the two clocks",
    dns.tsig.BadKey: "its answer is signed with another key than {key}",
    dns.tsig.BadAlgorithm: "its answer is signed with another algorithm than ours",
}


class _RefusedError(Exception):
    """The primary's no, in words."""


class DnsUpdates:
    """Updates `zone`. `lookup` asks all of the zone's name servers. `within` is in seconds."""

    def __init__(self, zone: str, primary: DnsUpdate, lookup: Lookup, clock: Clock, *, within: float = WITHIN) -> None:
        self._zone = dns.name.from_text(zone)
        self._primary = primary
        self._lookup = lookup
        self._clock = clock
        self._within = within
        self._key = dns.tsig.Key(
            primary.key_name, primary.key.get_secret_value(), dns.name.from_text(primary.algorithm)
        )

    async def publish(self, token: str, values: Sequence[str]) -> None:
        """See ChallengeRecords. Name servers of the zone that can't be reached from here are not waited for."""
        until = self._clock.monotonic() + self._within
        name = dns.name.from_text(token, self._zone)
        update = dns.update.UpdateMessage(self._zone)
        update.delete(name, dns.rdatatype.TXT)
        for value in values:
            update.add(name, TTL, _text(value))
        wanted = {value.encode() for value in values}
        await self._carry_out(update, name, lambda answered: answered == wanted, until)
        await self._everywhere(name, values, until)

    async def withdraw(self, token: str, values: Sequence[str]) -> None:
        """See ChallengeRecords."""
        until = self._clock.monotonic() + self._within
        name = dns.name.from_text(token, self._zone)
        update = dns.update.UpdateMessage(self._zone)
        for value in values:
            update.delete(name, _text(value))
        unwanted = {value.encode() for value in values}
        await self._carry_out(update, name, unwanted.isdisjoint, until)

    async def _carry_out(
        self, update: dns.update.UpdateMessage, name: dns.name.Name, is_done: Callable[[set[bytes]], bool], until: float
    ) -> None:
        """Let the primary do it, and answer values of the name with which it `is_done`. Raises ChallengeError."""
        step = "it did not answer the update"
        try:
            async with asyncio.timeout(until - self._clock.monotonic()):
                self._check(await self._exchange(update))
                step = "it took the update, and did not answer the new values"
                while True:
                    if is_done(await self._texts(name)):
                        return
                    await asyncio.sleep(PAUSE)
        except TimeoutError:
            raise self._error(f"{step} in time") from None
        except OSError as error:
            raise self._error(f"it could not be reached: {error.strerror or error}") from error
        except _RefusedError as error:
            raise self._error(str(error)) from error

    async def _texts(self, name: dns.name.Name) -> set[bytes]:
        """The TXT values that the primary answers now."""
        query = dns.message.make_query(name, dns.rdatatype.TXT, flags=0)
        answer = await self._exchange(query)
        if answer.rcode() == dns.rcode.NXDOMAIN and answer.had_tsig:
            return set()
        self._check(answer)
        found = answer.get_rrset(dns.message.ANSWER, name, dns.rdataclass.IN, dns.rdatatype.TXT)
        return set() if found is None else {b"".join(rdata.strings) for rdata in found}

    def _check(self, answer: dns.message.Message) -> None:
        """Whether the primary has done it. Raises _RefusedError."""
        rcode = answer.rcode()
        if rcode != dns.rcode.NOERROR:
            words = _REFUSALS.get(rcode, f"it said {dns.rcode.to_text(rcode)}")
            raise _RefusedError(self._filled(words))
        if not answer.had_tsig:
            raise _RefusedError("it did not sign its answer, so it may be anybody's")

    async def _exchange(self, message: dns.message.Message) -> dns.message.Message:
        """The primary's answer to a message. Raises OSError, TimeoutError and _RefusedError."""
        message.use_tsig(self._key)
        wire = message.to_wire()
        async with asyncio.timeout(EXCHANGE):
            reader, writer = await asyncio.open_connection(self._primary.host, self._primary.port)
            try:
                writer.write(_LENGTH.pack(len(wire)) + wire)
                (size,) = _LENGTH.unpack(await reader.readexactly(_LENGTH.size))
                if size > _MAX_ANSWER:
                    raise _RefusedError(f"its answer has {size} bytes")
                answer = await reader.readexactly(size)
            except asyncio.IncompleteReadError:
                raise _RefusedError("it closed the connection without an answer") from None
            finally:
                cast(asyncio.Transport, writer.transport).abort()
        return self._read(answer, message)

    def _read(self, wire: bytes, asked: dns.message.Message) -> dns.message.Message:
        try:
            answer = dns.message.from_wire(wire, keyring=False)
            if answer.had_tsig:  # what is not signed may still be an error, in words
                answer = dns.message.from_wire(wire, keyring=self._key, request_mac=asked.mac)
        except dns.tsig.PeerBadTime:
            raise _RefusedError(_clocks(answer, asked)) from None
        except (dns.tsig.PeerError, *_KEY_PROBLEMS) as error:
            words = _KEY_PROBLEMS.get(type(error), f"it rejects our signature ({type(error).__name__})")
            raise _RefusedError(self._filled(words)) from None
        except Exception as error:  # noqa: BLE001 - whatever the library makes of foreign bytes, they are no answer
            raise _RefusedError(f"its answer is malformed ({type(error).__name__})") from None
        if answer.id != asked.id or not asked.is_response(answer):
            raise _RefusedError("its answer is one to something else")
        return answer

    async def _everywhere(self, name: dns.name.Name, values: Sequence[str], until: float) -> None:
        """Wait for the zone's other name servers. Raises ChallengeError where they answer, and answer something else."""
        shown = name.to_text(omit_final_dot=True)
        answer = await wait_until_answered(self._lookup, self._clock, shown, values, until)
        if answer is None or can_not_be_asked(answer):
            return
        others = ", ".join(one.server for one in answer.servers if set(one.values) != set(values))
        raise self._error(
            f"it answers the values, and {others or 'what the Internet asks'} does not in time: its secondaries have to"
            " hear of changes at once (NOTIFY), and the parent zone has to delegate to them"
        )

    def _filled(self, words: str) -> str:
        return words.format(zone=self._zone.to_text(omit_final_dot=True), key=self._primary.key_name)

    def _error(self, words: str) -> ChallengeError:
        host, port = self._primary.host, self._primary.port
        where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        return ChallengeError(f"The name server at {where} (`acme_dns_update`): {words}.")


def _text(value: str) -> dns.rdtypes.ANY.TXT.TXT:
    return dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, dns.rdatatype.TXT, [value.encode()])


def _clocks(answer: dns.message.Message, asked: dns.message.Message) -> str:
    """RFC 8945 section 5.2.3: an answer with BADTIME has the server's time as other data."""
    words = "its clock and ours differ by more than 5 minutes (BADTIME)"
    theirs, ours = answer.tsig, asked.tsig
    if theirs is None or ours is None or len(theirs[0].other) != 6:
        return words
    ahead = ours[0].time_signed - int.from_bytes(theirs[0].other)
    return f"{words}: ours is {abs(ahead)} s {'ahead' if ahead > 0 else 'behind'}"
