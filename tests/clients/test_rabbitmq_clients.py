"""pika and aio-pika against a server: what programs written for RabbitMQ do all day."""

import asyncio
import contextlib
import signal

import aio_pika
import pika
import pytest
from aio_pika.exceptions import ChannelNotFoundEntity, ProbableAuthenticationError
from pika.exceptions import (
    AMQPError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    NackError,
    UnroutableError,
)
from serving import DEADLINE_S


def close(connection):
    if connection.is_open:
        with contextlib.suppress(AMQPError):  # its server may be gone
            connection.close()


@pytest.fixture
def connect(broker):
    with contextlib.ExitStack() as left:

        def run(server=broker, **given):
            host, port = server.amqp
            given.setdefault("heartbeat", 30)
            connection = pika.BlockingConnection(pika.ConnectionParameters(host, port, **given))
            left.callback(close, connection)
            return connection

        yield run


def taken(channel, queue, count, ack=True):
    """So many messages of a queue, consumed."""
    found = []
    for method, properties, body in channel.consume(queue, inactivity_timeout=DEADLINE_S):
        assert method is not None, f"{len(found)} of {count} came"
        found.append((method, properties, body))
        if ack:
            channel.basic_ack(method.delivery_tag)
        if len(found) == count:
            break
    channel.cancel()
    return found


def test_routed_confirmed_consumed(connect):
    channel = connect().channel()
    channel.exchange_declare("events", "topic", durable=True)
    channel.queue_declare("mail", durable=True, arguments={"x-max-priority": 5})
    channel.queue_bind("mail", "events", "mail.#")
    channel.confirm_delivery()
    for priority in (1, 5, 3):
        channel.basic_publish(
            "events", "mail.new", b"%d" % priority,
            pika.BasicProperties(priority=priority, headers={"n": priority}), mandatory=True,
        )  # fmt: skip
    with pytest.raises(UnroutableError):
        channel.basic_publish("events", "other", b"x", mandatory=True)
    found = taken(channel, "mail", 3)
    assert [it[2] for it in found] == [b"5", b"3", b"1"]
    assert found[0][1].headers == {"n": 5}
    assert channel.queue_declare("mail", passive=True).method.message_count == 0


def test_dead_letters(connect):
    channel = connect().channel()
    channel.queue_declare("dead")
    channel.queue_declare(
        "work", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    )
    channel.basic_publish("", "work", b"poison")
    method, _, _ = channel.basic_get("work")
    channel.basic_reject(method.delivery_tag, requeue=False)
    ((_, properties, body),) = taken(channel, "dead", 1)
    assert body == b"poison"
    death = properties.headers["x-death"][0]
    assert (death["queue"], death["reason"], death["count"]) == ("work", "rejected", 1)


def test_a_full_queue_refuses(connect):
    channel = connect().channel()
    channel.queue_declare("full", arguments={"x-max-length": 1, "x-overflow": "reject-publish"})
    channel.confirm_delivery()
    channel.basic_publish("", "full", b"1")
    with pytest.raises(NackError):
        channel.basic_publish("", "full", b"2")


def test_a_channel_that_failed_leaves_the_connection(connect):
    connection = connect()
    channel = connection.channel()
    with pytest.raises(ChannelClosedByBroker, match="NOT_FOUND - no queue 'no' in vhost '/'"):
        channel.queue_declare("no", passive=True)
    assert connection.channel().queue_declare("").method.queue.startswith("amq.gen-")


def test_large_messages_in_small_frames(connect):
    channel = connect(frame_max=4096).channel()
    channel.queue_declare("large")
    body = bytes(range(256)) * 8192
    channel.basic_publish("", "large", body)
    assert channel.basic_get("large", auto_ack=True)[2] == body


def test_t23_an_exclusive_queue_is_free_again_after_each_of_many_reconnects(connect):
    for _ in range(50):
        connection = connect()
        connection.channel().queue_declare("mine", exclusive=True)
        connection.close()


def test_t28_a_request_and_its_reply(connect):
    connection = connect()
    channel, server = connection.channel(), connection.channel()
    server.queue_declare("rpc")
    server.basic_consume(
        "rpc",
        lambda ch, method, properties, body: ch.basic_publish(
            "", properties.reply_to, body.upper()
        ),
        auto_ack=True,
    )
    replies = []
    channel.basic_consume("amq.rabbitmq.reply-to", lambda *it: replies.append(it[3]), auto_ack=True)
    asked = pika.BasicProperties(reply_to="amq.rabbitmq.reply-to")
    channel.basic_publish("", "rpc", b"hello", asked)
    while not replies:
        connection.process_data_events(DEADLINE_S)
    assert replies == [b"HELLO"]


def test_t35_a_transaction(connect):
    connection = connect()
    channel, other = connection.channel(), connection.channel()
    channel.queue_declare("tx", durable=True)
    channel.tx_select()
    channel.basic_publish("", "tx", b"1")
    channel.tx_rollback()
    channel.basic_publish("", "tx", b"2")
    assert other.basic_get("tx") == (None, None, None)
    channel.tx_commit()
    assert other.basic_get("tx", auto_ack=True)[2] == b"2"


def test_a_wrong_password_is_told(connect):
    with pytest.raises(pika.exceptions.ProbableAuthenticationError, match="ACCESS_REFUSED"):
        connect(credentials=pika.PlainCredentials("guest", "wrong"))
    with pytest.raises(pika.exceptions.ProbableAccessDeniedError, match="vhost no not found"):
        connect(virtual_host="no")


def test_what_was_confirmed_is_there_after_kill_9(start, connect):
    server = start(amqp_port=0)
    channel = connect(server).channel()
    channel.queue_declare("kept", durable=True)
    channel.confirm_delivery()
    for n in range(20):
        channel.basic_publish("", "kept", b"%d" % n)
    for _ in range(5):
        method, _, _ = channel.basic_get("kept")
        channel.basic_ack(method.delivery_tag)
    channel.basic_get("kept")  # out, and not settled
    server.stop(signal.SIGKILL)
    channel = connect(start(amqp_port=0)).channel()
    found = []
    while (got := channel.basic_get("kept", auto_ack=True))[0] is not None:
        assert got[0].redelivered or int(got[2]) > 5
        found.append(int(got[2]))
    assert found == list(range(min(found), 20))
    assert min(found) <= 5  # those before were settled; that may not have been safe yet


def test_a_server_that_stops_tells_its_clients(start, connect):
    server = start(amqp_port=0)
    connection = connect(server)
    connection.channel()
    server.process.send_signal(signal.SIGTERM)
    with pytest.raises(ConnectionClosedByBroker, match="CONNECTION_FORCED"):
        connection.sleep(DEADLINE_S)
    assert server.stop() == (0, "")


# aio-pika


def url(broker):
    host, port = broker.amqp
    return f"amqp://guest:guest@{host}:{port}/"


def test_aio_pika_publishes_and_consumes(broker):
    async def run():
        connection = await aio_pika.connect_robust(url(broker))
        async with connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=10)
            exchange = await channel.declare_exchange("aio", aio_pika.ExchangeType.HEADERS)
            queue = await channel.declare_queue("aio", durable=True)
            await queue.bind(exchange, arguments={"x-match": "any", "kind": "a"})
            await asyncio.gather(*[
                exchange.publish(
                    aio_pika.Message(b"%d" % n, headers={"kind": "a"}, delivery_mode=2), ""
                )
                for n in range(100)
            ])  # fmt: skip
            found = []
            async with queue.iterator() as messages:
                async for message in messages:
                    async with message.process():
                        found.append(int(message.body))
                    if len(found) == 100:
                        break
            assert sorted(found) == list(range(100))
            with pytest.raises(ChannelNotFoundEntity):
                await channel.get_queue("nowhere")

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))


@pytest.mark.long
def test_aio_pika_with_a_wrong_password(broker):
    async def run():
        with pytest.raises(ProbableAuthenticationError):
            await aio_pika.connect(url(broker).replace("guest:guest", "guest:wrong"))

    asyncio.run(asyncio.wait_for(run(), DEADLINE_S))
