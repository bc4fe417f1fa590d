"""Does it still open the preview? What somebody has come in by, or wants to: API keys, claims, sessions, cookies, and, as the
policy is now, the entry of who is in already. Pure."""

from router import errors
from router.access.cookies import Grant, is_believed
from router.access.entry import OPEN, Entry
from router.access.rules import AccessRules
from router.access.tokens import Claims
from router.base.key_scopes import KeyScope, read_scope
from router.errors import Problem
from router.routes.policies import SecretKind
from router.routes.records import SESSION_ID, KeyRecord, ResourceRecord, SessionRecord, SigningKeysRecord


def heard(rules: AccessRules, problem: Problem) -> Problem:
    """With `hide` only who had, or has, what opens the preview hears that it exists."""
    if rules.hide and problem.code in ("token_missing", "token_wrong", "address_not_allowed"):
        return errors.HOST_NOT_FOUND
    return problem


def judge_key(rules: AccessRules, record: KeyRecord | None, now: float) -> Problem | None:
    """Why an API key does not open the preview; None where it does."""
    if record is None or not _reaches(rules, record.scope, record.scope_id, record.tenant_id):
        return errors.TOKEN_WRONG
    if record.revoked:
        return errors.TOKEN_REVOKED
    return errors.TOKEN_EXPIRED if record.until is not None and now >= record.until else None


def key_reaches(resource: ResourceRecord, record: KeyRecord | None, now: float) -> bool:
    """Whether an API key is good, and its scope has that resource: of one that everybody may open."""
    if record is None or record.revoked or (record.until is not None and now >= record.until):
        return False
    owner = (resource.tenant_id, resource.workspace_id, resource.project_id)
    return _scope_has(*owner, record.scope, record.scope_id, record.tenant_id)


def claims_reach(rules: AccessRules, claims: Claims) -> bool:
    scope = read_scope(claims.scope)
    if scope is None:
        return False
    word, scope_id = scope
    tenant = rules.tenant_id if claims.tenant == rules.tenant_slug else claims.tenant
    return _reaches(rules, word, scope_id or "", tenant)


def _reaches(rules: AccessRules, scope: str, scope_id: str, tenant_id: str) -> bool:
    if rules.whole_tenant and tenant_id == rules.tenant_id:
        return True
    return _scope_has(rules.tenant_id, rules.workspace_id, rules.project_id, scope, scope_id, tenant_id)


def _scope_has(owner: str, workspace_id: str, project_id: str, scope: str, scope_id: str, tenant_id: str) -> bool:
    """Whether a scope of a key of `tenant_id` has a resource of that owner, workspace and project."""
    if scope == KeyScope.PLATFORM:
        return True
    if tenant_id != owner:
        return False
    if scope == KeyScope.TENANT:
        return True
    if scope == KeyScope.WORKSPACE:
        return scope_id == workspace_id
    return scope == KeyScope.PROJECT and scope_id == project_id


def judge_grant(rules: AccessRules, grant: Grant, now: float) -> Problem | None:
    """Why a cookie that we have signed does not open the preview; None where it does. A session is judged by `judge_session`."""
    if grant.resource_id != rules.resource_id or grant.port != rules.port:
        return errors.TOKEN_WRONG
    if grant.secret_id.startswith(SESSION_ID):
        if grant.generation != rules.generation or not rules.login:
            return errors.TOKEN_REVOKED
        return errors.TOKEN_EXPIRED if now >= grant.until else None
    secret = rules.secrets_by_id.get(grant.secret_id)
    if grant.generation != rules.generation or secret is None or secret.revoked:
        return errors.TOKEN_REVOKED
    if now >= grant.until or (secret.until is not None and now >= secret.until):
        return errors.TOKEN_EXPIRED
    return None


def judge_session(rules: AccessRules, record: SessionRecord | None, now: float) -> Problem | None:
    """Why a session does not open a preview that takes logins; None where it does. One that nobody knows any more has ended."""
    if record is None:
        return errors.TOKEN_REVOKED
    if record.tenant_id != rules.tenant_id:
        return errors.TOKEN_WRONG
    if record.revoked:
        return errors.TOKEN_REVOKED
    return errors.TOKEN_EXPIRED if now >= record.until else None


def judge_entry(
    rules: AccessRules, entry: Entry, client: str, now: float, signing: SigningKeysRecord | None
) -> Problem | None:
    """Why a visitor who came in by `entry`, before the policy was what it is, may stay no longer; None where they may. An
    API key is judged by `judge_key`, a session by `judge_session`. `signing` are the keys that sign cookies now, where they are known."""
    if now >= rules.until:
        return errors.PREVIEW_EXPIRED
    if not rules.takes_address(client):
        return heard(rules, errors.ADDRESS_NOT_ALLOWED)
    if rules.public:
        return None
    if entry is OPEN:
        return heard(rules, errors.TOKEN_MISSING)
    if now >= entry.until:
        return errors.TOKEN_EXPIRED
    if entry.claims is not None:
        return None if claims_reach(rules, entry.claims) else errors.TOKEN_WRONG
    if entry.issuers:
        return None if any(rule in rules.issuers for rule in entry.issuers) else errors.TOKEN_REVOKED
    if entry.key:
        return None
    if entry.session_id:
        if not rules.login or entry.generation != rules.generation:
            return errors.TOKEN_REVOKED
        return errors.TOKEN_WRONG if signing is not None and not is_believed(entry.signed_by, signing) else None
    secret = rules.secrets_by_id.get(entry.secret_id)
    if secret is None or secret.revoked or (entry.signed_by and entry.generation != rules.generation):
        return errors.TOKEN_REVOKED
    if entry.signed_by and signing is not None and not is_believed(entry.signed_by, signing):
        return errors.TOKEN_WRONG
    if rules.programs_only and (entry.signed_by or secret.kind is not SecretKind.PROGRAM):
        return errors.TOKEN_REVOKED
    return errors.TOKEN_EXPIRED if secret.until is not None and now >= secret.until else None
