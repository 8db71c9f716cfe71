"""A cluster of Apache Kafka is fit for nodes, as the check has it."""

from pathlib import Path

from logstore.cluster.cluster_settings import ClusterSettings
from logstore.node.cluster_check import examine
from logstore.settings import StoreSettings


def test_three_brokers_of_apache_kafka_are_fit(cluster):
    cluster.wait_in_sync()
    settings = StoreSettings(cluster_bootstrap_servers=tuple(cluster.address.split(",")))
    found = examine(ClusterSettings.of(settings, {}, Path()))
    assert [it for it in found if it.state != "ok"] == []
    figures = {it.name: it.figures for it in found}
    assert figures["reached"] == {"brokers": 3}
    assert figures["append"]["p50_ms"] > 0
    [sessions] = [it.found for it in found if it.name == "sessions"]
    given, refused = "the cluster assigns queues to nodes (KIP-848)", "consumer.session.timeout.ms="
    assert sessions.startswith((given, refused))
