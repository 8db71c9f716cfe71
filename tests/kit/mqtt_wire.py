"""An MQTT client as plain as can be: packets on a socket, nothing by itself."""

import socket

from logstore.mqtt import kinds, packets, writing
from logstore.mqtt.fields import read_varint
from logstore.mqtt.properties import NONE, Properties

DEADLINE_S = 30


class MqttLine:
    """One connection. What comes meanwhile is kept in ``published`` and ``acks``."""

    def __init__(self, address, client, *, version=5, clean=False, expiry_s=0xFFFFFFFF, will=None,
                 window=None, user=None, password=None):  # fmt: skip
        self.version = version
        self.published = []  # packets that have come
        self.acks = []
        self._pid = 0
        self._left = b""
        self.socket = socket.create_connection(address, DEADLINE_S)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        said = NONE
        if version == kinds.V5:
            said = Properties(session_expiry_s=expiry_s or None, receive_maximum=window)
        self.send(packets.Connect(version, clean, 0, client, will, user, password, said))
        self.connack = self.read()
        assert isinstance(self.connack, packets.Connack), self.connack
        self.present = self.connack.session_present

    def send(self, packet):
        self.socket.sendall(packets.write(packet, self.version))

    def read(self):
        """The next packet. Raises EOFError, OSError."""
        while True:
            found = read_varint(self._left, 1, len(self._left)) if len(self._left) > 1 else None
            if found is not None and len(self._left) >= sum(found):
                size, begin = found
                first, body = self._left[0], self._left[begin : begin + size]
                self._left = self._left[begin + size :]
                return packets.read(first, body, self.version)
            data = self.socket.recv(1 << 16)
            if not data:
                raise EOFError("the server has closed the connection")
            self._left += data

    def until(self, kind):
        """The next packet of this kind; what comes before is kept."""
        while not isinstance(packet := self.read(), kind):
            self.keep(packet)
        return packet

    def keep(self, packet):
        if isinstance(packet, packets.Publish):
            self.published.append(packet)
        elif isinstance(packet, packets.Ack):
            self.acks.append(packet)
        else:
            assert isinstance(packet, packets.Ping), packet

    def ping(self):
        """All that the server had sent before has come."""
        self.send(packets.Ping(kinds.PINGREQ))
        while True:
            packet = self.read()
            if isinstance(packet, packets.Ping):
                return
            self.keep(packet)

    def next_pid(self):
        self._pid = self._pid % 65_535 + 1
        return self._pid

    def subscribe(self, name, qos=1):
        options = packets.Options(qos)
        self.send(packets.Subscribe(self.next_pid(), ((name, options),)))
        return self.until(packets.Answers).reasons

    def unsubscribe(self, name):
        self.send(packets.Unsubscribe(self.next_pid(), (name,)))
        return self.until(packets.Answers).reasons

    def publish(self, topic, *payloads, qos=1, retain=False):
        """Their packet ids; nothing is waited for."""
        pids = [self.next_pid() if qos else 0 for _ in payloads]
        self.socket.sendall(
            b"".join(
                packets.write(packets.Publish(topic, it, qos, retain, False, pid), self.version)
                for it, pid in zip(payloads, pids, strict=True)
            )
        )
        return pids

    def puback(self, *pids):
        self.socket.sendall(writing.acks(kinds.PUBACK, pids))

    def disconnect(self):
        self.send(packets.Disconnect())
        self.end()

    def end(self):
        self.socket.close()

    def drain(self):
        """What had come before the connection was lost."""
        try:
            while True:
                self.keep(self.read())
        except (EOFError, OSError):
            self.end()
