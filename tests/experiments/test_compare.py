"""A comparison says what is known, groups runs by their seeds, and leaves one whole folder behind or none."""

from __future__ import annotations

import base64
import csv
import json
import re
import shutil
import sys
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from experiments.cli import compose
from experiments.compare import Compared, compare, main
from experiments.config import CompareConfig, parse
from experiments.contenders import grouped, load_runs, run_folders
from experiments.evaluate import evaluate
from experiments.folders import new_folder
from experiments.loading import load_run
from experiments.statistics import mean_interval
from experiments.train import TrainResult
from twin import library
from twin.engine import Twin
from twin.errors import ConfigError, RunError
from twin.seeds import Purpose, world_seed

FAST = ["evaluation=smoke", "tuning=smoke"]
#: Exact average costs of the best base-stock and capped base-stock policies, lost sales, L = 4, p = 4; Zipkin (2008)
#: prints 5.20 and 4.80.
BASE, CAPPED = 5.1978, 4.7978


def config(*overrides: str, **values: object) -> CompareConfig:
    return parse(CompareConfig, {**compose("compare", [*FAST, *overrides]), **values})


@pytest.fixture(scope="module")
def zipkin() -> Compared:
    """Both rules on many paths, tuned as usual, with their exact costs."""
    words = ["network=lost_sales_zipkin2008", "env=lost_sales", "exact=true", "figures=false"]
    budget = ["evaluation.seed=1", "evaluation.paths=512", "evaluation.periods=400", "evaluation.warm_up=100"]
    data = compose("compare", ["policies=[base_stock,capped_base_stock]", *words, *budget, "evaluation.resamples=2000"])
    return compare(parse(CompareConfig, data))


@pytest.fixture(scope="module")
def written(seeds: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Compared, Path]:
    """Two seeds of one configuration beside two classical policies, with everything that is written."""
    found = compare(
        config("policies=[base_stock,constant]", "evaluation.paths=24", "evaluation.periods=12", runs=[str(seeds)])
    )
    target = tmp_path_factory.mktemp("compare") / "result"
    found.save(target)
    return found, target


def test_the_known_verdict_on_lost_sales(zipkin: Compared) -> None:
    """Capped base-stock beats base-stock, and the intervals hold the exact costs, which are Zipkin's."""
    rows = {row.policy: row for row in zipkin.comparison.rows}
    for name, exact, printed in (("base_stock", BASE, 5.20), ("capped_base_stock", CAPPED, 4.80)):
        assert rows[name].cost.low <= exact <= rows[name].cost.high
        assert rows[name].exact == pytest.approx(exact, abs=1e-4)
        assert rows[name].exact == pytest.approx(printed, abs=0.005)
        gap = rows[name].gap
        assert gap is not None
        assert gap.low <= 100 * (exact / 4.72853 - 1) <= gap.high
    (pair,) = zipkin.comparison.pairs
    assert (pair.policy, pair.reference, pair.verdict) == ("base_stock", "capped_base_stock", "higher")
    assert pair.difference.low <= BASE - CAPPED <= pair.difference.high
    assert pair.difference.low > 0.0
    assert pair.p_holm < 1e-6
    assert pair.improvement.high < 0.05


def test_intervals_of_simulated_costs_hold_the_exact_one() -> None:
    """Over 60 evaluation seeds the 95 % interval of base-stock holds its exact cost in all but a few."""
    network = library.load("lost_sales_zipkin2008", lead_time=4, penalty=4)
    held = 0
    for seed in range(60):
        twin = Twin(network, replicas=128, seed=world_seed(Purpose.EVALUATION, seed))
        found = mean_interval(twin.rollout("base_stock", [25.0], 200, warm_up=100).cost, resamples=500)
        held += found.low <= BASE <= found.high
    assert 52 <= held <= 60


def test_evaluate_and_compare_agree(zipkin: Compared) -> None:
    """Both commands share contenders, paths and statistics: the same numbers for the same policies."""
    from experiments.config import EvaluateConfig

    words = ["policy=base_stock", "network=lost_sales_zipkin2008", "env=lost_sales"]
    data = compose("evaluate", words) | {"evaluation": zipkin.config.evaluation.model_dump()}
    beside = evaluate(parse(EvaluateConfig, data))
    mine, theirs = beside.row("base_stock"), zipkin.comparison.row("base_stock")
    assert (mine.cost, mine.tail, mine.terms) == (theirs.cost, theirs.tail, theirs.terms)


def test_seeds_of_one_configuration_are_one_policy(written: tuple[Compared, Path], seeds: Path) -> None:
    found, _ = written
    assert [one.name for one in found.contenders] == ["ppo", "base_stock", "constant"]
    row = found.comparison.row("ppo")
    assert row.seeds == 2
    assert found.comparison.costs["ppo"].shape == (2, 24)
    assert found.contenders[0].about["training_seeds"] == [0, 1]
    assert row.cost.mean == pytest.approx(found.comparison.costs["ppo"].mean())
    assert sum(row.terms.values()) == pytest.approx(row.cost.mean)
    assert row.cost.low <= row.cost.mean <= row.cost.high
    # What a run has tuned is not tuned again.
    tuned = load_run(run_folders(seeds)[0]).tuned["base_stock"]
    assert found.contenders[1].tuned == tuned


def test_every_pair_is_compared_once(written: tuple[Compared, Path]) -> None:
    comparison = written[0].comparison
    names = [row.policy for row in comparison.rows]
    assert {(p.policy, p.reference) for p in comparison.pairs} == {
        (a, b) for k, a in enumerate(names) for b in names[k + 1 :]
    }
    for pair in comparison.pairs:
        costs = comparison.costs
        assert pair.difference.mean == pytest.approx(costs[pair.policy].mean() - costs[pair.reference].mean())
        assert pair.p <= pair.p_holm <= 1.0
        assert 0.0 <= pair.improvement.low <= pair.improvement.mean <= pair.improvement.high <= 1.0


def test_all_files_say_the_same(written: tuple[Compared, Path]) -> None:
    """Text, JSON, CSV, pairs, paths, figures in two formats, and a page that needs nothing else."""
    found, folder = written
    names = {path.name for path in folder.iterdir()}
    assert names == {
        "baselines.json", "comparison.csv", "comparison.json", "comparison.txt", "config.yaml", "figures", "pairs.csv",
        "paths.csv", "report.html",
    }  # fmt: skip
    data = json.loads((folder / "comparison.json").read_text())
    assert [row["policy"] for row in data["policies"]] == [row.policy for row in found.comparison.rows]
    for row, entry in zip(found.comparison.rows, data["policies"], strict=True):
        assert entry["cost"] == row.cost.to_dict()
        assert entry["cost_interquartile_mean"] == row.middle.to_dict()
        assert entry["gap_to_optimum_percent"]["mean"] == pytest.approx(100 * (row.cost.mean / 4.72853 - 1))
    assert data["contenders"]["ppo"]["config"]["agent"]["algorithm"] == "ppo"
    assert data["config"]["evaluation"]["paths"] == 24
    assert "numpy" in data["versions"]
    with (folder / "pairs.csv").open(newline="") as stream:
        assert [line["verdict"] for line in csv.DictReader(stream)] == [p.verdict for p in found.comparison.pairs]
    with (folder / "paths.csv").open(newline="") as stream:
        paths = list(csv.DictReader(stream))
    assert len(paths) == 24 * (2 + 1 + 1)
    costs = [float(line["cost"]) for line in paths if line["policy"] == "ppo"]
    assert np.mean(costs) == pytest.approx(found.comparison.row("ppo").cost.mean)
    pictures = {path.name for path in (folder / "figures").iterdir()}
    kinds = {"costs", "differences", "profile", "learning", "trajectories", "network", "policy_map"}
    assert pictures == {f"{kind}.{ending}" for kind in kinds for ending in ("png", "svg")}
    assert (folder / "figures" / "costs.png").read_bytes().startswith(b"\x89PNG")


class _Page(HTMLParser):
    """Collects what a page loads from elsewhere, its pictures, and whether its elements close."""

    def __init__(self) -> None:
        super().__init__()
        self.outside: list[str] = []
        self.pictures: list[str] = []
        self.open: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag not in {"meta", "img"}:
            self.open.append(tag)
        source = values.get("src") or (values.get("href") if tag == "link" else None)
        if tag == "script" or (source and not source.startswith("data:")):
            self.outside.append(f"{tag} {source}")
        if tag == "img":
            self.pictures.append(str(values["src"]))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_stands_alone_and_has_every_number(written: tuple[Compared, Path]) -> None:
    """No script, nothing loaded, all pictures inside; every number of the JSON is in it."""
    found, folder = written
    text = (folder / "report.html").read_text()
    page = _Page()
    page.feed(text)
    assert page.outside == []
    assert page.open == []
    assert len(page.pictures) == 7
    for picture in page.pictures:
        assert b"<svg" in base64.b64decode(picture.partition("base64,")[2])
    assert "http" not in re.sub(r'src="data:[^"]*"', "", text).replace("http://www.w3.org", "")
    for row in found.comparison.rows:
        for value in (row.cost, row.middle, row.service):
            assert repr(value.mean)[:12] in text  # among all numbers, with all digits
        assert row.policy in text
    for words in ("training_seeds", "resamples", "numpy", "verdict", "probability_of_improvement"):
        assert words in text


def test_nothing_is_overwritten_and_nothing_is_left_half(written: tuple[Compared, Path], tmp_path: Path) -> None:
    """A folder that is not empty is refused before anything runs; what fails on the way leaves no folder."""
    found, folder = written
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    with pytest.raises(RunError, match="is not overwritten"):
        found.save(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before

    def fails() -> None:
        with new_folder(tmp_path / "result") as partial:
            (partial / "half").write_text("a half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fails()
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "empty").mkdir()
    with new_folder(tmp_path / "empty") as partial:
        (partial / "whole").write_text("")
    assert [path.name for path in tmp_path.rglob("*")] == ["empty", "whole"]


def test_a_bound_stands_below_all_costs() -> None:
    """On a finite problem the hindsight program bounds every policy from below, path by path."""
    words = ["network=three_stage_serial", "env=three_stage", "policies=[base_stock,echelon_base_stock]", "bound=3"]
    found = compare(config(*words, "figures=false"))
    assert found.comparison.bound is not None
    assert found.comparison.bound.paths == 3
    assert found.comparison.horizon == 30
    for row in found.comparison.rows:
        assert row.over_bound is not None
        assert row.over_bound.mean > 0.0
        assert row.gap is None
        assert row.gap_closed is None
    assert "hindsight bound on 3 of the paths" in found.comparison.table()
    assert "gap closed" not in found.comparison.table()


def test_the_gap_closed_is_the_share_of_the_way_from_the_reference_to_the_bound(tmp_path: Path) -> None:
    words = ["network=three_stage_serial", "env=three_stage", "policies=[base_stock,echelon_base_stock,constant]"]
    found = compare(config(*words, "references=[constant,base_stock]", "bound=3", "figures=false"))
    comparison = found.comparison
    bound = comparison.bound
    assert bound is not None
    assert bound.reference == "constant"
    assert comparison.row("constant").gap_closed is None
    costs = {name: table[0, :3].mean() for name, table in comparison.costs.items()}
    for name in ("base_stock", "echelon_base_stock"):
        closed = comparison.row(name).gap_closed
        assert closed is not None
        share = (costs["constant"] - costs[name]) / (costs["constant"] - bound.cost.mean)
        assert closed.mean == pytest.approx(100.0 * share)
        assert closed.low < closed.mean <= closed.high <= 100.0
    assert "gap closed: of the way there from constant" in comparison.table()
    comparison.save(tmp_path)
    data = json.loads((tmp_path / "comparison.json").read_text())
    assert data["hindsight_bound"]["reference"] == "constant"
    assert [row["gap_closed_percent"] is None for row in data["policies"]] == [False, False, True]
    assert "gap_closed_percent_low" in (tmp_path / "comparison.csv").read_text()


def test_references_narrow_the_comparisons() -> None:
    words = ["policies=[s_s,base_stock,constant]", "network=lost_sales_zipkin2008", "references=[constant]"]
    found = compare(config(*words))
    assert {(p.policy, p.reference) for p in found.comparison.pairs} == {
        ("s_s", "constant"),
        ("base_stock", "constant"),
    }


LOST = "network=lost_sales_zipkin2008"


@pytest.mark.parametrize(
    ("words", "part"),
    [
        ([], "give runs="),
        ([LOST, "policies=[base_stock]"], "a comparison needs two policies, received 1"),
        ([LOST, "policies=[basestock,constant]"], "did you mean 'base_stock'"),
        ([LOST, "policies=[constant,constant]"], "'constant' is given twice"),
        ([LOST, "policies=[base_stock,constant]", "references=[constnt]"], "did you mean 'constant'"),
        ([LOST, "policies=[base_stock,constant]", "bound=2"], "evaluation.warm_up=4"),
        ([LOST, "policies=[base_stock,constant]", "evaluation.warm_up=0", "bound=9"], "at most evaluation.paths=8"),
        (["network=serial_chain", "policies=[base_stock,myopic]"], "'myopic' does not fit the network"),
        (["network=serial_chain", "policies=[base_stock,constant]", "exact=true"], "exact: base_stock: .*no exact"),
        ([LOST, "policies=[base_stock,constant]", "bound=-1"], "bound"),
        (["runs=[no/such/folder]"], "no run folder no/such/folder"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(words: list[str], part: str) -> None:
    """With the place, the value, what is allowed, and the nearest match."""
    with pytest.raises((ConfigError, RunError), match=part):
        compare(config(*words))


def test_all_wrong_names_come_at_once_before_anything_is_tuned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("experiments.contenders.tune_all", lambda *_, **__: pytest.fail("tuned"))
    with pytest.raises(ConfigError) as caught:
        compare(config(LOST, "policies=[basestock,constant,constant]", "references=[best]"))
    lines = str(caught.value).splitlines()
    assert len(lines) == 4
    assert "did you mean 'base_stock'" in lines[1]
    assert "'constant' is given twice" in lines[2]
    assert "no 'best' among what is compared" in lines[3]


def test_runs_of_different_problems_are_refused(seeds: Path, finished: TrainResult, tmp_path: Path) -> None:
    """Another network, the same run twice, an empty folder, a network= that is not the runs'."""
    with pytest.raises(RunError, match="another network"):
        compare(config(runs=[str(seeds), str(finished.folder)]))
    with pytest.raises(ConfigError, match="leave network= out"):
        compare(config("network=serial_chain", runs=[str(seeds)]))
    first = run_folders(seeds)[0]
    shutil.copytree(first, tmp_path / "copy")
    seed = load_run(first).config.training.seed
    with pytest.raises(RunError, match=rf"same configuration with the same training\.seed={seed}"):
        compare(config(runs=[str(seeds), str(tmp_path / "copy")]))
    (tmp_path / "nothing").mkdir()
    with pytest.raises(RunError, match="holds no finished run"):
        run_folders(tmp_path / "nothing")
    with pytest.raises(RunError, match="did you mean 'copy'"):
        run_folders(tmp_path / "copi")


def test_other_configurations_get_names_of_their_own(seeds: Path, tmp_path: Path) -> None:
    """Two configurations of one algorithm are told apart by the names of their runs, else by numbers."""
    first, second = run_folders(seeds)
    for name, origin, steps in (("a", first, "513"), ("b", second, "514")):
        shutil.copytree(origin, tmp_path / name)
        text = (tmp_path / name / "config.yaml").read_text()
        text = re.sub(r"steps: 512", f"steps: {steps}", text)
        (tmp_path / name / "config.yaml").write_text(text.replace("name: lost\n", f"name: {name}\n"))
    found = grouped(load_runs([str(seeds), str(tmp_path)]))
    assert [one.name for one in found] == ["ppo (lost)", "ppo (a)", "ppo (b)"]
    assert [len(one.members) for one in found] == [2, 1, 1]


def test_the_command_writes_and_says_where(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Tables on the screen and a fresh folder; no progress bar where nobody watches; a second start is refused."""
    words = [*FAST, LOST, "policies=[base_stock,constant]", "figures=false", f"output={tmp_path / 'new'}"]
    monkeypatch.setattr(sys, "argv", ["compare", *words])
    main()
    output = capsys.readouterr()
    assert "base_stock - constant" in output.out
    assert str(tmp_path / "new") in output.out
    assert output.err == ""
    assert (tmp_path / "new" / "report.html").is_file()
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 2
    assert "is not overwritten" in capsys.readouterr().err


def test_help_has_examples(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["compare", "--help"])
    main()
    assert capsys.readouterr().out.count("python -m experiments.compare") >= 3
