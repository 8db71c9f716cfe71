"""Builds the programs of other languages, each once, into ``.clients/``, with all they download."""

import fcntl
import functools
import hashlib
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
CACHE = Path(__file__).parents[3] / ".clients"
BUILD_S = 900  # a first build downloads
JVM = [
    "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xmx256m",
    "-Dorg.slf4j.simpleLogger.defaultLogLevel=warn",
]  # fmt: skip
JAVA_VERSIONS = {"java": "4.3.1", "java-3.9": "3.9.1"}  # of Apache Kafka
JAVA_WITHOUT = {
    "java": "nothing",
    "java-3.9": "**/Sharer.java",
}  # what that version has no classes for


# How each tool tells its version, and the oldest that will do.
LEAST = {"java": ("-version", (17,)), "node": ("--version", (18,)), "go": ("version", (1, 26))}


class NoTool(Exception):
    """This machine can't build it; the sentence says what is lacking."""


def _need(*tools):
    for tool in tools:
        if shutil.which(tool) is None:
            raise NoTool(f"{tool} is not installed")
        if tool in LEAST:
            word, least = LEAST[tool]
            done = subprocess.run([tool, word], capture_output=True, text=True, check=True)
            found = re.search(r"\d+(\.\d+)*", done.stdout + done.stderr)[0]
            if tuple(map(int, found.split("."))) < least:
                raise NoTool(f"{tool} is {found}, {'.'.join(map(str, least))} is needed")


def _run(words, **more):
    done = subprocess.run(
        words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=BUILD_S, text=True, **more
    )
    assert done.returncode == 0, f"{words}:\n{done.stdout[-4000:]}"


def once(name, sources, build, whole=lambda folder: True):
    """The folder that ``build(folder)`` has filled from these sources, and is ``whole(folder)``."""
    folder, digest = CACHE / name, hashlib.sha256()
    for source in sorted(sources):
        digest.update(source.read_bytes())
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "built", "a+") as built:
        fcntl.flock(built, fcntl.LOCK_EX)  # tests run in several processes
        built.seek(0)
        if built.read() != digest.hexdigest() or not whole(folder):
            built.truncate(0)
            build(folder)
            built.write(digest.hexdigest())
    return folder


@functools.cache
def java(client="java"):
    """The classpath of the Java programs, with that version of Kafka's jars."""
    _need("java", "mvn")
    source = HERE / "java"

    def build(folder):
        _run([
            "mvn", "-q", "-B", "-f", source / "pom.xml", f"-Dmaven.repo.local={CACHE / 'maven'}",
            f"-Dbuilt.in={folder}", f"-Dkafka.version={JAVA_VERSIONS[client]}",
            f"-Dwithout={JAVA_WITHOUT[client]}",
            f"-Dmdep.outputFile={folder / 'classpath'}",
            "compile", "dependency:build-classpath",
        ])  # fmt: skip

    folder = once(client, [source / "pom.xml", *source.rglob("*.java")], build, _has_jars)
    return f"{folder / 'classes'}:{(folder / 'classpath').read_text().strip()}"


def _has_jars(folder):
    """Whether what was downloaded is there still: it takes room, and somebody may need that."""
    known = folder / "classpath"
    return known.exists() and all(map(os.path.exists, known.read_text().strip().split(":")))


def java_client(client="java"):
    """The command that runs the Java program."""
    return ["java", *JVM, "-cp", java(client), "foreign.Told"]


def java_sharer():
    """The command that runs a member of a share group."""
    return ["java", *JVM, "-cp", java(), "foreign.Sharer"]


@functools.cache
def _node(name, source):
    """The JavaScript program in a folder."""
    _need("node", "npm")
    files = [*source.glob("*.json"), *source.glob("*.js")]

    def build(folder):
        for it in files:
            shutil.copy(it, folder)
        _run(
            ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--cache", CACHE / "npm"],
            cwd=folder,
        )

    return ["node", str(once(name, files, build) / "client.js")]


@functools.cache
def franz():
    """The command that runs the Go program."""
    _need("go")
    return [str(_go("franz", HERE / "franz") / "client")]


def _go(name, source):
    environment = os.environ | {
        "GOMODCACHE": str(CACHE / "go" / "modules"),
        "GOCACHE": str(CACHE / "go" / "build"),
        "GOFLAGS": "-modcacherw -buildvcs=false",  # or `make clean` could not remove it
        "GOTOOLCHAIN": "local",
    }

    def build(folder):
        _run(["go", "build", "-o", folder / "client", "."], cwd=source, env=environment)

    return once(name, [*source.glob("go.*"), *source.glob("*.go")], build)


@functools.cache
def amqp_go():
    """The command that runs the Go program for RabbitMQ."""
    _need("go")
    source = HERE / "amqp-go"
    return [str(_go("amqp091-go", source) / "client")]


def mqtt_node(version):
    """The command that runs the JavaScript program for MQTT: as the Go program, and "z2m"."""
    return [*_node("mqtt-node", HERE / "mqtt-node"), version]


@functools.cache
def mqtt_go(version):
    """The command that runs the Go program for MQTT: "3", "5", and "3ws", "5ws" over WebSocket."""
    _need("go")
    return [str(_go("mqtt-go", HERE / "mqtt-go") / "client"), version]


@functools.cache
def go_redis():
    """The command that runs the Go program for Redis."""
    _need("go")
    return [str(_go("go-redis", HERE / "keys-go") / "client")]


@functools.cache
def _cargo(name, source):
    """The Rust program in a folder."""
    _need("cargo")
    environment = os.environ | {"CARGO_HOME": str(CACHE / "cargo")}

    def build(folder):
        _run(
            ["cargo", "build", "--quiet", "--locked", "--target-dir", folder],
            cwd=source, env=environment,
        )  # fmt: skip

    files = [source / "Cargo.toml", source / "Cargo.lock", *source.rglob("*.rs")]
    return str(once(name, files, build) / "debug" / "client")


def lapin():
    """The command that runs the Rust program for RabbitMQ."""
    return [_cargo("lapin", HERE / "amqp-rust")]


def rumqttc(version):
    """The command that runs the Rust program for MQTT: "3" or "5"."""
    return [_cargo("rumqttc", HERE / "mqtt-rust"), version]


@functools.cache
def rabbitmqadmin_2():
    """The command of RabbitMQ's second one, as its authors publish it: some minutes' work."""
    _need("cargo")
    version = HERE / "rabbitmqadmin.version"
    environment = os.environ | {
        "CARGO_HOME": str(CACHE / "cargo"), "CARGO_TARGET_DIR": str(CACHE / "rabbitmqadmin-target"),
    }  # fmt: skip

    def build(folder):
        _run(
            ["cargo", "install", "rabbitmqadmin", "--quiet", "--locked", "--debug", "--root",
             folder, "--version", version.read_text().strip()],
            env=environment,
        )  # fmt: skip

    return [str(once("rabbitmqadmin", [version], build) / "bin" / "rabbitmqadmin")]


def rabbitmqadmin_1():
    """The command of RabbitMQ's first one: a script in the server's package."""
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob(
        "rabbitmq_server-*/plugins/rabbitmq_management-*/priv/www/cli/rabbitmqadmin"
    ))  # fmt: skip
    if not found:
        raise NoTool("no rabbitmqadmin here: apt-get install rabbitmq-server")
    return [sys.executable, str(found[-1])]


@functools.cache
def _jvm_programs(name):
    """The classpath of the Java programs in that folder."""
    _need("java", "mvn")
    source = HERE / name

    def build(folder):
        _run([
            "mvn", "-q", "-B", "-f", source / "pom.xml", f"-Dmaven.repo.local={CACHE / 'maven'}",
            f"-Dbuilt.in={folder}", f"-Dmdep.outputFile={folder / 'classpath'}",
            "compile", "dependency:build-classpath",
        ])  # fmt: skip

    folder = once(name, [source / "pom.xml", *source.rglob("*.java")], build, _has_jars)
    return f"{folder / 'classes'}:{(folder / 'classpath').read_text().strip()}"


def amqp_java(main="amqp.Exercises"):
    """The command that runs one of the Java programs for RabbitMQ."""
    return ["java", *JVM, "-cp", _jvm_programs("amqp-java"), main]


def mqtt_java(client):
    """The command that runs the Java program for MQTT: "paho3", "paho5", "hive3" or "hive5"."""
    return ["java", *JVM, "-cp", _jvm_programs("mqtt-java"), "mqtt.Exercises", client]


def keys_java():
    """The command that runs the Java program for Redis."""
    return ["java", *JVM, "-cp", _jvm_programs("keys-java"), "keys.Exercises"]


def stomp_java():
    """The command that runs the Java program for STOMP."""
    return ["java", *JVM, "-cp", _jvm_programs("stomp-java"), "stomp.Exercises"]


def of_ruby(*libraries):
    """The command that runs the Ruby program, with what Debian packages of these names have."""
    _need("ruby")
    for it in libraries:
        if subprocess.run(["ruby", "-e", f"require '{it}'"], capture_output=True).returncode:
            raise NoTool(
                f"Ruby has no {it}: apt-get install ruby-activesupport ruby-redis ruby-stomp"
            )
    return ["ruby", str(HERE / "ruby" / "client.rb")]


CLIENTS = {
    "java sharer": java_sharer,
    "lapin": lapin,
    "rabbitmq-java": amqp_java,
    "rabbitmq-java user": functools.partial(amqp_java, "amqp.User"),
    "spring-amqp": functools.partial(amqp_java, "amqp.Listener"),
    "perf-test": functools.partial(amqp_java, "com.rabbitmq.perf.PerfTest"),
    "amqp091-go": amqp_go,
    "paho.mqtt.golang": functools.partial(mqtt_go, "3"),
    "paho.mqtt.golang ws": functools.partial(mqtt_go, "3ws"),
    "paho.golang": functools.partial(mqtt_go, "5"),
    "paho.golang ws": functools.partial(mqtt_go, "5ws"),
    "paho Java 3": functools.partial(mqtt_java, "paho3"),
    "paho Java 5": functools.partial(mqtt_java, "paho5"),
    "HiveMQ 3 ws": functools.partial(mqtt_java, "hive3"),
    "HiveMQ 5": functools.partial(mqtt_java, "hive5"),
    "rumqttc 3": functools.partial(rumqttc, "3"),
    "rumqttc 5": functools.partial(rumqttc, "5"),
    "MQTT.js 3": functools.partial(mqtt_node, "3"),
    "MQTT.js 5": functools.partial(mqtt_node, "5"),
    "MQTT.js 3 ws": functools.partial(mqtt_node, "3ws"),
    "MQTT.js 5 ws": functools.partial(mqtt_node, "5ws"),
    "Zigbee2MQTT": functools.partial(mqtt_node, "z2m"),
    "Ruby keys": functools.partial(of_ruby, "active_support", "redis"),
    "Ruby sidekiq": functools.partial(of_ruby, "sidekiq"),
    "Vert.x STOMP": stomp_java,
    "Ruby stomp": functools.partial(of_ruby, "stomp"),
    "rabbitmqadmin 1": rabbitmqadmin_1,
    "rabbitmqadmin 2": rabbitmqadmin_2,
    "java": java_client,
    "java-3.9": functools.partial(java_client, "java-3.9"),
    "kafkajs": functools.partial(_node, "kafkajs", HERE / "kafkajs"),
    "keys Node": functools.partial(_node, "keys-node", HERE / "keys-node"),
    "keys Java": keys_java,
    "go-redis": go_redis,
    "franz-go": franz,
}
