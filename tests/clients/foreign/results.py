"""The table of a run: ``python -m tests.clients.foreign.results RUN.xml`` prints it as Markdown."""

import json
import re
import sys
from collections import defaultdict
from datetime import UTC, datetime
from pathlib import Path
from xml.etree import ElementTree

from tests.clients.foreign.workshop import HERE, JAVA_VERSIONS

CLIENTS = ["test_java", "test_java.TestJava39", "test_kafkajs", "test_franz"]  # columns
VARIANTS = {
    "TestNewProtocol": "KIP-848: ",
    "TestCooperative": "cooperative-sticky: ",
    "TestSticky": "sticky: ",
    "TestRange": "range: ",
}
OTHERS = {
    "test_exchange": "Between clients",
    "test_sasl": "Logins by SASL: all of these, and Kafka's command-line tools, {java}",
    "test_restart": "When the server is killed and comes back",
    "test_java_tools": "Kafka's command-line tools, {java}",
    "test_java_rules": "Rules by Kafka's command-line tools over TLS, {java}",
    "test_java_sharers": "Share groups (KIP-932): members and tools of {java}",
    "test_streams": "Kafka Streams, {java}",
    "test_gmqtt": "gmqtt, a client of MQTT",
    "test_dump_log": "kafka-dump-log {java} over our files",
}


def versions():
    lock = json.loads((HERE / "kafkajs" / "package-lock.json").read_text())
    go = re.search(r"twmb/franz-go (v\S+)", (HERE / "franz" / "go.mod").read_text())[1]
    return {
        "test_java": f"Java {JAVA_VERSIONS['java']}",
        "test_java.TestJava39": f"Java {JAVA_VERSIONS['java-3.9']}",
        "test_kafkajs": f"kafkajs {lock['packages']['node_modules/kafkajs']['version']}",
        "test_franz": f"franz-go {go}",
    }


def outcome(case):
    """What became of a case, and the sentence beside it."""
    for kind in ("failure", "error"):
        if case.find(kind) is not None:
            return "failed", ""
    skipped = case.find("skipped")
    if skipped is None:
        return "passed", ""
    expected = skipped.get("type") == "pytest.xfail"
    return "can't" if expected else "skipped", skipped.get("message")


def read(path):
    """{(file, class): {case: [(outcome, sentence)]}}, parameters folded."""
    found = defaultdict(lambda: defaultdict(list))
    for case in ElementTree.parse(path).iter("testcase"):
        _, _, name = case.get("classname").partition("foreign.")
        file, _, kind = name.partition(".")
        title = case.get("name").split("[")[0].removeprefix("test_").replace("_", " ")
        found[file, kind][title].append(outcome(case))
    return found


def cell(outcomes):
    kinds = {kind for kind, _ in outcomes}
    if kinds == {"passed"}:
        return "passed" if len(outcomes) == 1 else f"{len(outcomes)} passed"
    return ", ".join(f"{[k for k, _ in outcomes].count(kind)} {kind}" for kind in sorted(kinds))


def matrix(found):
    rows = defaultdict(dict)
    for (file, kind), cases in found.items():
        column = f"{file}.{kind}" if f"{file}.{kind}" in CLIENTS else file
        if column in CLIENTS:
            for title, outcomes in cases.items():
                rows[VARIANTS.get(kind, "") + title][column] = cell(outcomes)
    names = versions()
    yield f"| case | {' | '.join(names[it] for it in CLIENTS)} |"
    yield "|---|" + "---|" * len(CLIENTS)
    for title, columns in rows.items():
        yield f"| {title} | {' | '.join(columns.get(it, '') for it in CLIENTS)} |"


def others(found):
    java = f"Kafka {JAVA_VERSIONS['java']}"
    for file, head in OTHERS.items():
        yield f"\n## {head.format(java=java)}\n\n| case | outcome |\n|---|---|"
        for title, outcomes in found[file, ""].items():
            yield f"| {title} | {cell(outcomes)} |"


EXERCISED = {
    "test_amqp_clients": "RabbitMQ",
    "test_mqtt_clients": "MQTT",
    "test_key_clients": "Redis",
}


def by_exercise(found):
    """The programs of other languages that speak to the other doors."""
    for wanted, door in EXERCISED.items():
        yield f"\n## Clients of {door}\n\n| client | case | outcome |\n|---|---|---|"
        for (file, kind), cases in found.items():
            if file == wanted:
                for title, outcomes in cases.items():
                    yield f"| {kind.removeprefix('Test')} | {title} | {cell(outcomes)} |"


def sentences(found):
    yield "\n## What can't be done\n"
    yield from sorted(
        {
            f"- {title}: {sentence}."
            for cases in found.values()
            for title, outcomes in cases.items()
            for kind, sentence in outcomes
            if kind != "passed"
        }
    )


def report(path):
    found = read(path)
    made = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    yield "# Clients that no one here wrote\n"
    yield f"By `make test-clients`, {made:%Y-%m-%d %H:%M} UTC. A number counts codecs, acks and the"
    yield "like; an empty field has no such case; `can't` is a strict expected failure, with its"
    yield "sentence at the end.\n"
    yield from matrix(found)
    yield from others(found)
    yield from by_exercise(found)
    yield from sentences(found)


if __name__ == "__main__":
    print("\n".join(report(Path(sys.argv[1]))))
