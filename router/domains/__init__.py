"""A domain's life, without HTTP or SQL: which names may be registered, by whom, and what state they are in."""

from router.domains.custom import CustomDomain, CustomDomains, DomainFilter
from router.domains.preview import PreviewDomain, PreviewDomains, PreviewStatus, effective
from router.domains.redirects import RedirectPolicy, redirect_target
from router.domains.verification import Verification

__all__ = [
    "CustomDomain",
    "CustomDomains",
    "DomainFilter",
    "PreviewDomain",
    "PreviewDomains",
    "PreviewStatus",
    "RedirectPolicy",
    "Verification",
    "effective",
    "redirect_target",
]
