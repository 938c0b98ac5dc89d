"""From shadow to autonomy in a world that is not the advisor's: SimPy plays it, event by event, for 200 periods."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.advisor import Advisor, Guardrails, OutlierModel, fit_outliers, open_store, verify
from agents.advisor.cli import OK, main
from agents.advisor.replay import replay
from agents.advisor.shadow import ShadowReport, shadow_report
from agents.bundle import Bundle
from envs.core import Batch
from envs.inventory import InventoryTask
from tests.advisor.helpers import Clock, carried, refused
from twin.economics import COST_TERMS
from twin.engine import Twin
from twin.seeds import Purpose, world_seed
from twin.simulation import Simulation

SHADOW, ADVISORY, AUTONOMOUS = 60, 60, 80
TASK = InventoryTask("five_site_distribution", horizon=52)
#: The planners' rule: order up to the demand expected over lead time and review, and a tenth more.
INCUMBENT = 1.1 * TASK.codec.center


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """PPO, trained for seconds: better than the planners' rule, worse than a tuned one."""
    import torch
    from stable_baselines3 import PPO
    from stable_baselines3.common.vec_env import VecNormalize

    from agents.learners.extract import export_sb3
    from envs.sb3 import TwinVecEnv

    torch.set_num_threads(1)
    env = TwinVecEnv(TASK, 64, seed=world_seed(Purpose.TRAINING, 0), accrual=True)
    normal = VecNormalize(env, gamma=0.95)
    model = PPO(
        "MlpPolicy",
        normal,
        n_steps=32,
        batch_size=512,
        n_epochs=6,
        gamma=0.95,
        learning_rate=1e-3,
        policy_kwargs={"net_arch": [32, 32], "log_std_init": -1.0},
        seed=0,
        device="cpu",
    )
    model.learn(81920)
    return export_sb3(
        tmp_path_factory.mktemp("world") / "bundle",
        model=model,
        normalize=normal,
        task=TASK,
        environment_id="cogtwin/Inventory-v0",
        arguments={"network": "five_site_distribution", "horizon": 52},
        training_info={"seed": 0},
    )


def episodes(bundle: Bundle, seed: int, paths: int = 60, periods: int = 60) -> list[np.ndarray[Any, Any]]:
    """States as they come about: the policy decides in one half of the worlds, the planners' rule in the other."""
    batch = Batch(TASK, 2 * paths)
    slots = np.arange(2 * paths, dtype=np.uint32)
    seen = batch.reset(np.full(2 * paths, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    rows = []
    for _ in range(periods):
        rows.append(seen.astype(np.float64))
        targets = TASK.codec.targets(bundle.predict(seen)[0])
        targets[:, paths:] = INCUMBENT[:, None]
        batch.twin.step(batch.twin.base_stock_orders(batch.position, targets))
        seen = batch.observe()
    return list(np.array(rows).transpose(1, 0, 2))


class World:
    """A SimPy network that executes what it is sent, and takes each message once."""

    name, patience_seconds = "the world", 1.0

    def __init__(self, seed: int = 11) -> None:
        self.simulation = Simulation(TASK.compiled, seed=world_seed(Purpose.EVALUATION, seed))
        self.pending: dict[str, float] | None = None
        self.keys: list[str] = []
        self.placed: list[np.ndarray[Any, Any]] = []
        self.costs: list[np.ndarray[Any, Any]] = []

    def send(self, key: str, body: bytes) -> str:
        assert self.pending is None, "a second order in one period"
        self.keys.append(key)
        self.pending = {entry["arc"]: entry["order"] for entry in json.loads(body)["orders"]}
        return "taken"

    def request(self, clock: Clock) -> dict[str, Any]:
        return {
            **carried(TASK, self.simulation),
            "as_of": clock.now.isoformat(),
            "request_id": f"period {self.simulation.period}",
        }

    def incumbent(self) -> dict[str, float]:
        """What the planners would order now."""
        twin = Twin(TASK.compiled).at(self.simulation.state())
        orders = twin.base_stock_orders(twin.positions(), INCUMBENT[:, None])[:, 0]
        return dict(zip(TASK.compiled.arc_names, orders.tolist(), strict=True))

    def play(self, orders: dict[str, float]) -> dict[str, Any]:
        """One period with these orders; what really happened, as it is reported."""
        vector = np.array([orders[arc] for arc in TASK.compiled.arc_names])
        self.placed.append(vector)
        self.costs.append(self.simulation.step(vector).copy())
        self.pending = None
        arrays = self.simulation.state().arrays
        return {
            "orders": orders,
            "cost": float(self.costs[-1].sum()),
            "demand": float(arrays.demand.sum()),
            "served": float(arrays.served.sum()),
        }


def guards() -> Guardrails:
    """Gates as they are by default: 20 decisions before advisory, 50 before autonomous."""
    arcs = TASK.compiled.arc_names
    prices = {arc: 10.0 if arc.startswith("plant") else 1.0 for arc in arcs}
    data: dict[str, Any] = {
        "highest_mode": "autonomous",
        "default": {"maximum": 400.0},
        "prices": prices,
        "autonomy": {"spend_limit": 4000.0},
        "freshness": {"maximum_age_seconds": 900.0},
        "limits": [{"name": "dock", "kind": "capacity", "unit": "case", "limit": 600.0, "default": 1.0}],
        "look_ahead": {"paths": 16, "timeout_seconds": 60.0},
    }
    return Guardrails.parse(data, "test")


class Played:
    """The whole story, played once for all tests of this file."""

    def __init__(self, bundle: Bundle, folder: Path) -> None:
        self.bundle, self.clock, self.world = bundle, Clock(), World()
        self.model: OutlierModel = fit_outliers(
            episodes(bundle, world_seed(Purpose.TRAINING, 1)), [field.name for field in TASK.fields]
        )
        self.path = folder / "store.db"
        self.store = open_store(self.path, clock=self.clock)
        self.advisor = Advisor(
            bundle, self.store, mode="shadow", guardrails=guards(), outliers=self.model, sender=self.world
        )
        self.decisions: list[Any] = []
        self.acted: list[str] = []
        self.reported: list[dict[str, Any]] = []
        self.early: list[str] = []

    def run(self) -> None:
        """Shadow, advisory, autonomous."""
        for period in range(SHADOW):
            if period == 10:
                self.early.append(refused(self.advisor.set_mode, "advisory", person="chief").code)
                self.early.append(refused(self.advisor.set_mode, "autonomous", person="chief").code)
            self._period(lambda *_: "incumbent")
        self.advisor.set_mode("advisory", person="chief", reason="the shadow report")
        for _ in range(ADVISORY):
            self._period(self._person)
        self.advisor.set_mode("autonomous", person="chief", reason="60 weeks of advice")
        for _ in range(AUTONOMOUS):
            self._period(self._approver)

    def _period(self, act: Any) -> None:
        request = self.world.request(self.clock)
        decision = self.advisor.decide(request)
        who = "advisor" if decision.status == "executing" else act(decision, request)
        orders = self.world.incumbent() if who == "incumbent" else self.world.pending
        assert orders is not None
        actual = self.world.play(orders)
        self.advisor.note_actual(decision.id, actual, person="controller")
        self.decisions.append(decision)
        self.acted.append(who)
        self.reported.append(actual)
        self.clock.forward(7 * 86400.0)

    def _person(self, decision: Any, request: dict[str, Any]) -> str:
        """Approves most, changes some, rejects a few."""
        number = len(self.decisions)
        if number % 13 == 0:
            self.advisor.reject(decision.id, person="planner", reason="a promotion is coming")
            return "incumbent"
        if number % 10 == 0:
            orders = {arc: float(round(order)) for arc, order in decision.orders.items()}
            self.advisor.modify(
                decision.id, orders, person="planner", action_hash=decision.action_hash, state=self._now(request)
            )
            self.advisor.execute(decision.id, self._now(request), person="planner")
            return "person"
        return self._approver(decision, request)

    def _approver(self, decision: Any, request: dict[str, Any]) -> str:
        self.clock.forward(60.0)
        self.advisor.approve(decision.id, person="approver", action_hash=decision.action_hash, state=self._now(request))
        return "approved"

    def _now(self, request: dict[str, Any]) -> dict[str, Any]:
        return {**request, "as_of": self.clock.now.isoformat(), "request_id": None}


@pytest.fixture(scope="module")
def played(trained: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Played:
    story = Played(trained, tmp_path_factory.mktemp("played"))
    story.run()
    return story


@pytest.fixture(scope="module")
def report(played: Played) -> ShadowReport:
    return shadow_report(played.store)


def test_in_shadow_the_world_runs_as_if_nobody_had_asked(played: Played) -> None:
    alone = World()
    for period in range(SHADOW):
        alone.play(alone.incumbent())
        np.testing.assert_array_equal(alone.costs[period], played.world.costs[period])
    assert set(played.acted[:SHADOW]) == {"incumbent"}
    assert {decision.status for decision in played.decisions[:SHADOW]} == {"shadow"}


def test_all_modes_were_played_and_only_a_person_raised_them(played: Played) -> None:
    assert played.early == ["GATE", "GATE"]
    moves = [record.data for record in played.store.records() if record.kind == "mode"]
    order = ("halted", "shadow", "advisory", "autonomous")
    raised = [move for move in moves if order.index(move["mode"]) > order.index(move["from"])]
    assert [(move["mode"], move["person"]) for move in raised] == [("advisory", "chief"), ("autonomous", "chief")]
    acted = Counter(played.acted)
    assert acted["advisor"] > AUTONOMOUS // 2
    assert acted["approved"] > ADVISORY // 2
    assert acted["person"] >= 3
    # What the advisor sent by itself, it decided in autonomous mode and inside the envelope.
    alone = [d for d, who in zip(played.decisions, played.acted, strict=True) if who == "advisor"]
    assert {decision.mode for decision in alone} == {"autonomous"}
    assert not any(decision.outside for decision in alone)


def test_no_order_is_executed_twice_and_what_was_sent_is_what_was_placed(played: Played) -> None:
    keys = played.world.keys
    assert len(keys) == len(set(keys)) == sum(who != "incumbent" for who in played.acted)
    intents = [record.data for record in played.store.records() if record.kind == "intent"]
    assert [intent["key"] for intent in intents] == keys
    sent = [json.loads(intent["message"])["orders"] for intent in intents]
    placed = [o for o, who in zip(played.world.placed, played.acted, strict=True) if who != "incumbent"]
    for message, orders in zip(sent, placed, strict=True):
        assert [entry["order"] for entry in message] == orders.tolist()
    assert {proposal.state for proposal in played.advisor.proposals()} == {"done", "rejected"}


def test_the_money_adds_up_from_single_events(played: Played) -> None:
    """Every cost term from the event log and the network file's prices, with no engine's arithmetic."""
    network, log, periods = TASK.compiled.network, played.world.simulation.log, SHADOW + ADVISORY + AUTONOMOUS
    freight = {
        f"{lane.origin}->{lane.destination}:{name}:item": mode.freight_cost
        for lane in network.lanes
        for name, mode in lane.modes.items()
    }
    held = {site: entry.stock["item"].initial for site, entry in network.sites.items()}
    holding = {site: entry.stock["item"].holding_cost for site, entry in network.sites.items()}
    totals: defaultdict[str, float] = defaultdict(float)
    moves = [defaultdict[str, float](float) for _ in range(periods + 1)]
    for event in log:
        period = int(event.time)
        if event.kind == "shipped":
            totals["freight"] += event.quantity * freight[event.lane]
            if event.site == "plant":
                totals["purchase"] += event.quantity * 10.0
            else:
                moves[period][event.site] -= event.quantity
        elif event.kind == "received":
            moves[period][event.site] += event.quantity
        elif event.kind == "served":
            moves[period][event.site] -= event.quantity
            totals["revenue"] -= 16.0 * event.quantity
        elif event.kind == "lost":
            totals["lost_sales"] += 4.0 * event.quantity
    for period in range(periods):
        for site in held:
            held[site] += moves[period][site]
            assert held[site] >= -1e-9  # orders are of any size, and sums of them round
            totals["holding"] += holding[site] * held[site]
    terms = dict(zip((term.name for term in COST_TERMS), np.sum(played.world.costs, axis=0).tolist(), strict=True))
    for name in ("purchase", "freight", "revenue", "lost_sales", "holding"):
        assert totals[name] == pytest.approx(terms.pop(name), rel=1e-9)
    assert not any(terms.values())
    # And what was reported, and is on record, is this money.
    reported = [record.data["cost"] for record in played.store.records() if record.kind == "actual"]
    assert sum(reported) == pytest.approx(sum(totals.values()), rel=1e-9)


def test_every_action_replays_and_the_audit_verifies(played: Played) -> None:
    found = replay(played.store)
    assert found.ok, found.differences[:3]
    assert found.decisions == SHADOW + ADVISORY + AUTONOMOUS
    assert found.intents == len(played.world.keys)
    assert verify(played.store).ok
    compared = [decision for decision in played.decisions if "compared" in decision.body["look_ahead"]]
    assert len(compared) == found.decisions
    assert main(["replay", f"store={played.path}"]) == OK


def test_the_shadow_report_finds_what_the_policy_is_worth(played: Played, report: ShadowReport) -> None:
    """Beside the difference of 512 worlds in which policy and planners' rule run side by side, closed loop."""
    assert (report.decisions, report.with_actual, report.compared) == (SHADOW, SHADOW, SHADOW)
    costs = [np.sum(cost) for cost in played.world.costs[:SHADOW]]
    assert report.actual_cost is not None
    assert report.actual_cost.mean == pytest.approx(np.mean(costs))
    served, asked = (sum(entry[name] for entry in played.reported[:SHADOW]) for name in ("served", "demand"))
    assert report.actual_service == pytest.approx(served / asked)
    assert report.cost_difference is not None
    truth = _side_by_side(played)
    low, high = report.cost_difference.interval
    # The interval is of one history of 60 periods; half of its width more on both sides is three standard errors.
    assert low - 0.25 * (high - low) < truth < high + 0.25 * (high - low)
    assert high - low < 30.0
    assert report.fidelity is not None
    assert report.fidelity.low < 0.0 < report.fidelity.high
    first = report.orders[0]
    advised = [decision.orders[first["arc"]] for decision in played.decisions[:SHADOW]]
    assert first["advised"] == pytest.approx(np.mean(advised))


def _side_by_side(played: Played, worlds: int = 512) -> float:
    """Mean cost per period of the policy less that of the planners' rule, stock at the end at standard cost."""
    compiled = TASK.compiled
    twins = [Twin(compiled, replicas=worlds, seed=world_seed(Purpose.EVALUATION, 99)) for _ in range(2)]
    total = []
    for number, twin in enumerate(twins):
        cost = np.zeros(worlds)
        for _ in range(SHADOW):
            position = twin.positions()
            levels = np.repeat(INCUMBENT[:, None], worlds, axis=1)
            if number == 0:
                seen = TASK.observe(twin, position, np.ones(worlds))
                levels = TASK.codec.targets(played.bundle.predict(seen)[0])
            orders = twin.base_stock_orders(position, levels)
            cost += twin.step(np.minimum(orders, 400.0)).sum(axis=0)
        value, arrays = compiled.unit_value, twin.state.arrays
        cost -= value @ arrays.on_hand + value[compiled.topology.arc_destination] @ arrays.in_transit
        total.append(cost / SHADOW)
    return float((total[0] - total[1]).mean())


def test_the_shadow_report_says_what_the_record_does_not(
    played: Played, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    world, clock = World(), Clock()
    advisor = Advisor(
        played.bundle, open_store(tmp_path / "s.db", clock=clock), guardrails=guards(), outliers=played.model
    )
    for period in range(6):
        request = world.request(clock)
        if period == 2:
            del request["twin_state"]
        decision = advisor.decide(request)
        actual = world.play(world.incumbent())
        if period == 3:
            actual = {"orders": actual["orders"]}
        if period != 1:
            advisor.note_actual(decision.id, actual, person="controller")
    advisor.close()
    assert main(["shadow-report", f"store={tmp_path / 's.db'}", "format=json"]) == OK
    data = json.loads(capsys.readouterr().out)
    assert (data["decisions"], data["with_actual"], data["compared"]) == (6, 5, 4)
    said = " / ".join(data["not_said"])
    assert "what was really ordered after 1 of 6 decisions" in said
    assert "what 1 of 5 periods cost" in said
    assert "carries no 'twin_state'" in said
    assert "they were never placed" in said
    # Four periods are too few to say how far apart they lie.
    assert data["cost_difference"]["interval"] is None
    assert main(["shadow-report", f"store={tmp_path / 's.db'}"]) == OK
    assert "too few for an interval" in capsys.readouterr().out


def test_the_explanation_of_a_proposal_is_complete_and_adds_up(played: Played) -> None:
    proposed = [decision for decision in played.decisions if decision.status == "proposed"]
    assert len(proposed) >= ADVISORY
    for decision in proposed:
        told = decision.explanation
        assert set(told) == {"expected", "differences", "fields", "guards", "distance", "text", "trajectories"}
        for name in ("fallback", "nothing"):
            gap = told["expected"]["recommended"]["cost"] - told["expected"][name]["cost"]
            assert told["differences"][name]["cost"] == pytest.approx(gap, abs=1e-6)
            low, high = told["differences"][name]["interval"]
            assert low <= gap <= high
        periods = decision.body["look_ahead"]["periods"]
        for series in told["trajectories"]:
            expected = periods + 1 if series["what"] == "stock" else periods
            assert len(series["recommended"]) == len(series["nothing"]) == expected
        stock, orders = told["trajectories"]
        assert stock["recommended"][0] == stock["nothing"][0]
        assert orders["nothing"][0] == 0.0
        assert orders["recommended"][0] == pytest.approx(sum(decision.orders.values()), rel=1e-5)
        assert told["fields"]
        assert all(isinstance(sentence, str) and sentence.endswith(".") for sentence in told["text"])


def test_false_alarms_on_held_out_episodes_of_the_environment(played: Played) -> None:
    """1 % of states and 5 % of episodes are what was asked for; episodes are few, and their states alike."""
    alarms = played.model.false_alarms(episodes(played.bundle, world_seed(Purpose.VALIDATION, 0)))
    assert alarms.distance < 0.02
    assert alarms.ranges < 0.02
    assert alarms.drift < 0.12
    assert (alarms.states, alarms.episodes) == (7200, 120)
