"""The fleet's account at the authority: one for each directory, whose key is sealed in the store."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """`uri` None: made, but not known to be registered. `next_sealed_key` is there while the key is being replaced: until that has
    ended the authority knows the account by either of the two."""

    directory: str
    uri: str | None = None
    sealed_key: str
    next_sealed_key: str | None = None
    created_at: datetime

    def __repr__(self) -> str:
        return f"<Account {self.uri} at {self.directory}>"


def account_key_purpose(directory: str) -> str:
    """What an account's key is sealed for; the next one too."""
    return f"acme_accounts:{directory}:key"


class AccountRows(Protocol):
    """Stored accounts."""

    async def get(self, directory: str) -> Account | None: ...

    async def make(self, account: Account) -> Account:
        """Store it, unless there is one: the one that is there then."""

    async def save(self, account: Account) -> None: ...
