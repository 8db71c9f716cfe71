"""A client of AMQP 0-9-1 as thin as can be: what is told is sent as it is, all that comes is kept.

``Line`` is a connection with its channels. Replies are waited for; deliveries, returns and confirms
are kept by channel as they come. Whatever the server closes is opened again, and what it said is
among the replies.
"""

import socket
from contextlib import suppress
from typing import ClassVar, NamedTuple

from logstore.amqp import fields, frames, methods, properties

DEADLINE_S = 60
CAPABLE = {
    "capabilities": {
        "publisher_confirms": True, "basic.nack": True, "consumer_cancel_notify": True,
        "authentication_failure_close": True,
    }
}  # fmt: skip
ASKED = {
    methods.ConnectionClose: methods.ConnectionCloseOk,
    methods.ChannelOpen: methods.ChannelOpenOk,
    methods.ChannelClose: methods.ChannelCloseOk,
    methods.ChannelFlow: methods.ChannelFlowOk,
    methods.ExchangeDeclare: methods.ExchangeDeclareOk,
    methods.ExchangeDelete: methods.ExchangeDeleteOk,
    methods.ExchangeBind: methods.ExchangeBindOk,
    methods.ExchangeUnbind: methods.ExchangeUnbindOk,
    methods.QueueDeclare: methods.QueueDeclareOk,
    methods.QueueBind: methods.QueueBindOk,
    methods.QueueUnbind: methods.QueueUnbindOk,
    methods.QueuePurge: methods.QueuePurgeOk,
    methods.QueueDelete: methods.QueueDeleteOk,
    methods.BasicQos: methods.BasicQosOk,
    methods.BasicConsume: methods.BasicConsumeOk,
    methods.BasicCancel: methods.BasicCancelOk,
    methods.BasicGet: (methods.BasicGetOk, methods.BasicGetEmpty),
    methods.BasicRecover: methods.BasicRecoverOk,
    methods.ConfirmSelect: methods.ConfirmSelectOk,
    methods.TxSelect: methods.TxSelectOk,
    methods.TxCommit: methods.TxCommitOk,
    methods.TxRollback: methods.TxRollbackOk,
}  # fmt: skip
CARRIES = (methods.BasicDeliver, methods.BasicReturn, methods.BasicGetOk)


class Message(NamedTuple):
    """What came with a body."""

    method: tuple
    properties: properties.Properties
    body: bytes


class Closed(NamedTuple):
    """What the server said when it closed a channel or the connection."""

    what: str
    code: int
    text: str
    class_id: int
    method_id: int


class Channel:
    """What came on one, until it was closed."""

    def __init__(self, number):
        self.number = number
        self.replies = []
        self.deliveries = []
        self.returns = []
        self.cancelled = []
        self.confirms = {}  # by tag: whether it was taken
        self.sent = 0  # publishes since confirms were asked for
        self.confirming = False
        self.agreed = (0, 0, 0, 0)  # how much of these lists was looked at
        self.carrying = None  # [method, size, properties, body] of a message that is half here

    @property
    def unconfirmed(self):
        return self.sent - len(self.confirms) if self.confirming else 0


class Line:
    """A connection; ``vhost`` is opened by guest, or whoever logs in."""

    opened: ClassVar = []  # where they are ended if a test fails

    def __init__(self, address, vhost="/", channels=(), login=b"\0guest\0guest"):
        self.address, self.vhost, self.numbers = address, vhost, channels
        self.login = login
        self.past = []  # channels that are closed
        self.closings = []  # what the connection was closed with
        Line.opened.append(self)
        self.open()

    def open(self):
        self.socket = socket.create_connection(self.address, DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.data = b""
        self.channels = {0: Channel(0)}
        self.socket.sendall(frames.PROTOCOL)
        self._next(0, methods.ConnectionStart)
        told = methods.ConnectionStartOk(CAPABLE, "PLAIN", self.login, "en_US")
        self._send(0, told)
        tune = self._next(0, methods.ConnectionTune)
        self._send(0, methods.ConnectionTuneOk(tune.channel_max, tune.frame_max, 0))
        self.frame_max = tune.frame_max
        self._send(0, methods.ConnectionOpen(self.vhost))
        self._next(0, methods.ConnectionOpenOk)
        for number in self.numbers:
            self.open_channel(number)

    def open_channel(self, number):
        if number in self.channels:
            self.past.append(self.channels[number])
        self.channels[number] = Channel(number)
        self._send(number, methods.ChannelOpen())
        self._next(number, methods.ChannelOpenOk)

    def tell(self, number, method, properties_=None, body=b""):
        """Send a method; its reply, if there is one, joins the channel's replies."""
        channel = self.channels[number]
        kind = type(method)
        if kind is methods.BasicPublish:
            channel.sent += channel.confirming
            written = properties.write(properties_ or properties.Properties())
            header = frames.frame(frames.HEADER, number, properties.header(len(body), written))
            parts = frames.body_frames(number, body, self.frame_max)
            self._write(b"".join([frames.method_frame(number, method), header, *parts]))
            return None
        self._send(number, method)
        if kind not in ASKED:
            return None
        reply = self._next(number, ASKED[kind])
        if isinstance(reply, methods.ConfirmSelectOk):
            channel.confirming = True
        if not isinstance(reply, Closed):  # which is there already
            channel.replies.append(reply)
            if kind is methods.ChannelClose:
                self.open_channel(number)
        return reply

    def ask(self, number, method):
        """As ``tell``, outside the conversation: the reply is not kept."""
        self._send(number, method)
        return self._next(number, ASKED[type(method)])

    def drop(self):
        """Close the socket without a Close."""
        self.socket.close()
        self._begin_again()

    def close(self):
        """Close the connection cleanly; it is open again on return."""
        self._send(0, methods.ConnectionClose(200, "", 0, 0))
        self._next(0, methods.ConnectionCloseOk)
        self.socket.close()
        self._begin_again()

    def _begin_again(self):
        self.past += [it for number, it in self.channels.items() if number]
        self.open()

    def end(self):
        self.socket.close()

    def _send(self, number, method):
        self._write(frames.method_frame(number, method))

    def _write(self, data):
        with suppress(BrokenPipeError, ConnectionResetError):  # earlier input is still read
            self.socket.sendall(data)

    def _next(self, number, kinds):
        """The next method of these kinds on the channel, or the Closed that arrived instead."""
        while True:
            frame = self._frame()
            came = self._file(*frame)
            if isinstance(came, Closed):
                return came
            if came is not None and came[0] == number and isinstance(_method(came[1]), kinds):
                return came[1]

    def _frame(self):
        while True:
            if len(self.data) >= frames.HEAD_BYTES:
                kind, number, size = frames.HEAD.unpack_from(self.data)
                end = frames.HEAD_BYTES + size
                if len(self.data) > end:
                    payload, last = self.data[frames.HEAD_BYTES : end], self.data[end : end + 1]
                    assert last == frames.END
                    self.data = self.data[end + 1 :]
                    return kind, number, payload
            more = self.socket.recv(1 << 18)
            assert more, "the server closed the connection without a word"
            self.data += more

    def _file(self, kind, number, payload):
        """(channel, method or message) of a frame that is not kept, or a Closed."""
        if kind == frames.HEARTBEAT:
            return None
        channel = self.channels[number]
        if kind == frames.METHOD:
            method = methods.decode(payload)
            if isinstance(method, CARRIES):
                channel.carrying = [method, None, None, b""]
                return None
            return self._take(channel, method)
        carrying = channel.carrying
        if kind == frames.HEADER:
            carrying[1], written = properties.read_header(payload)
            carrying[2] = properties.read(written)
        else:
            carrying[3] += payload
        if len(carrying[3]) < carrying[1]:
            return None
        channel.carrying = None
        return self._take_message(channel, Message(carrying[0], carrying[2], carrying[3]))

    def _take_message(self, channel, message):
        if isinstance(message.method, methods.BasicDeliver):
            channel.deliveries.append(message)
        elif isinstance(message.method, methods.BasicReturn):
            channel.returns.append((message, len(channel.confirms)))
        else:
            return channel.number, message
        return None

    def _take(self, channel, method):
        match method:
            case methods.BasicAck() | methods.BasicNack():
                taken = isinstance(method, methods.BasicAck)
                tags = [method.delivery_tag]
                if method.multiple:
                    tags = [it for it in range(1, tags[0] + 1) if it not in channel.confirms]
                channel.confirms.update(dict.fromkeys(tags, taken))
            case methods.BasicCancel():
                channel.cancelled.append(method.consumer_tag)
            case methods.ChannelClose():
                self._send(channel.number, methods.ChannelCloseOk())
                channel.replies.append(closed := Closed("channel", *method))
                self.open_channel(channel.number)
                return closed
            case methods.ConnectionClose():
                self._send(0, methods.ConnectionCloseOk())
                self.socket.close()
                self.closings.append(closed := Closed("connection", *method))
                self._begin_again()
                return closed
            case _:
                return channel.number, method
        return None


def _method(came):
    return came.method if isinstance(came, Message) else came


def typed(value):
    """The value with the wire type of every part, since ``Long(1) == 1 == True``."""
    match value:
        case dict():
            return {name: typed(it) for name, it in value.items()}
        case list():
            return [typed(it) for it in value]
        case _:
            return fields.KINDS[type(value)], value
