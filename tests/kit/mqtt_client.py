"""A client of MQTT that does what it is told, over a socket: for tests of a server."""

import socket

from logstore.mqtt import kinds, packets, writing
from logstore.mqtt.fields import read_varint
from logstore.mqtt.kinds import V5
from logstore.mqtt.properties import NONE, Properties

DEADLINE_S = 30


class MqttClient:
    """One connection. What comes is read when it is asked for."""

    def __init__(
        self, address, client="c", *, version=V5, clean=True, expiry_s=None, will=None,
        keep_alive_s=0, receive_maximum=None, maximum_packet_size=None, user=None, password=None,
        responses=None,
    ):  # fmt: skip
        self.version = version
        self._socket = socket.create_connection(address, DEADLINE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""
        self._later = []  # packets that came while another was waited for
        self._pid = 0
        said = NONE
        if version == V5:
            said = Properties(
                session_expiry_s=expiry_s, receive_maximum=receive_maximum,
                maximum_packet_size=maximum_packet_size, request_response_information=responses,
            )  # fmt: skip
        self.send(packets.Connect(version, clean, keep_alive_s, client, will, user, password, said))
        self.connack = self.get()
        assert self.connack is not None, "the server has closed the connection"

    def send(self, *those):
        self.send_raw(b"".join([packets.write(it, self.version) for it in those]))

    def send_raw(self, data):
        self._socket.sendall(data)

    def get(self):
        """The next packet; None if the server has closed the connection."""
        return self._later.pop(0) if self._later else self._next()

    def _next(self):
        while True:
            size = self._size()
            if size is not None and len(self._left) >= size:
                packet, self._left = self._left[:size], self._left[size:]
                body = packet[read_varint(packet, 1, len(packet))[1] :]
                return packets.read(packet[0], body, self.version)
            try:
                came = self._socket.recv(1 << 16)
            except ConnectionResetError:
                return None
            if not came:
                return None
            self._left += came

    def _size(self):
        found = read_varint(self._left, 1, len(self._left)) if len(self._left) > 1 else None
        return None if found is None else sum(found)

    def expect(self, kind):
        packet = self.get()
        assert isinstance(packet, kind), packet
        return packet

    def next_pid(self):
        self._pid = self._pid % 65_535 + 1
        return self._pid

    def publish(self, topic, payload, qos=0, *, retain=False, **said):
        """Publish; returns the reason code of the PUBACK, None for QoS 0."""
        pid = self.next_pid() if qos else 0
        found = Properties(**said) if said else NONE
        self.send(packets.Publish(topic, payload, qos, retain, False, pid, found))
        if not qos:
            return None
        ack = self.expect(packets.Ack)
        assert (ack.kind, ack.pid) == (kinds.PUBACK if qos == 1 else kinds.PUBREC, pid)
        if qos == 2:
            self.send(packets.Ack(kinds.PUBREL, pid))
            assert self.expect(packets.Ack).kind == kinds.PUBCOMP
        return ack.reason

    def ask(self, filter_, qos=0, *, number=None, **options):
        """Send a SUBSCRIBE."""
        said = Properties(subscription_ids=(number,)) if number else NONE
        self.send(
            packets.Subscribe(self.next_pid(), [(filter_, packets.Options(qos, **options))], said)
        )

    def subscribe(self, filter_, qos=0, **given):
        """Subscribe; returns the reason code of the SUBACK, which must come first."""
        self.ask(filter_, qos, **given)
        return self.expect(packets.Answers).reasons[0]

    def message(self, *, ack=True):
        """The next message, acknowledged by default."""
        it = self.expect(packets.Publish)
        if ack and it.qos == 1:
            self.send(packets.Ack(kinds.PUBACK, it.pid))
        if ack and it.qos == 2:
            self.send(packets.Ack(kinds.PUBREC, it.pid))
            while (packet := self._next()) != packets.Ack(kinds.PUBREL, it.pid):
                assert packet is not None
                self._later.append(packet)
            self.send(packets.Ack(kinds.PUBCOMP, it.pid))
        return it

    def messages(self, count):
        return [self.message() for _ in range(count)]

    def nothing_more(self):
        """Check that no packet is pending: the answer to a ping is the next."""
        self.send(packets.Ping(kinds.PINGREQ))
        packet = self.get()
        assert packet == packets.Ping(kinds.PINGRESP), packet

    def disconnect(self, reason=0, **said):
        self.send(packets.Disconnect(reason, Properties(**said) if said else NONE))
        assert self.get() is None
        self.close()

    def close(self):
        """Close the socket without a DISCONNECT."""
        self._socket.close()


class MqttLine(MqttClient):
    """The same that waits for nothing: what comes meanwhile is kept in ``published`` and ``acks``,
    also what came last before the connection was lost.
    """

    def __init__(self, address, client, *, clean=False, expiry_s=0xFFFFFFFF, window=None, **given):
        """``given``: as in MqttClient."""
        self.published = []  # packets that have come
        self.acks = []
        super().__init__(
            address, client, clean=clean, expiry_s=expiry_s or None, receive_maximum=window, **given
        )
        assert isinstance(self.connack, packets.Connack), self.connack
        self.present = self.connack.session_present

    def read(self):
        """The next packet. Raises EOFError, OSError."""
        packet = self._next()
        if packet is None:
            raise EOFError("the server has closed the connection")
        return packet

    def until(self, kind):
        """The next packet of this kind; earlier packets are kept."""
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
        """Read all packets that the server sent before its answer."""
        self.send(packets.Ping(kinds.PINGREQ))
        while True:
            packet = self.read()
            if isinstance(packet, packets.Ping):
                return
            self.keep(packet)

    def subscribe(self, name, qos=1):
        """Subscribe; returns the reason codes of the SUBACK."""
        self.ask(name, qos)
        return self.until(packets.Answers).reasons

    def unsubscribe(self, name):
        self.send(packets.Unsubscribe(self.next_pid(), (name,)))
        return self.until(packets.Answers).reasons

    def publish(self, topic, *payloads, qos=1, retain=False):
        """Publish without waiting; returns the packet ids."""
        pids = [self.next_pid() if qos else 0 for _ in payloads]
        self.send(*[
            packets.Publish(topic, it, qos, retain, False, pid)
            for it, pid in zip(payloads, pids, strict=True)
        ])  # fmt: skip
        return pids

    def puback(self, *pids):
        self.send_raw(writing.acks(kinds.PUBACK, pids))

    def disconnect(self):
        self.send(packets.Disconnect())
        self.close()

    def drain(self):
        """Read the packets that arrived before the connection was lost."""
        try:
            while True:
                self.keep(self.read())
        except (EOFError, OSError):
            self.close()
