"""The export command: a run or a classical policy, with all that travels beside it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from agents.advisor import Advisor, OutlierModel
from agents.bundle import Bundle
from agents.bundle_cli import OK, main
from experiments.cli import compose
from experiments.config import ExportConfig, parse
from experiments.export import export
from twin.errors import ConfigError

if TYPE_CHECKING:
    from experiments.train import TrainResult


def config(*overrides: str) -> ExportConfig:
    return parse(ExportConfig, compose("export", list(overrides)))


@pytest.fixture(scope="module")
def bundle(finished: TrainResult, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("export")
    (folder / "rails.yaml").write_text("freshness: {maximum_age_seconds: 90}\n")
    words = [f"run={finished.folder}", "evaluation=smoke", "valid_days=30", f"guardrails={folder / 'rails.yaml'}"]
    return Bundle.load(export(config(*words, f"output={folder / 'five.zip'}")))


def test_everything_travels_with_a_run(bundle: Bundle, finished: TrainResult) -> None:
    manifest = bundle.manifest
    assert (manifest["algorithm"], manifest["highest_mode"]) == ("ppo", "advisory")
    assert manifest["seeds"]["training_seed"] == 0
    assert len(manifest["config_hash"]) == 64
    assert manifest["valid_until"] > manifest["created"]
    assert manifest["training"]["run"] == Path(finished.folder).name
    assert bundle.guardrails["freshness"]["maximum_age_seconds"] == 90
    assert {field["maximum_age_seconds"] for field in json.loads(bundle.contents["spec.json"])["observation"]} == {90}
    assert main(["verify", f"bundle={bundle.path}"]) == OK


def test_the_evaluation_is_the_one_of_the_comparison(bundle: Bundle, finished: TrainResult) -> None:
    """Cost, tail and fill rate as experiments.evaluate finds them on the same paths, beside the tuned policies."""
    from experiments.config import EvaluateConfig
    from experiments.evaluate import evaluate

    words = [f"run={finished.folder}", "evaluation=smoke"]
    folder = bundle.path.parent / "table"
    expected = evaluate(parse(EvaluateConfig, compose("evaluate", [*words, f"output={folder}"])))
    found = bundle.evaluation
    assert found is not None
    assert [row["policy"] for row in found["policies"]] == [row.policy for row in expected.rows]
    for row, other in zip(found["policies"], expected.rows, strict=True):
        assert row["cost"] == other.cost.to_dict()
        assert row["fill_rate"] == other.fill_rate
    card = bundle.contents["card.md"].decode()
    assert f"{expected.rows[0].cost.mean:.5g}" in card


def test_the_fallback_is_the_cheapest_tuned_policy_that_fits(bundle: Bundle) -> None:
    assert bundle.fallback is not None
    assert bundle.evaluation is not None
    costs = {row["policy"]: row["cost"]["mean"] for row in bundle.evaluation["policies"][1:]}
    assert bundle.fallback.policy == min(costs, key=lambda name: costs[name])
    assert bundle.fallback.tuning["evaluation_cost"] == costs[bundle.fallback.policy]


def test_usual_states_were_learned_and_tried_on_others(bundle: Bundle) -> None:
    outliers = bundle.outliers
    assert outliers is not None
    model = OutlierModel.from_dict(outliers)
    assert model.names == tuple(field.name for field in bundle.spec.fields)
    assert outliers["held_out"]["episodes"] == 100
    assert 0.0 <= outliers["held_out"]["distance"] < 0.05
    example = np.array([bundle.example_state["observation"][name] for name in model.names])
    assert not model.score(example).outlier
    far = example.copy()
    far[0] += 1e6
    assert model.score(far).outlier


def test_the_advisor_runs_it_as_it_is(bundle: Bundle, tmp_path: Path) -> None:
    advisor = Advisor(bundle, tmp_path / "store.db", mode="advisory")
    assert advisor.active.outliers is not None
    state = {**bundle.example_state, "as_of": advisor.store.clock().isoformat()}
    assert advisor.decide(state).body["source"] == "policy"
    advisor.close()


def test_a_classical_policy_is_exported_too(tmp_path: Path) -> None:
    words = ["policy=capped_base_stock", "network=lost_sales_zipkin2008", "env=lost_sales"]
    words += ["tuning=smoke", "evaluation=smoke", "episodes=0", "fallback=base_stock", "highest_mode=shadow"]
    bundle = Bundle.load(export(config(*words, f"output={tmp_path / 'capped'}")))
    assert bundle.manifest["algorithm"] == "capped_base_stock"
    assert bundle.manifest["highest_mode"] == "shadow"
    assert bundle.outliers is None
    assert bundle.fallback is not None
    assert bundle.fallback.policy == "base_stock"
    advice = bundle.advise(bundle.example_state)
    assert [order.arc for order in advice.orders] == list(bundle.spec.arc_names)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "give either run="),
        (["run=x", "policy=base_stock"], "give either run="),
        (["policy=base_stock", "output=x"], "give the network"),
        (["policy=base_stock", "network=five_site_distribution"], "say where the bundle goes"),
        (["policy=base_stok", "network=five_site_distribution", "output=x"], "did you mean 'base_stock'"),
        (["run=RUN", "network=five_site_distribution"], "leave them out"),
        (["run=RUN", "fallback=base_stok"], "did you mean 'base_stock'"),
        (["run=RUN", "highest_mode=autonomus"], "autonomous"),
    ],
)
def test_wrong_calls(finished: TrainResult, words: list[str], message: str) -> None:
    said: Any = [word.replace("RUN", str(finished.folder)) for word in words]
    with pytest.raises(ConfigError, match=message):
        export(config(*said, "evaluation=smoke"))


def test_the_commands_of_the_page_run(
    finished: TrainResult, bundle: Bundle, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """docs/bundles.md, its long runs replaced by short ones."""
    text = (Path(__file__).resolve().parents[2] / "docs" / "bundles.md").read_text(encoding="utf-8")
    lines = re.findall(r"^python -m (\S+) (.*)$", text.split("```bash")[1].split("```")[0], re.M)
    monkeypatch.chdir(tmp_path)
    said = {
        "run=runs/essential_medicines_ppo/FOLDER": f"run={finished.folder}",
        "bundle=BUNDLE": f"bundle={bundle.path}",
    }
    said["first=BUNDLE"] = f"first={bundle.path}"
    ran = []
    for module, rest in lines:
        words = [said.get(word, word) for word in rest.split()]
        if module == "experiments.export":
            more = ["evaluation=smoke", "episodes=60"] + (["tuning=smoke"] if "run=" not in rest else ["output=run"])
            assert export(config(*words, *more)).exists()
        else:
            assert module == "agents.bundle"
            assert main(words) == OK
        ran.append((module, words[0]))
    assert len(ran) == 6
    example = text.split("```python")[1].split("```")[0]
    exec(compile(example, "docs/bundles.md", "exec"), {})  # noqa: S102 - the page's own example
    assert (tmp_path / "bundle.zip").is_file()
