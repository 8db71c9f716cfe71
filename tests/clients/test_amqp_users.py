"""pika and aio-pika with users: who comes in, what is refused, what is taken away meanwhile."""

import asyncio
import contextlib
import select

import aio_pika
import aiormq
import pika
import pytest
from amqp_wire import Line
from pika.exceptions import (
    AMQPError,
    ChannelClosedByBroker,
    ConnectionClosedByBroker,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)
from served_users import SECRET, ServedUsers
from serving import DEADLINE_S, Serving

from logstore.amqp import methods
from logstore.amqp.frames import HEARTBEAT_FRAME

ALL = ".*", ".*", ".*"
DENIED = "ACCESS_REFUSED - {} refused for user '{}'"


@pytest.fixture(scope="module")
def broker(tmp_path_factory):
    """One that answers who guesses at once."""
    running = Serving(
        tmp_path_factory.mktemp("amqp") / "data", resp_port=-1, amqp_port=0,
        connection_failed_authentication_delay_ms=0,
    )  # fmt: skip
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


@pytest.fixture(scope="module")
def users(broker):
    yield ServedUsers(broker)
    assert SECRET not in broker.errors()


@pytest.fixture
def al(users):
    """One who may do everything, until the test says otherwise."""
    users.add("al")
    users.permit("al", *ALL)
    yield "al"
    with contextlib.suppress(Exception):  # a test may have deleted him
        users.delete("al")


@pytest.fixture
def connect(broker, users):
    with contextlib.ExitStack() as left:

        def run(name, password=SECRET, **given):
            host, port = broker.amqp
            credentials = pika.PlainCredentials(name, password)
            connection = pika.BlockingConnection(
                pika.ConnectionParameters(host, port, credentials=credentials, **given)
            )
            left.callback(close, connection)
            return connection

        yield run


def close(connection):
    if connection.is_open:
        with contextlib.suppress(AMQPError):
            connection.close()


def listen(connection):
    """For as long as it is open."""
    while True:
        connection.process_data_events(time_limit=DEADLINE_S)


def test_a_user_does_what_he_may_and_is_told_what_he_may_not(connect, users, al):
    root = connect("root").channel()
    root.queue_declare("letters")
    root.exchange_declare("post", "fanout")
    root.queue_bind("letters", "post")
    users.permit("al", write="^post$")
    users.allow("al", "read", "queue", "letters")  # in the other language
    channel = connect("al").channel()
    channel.confirm_delivery()
    channel.basic_publish("post", "", b"hello")
    assert channel.basic_get("letters", auto_ack=True)[2] == b"hello"
    with pytest.raises(ChannelClosedByBroker) as told:
        channel.queue_declare("letters")
    what = "configure access to queue 'letters' in vhost '/'"
    assert told.value.args == (403, DENIED.format(what, "al"))
    users.disallow("al", "read", "queue", "letters")
    channel = connect("al").channel()
    with pytest.raises(ChannelClosedByBroker, match="read access to queue 'letters'"):
        channel.basic_get("letters")


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "password"), [("root", "x"), ("root", ""), ("no", SECRET), ("guest", "guest")]
)
def test_whoever_has_no_password_stays_outside(connect, name, password):
    with pytest.raises(ProbableAuthenticationError, match="Login was refused"):
        connect(name, password)


@pytest.mark.long
def test_who_has_nothing_in_a_host_stays_outside(connect, users):
    users.add("lone")
    with pytest.raises(ProbableAccessDeniedError, match="access to vhost '/' refused for user"):
        connect("lone")
    users.delete("lone")


@pytest.mark.long
def test_routing_keys_are_permitted_too(connect, users, al):
    channel = connect("al").channel()
    channel.exchange_declare("news", "topic")
    users.permit_keys("al", "news", write=r"^{username}\.")
    channel.confirm_delivery()
    channel.basic_publish("news", "al.sports", b"x")
    with pytest.raises(
        ChannelClosedByBroker, match=r"write access to topic 'bo\.sports' in exchange"
    ):
        channel.basic_publish("news", "bo.sports", b"x")


@pytest.mark.long
def test_a_consumer_hears_that_it_may_not_go_on(connect, users, al):
    channel = connect("al").channel()
    channel.queue_declare("taken", exclusive=True)
    gone = []
    channel.add_on_cancel_callback(gone.append)
    tag = channel.basic_consume("taken", lambda *_: None)
    users.permit("al", ".*", ".*", "")
    while not gone:
        channel.connection.process_data_events(time_limit=DEADLINE_S)
    assert [it.method.consumer_tag for it in gone] == [tag]
    users.permit("al", *ALL)
    assert channel.basic_get("taken") == (None, None, None)  # the channel goes on


@pytest.mark.long
def test_the_connection_of_a_user_that_is_deleted_is_closed(connect, users, al):
    connection = connect("al")
    connection.channel()
    users.delete("al")
    with pytest.raises(ConnectionClosedByBroker) as told:
        listen(connection)
    assert told.value.args == (320, "CONNECTION_FORCED - user 'al' is deleted")


@pytest.mark.long
def test_a_new_password_is_good_at_once_and_the_old_one_is_not(connect, users, al):
    open_before = connect("al")
    users.passwd("al", "another secret")
    with pytest.raises(ProbableAuthenticationError):
        connect("al")
    connect("al", "another secret").channel()
    open_before.update_secret("another secret", "it has changed")
    with pytest.raises(ConnectionClosedByBroker, match="New secret was refused"):
        open_before.update_secret(SECRET, "it has not")


@pytest.mark.long
def test_aio_pika_as_a_user(broker, users, al):
    host, port = broker.amqp

    async def run():
        connection = await aio_pika.connect(
            host=host, port=port, login="al", password=SECRET, timeout=DEADLINE_S
        )
        async with connection:
            channel = await connection.channel()
            queue = await channel.declare_queue("aio", exclusive=True)
            await channel.default_exchange.publish(aio_pika.Message(b"1"), "aio")
            assert (await queue.get(timeout=DEADLINE_S, no_ack=True)).body == b"1"
            users.permit("al", ".*", "", ".*")
            with pytest.raises(aiormq.exceptions.ChannelAccessRefused, match="write access"):
                await channel.default_exchange.publish(aio_pika.Message(b"2"), "aio")
        closed = asyncio.get_running_loop().create_future()
        connection = await aio_pika.connect(
            host=host, port=port, login="al", password=SECRET, timeout=DEADLINE_S
        )
        connection.close_callbacks.add(lambda _, reason: closed.set_result(reason))
        await asyncio.to_thread(users.delete, "al")
        reason = await asyncio.wait_for(closed, DEADLINE_S)
        assert "user 'al' is deleted" in str(reason)
        with pytest.raises(aiormq.exceptions.ProbableAuthenticationError):
            await aio_pika.connect(host=host, port=port, login="al", password=SECRET)

    asyncio.run(run())


@pytest.mark.long
def test_the_first_user_ends_the_connections_of_guest(start):
    server = start(resp_port=-1, amqp_port=0)
    host, port = server.amqp
    guest = pika.BlockingConnection(pika.ConnectionParameters(host, port))
    ServedUsers(server)
    with pytest.raises(ConnectionClosedByBroker) as told:
        listen(guest)
    assert told.value.args == (
        320,
        "CONNECTION_FORCED - there are users now: log in as one of them",
    )
    with pytest.raises(ProbableAuthenticationError):
        pika.BlockingConnection(pika.ConnectionParameters(host, port))
    assert SECRET not in server.errors()


def beat(sock):
    """For as long as it is open, and no longer than DEADLINE_S: what is not read stays there."""
    sock.settimeout(DEADLINE_S)
    while True:
        sock.sendall(HEARTBEAT_FRAME)
        select.select([], [], [sock], 0.01)


@pytest.mark.long
def test_a_deleted_user_that_reads_nothing_loses_his_connection_too(broker, users, al, connect):
    """What he was to be sent is no use to wait for."""
    root = connect("root").channel()
    root.queue_declare("much")
    for _ in range(64):
        root.basic_publish("", "much", bytes(1 << 20))
    line = Line(broker.amqp, "/", [1], login=f"\0al\0{SECRET}".encode())
    line.tell(1, methods.BasicConsume(0, "much", "c", False, True, False, False, {}))
    left = 0
    while left != (now := root.queue_declare("much", passive=True).method.message_count):
        left = now  # until it is full, as a rule; else it is cut off when it answers no Close
    users.delete("al")
    with pytest.raises(ConnectionError):
        beat(line.socket)
    line.end()
    root.queue_delete("much")
