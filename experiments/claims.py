"""The README's claims, made again and checked: ``make claims``."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from dataclasses import dataclass

import numpy as np

from agents.baselines.tuning import tune
from experiments.cli import compose, say
from experiments.compare import compare
from experiments.config import CompareConfig, EvaluateConfig, TrainConfig, parse
from experiments.evaluate import evaluate
from experiments.statistics import mean_interval
from experiments.train import train
from twin.engine import Twin
from twin.library import load
from twin.seeds import Purpose, world_seed

__all__ = ["Claim", "main"]


@dataclass(frozen=True)
class Claim:
    """One sentence of the README and what this run found."""

    text: str
    found: str
    holds: bool


def medicines() -> list[Claim]:
    """Train the demo's agent with another training seed than the demo and compare it."""
    config = parse(TrainConfig, compose("train", ["experiment=essential_medicines_ppo", "training.seed=1"]))
    result = train(config)
    comparison = evaluate(
        EvaluateConfig(network=config.network, env=config.env, evaluation=config.evaluation, run=str(result.folder))
    )
    say(comparison.table() + "\n")
    learned = comparison.rows[0]
    cost = {row.policy: row.cost.mean for row in comparison.rows}
    gap = learned.differences["base_stock"]
    scale = 100.0 / cost["base_stock"]
    worse = learned.differences["constant"]
    return [
        Claim(
            "essential_medicines: PPO costs at most 2 % more than the tuned base-stock policy",
            f"{scale * gap.mean:+.2f} % [{scale * gap.low:+.2f}, {scale * gap.high:+.2f}]",
            scale * gap.high <= 2.0,
        ),
        Claim(
            "essential_medicines: PPO costs less than the best constant order",
            f"{worse.mean:,.0f} [{worse.low:,.0f}, {worse.high:,.0f}] a week",
            worse.high < 0.0,
        ),
    ]


def published() -> list[Claim]:
    """Simulate tuned policies whose cost is published."""
    claims = []
    for name, parameters, paths, periods in (
        ("lost_sales_zipkin2008", {"lead_time": 4, "penalty": 4}, 1024, 4000),
        ("dual_sourcing", {"regular_lead_time": 2, "express_price": 105}, 2048, 4000),
    ):
        network = load(name, **parameters)
        known = network.known_value("best_base_stock_cost")
        if known is None:
            continue
        twin = Twin(network, replicas=paths, seed=world_seed(Purpose.EVALUATION, 1))
        tuned = tune(twin.compiled, "base_stock")
        interval = mean_interval(twin.rollout("base_stock", tuned.parameters, periods, warm_up=200).cost)
        # Published values are rounded; half a unit of the last printed digit belongs to the claim.
        digits = len(str(known.value).partition(".")[2])
        slack = 0.5 * 10.0**-digits + 0.5 * (interval.high - interval.low)
        claims.append(
            Claim(
                f"{name}: the base-stock policy tuned by simulation costs {known.value:g} ({known.source})",
                f"{interval.mean:.4f} [{interval.low:.4f}, {interval.high:.4f}] at levels "
                f"{np.array2string(tuned.parameters, precision=1)}",
                interval.low - slack <= known.value <= interval.high + slack,
            )
        )
    return claims


def compared() -> list[Claim]:
    """Compare the two rules of a published problem, as a user would."""
    words = ["policies=[base_stock,capped_base_stock]", "network=lost_sales_zipkin2008", "env=lost_sales", "exact=true"]
    budget = ["evaluation.paths=1024", "evaluation.periods=1000", "evaluation.seed=1"]
    comparison = compare(parse(CompareConfig, compose("compare", [*words, *budget]))).comparison
    say(comparison.table() + "\n")
    rows, (pair,) = comparison.rows, comparison.pairs
    return [
        Claim(
            "lost sales, L = 4, p = 4: capped base-stock is better, and the intervals hold the exact costs",
            "; ".join(
                f"{row.policy} {row.cost.mean:.4f} [{row.cost.low:.4f}, {row.cost.high:.4f}], exact {row.exact:.4f}"
                for row in rows
            ),
            pair.verdict == "higher"
            and all(row.exact is not None and row.cost.low <= row.exact <= row.cost.high for row in rows),
        )
    ]


def routed() -> list[Claim]:
    """Train three seeds of routing on ``baltic`` and compare them, and the rule they correct, with the program."""
    train_words, runs = ["experiment=routing_ppo"], []
    for seed in range(3):
        config = parse(TrainConfig, compose("train", [*train_words, f"training.seed={seed}"]))
        runs.append(str(train(config).folder))
    words = [f"runs=[{','.join(runs)}]", "policies=[routing_queue_price,routing_rolling_program]"]
    words += ["references=[routing_rolling_program]", "evaluation.paths=64"]
    comparison = compare(parse(CompareConfig, compose("compare", words))).comparison
    say(comparison.table() + "\n")
    bar = "routing_rolling_program"
    against = [(row.policy, row.differences[bar]) for row in comparison.rows if row.policy != bar]
    return [
        Claim(
            f"baltic, cyber_attack: {name} costs less a day than {bar}",
            f"{found.mean:,.0f} [{found.low:,.0f}, {found.high:,.0f}] USD",
            found.high < 0.0,
        )
        for name, found in against
    ]


def main() -> None:
    """Check all claims; exit code 1 when one does not hold."""
    ArgumentParser(prog="python -m experiments.claims", description=__doc__).parse_args()
    claims = [*published(), *compared(), *routed(), *medicines()]
    for claim in claims:
        say(f"{'holds' if claim.holds else 'FAILS'}: {claim.text}\n       found {claim.found}")
    sys.exit(0 if all(claim.holds for claim in claims) else 1)


if __name__ == "__main__":
    main()
