"""Where visitors of a domain with a redirect policy are sent."""

import pytest

from router.domains.redirects import RedirectPolicy, redirect_target


@pytest.mark.parametrize(
    ("fqdn", "policy", "target"),
    [
        ("www.example.com", "www_to_apex", "example.com"),
        ("example.com", "www_to_apex", None),
        ("example.com", "apex_to_www", "www.example.com"),
        ("www.example.com", "apex_to_www", None),
        ("www.example.com", "none", None),
        ("example.com", "none", None),
        ("app.example.com", "www_to_apex", None),
        ("app.example.com", "apex_to_www", "www.app.example.com"),
        ("www.com", "www_to_apex", None),
        ("wwww.example.com", "www_to_apex", None),
    ],
)
def test_targets(fqdn: str, policy: str, target: str | None) -> None:
    """A policy acts on the host that it says to leave, and is silent on the other."""
    assert redirect_target(fqdn, RedirectPolicy(policy)) == target


@pytest.mark.parametrize("policy", list(RedirectPolicy))
@pytest.mark.parametrize("fqdn", ["example.com", "www.example.com", "www.www.example.com"])
def test_the_target_of_a_policy_stays(fqdn: str, policy: RedirectPolicy) -> None:
    """With one policy on both, whoever was sent somewhere is not sent on from there for ever."""
    seen = [fqdn]
    while (target := redirect_target(seen[-1], policy)) is not None:
        assert target not in seen
        seen.append(target)
