"""The dashboard and the page about metrics speak of the metrics that exist, and of all of them."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from rodin_watchd.adapters.metrics import Metrics
from rodin_watchd.core.farm import FarmState, QueueState
from rodin_watchd.core.health import INCOMPLETE, READY, SETTLING, UNMOVABLE, Health, MoneyTotals
from rodin_watchd.core.stillness import STANDSTILLS
from rodin_watchd.model import State

DOCS = Path(__file__).parent.parent / "docs"
NAME = re.compile(r"\brodin_watchd_[a-z_]+")
SELECTOR = re.compile(r"(rodin_watchd_[a-z_]+)\{([^}]*)\}")
LABEL = re.compile(r'([a-z_]+)(=~|!~|!=|=)"([^"]*)"')
FROM_PROMETHEUS = {"instance", "job"}
"""Labels that Prometheus itself adds."""


def existing() -> dict[str, dict[str, set[str]]]:
    """Return the names of all samples, with their labels' names and values."""
    waiting = dict.fromkeys((SETTLING, INCOMPLETE, UNMOVABLE, READY), 1)
    health = Health(1.0, 1.0, 0, 0, waiting, dict.fromkeys(waiting, 1.0), 0.0, "", ("submit",))
    totals = MoneyTotals({State.HELD: 1}, {"texture": Decimal(1)}, Decimal(1), 1.0)
    farm = FarmState(queues=(QueueState("blender", 1, 0, 0, 1.0, 0),))
    metrics = Metrics(lambda: totals, lambda: 1.0, "/srv/textures", lambda: farm)
    metrics.tick(health)
    for outcome in ("done", "not-yet", "retry", "unknown", "rejected"):
        metrics.step("submit", outcome, "texture", 1.0)
    metrics.api_call("submit", "201")
    metrics.hook_run("command", "rodin_delivered", "done")
    found: dict[str, dict[str, set[str]]] = {}
    for family in text_string_to_metric_families(metrics.text().decode()):
        for sample in family.samples:
            labels = found.setdefault(sample.name, {})
            for name, value in sample.labels.items():
                labels.setdefault(name, set()).add(value)
    return found


def dashboard() -> dict[str, Any]:
    """Return the dashboard."""
    loaded = json.loads((DOCS / "grafana.json").read_text())
    assert isinstance(loaded, dict)
    return loaded


def queries() -> list[str]:
    """Return every query of the dashboard."""
    variables = [v["query"] for v in dashboard()["templating"]["list"] if v["type"] == "query"]
    return [*variables, *(target["expr"] for panel in dashboard()["panels"] for target in panel["targets"])]


def test_every_query_asks_for_metrics_that_exist() -> None:
    """Names, labels and the values that are selected by are those that the service gives."""
    there = existing()
    assert len(queries()) > 10
    for query in queries():
        names = NAME.findall(query)
        assert names, query
        assert set(names) <= there.keys(), query
        for name, selector in SELECTOR.findall(query):
            for label, operator, value in LABEL.findall(selector):
                assert label in there[name].keys() | FROM_PROMETHEUS, query
                if label not in FROM_PROMETHEUS and operator in ("=", "=~", "!~") and value != f"${label}":
                    assert set(value.split("|")) <= there[name][label], query


EXTRAPOLATED = re.compile(
    r"\b(?:rate|irate|increase|delta|idelta|deriv|predict_linear|avg_over_time|holt_winters)\s*\("
)
"""What Prometheus computes as a slope, or as a mean: 0.5 credits become 0.5003."""


def test_money_and_sets_are_exact() -> None:
    """They are sums and differences of what the journal has counted, and half credits are seen: no unit rounds them."""
    alerts = re.findall(r"^    (\S.*)$", (DOCS / "health.md").read_text(), re.MULTILINE)
    exact = re.compile(r"rodin_watchd_\w*credits|rodin_watchd_sets")
    found = [query for query in (*queries(), *alerts) if exact.search(query)]
    assert len(found) > 5
    assert [query for query in found if EXTRAPOLATED.search(query)] == []
    panels = [panel for panel in dashboard()["panels"] if "credits" in str(panel["targets"])]
    shown = [panel["fieldConfig"]["defaults"] for panel in panels]
    assert [(one["unit"], one["decimals"]) for one in shown] == [("none", 2)] * 2


def test_every_legend_names_a_label_of_its_query() -> None:
    """A legend of a label that the query does not keep would stay empty."""
    there = existing()
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            labels = set().union(*(there[name].keys() for name in NAME.findall(target["expr"])))
            assert set(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"])) <= labels | FROM_PROMETHEUS


def test_several_services_are_told_apart() -> None:
    """Each series is chosen by instance and root; what is not summed up over services says whose it is."""
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            chosen = [set(LABEL.findall(selector)) for _, selector in SELECTOR.findall(target["expr"])]
            assert len(chosen) == len(NAME.findall(target["expr"]))
            assert all({("instance", "=~", "$instance"), ("root", "=~", "$root")} <= found for found in chosen)
            assert " by (" in target["expr"] or target["legendFormat"].startswith("{{instance}} {{root}}")


def test_the_page_names_what_sets_wait_for_and_what_can_stand_still() -> None:
    """Every value that an alert may ask for is in the row of its metric."""
    page = (DOCS / "health.md").read_text()
    [sets] = re.findall(r"^\| `rodin_watchd_sets` .*", page, re.MULTILINE)
    [paused] = re.findall(r"^\| `rodin_watchd_paused` .*", page, re.MULTILINE)
    assert all(f"`{word}`" in sets for word in (SETTLING, INCOMPLETE, UNMOVABLE, READY))
    assert set(re.findall(r"`([a-z ]+)`", paused)) - {"what"} == set(STANDSTILLS)


def test_the_dashboard_leaves_nothing_out() -> None:
    """Each metric is on it; panels have numbers of their own and do not lie on each other."""
    shown = {re.sub(r"_(bucket|count|sum)$", "", name) for query in queries() for name in NAME.findall(query)}
    there = {re.sub(r"_(bucket|count|sum)$", "", name) for name in existing()}
    assert shown == there
    panels = dashboard()["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    cells = [
        (x, y)
        for grid in (panel["gridPos"] for panel in panels)
        for x in range(grid["x"], grid["x"] + grid["w"])
        for y in range(grid["y"], grid["y"] + grid["h"])
    ]
    assert len(set(cells)) == len(cells)
    assert max(x for x, _ in cells) < 24


def test_the_page_names_all_metrics_and_no_others() -> None:
    """The table has one row for each, with its labels; the alerts ask for what exists."""
    page = (DOCS / "health.md").read_text()
    rows = re.findall(r"^\| `(rodin_watchd_\w+)` \|([^|]*)\|", page, re.MULTILINE)
    there: dict[str, set[str]] = {}
    for name, labels in existing().items():
        there.setdefault(re.sub(r"_(bucket|count|sum)$", "", name), set()).update(labels.keys() - {"le", "root"})
    assert {name: set(re.findall(r"`(\w+)`", labels)) for name, labels in rows} == there
    assert set(NAME.findall(page)) <= there.keys()
