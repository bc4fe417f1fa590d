"""What a new machine gets beside what was asked for: its size and its numbers, and what its workspace says of computers."""

from typing import cast

from router.routes.records import Kind
from router.tenancy.resources import ResourceDetails
from router.tenancy.sizes import DEFAULT, SIZES, size_named, size_of
from router.tenancy.transaction import Tx
from router.tenancy.validation import Fields
from router.tenancy.workspaces import Workspace


def with_defaults(workspace: Workspace, details: ResourceDetails) -> ResourceDetails:
    """A computer's details with what its workspace says where they say nothing."""
    caps = workspace.caps
    size = details.get("size") or caps.get("default_computer_size")
    auto_stop = details.get("auto_stop_seconds")
    if auto_stop is None:
        auto_stop = caps.get("default_auto_stop_seconds")
    return {**details, "size": size, "auto_stop_seconds": auto_stop}


async def check_caps(tx: Tx, workspace: Workspace, details: ResourceDetails) -> None:
    """Raises RouterError VALIDATION_FAILED where one more such computer is more than the workspace allows."""
    caps, size = workspace.caps, details.get("size")
    fields = Fields()
    top = caps.get("max_computer_size")
    if size is not None and top is not None and SIZES[size].rank > SIZES[top].rank:
        fields.add("size", f"must be at most {top} in this workspace")
    allowed = caps.get("allowed_template_types") or ()
    if allowed and details.get("template_type") not in allowed:
        fields.add("template_type", "is not allowed in this workspace")
    max_computers = caps.get("max_computers")
    if (
        max_computers is not None
        and (await tx.workspaces.contents(workspace.id)).get(Kind.COMPUTER, 0) >= max_computers
    ):
        fields.add("workspace_id", f"has its maximum of {max_computers} computer(s)")
    fields.check()


def sandbox_size(details: ResourceDetails) -> str | None:
    """The size of a new sandbox. Numbers that are given count for more than a size that says otherwise."""
    vcpus, memory = details.get("vcpus"), details.get("memory_mb")
    if vcpus is None and memory is None:
        return details.get("size") or DEFAULT
    name = details.get("size")
    if name is not None:
        size = size_of(Kind.SANDBOX, name)
        if vcpus in (None, size.vcpus) and memory in (None, size.memory_mb):
            return name
    return size_named(Kind.SANDBOX, vcpus, memory)


def measured(kind: Kind, details: ResourceDetails) -> ResourceDetails:
    """The details with the numbers that the size stands for, or with the size that has these numbers."""
    name = details.get("size") or size_named(kind, details.get("vcpus"), details.get("memory_mb"))
    if name is None:
        return details
    size = size_of(kind, name)
    whole: ResourceDetails = {
        "size": name,
        "vcpus": size.vcpus,
        "memory_mb": size.memory_mb,
        "disk_gb": size.disk_gb,
    }
    given = {key: value for key, value in details.items() if value is not None or key not in whole}
    return cast("ResourceDetails", {**whole, **given})
