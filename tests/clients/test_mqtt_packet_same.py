"""Packets as mqtt-packet (of MQTT.js) has them, and properties as paho has them, both ways."""

import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from mqtt_drawn import any_of, value_of
from node_clients import needs_node
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as Theirs
from paho.mqtt.reasoncodes import ReasonCode

from logstore.mqtt import kinds, packets, properties, reasons
from logstore.mqtt.fields import LENGTH_MAX, Cursor, read_varint
from logstore.mqtt.kinds import V5, V311
from logstore.mqtt.properties import ROWS, Properties

HERE = Path(__file__).with_name("mqttjs")
FETCHED_S = 300


@pytest.fixture(scope="module")
def same(tmp_path_factory):
    """Writes a packet again: version and bytes in, bytes out."""
    folder = tmp_path_factory.mktemp("mqttjs") / "it"
    shutil.copytree(HERE, folder)
    fetched = subprocess.run(
        ["npm", "ci", "--silent", "--no-audit", "--no-fund"], cwd=folder, capture_output=True,
        text=True, timeout=FETCHED_S, check=False,
    )  # fmt: skip
    if fetched.returncode:
        pytest.skip(f"npm can't fetch mqtt-packet here: {fetched.stderr[-200:]}")
    with open(folder / "errors", "w") as errors:
        process = subprocess.Popen(
            ["node", "same.js"], cwd=folder, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=errors, text=True,
        )  # fmt: skip

        def ask(version, raw):
            process.stdin.write(f"{version} {raw.hex()}\n")
            process.stdin.flush()
            return bytes.fromhex(process.stdout.readline())

        yield ask
        process.stdin.close()
        process.wait()
        process.stdout.close()


def sorted_properties(packet):
    """It gathers user properties of one name, each value once, and no empty ones."""
    if not hasattr(packet, "properties"):
        return packet
    found = packet.properties
    pairs = {(name, value) for name, value in found.user_properties if value}
    found = found._replace(user_properties=tuple(sorted(pairs)))
    if getattr(packet, "will", None) is not None:
        packet = packet._replace(will=sorted_properties(packet.will))
    return packet._replace(properties=found)


def read(raw, version):
    size, at = read_varint(raw, 1, len(raw))
    assert at + size == len(raw)
    return packets.read(raw[0], raw[at:], version)


@needs_node
@pytest.mark.long
@pytest.mark.parametrize("version", [V311, V5])
@settings(max_examples=300)
@given(st.data())
def test_mqtt_packet_reads_what_we_write_and_we_read_what_it_writes(same, version, data):
    drawn = data.draw(any_of(version).filter(is_understood))
    theirs = same(version, packets.write(drawn, version))
    assert theirs, "it does not take it"
    assert sorted_properties(read(theirs, version)) == sorted_properties(drawn)


def is_understood(packet):
    """Not what it has no way to say: the standard allows all of these."""
    if isinstance(packet, packets.Connect):
        named = packet.client_id or packet.clean_start
        return bool(named) and (packet.password is None or bool(packet.user))
    return packet != packets.Auth()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.name)
@settings(max_examples=20)
@given(st.data())
def test_properties_are_as_paho_has_them(row, data):
    value = data.draw(value_of(row))
    assume(row.name != "maximum_packet_size" or value <= LENGTH_MAX)  # more it does not take
    many = row.name in ("subscription_ids", "user_properties")
    ours = Properties(**{row.name: (value,) if many else value})
    if row.name == "authentication_data":
        ours = ours._replace(authentication_method="m")
    for packet in row.packets:
        kind = PacketTypes.WILLMESSAGE if packet == properties.WILL else packet
        theirs = Theirs(kind)
        theirs.unpack(properties.write(ours))
        name = row.title.replace(" ", "").replace("IdentifiersA", "IdentifierA")
        found = getattr(theirs, name)
        assert (found[0] if isinstance(found, list) else found) == value
        cursor = Cursor(theirs.pack(), "X")
        assert properties.read(cursor, packet) == ours
        assert not cursor.left


def test_the_numbers_of_packets_are_paho_s():
    theirs = {name: getattr(PacketTypes, name) for name in kinds.NAMES.values()}
    assert theirs == {name: number for number, name in kinds.NAMES.items()}


@pytest.mark.parametrize("kind", reasons.OF, ids=lambda kind: kinds.NAMES[kind])
def test_reason_codes_are_those_of_paho(kind):
    names = ReasonCode(kind, identifier=min(reasons.OF[kind])).names
    theirs = {code for code, by_name in names.items() if any(kind in it for it in by_name.values())}
    lacking = {reasons.BAD_PAYLOAD} if kind == kinds.CONNACK else set()  # of a will: 3.2.2.2
    assert reasons.OF[kind] == theirs | lacking
