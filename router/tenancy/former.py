"""Whose the names are that a deleted tenant has left: nobody's, and nobody may take them while they are remembered."""

from typing import Final

FORMER: Final = "00000000-0000-0000-0000-000000000000"
"""The id of a tenant, a workspace, a project and a resource that stand for those which are gone. They are in no list."""
