"""A real Prometheus scrapes a real server, and evaluates what dashboard and rules ask of it."""

import json
import os
import shutil
import socket
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path

import pika
import pytest
import redis
from confluent_kafka import Producer
from prometheus_client.parser import text_string_to_metric_families
from serving import Serving
from waiting import until

DOCS = Path(__file__).parents[2] / "docs"
PROMETHEUS = shutil.which("prometheus")
REDIS_EXPORTER = shutil.which("prometheus-redis-exporter")
ODD = 'mail "\\<b>\u202e é'

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(PROMETHEUS is None, reason="needs prometheus: apt install prometheus"),
]

CONFIGURATION = """
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [{rules}]
scrape_configs:
  - job_name: logstore
    static_configs: [{{targets: ["{address}"], labels: {{namespace: ""}}}}]
  - job_name: each
    metrics_path: /metrics/per-object
    static_configs: [{{targets: ["{address}"]}}]
  - job_name: detailed
    metrics_path: /metrics/detailed
    params: {{family: [queue_coarse_metrics, vhost_status], vhost: ["/"]}}
    static_configs: [{{targets: ["{address}"]}}]
"""


def free_port():
    """One that nobody is given who asks for any: nothing there is another test's server."""
    with open("/proc/sys/net/ipv4/ip_local_port_range") as given:
        least = int(given.read().split()[0])
    ports = range(10_000, least)
    for n in range(len(ports)):
        port = ports[(os.getpid() + n) % len(ports)]
        with socket.socket() as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise AssertionError("no port is free")


class Prometheus:
    """Scrapes a server every second."""

    def __init__(self, folder, address):
        port = free_port()
        config = folder / "prometheus.yml"
        config.write_text(CONFIGURATION.format(rules=DOCS / "alerts.yml", address=address))
        self.url = f"http://127.0.0.1:{port}"
        self.errors = (folder / "prometheus.log").open("w+")
        self.process = subprocess.Popen(
            [PROMETHEUS, f"--config.file={config}", f"--storage.tsdb.path={folder / 'tsdb'}",
             f"--web.listen-address=127.0.0.1:{port}"],
            stdout=self.errors, stderr=self.errors,
        )  # fmt: skip

    def get(self, path, **query):
        with urllib.request.urlopen(
            f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}", timeout=30
        ) as answer:
            found = json.load(answer)
        assert found["status"] == "success", found
        return found["data"]

    def targets(self):
        try:
            return self.get("targets")["activeTargets"]
        except OSError:  # it does not listen yet
            return []

    def ask(self, expression):
        """[(labels, value)]"""
        rows = self.get("query", query=expression)["result"]
        return [(row["metric"], float(row["value"][1])) for row in rows]

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.errors.close()


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scraped")
    serving = Serving(folder / "data", amqp_port=0, http_port=0)
    connection = pika.BlockingConnection(pika.ConnectionParameters(*serving.amqp))
    channel = connection.channel()
    channel.confirm_delivery()
    for name in ("mail", ODD):
        channel.queue_declare(name, durable=True)
        for _ in range(3):
            channel.basic_publish("", name, b"x" * 500)
    channel.basic_get("mail", auto_ack=False)
    producer = Producer({"bootstrap.servers": serving.address})
    for _ in range(5):
        producer.produce("orders", b"v", partition=0)
    producer.flush(30)
    yield serving
    connection.close()
    assert serving.stop()[0] == 0


@pytest.fixture(scope="module")
def prometheus(server, tmp_path_factory):
    found = Prometheus(tmp_path_factory.mktemp("prometheus"), "{}:{}".format(*server.http))
    try:
        until(lambda: [it["health"] for it in found.targets()] == ["up"] * 3)
        yield found
    finally:
        found.stop()


def test_every_text_is_taken_whole(prometheus):
    assert [it["lastError"] for it in prometheus.targets()] == [""] * 3
    assert dict.fromkeys([value for _, value in prometheus.ask("up")]) == {1.0: None}
    prometheus.errors.flush()
    said = Path(prometheus.errors.name).read_text()
    assert "Error on ingesting" not in said
    assert "Append failed" not in said


def test_figures_are_those_of_the_server(prometheus):
    def one(expression):
        [(_, value)] = prometheus.ask(expression)
        return value

    assert one('rabbitmq_queue_messages_ready{job="logstore"}') == 5
    assert one('rabbitmq_queue_messages_unacked{job="logstore"}') == 1
    assert one('kafka_topic_partition_current_offset{job="logstore",topic="orders"}') == 5
    assert one('rabbitmq_global_messages_confirmed_total{job="logstore"}') == 6
    assert one('rabbitmq_message_size_bytes_bucket{job="logstore",le="1000.0"}') == 6
    each = prometheus.ask('rabbitmq_queue_messages_ready{job="each"}')
    assert {labels["queue"]: value for labels, value in each} == {"mail": 2, ODD: 3}
    detailed = prometheus.ask("rabbitmq_detailed_queue_messages_ready")
    assert {labels["queue"]: value for labels, value in detailed} == {"mail": 2, ODD: 3}


# What its own panels are made of, with each join that they use.
RABBITS = [
    'sum(rabbitmq_queue_messages_ready * on(instance, job) group_left(rabbitmq_cluster) '
    'rabbitmq_identity_info{namespace="",rabbitmq_endpoint="aggregated"})',
    "rabbitmq_erlang_uptime_seconds * on(instance, job) group_left(rabbitmq_version, "
    "erlang_version) rabbitmq_build_info * on(instance, job) group_left(rabbitmq_cluster, "
    'rabbitmq_node) rabbitmq_identity_info{rabbitmq_endpoint="aggregated"}',
    "sum(rate(rabbitmq_global_messages_delivered_consume_auto_ack_total[1m]) * on(instance, job) "
    'group_left(rabbitmq_cluster, rabbitmq_node) '
    'rabbitmq_identity_info{rabbitmq_endpoint="aggregated"}) by (rabbitmq_node)',
]  # fmt: skip


@pytest.mark.parametrize("expression", RABBITS)
def test_panels_of_rabbitmqs_dashboard_show_the_server(prometheus, expression):
    until(lambda: prometheus.ask(expression))  # a rate needs two scrapes


def test_every_panel_of_the_dashboard_can_be_drawn(prometheus):
    panels = json.loads((DOCS / "grafana.json").read_text())["panels"]
    empty = []
    for panel in panels:
        for target in panel.get("targets", ()):
            asked = target["expr"].replace("$__rate_interval", "1m")
            asked = asked.replace("$job", "logstore").replace("$instance", ".*")
            if not prometheus.ask(asked):
                empty.append(panel["title"])
    # Of these there is nothing yet: no group is there.
    assert set(empty) <= {
        "Lag, by group and topic",
        "Records read, by group",
        "Groups, by state",
        "Freed by upkeep, by job",
    }


def test_every_rule_can_be_evaluated_and_none_fires(prometheus):
    def rules():
        return [it for group in prometheus.get("rules")["groups"] for it in group["rules"]]

    until(lambda: all(it["health"] == "ok" for it in rules()))
    assert [it["name"] for it in rules() if it["state"] == "firing"] == []


@pytest.mark.skipif(
    REDIS_EXPORTER is None, reason="needs its exporter: apt install prometheus-redis-exporter"
)
def test_redis_exporter_gets_from_info_what_it_asks_for(server):
    port = free_port()
    exporter = subprocess.Popen(
        [REDIS_EXPORTER, "-redis.addr", "redis://{}:{}".format(*server.redis),
         "-web.listen-address", f"127.0.0.1:{port}"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    found = {}

    def scrape():
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30) as answer:
                text = answer.read().decode()
        except OSError:  # it does not listen yet
            return
        found.update(
            (it.name, it.value)
            for family in text_string_to_metric_families(text) for it in family.samples
        )  # fmt: skip

    try:
        listener = redis.Redis(*server.redis).pubsub()
        listener.subscribe("news")
        listener.get_message(timeout=30)
        until(lambda: found.get("redis_net_output_bytes_total"), scrape)
    finally:
        exporter.terminate()
        exporter.wait(30)
    assert (found["redis_up"], found["redis_pubsub_channels"]) == (1, 1)
    assert found["redis_connected_clients"] == 2
    assert found["redis_rejected_connections_total"] == 0
    listener.close()
