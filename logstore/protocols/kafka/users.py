"""Requests about delegation tokens, which do not exist here: all are refused."""

from typing import Final

from logstore.kafka.messages import (
    describe_delegation_token as token_messages,
)
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.handler import handler


def describe_tokens(
    client: KafkaClient, version: int, request: token_messages.Request
) -> token_messages.Response:
    """Key 41: refused as in Kafka for a client that has not authenticated."""
    return token_messages.Response(errors.DELEGATION_TOKEN_REQUEST_NOT_ALLOWED)


HANDLERS: Final = {
    41: handler(token_messages.Request, token_messages.Response, describe_tokens),
}
