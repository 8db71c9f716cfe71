"""Twenty-five reports of faults of other servers, from their trackers, each with its tests.

The table says which; it fails if one lacks its test.
"""

import pytest
from mqtt_client import MqttClient
from named_tests import is_there
from serving import Serving

from logstore.mqtt import kinds, packets
from logstore.mqtt.kinds import V311
from logstore.mqtt.properties import Properties

MODEL, DOOR, HERE = "broker/mqtt", "protocols/mqtt", "clients/test_mqtt_reports.py"
KEPT = "clients/test_mqtt_kept.py"

# By their numbers: what went wrong, and the tests that it does not go wrong here.
REPORTS = {
    1: ("a copy for each filter that matches", [
        f"{DOOR}/test_mqtt_subscribe.py::a_client_gets_one_copy_with_the_numbers_of_all_its_subscriptions",
        f"{MODEL}/test_sessions.py::one_copy_with_the_highest_qos_and_all_identifiers"]),
    2: ("subscription identifiers of other clients", [
        f"{HERE}::a_client_gets_identifiers_of_its_own_subscriptions_alone"]),
    3: ("a will lost, and a stale session inherited, at a takeover", [
        f"{MODEL}/test_wills.py::a_takeover_of_a_session_without_expiry_sends_the_will_whichever_came_first",
        f"{MODEL}/test_sessions.py::both_orders_of_a_takeover_end_alike"]),
    4: ("a will sent although its client came back within the delay", [
        f"{MODEL}/test_wills.py::who_comes_back_within_the_delay_has_no_will_sent",
        f"{KEPT}::a_delayed_will_does_not_come_if_its_client_is_back_and_comes_if_the_session_ends"]),
    5: ("no messages any more after reconnects with a delayed will", [
        f"{HERE}::after_many_reconnects_with_a_delayed_will_messages_come"]),
    6: ("a message of QoS 2 delivered twice, PUBREL not sent again", [
        f"{HERE}::a_message_of_qos_2_that_is_repeated_comes_once_and_what_is_owed_is_sent_again"]),
    7: ("a client that sends PUBLISH again after PUBREL", [
        f"{HERE}::after_pubcomp_a_packet_identifier_is_that_of_a_new_message"]),
    8: ("messages sent again on a live connection", [
        f"{MODEL}/test_sessions.py::nothing_comes_again_on_the_same_connection"]),
    9: ("packet identifiers used again within a burst", [
        f"{MODEL}/test_session_parts.py::packet_ids_go_round_and_pass_over_those_in_use"]),
    10: ("windows of one, and without a limit", [
        f"{HERE}::a_window_of_one_and_one_without_a_limit",
        f"{DOOR}/test_mqtt_subscribe.py::a_client_has_no_more_unacknowledged_than_it_takes"]),
    11: ("an alias alone after a reconnect", [
        f"{DOOR}/test_mqtt_publish.py::an_alias_is_of_one_connection"]),
    12: ("a message of QoS 2 published again in a new session", [
        f"{HERE}::what_is_published_again_in_a_new_session_is_another_message"]),
    13: ("a shared subscription that gives to the dead", [
        f"{HERE}::a_shared_subscription_gives_to_who_is_there"]),
    14: ("an expiry that counts only while the server runs", [
        f"{MODEL}/test_sessions.py::expiry_passes_while_the_process_is_down",
        f"{MODEL}/test_wills.py::a_delay_goes_on_while_the_server_is_down"]),
    15: ("an expiry that is not counted down, or not heeded", [
        f"{KEPT}::what_it_says_beside_travels_with_it_and_its_expiry_is_less",
        f"{MODEL}/test_retained.py::one_that_has_expired_is_given_to_nobody_and_swept_away",
        f"{MODEL}/test_wills.py::the_expiry_of_its_message_begins_when_it_is_published",
        f"{MODEL}/test_sessions.py::a_message_expires_in_the_queue_and_not_once_it_was_sent"]),
    16: ("a packet that is longer than its client takes", [
        f"{DOOR}/test_mqtt_publish.py::a_client_is_sent_no_packet_that_is_longer_than_it_takes",
        f"{KEPT}::what_is_longer_than_the_client_takes_is_left_out",
        f"{MODEL}/test_sessions.py::"
        "what_is_longer_than_the_client_takes_counts_as_delivered_and_frees_its_place"]),
    17: ("what is retained sent with the QoS of its publisher", [
        f"{KEPT}::what_is_retained_comes_behind_the_suback_with_the_lower_qos"]),
    18: ("what is retained without its subscription identifier", [
        f"{KEPT}::the_subscription_identifier_comes_with_it"]),
    19: ("a SUBSCRIBE once more that is ignored", [
        f"{KEPT}::retain_handling_says_whether_what_is_retained_comes_again",
        f"{DOOR}/test_mqtt_subscribe.py::a_subscription_is_replaced_by_one_with_the_same_filter"]),
    20: ("wildcards that match topics of the server", [
        f"{HERE}::no_wildcard_matches_topics_of_the_server"]),
    21: ("what is retained not found by wildcards", [
        f"{MODEL}/test_ordered.py::a_walk_finds_what_a_naive_matcher_finds_in_order",
        f"{MODEL}/test_retained.py::random_histories_against_a_dictionary"]),
    22: ("session present said wrongly", [
        f"{MODEL}/test_sessions.py::session_present_says_whether_there_is_a_session_not_whether_it_has_a_queue",
        f"{DOOR}/test_mqtt_connect.py::a_session_is_present_where_it_lasts"]),
    23: ("QoS 2 acknowledged as QoS 1", [
        f"{HERE}::a_message_is_acknowledged_in_its_own_qos"]),
    24: ("time-outs that are too short, and two clients with one id", [
        f"{DOOR}/test_mqtt_publish.py::silence_of_one_and_a_half_times_the_keep_alive_ends_it",
        f"{MODEL}/test_sessions.py::two_clients_with_one_id_are_told_of_once"]),
    25: ("what was acknowledged lost in a power cut", [
        "crash/test_mqtt_kept_cut.py::"
        "what_was_acknowledged_is_retained_and_wills_come_whatever_a_power_cut_leaves",
        "crash/test_sessions_cut.py::the_law_holds_whatever_a_power_cut_leaves"]),
}  # fmt: skip


@pytest.mark.parametrize("number", range(1, 26))
def test_each_report_has_its_test(number):
    _, tests = REPORTS[number]
    assert [it for it in tests if not is_there(it)] == []


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    server = Serving(tmp_path_factory.mktemp("reports") / "data", mqtt_port=0)
    yield server
    code, errors = server.stop()
    assert (code, errors) == (0, "")


@pytest.fixture
def come(server):
    clients = []

    def one(*given, **options):
        clients.append(MqttClient(server.mqtt, *given, **options))
        return clients[-1]

    yield one
    for client in clients:
        client.close()


@pytest.mark.parametrize("qos", [0, 1])
def test_a_client_gets_identifiers_of_its_own_subscriptions_alone(come, qos):
    publisher, first, second = come("p"), come("a"), come("b")
    first.subscribe(b"ids/#", qos, number=1)
    second.subscribe(b"ids/#", qos, number=2)
    second.subscribe(b"ids/+", qos, number=3)
    publisher.publish(b"ids/x", b"", qos)
    assert first.message().properties.subscription_ids == (1,)
    assert sorted(second.message().properties.subscription_ids) == [2, 3]


def test_after_many_reconnects_with_a_delayed_will_messages_come(come):
    will = packets.Will(b"will", b"", 1, False, Properties(will_delay_s=1000))
    for n in range(20):
        it = come("often", clean=not n, expiry_s=2000, will=will)
        if not n:
            it.subscribe(b"often/#", 1)
        it.close()
    it = come("often", clean=False, expiry_s=2000, will=will)
    assert it.connack.session_present
    come("p").publish(b"often/x", b"still here", 1)
    assert it.message().payload == b"still here"
    it.disconnect()
    come("often").disconnect()


def test_a_window_of_one_and_one_without_a_limit(come):
    publisher, narrow, wide = come("p"), come("n", receive_maximum=1), come("w")
    for it in (narrow, wide):
        it.subscribe(b"win/#", 1)
    for n in range(5):
        publisher.publish(b"win/x", b"%d" % n, 1)
    held = [wide.message(ack=False) for _ in range(5)]
    assert len({it.pid for it in held}) == 5
    first = narrow.message(ack=False)
    narrow.nothing_more()
    narrow.send(packets.Ack(kinds.PUBACK, first.pid))
    assert [it.payload for it in narrow.messages(4)] == [b"1", b"2", b"3", b"4"]


def test_no_wildcard_matches_topics_of_the_server(come):
    it = come("s")
    for filter_ in (b"#", b"+/broker/uptime", b"+/#"):
        assert it.subscribe(filter_) == 0
        it.nothing_more()
    assert it.subscribe(b"$SYS/broker/uptime") == 0
    assert it.message().topic == b"$SYS/broker/uptime"
    shared = come("g")
    assert shared.subscribe(b"$share/g/#", 1) == 1
    come("p").publish(b"reports/20", b"", 1)
    assert shared.message().topic == b"reports/20"
    shared.nothing_more()


# What comes exactly once, and what is shared


@pytest.mark.long
def test_a_message_of_qos_2_that_is_repeated_comes_once_and_what_is_owed_is_sent_again(tmp_path):
    """Also over a kill."""
    server = Serving(tmp_path / "data", mqtt_port=0)
    clients = []

    def come(name, *, clean=True):
        clients.append(MqttClient(server.mqtt, name, clean=clean, expiry_s=1000))
        return clients[-1]

    try:
        listener, it = come("l"), come("p")
        listener.subscribe(b"twice", 2)
        message = packets.Publish(b"twice", b"once", 2, False, False, 7)
        it.send(message)
        assert it.expect(packets.Ack) == packets.Ack(kinds.PUBREC, 7)
        arrived = listener.message(ack=False)
        listener.send(packets.Ack(kinds.PUBREC, arrived.pid))
        assert listener.expect(packets.Ack) == packets.Ack(kinds.PUBREL, arrived.pid)
        server.stop(9)
        server = Serving(tmp_path / "data", mqtt_port=0)
        it = come("p", clean=False)
        it.send(message._replace(dup=True))
        assert it.expect(packets.Ack).kind == kinds.PUBREC
        it.send(packets.Ack(kinds.PUBREL, 7))
        assert it.expect(packets.Ack) == packets.Ack(kinds.PUBCOMP, 7)
        listener = come("l", clean=False)
        assert listener.expect(packets.Ack) == packets.Ack(kinds.PUBREL, arrived.pid)
        listener.send(packets.Ack(kinds.PUBCOMP, arrived.pid))
        listener.nothing_more()
    finally:
        server.stop(9)
        for client in clients:
            client.close()


def test_after_pubcomp_a_packet_identifier_is_that_of_a_new_message(come):
    listener, it = come("l"), come("p")
    listener.subscribe(b"again", 2)
    message = packets.Publish(b"again", b"", 2, False, False, 3)
    it.send(message)
    it.send(message._replace(dup=True))
    for _ in range(2):
        assert it.expect(packets.Ack).kind == kinds.PUBREC
    it.send(packets.Ack(kinds.PUBREL, 3))
    assert it.expect(packets.Ack).kind == kinds.PUBCOMP
    listener.message()
    listener.nothing_more()
    it.send(message._replace(dup=True))
    assert it.expect(packets.Ack).kind == kinds.PUBREC
    listener.message()


def test_what_is_published_again_in_a_new_session_is_another_message(come):
    listener = come("l")
    listener.subscribe(b"fresh", 2)
    for _ in range(2):
        it = come("p")
        it.send(packets.Publish(b"fresh", b"", 2, False, False, 1))
        assert it.expect(packets.Ack).kind == kinds.PUBREC
        it.close()
    listener.messages(2)
    listener.nothing_more()


def test_a_shared_subscription_gives_to_who_is_there(come):
    first, second, publisher = come("a", expiry_s=1000), come("b", expiry_s=1000), come("p")
    for it in (first, second):
        assert it.subscribe(b"$share/g/jobs/#", 1) == 1
    for n in range(10):
        publisher.publish(b"jobs/x", b"%d" % n, 1)
    taken = {first.message(ack=False).payload}
    first.close()  # what it had goes to the other at once
    while len(taken) < 10:
        message = second.message()
        taken.add(message.payload)
    assert taken == {b"%d" % n for n in range(10)}
    publisher.publish(b"jobs/x", b"last", 1)
    while second.message().payload != b"last":
        pass


@pytest.mark.parametrize("version", [V311, kinds.V5])
def test_a_message_is_acknowledged_in_its_own_qos(come, version):
    it = come("p", version=version)
    for n, (qos, kind) in enumerate(((1, kinds.PUBACK), (2, kinds.PUBREC)), 1):
        it.send(packets.Publish(b"own", b"", qos, False, False, n))
        assert it.expect(packets.Ack).kind == kind
