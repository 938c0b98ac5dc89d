"""The 38 chains of Willems (2008): every one loads, passes the checks and runs with its material balance intact."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from scipy import sparse

from twin.compile import compile_network
from twin.engine import Twin
from twin.errors import DataError
from twin.ingest.__main__ import main
from twin.ingest.csvfile import read_csv
from twin.ingest.willems import build_network
from twin.ingest.willems_data import read_chain
from twin.network import Network

PERIODS, REPLICAS = 200, 2

#: A chain made here: a part and a bought product go into a stage that feeds two stages with customers.
STAGES = """\
chain,Stage Name,stageCost,relDepth,stageClassification,avgDemand,stdDevDemand,maxServiceTime,serviceLevel,stageTime,\
stdDev stageTime,stageTime_1,stageTime_%_1,stageTime_2,stageTime_%_2,stageTime_3,stageTime_%_3,stageTime_4,\
stageTime_%_4,stageTime_5,stageTime_%_5,stageTime_6,stageTime_%_6
1,Part_1,10,2,Parts,,,,,4,2,2,0.5,6,0.5,,,,,,,,
1,Part_2,20,2,Part,,,,,5,,,,,,,,,,,,,
1,Manuf_1,6,1,Manuf,,,,,3,1.5,,,,,,,,,,,,
1,Retail_1,1,0,Retail,50,5,2,0.9,0,,,,,,,,,,,,,
1,Retail_2,4,0,Retail,10,20,0,0.75,1,,,,,,,,,,,,,
"""
LINKS = """\
chain,sourceStage,destinationStage
1,Part_1,Manuf_1
1,Part_2,Manuf_1
1,Manuf_1,Retail_1
1,Manuf_1,Retail_2
"""


def files(folder, *changes):
    """The small chain's two files, with texts replaced; their paths."""
    texts = {"stages.csv": STAGES, "links.csv": LINKS}
    for name, old, new in changes:
        assert old in texts[name]
        texts[name] = texts[name].replace(old, new)
    for name, text in texts.items():
        (folder / name).write_text(text, encoding="utf-8")
    return folder / "stages.csv", folder / "links.csv"


def chain_of(folder, *changes):
    return read_chain(*(read_csv(path) for path in files(folder, *changes)), 1)


def levels(compiled):
    """Base-stock levels: mean demand over lead time and review, and 1.64 standard deviations; 0 on a link."""
    days = compiled.lead_mean + 1.0
    rate = compiled.demand_rate[compiled.topology.arc_destination]
    variance = compiled.demand_variance[compiled.topology.arc_destination]
    level = rate * days + 1.64 * np.sqrt(variance * days + rate**2 * compiled.lead_variance)
    return np.where([":link:" in name for name in compiled.arc_names], 0.0, level)


def assert_balanced(network, periods, replicas):
    """Per stock point, replica and period: what is there and under way changes by what came, left and was sold.

    The same path without a look in between (one rollout) ends in the same state.
    """
    twin = Twin(network, replicas=replicas, seed=3)
    at_once = twin.fork()
    top, compiled = twin.compiled.topology, twin.compiled
    i, a, d = compiled.n_stocks, compiled.n_arcs, compiled.n_demands
    arcs = np.arange(a)
    into = sparse.csr_matrix((np.ones(a), (top.arc_destination, arcs)), shape=(i, a))
    users = np.repeat(arcs, np.diff(top.in_ptr))
    out_of = sparse.csr_matrix((top.in_coefficient, (top.in_stock, users)), shape=(i, a))
    sold = sparse.csr_matrix((np.ones(d), (top.demand_stock, np.arange(d))), shape=(i, d))
    target = levels(compiled)
    column = np.repeat(target[:, None], replicas, axis=1)
    now = twin.state.arrays
    served = 0.0
    for _ in range(periods):
        there, owed, waiting = now.on_hand + into @ now.in_transit, now.backlog.copy(), now.backorders.copy()
        orders = twin.base_stock_orders(twin.positions(), column)
        twin.step(orders)
        exact = {"rtol": 0.0, "atol": 1e-10 * (1.0 + np.abs(there).max() + orders.max())}
        moved = (into - out_of) @ now.shipped - sold @ now.delivered
        np.testing.assert_allclose(now.on_hand + into @ now.in_transit, there + moved, **exact)
        np.testing.assert_allclose(now.backlog, owed + now.demand - now.delivered, **exact)
        np.testing.assert_allclose(now.backorders, waiting + orders - now.shipped, **exact)
        assert min(now.on_hand.min(), now.in_transit.min(), now.backorders.min(), now.backlog.min()) >= 0.0
        served += float(now.served.sum())
    assert served > 0.0
    at_once.rollout("base_stock", target, periods)
    for name in ("on_hand", "in_transit", "backlog"):
        np.testing.assert_array_equal(getattr(at_once.state.arrays, name), getattr(now, name), err_msg=name)


# -- the real chains -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def real_chain(willems_tables):
    """Number -> (chain, compact network), each built once."""

    @cache
    def _build(number):
        chain = read_chain(*willems_tables, number)
        return chain, build_network(chain)

    return _build


@pytest.mark.parametrize("number", range(1, 39))
def test_every_chain_runs_with_its_material_balance_intact(number, real_chain):
    """A chain passes the structural checks and keeps exact books for 200 days under a base-stock policy."""
    chain, network = real_chain(number)
    assert (len(network.products), sum(len(r.inputs) for r in network.recipes.values())) == (
        len(chain.stages),
        chain.links,
    )
    assert_balanced(network, PERIODS, REPLICAS)


@pytest.mark.parametrize("number", [1, 10, 24])
def test_stages_as_sites_run_with_their_material_balance_intact(number, willems_tables):
    """With a site for every stage and a lane for every link the books are as exact."""
    chain = read_chain(*willems_tables, number)
    network = build_network(chain, layout="sites")
    assert list(network.sites) == list(chain.stages)
    assert sum(lane.origin in network.sites for lane in network.lanes) == chain.links
    assert_balanced(network, PERIODS // 4, REPLICAS)


def test_the_chains_are_those_of_the_paper(real_chain):
    """38 chains with 15,872 stages, 43,589 links and 4,580 stages with customers; from 8/10 to 2,025/16,225."""
    chains = [real_chain(number)[0] for number in range(1, 39)]
    sizes = [(len(chain.stages), chain.links) for chain in chains]
    assert (sizes[0], sizes[-1]) == ((8, 10), (2025, 16225))
    assert tuple(np.sum(sizes, axis=0)) == (15872, 43589)
    stages = [stage for chain in chains for stage in chain.stages.values()]
    assert sum(stage.demand is not None for stage in stages) == 4580
    assert {stage.kind for stage in stages} == {"Part", "Manuf", "Trans", "Dist", "Retail"}


def test_stage_times_keep_the_stated_moments(real_chain):
    """Discrete or gamma, the law of a stage's time has the mean and the deviation that the data state."""
    checked = 0
    for number in range(1, 39):
        chain, network = real_chain(number)
        laws = {lane.product: lane.modes["purchase"].lead_time for lane in network.lanes}
        laws |= {name: recipe.lead_time for name, recipe in network.recipes.items()}
        for name, stage in chain.stages.items():
            assert laws[name].mean_value == pytest.approx(stage.time, abs=0.51)
            if stage.time_sd > 0.0:
                assert np.sqrt(laws[name].variance) == pytest.approx(stage.time_sd, abs=1e-3), name
                checked += 1
    assert checked > 6900


def test_a_contradiction_in_the_data_is_noted(real_chain):
    """In chain 8 the listed times of Part_0001 (1 and 45 days) contradict its mean of 42.5; mean and deviation win."""
    _, network = real_chain(8)
    law = next(lane.modes["purchase"].lead_time for lane in network.lanes if lane.product == "Part_0001")
    assert (law.distribution, law.mean_value) == ("gamma", 42.5)
    assert network.provenance["notes"] == [
        "Part_0001: the listed stage times have mean 23, but the stated mean is 42.5; mean and deviation are used"
    ]


def test_the_largest_chain_goes_through_the_command(willems_files, real_chain, tmp_path, capsys):
    """Chain 38 is written, loads again as the same network, and states its assumptions."""
    stages, links = (str(path) for path in willems_files)
    output = tmp_path / "chain_38.yaml"
    command = ["willems", "--stages", stages, "--links", links, "--chain", "38", "--output", str(output)]
    assert main(command) == 0
    assert "2025 stock points, 2025 arcs, 559 demand streams" in capsys.readouterr().out
    assert Network.load(output) == real_chain(38)[1]
    assert main(command) == 2
    assert "exists; give --overwrite" in capsys.readouterr().err


# -- what a chain becomes --------------------------------------------------------------------------------------------


def test_figures_of_a_small_chain(tmp_path):
    """Costs cumulate, penalties follow the newsvendor ratio, requirements add up, laws keep their moments."""
    chain = chain_of(tmp_path)
    network = build_network(chain, holding_rate=0.36525)
    worth = {"Part_1": 10, "Part_2": 20, "Manuf_1": 36, "Retail_1": 37, "Retail_2": 40}
    stock = network.sites["chain"].stock
    assert {name: entry.holding_cost * 1000 for name, entry in stock.items()} == pytest.approx(worth)
    compiled = compile_network(network)
    assert dict(zip(worth, compiled.unit_value, strict=True)) == pytest.approx(worth)
    assert compiled.demand_rate == pytest.approx([60, 60, 60, 50, 10])
    assert [entry.initial for entry in stock.values()] == [60, 60, 60, 50, 10]
    first, second = network.demands["Retail_1"], network.demands["Retail_2"]
    assert first.penalty == pytest.approx(0.037 * 9)
    assert second.penalty == pytest.approx(0.040 * 3)
    assert (first.distribution.distribution, second.distribution.distribution) == ("normal", "gamma")
    assert (second.distribution.mean_value, second.distribution.variance) == pytest.approx((10, 400))
    laws = {lane.product: lane.modes["purchase"].lead_time for lane in network.lanes}
    assert (laws["Part_1"].values, laws["Part_1"].probabilities) == ((2.0, 6.0), (0.5, 0.5))
    assert laws["Part_2"].value == 5.0
    assert "service level 0.9, quoted service time 2 days" in network.products["Retail_1"].description
    assert any("unit usage is not in the data" in line for line in network.provenance["assumptions"])
    assert any("a year / 365.25 days x the cumulated cost" in line for line in network.provenance["assumptions"])


def test_no_file_that_is_read_is_replaced(tmp_path, capsys):
    """--overwrite does not reach the stages and the links, by whatever path they are named."""
    stages, links = files(tmp_path)
    (tmp_path / "linked.csv").symlink_to(links)
    before = stages.read_bytes(), links.read_bytes()
    for output in (stages, links, tmp_path / ".." / tmp_path.name / "links.csv", tmp_path / "linked.csv"):
        command = ["willems", "--stages", str(stages), "--links", str(links), "--chain", "1", "--output", str(output)]
        assert main([*command, "--overwrite"]) == 2
        assert f"{output} is a file that the import reads" in capsys.readouterr().err
    assert (stages.read_bytes(), links.read_bytes()) == before


def test_both_layouts_do_the_same_while_nothing_is_short(tmp_path):
    """With plenty of stock both layouts ship, sell and hold the same of every stage's output, day by day."""
    chain = chain_of(tmp_path, ("stages.csv", "4,2,2,0.5,6,0.5", "4,,,,,"), ("stages.csv", "3,1.5", "3,"))
    seen = []
    for layout in ("compact", "sites"):
        data = build_network(chain, layout=layout).to_dict()
        for site in data["sites"].values():
            for stock in site["stock"].values():
                stock["initial"] = stock.get("initial", 0.0) * 50
        twin = Twin(Network.parse(data), replicas=4, seed=11)
        compiled = twin.compiled
        # Positions begin at their levels, so that every stage orders day by day what was sold.
        rate = compiled.demand_rate[compiled.topology.arc_destination]
        link = np.array([":link:" in name for name in compiled.arc_names])
        target = np.where(link, 0.0, rate * (50.0 + compiled.lead_mean))
        names = [name.partition("/") for name in compiled.stock_names]
        own = [i for i, (site, _, product) in enumerate(names) if site in {"chain", product}]
        days = []
        for _ in range(60):
            twin.rollout("base_stock", target, 1)
            days.append((twin.state.arrays.on_hand[own], twin.state.arrays.delivered.copy()))
            assert not twin.state.arrays.backorders.any()
        seen.append(days)
    for compact, sites in zip(*seen, strict=True):
        np.testing.assert_allclose(compact[0], sites[0], atol=1e-6)
        np.testing.assert_allclose(compact[1], sites[1], atol=1e-6)


WRONG = [
    (("links.csv", "Part_2,Manuf_1", "Part_3,Manuf_1"), ["line 3", "sourceStage", "'Part_3'", "did you mean 'Part_"]),
    (("links.csv", "1,Manuf_1,Retail_2", "1,Manuf_1,Retail_1"), ["line 5", "Manuf_1 -> Retail_1 is there twice"]),
    (("links.csv", "1,Manuf_1,Retail_2", "1,Retail_1,Part_1"), ["form a cycle", "Retail_1 -> Part_1", "and back"]),
    (("stages.csv", "1,Part_2,20", "1,Part_1,20"), ["line 3", "'Part_1' is in chain 1 twice"]),
    (("stages.csv", "1,Part_2,20", "1,Part_2,-20"), ["line 3", "stageCost", "at least 0", "'-20'"]),
    (("stages.csv", "1,Part_2,20", "1,Part_2,nan"), ["line 3", "stageCost", "finite", "'nan'"]),
    (("stages.csv", "0.75", "1"), ["line 6", "serviceLevel", "between 0 and 1", "1"]),
    (("stages.csv", "2,0.5,6,0.5", "2,0.5,6,0.4"), ["line 2", "sum to 0.9"]),
    (("stages.csv", "Retail,10,20", "Retail,0,20"), ["line 6", "stdDevDemand", "must be 0 where avgDemand is 0"]),
    (("stages.csv", "stageCost", "stage cost"), ["no column 'stageCost'", "did you mean 'stage cost'"]),
    (("stages.csv", "1,Part_2,20,2", "1,Part_2,20,2,"), ["line 3", "cells"]),
]


@pytest.mark.parametrize(("change", "expected"), WRONG, ids=[" ".join(w[0][1:]) for w in WRONG])
def test_what_is_wrong_is_named_with_its_place(change, expected, tmp_path):
    """A wrong figure or link is refused with file, line, column and value."""
    with pytest.raises(DataError) as caught:
        chain_of(tmp_path, change)
    for part in expected:
        assert part in str(caught.value)


def test_an_unknown_chain_is_refused_with_those_that_exist(tmp_path, capsys):
    """The command answers on one line, writes nothing, and returns 2."""
    stages, links = files(tmp_path)
    output = tmp_path / "out.yaml"
    command = ["willems", "--stages", str(stages), "--links", str(links), "--chain", "2", "--output", str(output)]
    assert main(command) == 2
    assert "has no chain 2 (there is: 1)" in capsys.readouterr().err
    assert main([*command[:-3], "1", "--output", str(output), "--holding-rate", "-1"]) == 2
    assert "holding rate must be finite and at least 0" in capsys.readouterr().err
    assert not output.exists()
