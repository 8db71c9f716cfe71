"""Login requests that are out of place: no login is required, or it is already done.

Clients require that these requests exist; each gets a refusal in its own form.
"""

from typing import Final

from logstore.kafka.messages import (
    sasl_authenticate as authenticate_messages,
)
from logstore.kafka.messages import (
    sasl_handshake as handshake_messages,
)
from logstore.protocols.kafka import errors
from logstore.protocols.kafka.client import KafkaClient
from logstore.protocols.kafka.handler import handler

NO_SASL: Final = "nobody has to authenticate here"
LOGGED_IN: Final = "SaslAuthenticate request received after successful authentication"


def sasl_handshake(
    client: KafkaClient, version: int, request: handshake_messages.Request
) -> handshake_messages.Response:
    """Key 17."""
    return handshake_messages.Response(errors.ILLEGAL_SASL_STATE)


def sasl_authenticate(
    client: KafkaClient, version: int, request: authenticate_messages.Request
) -> authenticate_messages.Response:
    """Key 36."""
    text = LOGGED_IN if client.rights.who.user else NO_SASL
    return authenticate_messages.Response(errors.ILLEGAL_SASL_STATE, text)


HANDLERS: Final = {
    17: handler(handshake_messages.Request, handshake_messages.Response, sasl_handshake),
    36: handler(authenticate_messages.Request, authenticate_messages.Response, sasl_authenticate),
}
