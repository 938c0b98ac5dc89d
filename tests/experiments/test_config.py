"""Configurations compose, are checked as a whole, and mean the same from Python."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import configs
from envs.inventory_features import GROUPS as FIELD_GROUPS
from experiments.benchmark_config import BenchmarkConfig, EntryConfig, SuiteConfig
from experiments.cli import compose, configured
from experiments.config import (
    AgentConfig,
    CompareConfig,
    EnvConfig,
    EpisodeConfig,
    EvaluateConfig,
    EvaluationConfig,
    ExportConfig,
    NetworkConfig,
    NormaliseConfig,
    RoutingConfig,
    TrainConfig,
    TrainingConfig,
    TuningConfig,
    ValidationConfig,
    parse,
)
from experiments.problems import compiled_network
from experiments.report import ReportConfig
from twin.distributions import Geometric
from twin.errors import ConfigError, NetworkError
from twin.liner.scenarios import scenario_names
from twin.scenarios import Outage, Scenario, Surge
from twin.schema import StrictModel
from twin.seeds import Purpose, world_seed

FOLDER = Path(str(configs.__file__)).parent
# Suites, searches and launchers are about several runs and no part of one; test_benchmark.py, test_tune.py and
# test_launchers.py resolve every one of them.
GROUPS = sorted({path.parent.name for path in FOLDER.glob("*/*.yaml")} - {"experiment", "suite", "search", "launcher"})
EXPERIMENTS = sorted(path.stem for path in (FOLDER / "experiment").glob("*.yaml"))

PPO = {
    "n_steps": 64,
    "batch_size": 1024,
    "n_epochs": 4,
    "learning_rate": 1e-3,
    "gamma": 0.99,
    "gae_lambda": 0.95,
    "ent_coef": 0.0,
    "clip_range": 0.2,
    "max_grad_norm": 0.5,
}
OFF_POLICY: dict[str, Any] = {
    "learning_rate": 3e-4,
    "buffer_size": 100_000,
    "learning_starts": 2_000,
    "batch_size": 256,
    "train_freq": 1,
    "gradient_steps": 8,
    "gamma": 0.99,
}

SWITCHING: dict[str, Any] = {
    "id": "cogtwin/SupplierSwitching-v0",
    "action_mode": "mix",
    "residual": True,
    "base": "risk",
    "observe": [group for group in FIELD_GROUPS if group != "owed"],
    "finite": True,
}

ROUTING: dict[str, Any] = {"id": "cogtwin/Routing-v0", "action_mode": "prices", "horizon": 182, "finite": True}

ASSUMPTIONS: dict[str, Any] = {
    **ROUTING,
    "horizon": 26,
    "action_mode": "assumptions",
    "observe": ["availability", "since", "queue", "periods_left"],
    "routing": {"decision": "week", "base": "queue"},
}

#: Every option of every group, built from Python.
OPTIONS: dict[str, dict[str, Any]] = {
    "network": {
        "baltic": NetworkConfig(name="baltic"),
        "beer_game": NetworkConfig(name="beer_game"),
        "serial_chain": NetworkConfig(name="serial_chain"),
        "essential_medicines": NetworkConfig(name="essential_medicines"),
        "five_site_distribution": NetworkConfig(name="five_site_distribution"),
        "dual_sourcing": NetworkConfig(name="dual_sourcing", parameters={"regular_lead_time": 2, "express_price": 105}),
        "lost_sales_zipkin2008": NetworkConfig(
            name="lost_sales_zipkin2008", parameters={"demand": "poisson", "lead_time": 4, "penalty": 4}
        ),
        "one_warehouse": NetworkConfig(name="one_warehouse", parameters={"retailers": 10}),
        "prolonged_shortage": NetworkConfig(name="prolonged_shortage"),
        "shared_subtier": NetworkConfig(name="shared_subtier"),
        "three_stage_serial": NetworkConfig(name="three_stage_serial", parameters={"demand": "stationary"}),
        "two_suppliers_markov": NetworkConfig(name="two_suppliers_markov", parameters={"outage": 8}),
        "file": NetworkConfig(name="mine.yaml"),
    },
    "env": {
        "inventory": EnvConfig(),
        "inventory_discrete": EnvConfig(action_mode="discrete"),
        "inventory_residual": EnvConfig(residual=True, residual_scale=0.25, horizon=208),
        "lost_sales": EnvConfig(observe=["on_hand", "position", "arriving", "periods_left"], arrivals="slots"),
        "dual_sourcing": EnvConfig(
            observe=["on_hand", "position", "arriving", "backlog", "periods_left"], arrivals="slots"
        ),
        "three_stage": EnvConfig(
            action_mode="echelon",
            residual=True,
            observe=["on_hand", "position", "in_transit", "arriving", "backlog", "demand", "expected", "periods_left"],
            arrivals="slots",
            forecast=12,
            horizon=30,
            finite=True,
        ),
        "serial": EnvConfig(
            observe=["on_hand", "position", "arriving", "owed", "backlog", "periods_left"], arrivals="slots"
        ),
        "one_warehouse": EnvConfig(observe=["on_hand", "position", "arriving", "periods_left"], arrivals="slots"),
        "beer_game": EnvConfig(
            observe=["on_hand", "position", "in_mail", "arriving", "owed", "backlog", "demand", "periods_left"],
            arrivals="slots",
            horizon=36,
            finite=True,
        ),
        "routing": EnvConfig(**ROUTING),
        "routing_itinerary": EnvConfig(**{**ROUTING, "action_mode": "itinerary"}),
        "routing_weekly": EnvConfig(**{**ROUTING, "horizon": 26, "routing": {"decision": "week"}}),
        "routing_assumptions": EnvConfig(**ASSUMPTIONS),
        "routing_departures": EnvConfig(
            **{
                **ROUTING,
                "action_mode": "departures",
                "observe": ["loads", "availability", "since", "queue", "calendar"],
                "routing": {"base": "queue", "price_scale": 1000.0},
            }
        ),
        "two_suppliers": EnvConfig(observe=["position", "arriving", "availability", "periods_left"], arrivals="slots"),
        "supplier_switching": EnvConfig(**SWITCHING),
        "supplier_moves": EnvConfig(**SWITCHING | {"action_mode": "moves", "notches": [0.5, 0.75, 1.0, 1.5, 2.0]}),
    },
    "agent": {
        "ppo": AgentConfig(parameters=PPO),
        "a2c": AgentConfig(
            algorithm="a2c",
            parameters={"n_steps": 16, "learning_rate": 7e-4, "gamma": 0.99, "gae_lambda": 0.95, "ent_coef": 0.0},
        ),
        "sac": AgentConfig(
            algorithm="sac", net_arch=[128, 128], activation="relu", log_std_init=None, parameters=OFF_POLICY
        ),
        "ppo_residual": AgentConfig(
            log_std_init=-2.5,
            parameters={**PPO, "learning_rate": 5e-4, "batch_size": 2048, "n_epochs": 8, "gae_lambda": 0.9},
        ),
        "td3": AgentConfig(
            algorithm="td3", net_arch=[128, 128], activation="relu", log_std_init=None, parameters=OFF_POLICY
        ),
        "ppo_switching": AgentConfig(
            schedule="linear", parameters={**PPO, "n_steps": 52, "batch_size": 1664, "n_epochs": 6}
        ),
        "maskable_ppo": AgentConfig(
            algorithm="maskable_ppo",
            log_std_init=None,
            schedule="linear",
            parameters={
                **PPO,
                "n_steps": 52,
                "batch_size": 1664,
                "n_epochs": 6,
                "gamma": 0.995,
                "gae_lambda": 0.97,
                "ent_coef": 0.002,
            },
        ),
        "ppo_routing": AgentConfig(
            algorithm="ppo",
            log_std_init=-2.0,
            parameters={
                **PPO,
                "n_steps": 26,
                "batch_size": 1664,
                "n_epochs": 8,
                "gamma": 1.0,
                "gae_lambda": 1.0,
            },
        ),
        "imitation": AgentConfig(
            algorithm="imitation",
            net_arch=[],
            log_std_init=None,
            normalise=NormaliseConfig(observation=False, reward=False),
            parameters={
                "teacher": "routing_slot_price",
                "teacher_parameters": {"share": 0.7},
                "every": 3,
                "n_steps": 126,
                "penalty": 0.03,
            },
        ),
        "pathwise": AgentConfig(
            algorithm="pathwise",
            activation="silu",
            log_std_init=None,
            schedule="cosine",
            normalise=NormaliseConfig(reward=False),
            parameters={
                "learning_rate": 3e-3,
                "n_steps": 50,
                "warm_up": 100,
                "max_grad_norm": 1.0,
            },
        ),
        "dqn": AgentConfig(
            algorithm="dqn",
            activation="relu",
            log_std_init=None,
            normalise=NormaliseConfig(),
            parameters={
                **OFF_POLICY,
                "learning_rate": 5e-4,
                "train_freq": 4,
                "exploration_fraction": 0.3,
                "exploration_final_eps": 0.05,
            },
        ),
    },
    "scenario": {
        "none": Scenario(),
        "supplier_outage": Scenario(
            name="supplier_outage", outages={"outage": Outage(suppliers=[1], start=26, duration=12)}
        ),
        "supplier_failures": Scenario(
            name="supplier_failures",
            outages={"failures": Outage(suppliers="all", failure=0.02, duration=Geometric(mean=6))},
        ),
        "reduced_capacity": Scenario(
            name="reduced_capacity",
            outages={"cut": Outage(resources="all", share=0.2, start=26, duration=12, ramp=4)},
        ),
        "demand_surge": Scenario(
            name="demand_surge", surges={"surge": Surge(demands="all", start=26, periods=8, factor=1.5)}
        ),
        **{name: Scenario(name=name) for name in scenario_names()},
    },
    "training": {
        "default": TrainingConfig(),
        "smoke": TrainingConfig(
            steps=2048,
            replicas=8,
            evaluate_every=1024,
            checkpoint_every=1024,
            validation=ValidationConfig(paths=4, periods=8, warm_up=4),
        ),
        "accrual": TrainingConfig(accrual=True),
        "long": TrainingConfig(
            steps=4_000_000,
            replicas=256,
            accrual=True,
            evaluate_every=200_000,
            checkpoint_every=200_000,
            validation=ValidationConfig(paths=256),
        ),
        "wide": TrainingConfig(
            steps=3_000_000,
            replicas=256,
            evaluate_every=300_000,
            checkpoint_every=1_000_000,
            validation=ValidationConfig(paths=256),
        ),
        "switching": TrainingConfig(
            steps=4_000_000,
            replicas=256,
            evaluate_every=300_000,
            checkpoint_every=1_000_000,
            validation=ValidationConfig(paths=256),
        ),
        "routing": TrainingConfig(
            steps=200_000,
            replicas=128,
            paired=True,
            evaluate_every=16_000,
            validation=ValidationConfig(paths=64),
        ),
        "imitation": TrainingConfig(
            steps=4032,
            replicas=8,
            stagger=False,
            evaluate_every=1008,
            checkpoint_every=1008,
            validation=ValidationConfig(paths=32, periods=1, warm_up=0),
        ),
        "pathwise": TrainingConfig(
            steps=40_000_000,
            replicas=1024,
            stagger=False,
            evaluate_every=4_000_000,
            checkpoint_every=10_000_000,
            patience=10,
            validation=ValidationConfig(paths=512, periods=200),
        ),
    },
    "evaluation": {
        "default": EvaluationConfig(),
        "smoke": EvaluationConfig(paths=8, periods=8, warm_up=4, resamples=200),
    },
    "tuning": {
        "default": TuningConfig(),
        "smoke": TuningConfig(restarts=1, generations=2, candidates=8, paths=2, periods=8, warm_up=4),
    },
}


#: Every experiment: its options in the order of the groups, and what it changes in them.
EXPERIMENT_OPTIONS: dict[str, tuple[str, str, str, str]] = {
    "essential_medicines_ppo": ("essential_medicines", "inventory_residual", "ppo_residual", "long"),
    "five_site_a2c": ("five_site_distribution", "inventory_residual", "a2c", "default"),
    "five_site_ppo": ("five_site_distribution", "inventory_residual", "ppo", "accrual"),
    "five_site_sac": ("five_site_distribution", "inventory_residual", "sac", "default"),
    "five_site_td3": ("five_site_distribution", "inventory_residual", "td3", "default"),
    "lost_sales_dqn": ("lost_sales_zipkin2008", "inventory_discrete", "dqn", "default"),
    "lost_sales_pathwise": ("lost_sales_zipkin2008", "lost_sales", "pathwise", "pathwise"),
    "lost_sales_ppo": ("lost_sales_zipkin2008", "lost_sales", "ppo", "wide"),
    "prolonged_shortage": ("prolonged_shortage", "supplier_moves", "maskable_ppo", "switching"),
    "routing_ppo": ("baltic", "routing_assumptions", "ppo_routing", "routing"),
    "shared_subtier": ("shared_subtier", "supplier_switching", "ppo_switching", "switching"),
}
CHANGES: dict[str, dict[str, Any]] = {
    "lost_sales_ppo": {
        "env": {"residual": True, "residual_scale": 0.25},
        "agent": {"schedule": "linear", "parameters": {**PPO, "learning_rate": 2e-3}},
    },
    "routing_ppo": {
        "env": {"routing": RoutingConfig(decision="week", base="queue", scenario="cyber_attack")},
    },
}


def composed(*overrides: str) -> TrainConfig:
    return parse(TrainConfig, compose("train", list(overrides)))


def problems(*overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        composed(*overrides)
    return str(caught.value)


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_every_experiment_composes(name: str) -> None:
    """Each experiment file gives a valid configuration that carries its own name, and a network that compiles."""
    config = composed(f"experiment={name}")
    assert config.name == name
    assert compiled_network(config.network, config.env, config.scenario).n_arcs > 0
    text = (FOLDER / "experiment" / f"{name}.yaml").read_text()
    assert f"# python -m experiments.train experiment={name}\n" in text


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_an_experiment_from_python_is_that_of_its_file(name: str) -> None:
    """The options that it names, and what it changes in them; nothing else."""
    groups = ("network", "env", "agent", "training")
    built = {group: OPTIONS[group][option] for group, option in zip(groups, EXPERIMENT_OPTIONS[name], strict=True)}
    for group, changes in CHANGES.get(name, {}).items():
        built[group] = built[group].model_copy(update=changes)
    assert composed(f"experiment={name}") == TrainConfig(name=name, **built)


@pytest.mark.parametrize("path", sorted((FOLDER / "suite").glob("*.yaml")), ids=lambda path: path.stem)
def test_a_suite_from_python_is_that_of_its_file(path: Path) -> None:
    """The objects, written out as plain data and read again, are equal, and so is what is built from them by hand."""
    suite = parse(BenchmarkConfig, compose("benchmark", [f"suite={path.stem}"])).suite
    assert SuiteConfig(**suite.model_dump()) == suite
    parts = {"cells": list(suite.cells), "entries": [EntryConfig(**dict(entry)) for entry in suite.entries]}
    assert SuiteConfig(**{**dict(suite), **parts}) == suite


@pytest.mark.parametrize("group", GROUPS)
def test_every_option_is_listed_here(group: str) -> None:
    """The table above names every file of every group, so that a new option must be added to it."""
    assert sorted(OPTIONS) == GROUPS
    assert sorted(path.stem for path in (FOLDER / group).glob("*.yaml")) == sorted(OPTIONS[group])


@pytest.mark.parametrize(("group", "option"), [(group, option) for group in OPTIONS for option in OPTIONS[group]])
def test_python_and_the_command_line_mean_the_same(group: str, option: str) -> None:
    """A configuration composed with group=option equals the one built from Python objects."""
    overrides = [f"{group}={option}"]
    if option == "file":
        overrides.append("network.name=mine.yaml")
    built = {
        "network": OPTIONS["network"]["essential_medicines"],
        "env": OPTIONS["env"]["inventory"],
        "agent": OPTIONS["agent"]["ppo"],
        group: OPTIONS[group][option],
    }
    if option in ("dqn", "maskable_ppo"):
        overrides.append("env=inventory_discrete")
        built["env"] = OPTIONS["env"]["inventory_discrete"]
    if (group, option) == ("agent", "imitation"):
        overrides += ["network=baltic", "env=routing", "env.action_mode=departures"]
        built |= {"network": OPTIONS["network"]["baltic"], "env": EnvConfig(**{**ROUTING, "action_mode": "departures"})}
    if group == "scenario":  # what happens at a set time has its place in an episode that ends
        overrides.append("env.finite=true")
        built["env"] = EnvConfig(finite=True)
    if option in scenario_names():  # one word for both kinds of networks: it becomes the environment's own
        overrides[1:] = ["network=baltic", "env=routing"]
        built |= {"network": OPTIONS["network"]["baltic"]}
        built |= {"env": EnvConfig(**{**ROUTING, "routing": {"scenario": option}})}
    assert composed(*overrides) == TrainConfig(**built)


def test_the_other_commands_compose() -> None:
    """Evaluate and export compose to their schemas' defaults."""
    evaluate = parse(EvaluateConfig, compose("evaluate", ["policy=constant"]))
    assert evaluate == EvaluateConfig(network=NetworkConfig(name="essential_medicines"), policy="constant")
    assert parse(ExportConfig, compose("export", ["run=x"])) == ExportConfig(run="x")
    assert parse(CompareConfig, compose("compare", [])) == CompareConfig()
    problem = ["network=lost_sales_zipkin2008", "env=lost_sales", "policies=[constant]"]
    assert parse(CompareConfig, compose("compare", problem)) == CompareConfig(
        network=OPTIONS["network"]["lost_sales_zipkin2008"], env=OPTIONS["env"]["lost_sales"], policies=["constant"]
    )
    assert parse(ReportConfig, compose("report", ["run=x"])) == ReportConfig(run="x")


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_a_stored_configuration_is_the_same_again(name: str) -> None:
    """What model_dump writes as JSON parses back to an equal configuration."""
    config = composed(f"experiment={name}")
    assert parse(TrainConfig, config.model_dump(mode="json")) == config


@pytest.mark.parametrize(
    ("override", "parts"),
    [
        ("+typo=1", ["unknown key 'typo'", "allowed: agent, env"]),
        ("+outptu=x", ["unknown key 'outptu'", "did you mean 'output'"]),
        ("+training.stps=5", ["training", "unknown key 'stps'", "did you mean 'steps'"]),
        ("+agent.normalise.observatoin=true", ["agent.normalise", "did you mean 'observation'"]),
        ("training.steps=many", ["training.steps", "'many'", "integer"]),
        ("training.steps=2.5", ["training.steps", "2.5"]),
        ("training.steps=0", ["training.steps", "greater than 0", "received 0"]),
        ("training.steps=true", ["training.steps", "True"]),
        ("training.seed=-1", ["training.seed", "-1", "greater than or equal to 0"]),
        ("training.seed=4294967296", ["training.seed", "less than 4294967296"]),
        ("evaluation.confidence=1", ["evaluation.confidence", "less than 1"]),
        ("evaluation.paths=1", ["evaluation.paths", "greater than or equal to 2"]),
        ("tuning.candidates=3", ["tuning.candidates", "greater than or equal to 4"]),
        ("env.residual_scale=-0.5", ["env.residual_scale", "-0.5"]),
        ("env.residual_scale=inf", ["env.residual_scale", "finite"]),
        ("env.action_mode=base_stok", ["env.action_mode", "'base_stok'", "'quantity'", "did you mean 'base_stock'"]),
        ("env.id=cogtwin/Inventory-v9", ["env.id", "cogtwin/Inventory-v0"]),
        ("env.observe=[on_hnd]", ["env.observe[0]", "'on_hnd'", "'periods_left'", "did you mean 'on_hand'"]),
        ("env.arrivals=slot", ["env.arrivals", "'slot'", "'bands'", "did you mean 'slots'"]),
        ("env.forecast=0", ["env.forecast", "greater than 0", "received 0"]),
        ("agent.net_arch=[]", ["agent.net_arch", "a width for each of one or more layers"]),
        ("agent.net_arch=[64,0]", ["agent.net_arch[1]", "received 0"]),
        ("name=../escape", ["name", "'../escape'"]),
        ("agent.activation=tanhh", ["agent.activation", "'tanhh'", "tanh, relu, elu", "did you mean 'tanh'"]),
        ("agent.algorithm=pppo", ["agent.algorithm", "'pppo'", "allowed: ppo", "did you mean 'ppo'"]),
        ("agent=dqn", ["agent.algorithm", "'dqn' cannot act in a Box", "allowed: Discrete"]),
        ("+agent.parameters.learning_rat=1", ["agent.parameters", "'learning_rat'", "did you mean 'learning_rate'"]),
        ("+agent.parameters.seed=1", ["agent.parameters", "'seed' is not a parameter of ppo"]),
        ("agent.parameters.batch_size=1000", ["agent.parameters.batch_size", "1000", "64 x 128 = 8192"]),
        ("network=file", ["network.name"]),
        (
            "scenario=supplier_outage",
            ["scenario.outages.outage", "26 to 38", "env.finite=true", "evaluation.warm_up=0"],
        ),
        ("+scenario.outages.x={suppliers: [1], start: 5}", ["scenario.outages.x.duration", "required and missing"]),
        ("+scenario.outages.x={supplier: [1], failure: 0.1, duration: 5}", ["'supplier'", "did you mean 'suppliers'"]),
        ("+scenario.outages.x={suppliers: [1], failure: 2, duration: 5}", ["failure", "less than or equal to 1"]),
        ("scenario=cyber_attack", ["scenario: 'cyber_attack' is for liner networks (env=routing)"]),
        ("+env.routing.severity=0.5", ["env.routing", "cogtwin/Inventory-v0 has no routing", "env=routing"]),
        ("scenario.name=nothing", ["'nothing'", "nothing happens in it"]),
        ("+scenario.surge={}", ["scenario", "unknown key 'surge'", "did you mean 'surges'"]),
    ],
)
def test_a_wrong_value_is_named(override: str, parts: list[str]) -> None:
    """The message has the key, the value, what is allowed, and the nearest match."""
    message = problems(override)
    for part in parts:
        assert part in message


def test_a_discrete_algorithm_does_not_take_a_box_and_the_other_way_round() -> None:
    """SAC and TD3 refuse the discrete mode; PPO takes it."""
    for agent in ("sac", "td3"):
        assert "cannot act in a Discrete" in problems(f"agent={agent}", "env=inventory_discrete")
    assert composed("agent=ppo", "env=inventory_discrete").env.action_mode == "discrete"


def test_imitation_needs_a_teacher_of_the_same_actions_and_raw_observations() -> None:
    words = ["agent=imitation", "training=imitation", "network=baltic", "env=routing"]
    assert "allowed: departures" in problems(*words)
    assert "allowed: env=routing" in problems("agent=imitation", "training=imitation")
    words.append("env.action_mode=departures")
    assert "it is linear" in problems(*words, "agent.net_arch=[8]")
    assert "weighs what it sees itself" in problems(*words, "agent.normalise.observation=true")
    assert "did you mean 'routing_slot_price'" in problems(*words, "agent.parameters.teacher=routing_slot_pric")
    assert "allowed: orders" in problems(*words, "agent.parameters.teacher=routing_static")
    assert "true costs" in problems(*words, "training.paired=true")
    assert composed(*words).agent.net_arch == []


def test_paired_rewards_need_a_box_and_an_algorithm_that_learns_from_them() -> None:
    assert "only a Box has" in problems("training.paired=true", "agent=ppo", "env=inventory_discrete")
    assert "true costs" in problems("training.paired=true", "agent=pathwise")
    assert "true costs" in problems("training.paired=true", "training.accrual=true")
    assert composed("training.paired=true").training.paired


def test_a_residual_needs_levels() -> None:
    """env.residual with order quantities is refused with the modes that work."""
    assert "base_stock, discrete or echelon" in problems("env.residual=true", "env.action_mode=quantity")
    assert composed("env.residual=true", "env.action_mode=echelon").env.residual


def test_all_problems_of_one_kind_come_at_once() -> None:
    """Three wrong values give three lines, and three joint problems as well."""
    message = problems("training.steps=0", "env.horizon=-1", "evaluation.confidence=2", "tuning.paths=x")
    for key in ("training.steps", "env.horizon", "evaluation.confidence", "tuning.paths"):
        assert key in message
    assert message.count("\n  - ") == 4
    message = problems("agent=dqn", "agent.activation=x", "+agent.parameters.a=1", "+agent.parameters.b=2")
    assert message.count("\n  - ") == 4


def test_the_batch_rule_knows_the_whole_rollout() -> None:
    """A batch equal to the rollout, or dividing it, passes."""
    assert composed("agent.parameters.n_steps=16").agent.parameters["batch_size"] == 1024
    assert composed("agent.parameters.batch_size=512").training.replicas == 128


def test_all_problems_of_all_kinds_come_at_once() -> None:
    """Unknown keys, wrong types, values out of range and what does not go together: a line each, none hides another."""
    message = problems(
        "+typo=1",
        "+training.stps=5",
        "training.steps=many",
        "evaluation.confidence=2",
        "env.observe=[on_hnd]",
        "agent=dqn",
        "agent.activation=tanhh",
        "scenario=demand_surge",
    )
    for part in (
        "unknown key 'typo'",
        "training: unknown key 'stps'; did you mean 'steps'?",
        "training.steps: ",
        "evaluation.confidence: ",
        "env.observe[0]: ",
        "agent.algorithm: 'dqn' cannot act in a Box",
        "agent.activation: no activation 'tanhh'",
        "scenario.surges.surge: periods 26 to 34 are not among those that are measured",
    ):
        assert part in message
    assert message.count("\n  - ") == 8


def test_nothing_is_said_of_what_stands_on_a_wrong_value() -> None:
    """A batch cannot be judged while the number of replicas is no number."""
    message = problems("training.replicas=x", "agent.parameters.batch_size=1000")
    assert "training.replicas" in message
    assert "batch_size" not in message
    assert message.count("\n  - ") == 1


@pytest.mark.parametrize(
    ("name", "schema", "words"),
    [
        ("train", TrainConfig, []),
        ("evaluate", EvaluateConfig, ["policy=constant"]),
        ("compare", CompareConfig, ["network=essential_medicines", "env=inventory", "policies=[constant]"]),
        ("episode", EpisodeConfig, ["policy=constant"]),
    ],
)
def test_every_command_takes_a_scenario(name: str, schema: type[StrictModel], words: list[str]) -> None:
    """The same object, and the same refusal where nobody would see what happens."""
    ends = ["env.finite=true", "scenario.outages.outage.duration=8"]
    config: Any = parse(schema, compose(name, [*words, "scenario=supplier_outage", *ends]))
    outage = OPTIONS["scenario"]["supplier_outage"].outages["outage"]
    assert config.scenario.outages["outage"].start == outage.start
    assert config.scenario.outages["outage"].duration.mean_value == 8.0
    with pytest.raises(ConfigError, match="are not among those that are measured"):
        parse(schema, compose(name, [*words, "scenario=supplier_outage"]))
    with pytest.raises(ConfigError, match="is after the end of an episode"):
        parse(schema, compose(name, [*words, "scenario=supplier_outage", "env.finite=true", "env.horizon=20"]))


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["scenario=supplier_outage"], "'supplier_outage' is not for liner networks (allowed with env=routing: canal_"),
        (["scenario.name=cyber_atack"], "no 'cyber_atack' for liner networks"),
        (["scenario.name=cyber_atack"], "did you mean 'cyber_attack'"),
        (["scenario=dear_fuel", "env.routing.scenario=three_ports"], "env.routing.scenario is 'three_ports'"),
    ],
)
def test_scenarios_of_liner_networks_and_of_others_are_not_mixed_up(words: list[str], part: str) -> None:
    assert part in problems("network=baltic", "env=routing", *words)


def test_a_scenario_that_does_not_fit_the_network_is_refused_with_the_nearest_name() -> None:
    """Before a run folder is made; the message names the place in the configuration."""
    words = ["network=five_site_distribution", "env.finite=true", "scenario=reduced_capacity"]
    config = composed(*words, "scenario.outages.cut.resources=[lime]")
    with pytest.raises(NetworkError, match=r"scenario\.outages\.cut\.resources: no resource 'lime'.*mean 'line'"):
        compiled_network(config.network, config.env, config.scenario)


def test_seeds_of_different_purposes_never_meet() -> None:
    """All purposes with one number are different worlds, at both ends of a block."""
    numbers = (0, 1, (1 << 32) - 1)
    worlds = [world_seed(purpose, number) for purpose in Purpose for number in numbers]
    assert len(set(worlds)) == len(worlds) == 3 * len(Purpose)
    with pytest.raises(ConfigError, match="4294967295"):
        world_seed(Purpose.TRAINING, 1 << 32)


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("training.step=5", ["training has no key 'step'", "allowed: accrual", "did you mean 'steps'"]),
        ("trainng.steps=5", ["the configuration has no key 'trainng'", "did you mean 'training'"]),
        ("outptu=x", ["the configuration has no key 'outptu'", "did you mean 'output'"]),
        ("env.routing.severty=0.1", ["env.routing has no key 'severty'", "did you mean 'severity'"]),
        ("network=five_site", ["network: no 'five_site'", "beer_game", "did you mean 'five_site_distribution'"]),
        ("scenario=supplier_outag", ["scenario: no 'supplier_outag'", "did you mean 'supplier_outage'"]),
        ("experiment=lost_sale_ppo", ["experiment: no 'lost_sale_ppo'", "did you mean 'lost_sales_ppo'"]),
    ],
)
def test_what_is_not_there_is_answered_with_the_nearest(word: str, parts: list[str]) -> None:
    """Keys and options that do not exist, in notebooks and on the command line, without a word about search paths."""
    with pytest.raises(ConfigError) as caught:
        configured("train", TrainConfig, [word])
    for part in parts:
        assert part in str(caught.value)
    assert "search path" not in str(caught.value)
