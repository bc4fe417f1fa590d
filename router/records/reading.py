"""From packs to records and totals: decoding, sampling, counting. It runs in a thread of its own; see `keeper.py`."""

from time import sleep
from typing import Final

from router.observe.secrets import mask_keys
from router.records.packing import id_bytes, unpack
from router.records.record import CAPTURED, REPLAY, TUNNEL, Row, fault_of, is_client_error, is_error, network_of
from router.records.route_patterns import route_of
from router.records.sampling import Sampler
from router.records.tenant_series import TenantSeries
from router.records.totals import Counting

_MICROSECONDS: Final = 1e6
_ALWAYS: Final = CAPTURED | REPLAY  # what is looked up by its record is never left out by sampling


class PackReader:
    """Makes records of packs, as many as sampling leaves, and counts all. Used by one thread at a time."""

    def __init__(self, per_second: int, tenants: TenantSeries | None = None) -> None:
        self._tenants = tenants
        self._sampler = Sampler(per_second)
        self.counting = Counting()
        self.sampled_out = 0  # since the start

    def read(self, data: bytes, epoch: float, now: float, into: list[Row]) -> None:
        """Append a pack's records to `into`, numbered by their places there. `epoch` is the wall-clock time (seconds since
        1970) of the monotonic instant 0, `now` the time. Raises ValueError where it is no pack."""
        self._sampler.begin(now)
        tenants = self._tenants
        if tenants is not None:
            tenants.begin(now)
        counting, sampler = self.counting, self._sampler
        for (
            ended, seconds, first_byte, queue, dial, wake, received, sent, status, raw_ending, flags, raw_tenant,
            raw_resource, request_id, raw_method, raw_path, host, client, error, version, trace, _resolve,
        ) in unpack(data):  # fmt: skip
            tenant, resource = id_bytes(raw_tenant), id_bytes(raw_resource)
            at, total = int((ended + epoch) * _MICROSECONDS), max(0, int(seconds * _MICROSECONDS))
            ending = raw_ending.decode("ascii")
            method, path = text_of(raw_method), text_of(mask_keys(raw_path))
            counting.add(
                tenant,
                resource,
                at,
                route_of(method, path),
                ending,
                status,
                received,
                sent,
                -1 if flags & TUNNEL else total,
            )
            failed = is_error(ending, status)
            if tenants is not None:
                tenants.add(tenant, received, sent, error=failed, client_error=is_client_error(status))
            weight = sampler.weigh(resource, error=bool(flags & _ALWAYS) or failed)
            if not weight:
                self.sampled_out += 1
                continue
            details = (
                f"{received} {sent} {int(first_byte * _MICROSECONDS)} {int(queue * _MICROSECONDS)} "
                f"{int(dial * _MICROSECONDS)} {int(wake * _MICROSECONDS)} {flags} {weight} {network_of(client)} "
                f"{error.decode('ascii')} {version.decode('ascii')} {trace[:16].hex()}"
            )
            into.append(
                (
                    tenant, len(into), resource, at, text_of(request_id), text_of(host), method, path, status, ending,
                    fault_of(ending, status), total, details,
                )
            )  # fmt: skip
        sleep(0)  # whoever waits for the interpreter has it between two packs


def text_of(raw: bytes) -> str:
    """What a stranger sent, as text that any database takes."""
    if raw.isascii() and b"\0" not in raw:
        return raw.decode("ascii")
    return raw.decode("utf-8", "backslashreplace").replace("\0", "\\x00")
