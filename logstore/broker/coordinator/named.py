"""Checks that a request names an existing member: the same rules for groups of both protocols."""

from collections.abc import Mapping
from typing import Protocol, TypeVar

from logstore.broker.coordinator.refusal import GroupError, Refusal


class Named(Protocol):
    """A member, by the id that the group gave it."""

    @property
    def id(self) -> str: ...


_M = TypeVar("_M", bound=Named)


def known(members: Mapping[str, _M], member_id: str) -> _M:
    """Return the member. Raises Refusal: UNKNOWN_MEMBER_ID."""
    member = members.get(member_id)
    if member is None:
        raise Refusal(GroupError.UNKNOWN_MEMBER_ID, f"no member {member_id!r}")
    return member


def check_instance(instance_id: str, member_id: str, holder: Named | None) -> None:
    """Check that ``holder``, the static member of this instance (KIP-345), has this id.

    Raises Refusal: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID.
    """
    if holder is None:
        raise Refusal(GroupError.UNKNOWN_MEMBER_ID, f"no instance {instance_id!r}")
    if holder.id != member_id:
        raise Refusal(
            GroupError.FENCED_INSTANCE_ID, f"instance {instance_id!r} is another member now"
        )
