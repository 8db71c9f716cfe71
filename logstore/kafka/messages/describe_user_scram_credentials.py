"""DescribeUserScramCredentials (key 50), versions 0 to 0."""

from collections.abc import Sequence
from dataclasses import dataclass

from logstore.kafka.schema import array, int8, int16, int32, string


@dataclass(slots=True)
class UserName:
    name: str = string()


@dataclass(slots=True)
class Request:
    users: Sequence[UserName] | None = array(UserName, nullable=True)


@dataclass(slots=True)
class CredentialInfo:
    mechanism: int = int8()
    iterations: int = int32()


@dataclass(slots=True)
class DescribeUserScramCredentialsResult:
    user: str = string()
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    credential_infos: Sequence[CredentialInfo] = array(CredentialInfo)


@dataclass(slots=True)
class Response:
    throttle_time_ms: int = int32()
    error_code: int = int16()
    error_message: str | None = string(nullable=True, default=None)
    results: Sequence[DescribeUserScramCredentialsResult] = array(
        DescribeUserScramCredentialsResult
    )
