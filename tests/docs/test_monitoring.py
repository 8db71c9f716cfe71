"""The dashboard and the alert rules in docs/: valid, and about metrics that there are."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import promql_parser as promql
import pytest
import yaml

from logstore.protocols.http.metrics import table_cluster, table_keys, table_mqtt, table_own
from logstore.protocols.http.metrics.exposition import COUNTER, INFO, SUFFIXES
from logstore.protocols.http.metrics.scrape import TABLES

DOCS = Path(__file__).parents[2] / "docs"
OF_PROMETHEUS = {"up"}
KNOWN = OF_PROMETHEUS | {
    row.family.name + suffix for row in TABLES for suffix in SUFFIXES[row.family.type]
}
RULES = [
    rule for group in yaml.safe_load((DOCS / "alerts.yml").read_text())["groups"]
    for rule in group["rules"]
]  # fmt: skip
DASHBOARD = json.loads((DOCS / "grafana.json").read_text())
PANELS = [it for it in DASHBOARD["panels"] if it["type"] != "row"]
# As Grafana fills them in.
VARIABLES = {"$__rate_interval": "1m", "$job": ".*", "$instance": ".*"}


def selectors(node):
    """All that an expression selects, as a parser has it."""
    if isinstance(node, promql.VectorSelector):
        return [node]
    found = []
    for name in ("expr", "lhs", "rhs", "vector_selector", "param"):
        below = getattr(node, name, None)
        if isinstance(below, promql.Expr):
            found += selectors(below)
    for below in getattr(node, "args", ()):
        found += selectors(below)
    return found


def metrics(expression):
    for name, text in VARIABLES.items():
        expression = expression.replace(name, text)
    found = selectors(promql.parse(expression))
    assert found, expression
    return {it.name for it in found}


def test_what_an_expression_asks_for_is_found():
    asked = metrics(
        'sum by (a) (rate(x_total{a="y"}[5m])) / on (b) (z > 0) and topk(3, deriv(w[1h]))'
    )
    assert asked == {"x_total", "z", "w"}
    with pytest.raises(ValueError, match="unclosed"):
        metrics("sum(rate(x_total[5m])")


@pytest.mark.parametrize("rule", RULES, ids=lambda it: it["alert"])
def test_an_alert_is_about_metrics_that_there_are(rule):
    assert metrics(rule["expr"]) <= KNOWN
    assert rule["labels"]["severity"] in ("critical", "warning", "info")
    assert rule["annotations"]["summary"]


def test_alerts_have_names_of_their_own():
    names = [it["alert"] for it in RULES]
    assert len(names) == len(set(names)) >= 20
    assert all(re.fullmatch("Logstore[A-Z][A-Za-z]+", it) for it in names)


@pytest.mark.parametrize("panel", PANELS, ids=lambda it: it["title"])
def test_a_panel_shows_metrics_that_there_are(panel):
    assert panel["targets"]
    for target in panel["targets"]:
        assert metrics(target["expr"]) <= KNOWN
        assert 'job=~"$job", instance=~"$instance"' in target["expr"]


def test_panels_stand_beside_each_other():
    taken = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {(x, y) for x in range(at["x"], at["x"] + at["w"])
                 for y in range(at["y"], at["y"] + at["h"])}  # fmt: skip
        assert not cells & taken, panel["title"]
        assert at["x"] + at["w"] <= 24
        taken |= cells
    ids = [it["id"] for it in DASHBOARD["panels"]]
    assert len(ids) == len(set(ids))


def test_the_variables_of_the_dashboard_are_its_own():
    names = {it["name"] for it in DASHBOARD["templating"]["list"]}
    used = set(re.findall(r"\$\{?(\w+)", json.dumps(DASHBOARD["panels"])))
    assert used - {"__rate_interval"} <= names


@pytest.mark.skipif(
    shutil.which("promtool") is None, reason="needs promtool: apt install prometheus"
)
def test_prometheus_takes_the_rules():
    subprocess.run(["promtool", "check", "rules", DOCS / "alerts.yml"], check=True, timeout=30)


def test_the_page_lists_what_is_our_own():
    rows = [
        f"| `{it.name}{SUFFIXES[it.type][0] if it.type in (COUNTER, INFO) else ''}` | {it.type} | "
        f"{it.help} |\n"
        for it in (
            row.family
            for row in (*table_own.ROWS, *table_keys.ROWS, *table_cluster.ROWS, *table_mqtt.ROWS)
        )
    ]
    assert "".join(rows) in (DOCS / "metrics.md").read_text()
