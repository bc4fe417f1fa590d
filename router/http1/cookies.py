"""Which hosts a backend's cookies are for. A program may set a cookie for its own host; one for a whole zone would be sent
to other tenants' programs.

With `Domain=miosa.app` on a host of the platform's domain, a program could log other tenants' visitors in (session
fixation), or make their requests too large for any backend. Browsers prevent that at public suffixes only, so we remove
the attribute if it covers a zone: the cookie is then for the host alone (RFC 6265 §5.3, step 6).
"""

_SET_COOKIE = b"set-cookie:"
_BLANKS = bytes(range(33))  # what any browser might pass over


def narrow_cookies(lines: list[bytes], scope: bytes) -> list[bytes]:
    """The header lines with no cookie that reaches beyond `scope`, a lower-case domain."""
    return [narrowed(line, scope) if line[: len(_SET_COOKIE)].lower() == _SET_COOKIE else line for line in lines]


def narrowed(line: bytes, scope: bytes) -> bytes:
    """A Set-Cookie line without any Domain attribute where one of them reaches beyond `scope`.

    Parsed as browsers do (RFC 6265 §5.2): attributes end at `;` whatever stands in quotes, names in any case, one leading
    dot. If it is unclear what a browser would make of an attribute, it is removed.
    """
    pair, *attributes = line.split(b";")
    domains = [_domain_of(attribute) for attribute in attributes]
    if all(domain is None or _is_within(domain, scope) for domain in domains):
        return line
    kept = (attribute for attribute, domain in zip(attributes, domains, strict=True) if domain is None)
    return b";".join((pair, *kept))


def _domain_of(attribute: bytes) -> bytes | None:
    """The value of a Domain attribute as a bare lower-case domain, None for any other attribute."""
    name, _, value = attribute.partition(b"=")
    if name.strip(_BLANKS).lower() != b"domain":
        return None
    return value.strip(_BLANKS).strip(b'"').strip(_BLANKS).removeprefix(b".").lower()


def _is_within(domain: bytes, scope: bytes) -> bool:
    """An empty one is the host's own (RFC 6265bis §5.6.3)."""
    return not domain or domain == scope or domain.endswith(b"." + scope)


def without_domain(line: bytes, names: frozenset[bytes]) -> bytes:
    """A Set-Cookie line without its Domain attributes where one of them covers one of these lower-case names."""
    pair, *attributes = line.split(b";")
    domains = [_domain_of(attribute) for attribute in attributes]
    if not any(domain and _is_within(name, domain) for domain in domains for name in names):
        return line
    kept = (attribute for attribute, domain in zip(attributes, domains, strict=True) if domain is None)
    return b";".join((pair, *kept))
