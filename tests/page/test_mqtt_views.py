"""Sessions of MQTT clients on the page."""

import pytest
from mqtt_client import MqttLine
from page_store import Store

pytestmark = pytest.mark.foreign


@pytest.fixture
def store(tmp_path):
    running = Store(tmp_path / "data", mqtt_port=0)
    yield running
    code, errors = running.stop()
    assert code == 0, errors
    assert "Traceback" not in errors, errors


def test_a_session_is_shown_with_its_subscriptions_and_ended(browser, store):
    client = "<b>me</b>/ü"
    line = MqttLine(store.mqtt, client)
    line.subscribe(b"a/+", qos=1)
    line.subscribe(b"<i>b</i>", qos=2)
    line.close()
    publisher = MqttLine(store.mqtt, "p", clean=True, expiry_s=0)
    publisher.publish(b"a/b", b"1", b"2")
    publisher.ping()
    publisher.close()
    page = browser.page(store.url).open("#/connections")
    page.do("await page.getByRole('link', {name: 'MQTT sessions'}).click()")
    page.sees("1 session", "main")
    [row] = page.rows("MQTT sessions")
    assert row[0] == client
    assert row[3:7] == ["never", "2", "2", "0"]
    page.do(
        "await page.getByRole('link', {name: given.client, exact: true}).click()", client=client
    )
    page.sees("2 subscriptions", "main")
    assert [it[:2] for it in page.rows("Subscriptions")] == [["<i>b</i>", "2"], ["a/+", "1"]]
    page.open("#/connections/sessions")
    page.do("await page.getByRole('button', {name: /^End the session of/}).click()")
    page.sees("It loses 2 subscriptions, and 2 messages", "dialog")
    page.confirm(f"End the session of {client}")
    page.sees("Ended the session of", "#results")
    page.sees("No MQTT client has a session.")
    assert page.faults() == []
    line = MqttLine(store.mqtt, client)
    assert not line.present
    line.close()
