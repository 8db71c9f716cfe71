"""Run the questions, each in a process of its own, and write bench/RESULTS.md.

A process each, so that no question inherits another's memory, open files or warm interpreter.
"""

import ast
import json
import subprocess
import sys
import tempfile
from pathlib import Path

from bench import harness, results

# In the order of the page: records, one log, whole programs, size, then beside others.
QUESTIONS = [
    "encode",
    "decode",
    "check",
    "append",
    "produce_batches",
    "produce_single",
    "together",
    "consume",
    "visibility",
    "cli_produce",
    "cli_help",
    "reopen",
    "growth",
    "partitions",
    "many_partitions",
    "retention",
    "compaction",
    "upkeep",
    "verify",
    "recompression",
    "kafka_produce",
    "kafka_consume",
    "kafka_latency",
    "kafka_partitions",
    "kafka_transactions",
    "kafka_committed",
    "kafka_shares",
    "cluster_nodes",
    "kafka_start",
    "rabbit_queue",
    "rabbit_routes",
    "rabbit_latency",
    "rabbit_start",
    "queue_depth",
    "once",
    "delayed",
    "ordering",
    "queue_replay",
    "topic_routes",
    "cold_reads",
    "channels",
    "keys",
    "mqtt",
    "mqtt_retained",
    "turns",
    "waiting",
    "scrape",
    "idle_pages",
    "rights",
    "logins",
    "tls",
]


def main() -> int:
    parser = harness.options(__doc__ or "")
    parser.add_argument("--only", nargs="+", metavar="NAME", choices=QUESTIONS, default=QUESTIONS)
    arguments = parser.parse_args()
    arguments.dir.mkdir(parents=True, exist_ok=True)
    if results.file_system(arguments.dir) in ("tmpfs", "ramfs"):
        parser.error(f"--dir {arguments.dir} is memory: a sync there costs nothing")

    measured, failed = {}, []
    for name in [name for name in QUESTIONS if name in arguments.only]:
        print(f"\n## {name}", flush=True)
        try:
            measured[name] = ask(name, arguments.rounds, arguments.dir)
        except harness.NotHere:  # it has said why
            continue
        except subprocess.CalledProcessError:
            failed.append(name)
    results.keep(measured, arguments.rounds, arguments.dir)
    results.write_page({name: docstring(name) for name in QUESTIONS})
    missed = [name for name, found in measured.items() if any(f.met is False for f in found)]
    print(f"\nwritten to {results.PAGE}")
    print(f"bars missed in: {', '.join(missed) or 'none'}")
    if failed:
        print(f"did not run: {', '.join(failed)}", file=sys.stderr)
    return 1 if failed else 0


def ask(name: str, rounds: int, scratch: Path) -> list[harness.Figure]:
    """The figures of one question. Raises CalledProcessError, NotHere; its script reports the
    reason.
    """
    with tempfile.NamedTemporaryFile(dir=scratch, suffix=".json") as facts:
        command = [sys.executable, "-m", f"bench.{name}", "--rounds", str(rounds)]
        done = subprocess.run([*command, "--dir", scratch, "--json", facts.name], check=False)
        if done.returncode == harness.NOT_HERE:
            raise harness.NotHere(name)
        done.check_returncode()
        return [harness.figure_from(figure) for figure in json.loads(facts.read())]


def docstring(name: str) -> str:
    """The question's text, read without importing the question's script."""
    source = (results.HERE / f"{name}.py").read_text()
    return ast.get_docstring(ast.parse(source)) or name


if __name__ == "__main__":
    sys.exit(main())
