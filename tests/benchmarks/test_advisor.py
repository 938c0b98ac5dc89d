"""Speed of one decision of the advisor, outside the default run: ``make bench``."""

from __future__ import annotations

import json

import numpy as np
import pytest
import yaml

from agents.advisor import Advisor
from agents.advisor.explanation import explain, moving_fields
from agents.advisor.guards import Facts
from agents.advisor.pipeline import assess
from agents.advisor.request import parse_request
from envs.inventory import InventoryTask
from tests.advisor.helpers import around, carried, rails
from tests.agents.test_bundle import write
from twin.library import load
from twin.simulation import Simulation

pytestmark = pytest.mark.benchmark


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    return write(tmp_path_factory.mktemp("bench") / "bundle", InventoryTask("five_site_distribution"))


@pytest.mark.parametrize("what", ["without record", "and explained", "and looked ahead", "with synced record"])
def test_decision(benchmark, bundle, tmp_path, what):
    """One decision for 27 fields and 5 arcs: fields, age, distance, policy and guards; what else there may be.

    An explanation for who must approve; a look ahead of 3 x 64 paths over 24 periods; the record on disk, which holds
    the explanation.
    """
    state = json.loads((bundle.path / "example_state.json").read_text())
    file = rails(look_ahead={}) if what == "and looked ahead" else rails()
    advisor = Advisor(bundle, tmp_path / "s.db", mode="advisory", guardrails=file, outliers=around(bundle, state))
    number, active = advisor.load_current()

    def bare():
        request, _ = parse_request(state, active.fields, active.arcs, active.guards.limit_names, active.hashes)
        assessment = assess(active, request.values, advisor.shield, "middle")
        guarded = active.guards.apply(assessment.decided.orders, Facts("2026-01-01"))
        if what == "and explained":
            fields = moving_fields(active, request.values, assessment.decided.orders)
            explain(active, assessment, guarded, None, fields, "middle")
        if what == "and looked ahead":
            active.look_ahead(request, guarded.orders, np.zeros(5), 1)

    if what == "and looked ahead":
        state = carried(InventoryTask("five_site_distribution"), Simulation(load("five_site_distribution")))
    decide = (lambda: advisor.decide(state)) if what == "with synced record" else bare
    benchmark.pedantic(decide, rounds=500, warmup_rounds=50)
    benchmark.extra_info["p99_ms"] = round(1e3 * float(np.percentile(benchmark.stats.stats.data, 99)), 3)
    assert number == 1
    advisor.close()


def test_fifty_clients_for_a_minute(benchmark, bundle, tmp_path):
    """The service in a process of its own, asked by 50 clients for 60 s: no error, and every answer on record."""
    pytest.importorskip("fastapi", reason="needs FastAPI: pip install 'cogtwin[serve]'")
    from agents.advisor.tokens import add_token
    from tests.advisor.desk import serving
    from tests.advisor.load import check_record, press

    state = json.loads((bundle.path / "example_state.json").read_text())
    (tmp_path / "rails.yaml").write_text(yaml.safe_dump(rails().to_dict()))
    (tmp_path / "ood.json").write_text(json.dumps(around(bundle, state).to_dict()))
    token = add_token(tmp_path / "s.db.tokens", "bench", "planner")
    files = (f"bundle={bundle.path}", f"guardrails={tmp_path}/rails.yaml", f"outliers={tmp_path}/ood.json")
    with serving(tmp_path, *files, "mode=advisory", "rate=1000000") as (address, _):
        load = benchmark.pedantic(
            press, args=(address, token, state), kwargs={"clients": 50, "seconds": 60.0}, rounds=1
        )
    assert load.errors == []
    check_record(tmp_path / "s.db", load).close()
    benchmark.extra_info.update(load.summary())
