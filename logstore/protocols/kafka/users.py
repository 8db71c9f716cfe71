"""What users could have, and have not here: quotas, delegation tokens.

Looking for them finds nothing, taking away what is not there does nothing, adding is refused.
"""

from typing import Final

from logstore.kafka.messages import (
    alter_client_quotas as alter_quotas_messages,
)
from logstore.kafka.messages import (
    describe_client_quotas as quotas_messages,
)
from logstore.kafka.messages import (
    describe_delegation_token as token_messages,
)
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.handler import handler


def describe_quotas(
    client: KafkaClient, version: int, request: quotas_messages.Request
) -> quotas_messages.Response:
    """Key 48."""
    return quotas_messages.Response()


def alter_quotas(
    client: KafkaClient, version: int, request: alter_quotas_messages.Request
) -> alter_quotas_messages.Response:
    """Key 49."""

    def told(it: alter_quotas_messages.EntryData) -> tuple[int, str | None]:
        if all(op.remove for op in it.ops):
            return errors.NONE, None
        return errors.POLICY_VIOLATION, "there are no quotas here"

    return alter_quotas_messages.Response(
        entries=[
            alter_quotas_messages.ResponseEntryData(
                *told(it),
                [
                    alter_quotas_messages.ResponseEntityData(one.entity_type, one.entity_name)
                    for one in it.entity
                ],
            )
            for it in request.entries
        ]
    )


def describe_tokens(
    client: KafkaClient, version: int, request: token_messages.Request
) -> token_messages.Response:
    """Key 41: as Kafka says to whoever has not authenticated."""
    return token_messages.Response(errors.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED)


HANDLERS: Final = {
    41: handler(token_messages.Request, token_messages.Response, describe_tokens),
    48: handler(quotas_messages.Request, quotas_messages.Response, describe_quotas),
    49: handler(alter_quotas_messages.Request, alter_quotas_messages.Response, alter_quotas),
}
