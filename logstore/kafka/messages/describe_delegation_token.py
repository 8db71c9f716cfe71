"""DescribeDelegationToken (key 41), versions 1 to 3."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, blob, int16, int32, int64, string


@dataclass(slots=True)
class DescribeDelegationTokenOwner:
    principal_type: str = string()
    principal_name: str = string()


@dataclass(slots=True)
class Request:
    owners: Sequence[DescribeDelegationTokenOwner] | None = array(
        DescribeDelegationTokenOwner, nullable=True
    )


@dataclass(slots=True)
class DescribedDelegationTokenRenewer:
    principal_type: str = string()
    principal_name: str = string()


@dataclass(slots=True)
class DescribedDelegationToken:
    principal_type: str = string()
    principal_name: str = string()
    token_requester_principal_type: str = string(since=3)
    token_requester_principal_name: str = string(since=3)
    issue_timestamp: int = int64()
    expiry_timestamp: int = int64()
    max_timestamp: int = int64()
    token_id: str = string()
    hmac: bytes = blob()
    renewers: Sequence[DescribedDelegationTokenRenewer] = array(DescribedDelegationTokenRenewer)


@dataclass(slots=True)
class Response:
    error_code: int = int16()
    tokens: Sequence[DescribedDelegationToken] = array(DescribedDelegationToken)
    throttle_time_ms: int = int32()
