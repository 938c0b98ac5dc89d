"""The page of a comparison: tables with every number, figures, where everything comes from."""

from __future__ import annotations

import html
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tqdm import tqdm

from agents.policy import Policy
from envs.routing import RoutingTask
from experiments.config import EvaluationConfig
from experiments.pages import Drawn, Section, definitions, details, figure_html, page, table_html
from experiments.plots import (
    DrawnPair,
    StateGrid,
    cost_figure,
    difference_figure,
    learning_curve,
    learning_figure,
    leg_flows,
    liner_map_figure,
    mean_flows,
    network_figure,
    policy_map_figure,
    profile_figure,
    trajectory_figure,
)
from experiments.results_text import interval_text, number_text, p_text, percent_text, share_text
from experiments.statistics import Interval
from twin.economics import COST_TERMS, serves_at_once
from twin.seeds import Purpose, world_seed

if TYPE_CHECKING:
    from experiments.compare import Compared

__all__ = ["comparison_figures", "comparison_page", "comparison_sections", "stored_figures"]

#: Paths of the pictures that are simulated once more, and policies that stand side by side in them.
_PATHS, _BESIDE = 128, 5
#: Paths of a map: a program may take seconds for a day of one.
_ON_THE_MAP = 8
_TERMINAL = "terminal value"


def comparison_figures(found: Compared) -> list[Drawn]:
    """Every figure of a comparison, with a progress bar."""
    makers: list[Callable[[], list[Drawn]]] = [
        lambda: stored_figures(found.to_dict()),
        lambda: [_profile(found)],
        lambda: _learning(found),
        lambda: [_trajectories(found)],
        lambda: _maps(found),
        lambda: _network(found),
    ]
    return [drawn for make in tqdm(makers, desc="drawing", unit="kind", disable=None, leave=False) for drawn in make()]


def stored_figures(data: Mapping[str, Any]) -> list[Drawn]:
    """The figures that the numbers of a ``comparison.json`` are enough for."""
    unit = f"{data['currency']} per {data['period']}"
    rows = data["policies"]
    out = [
        Drawn(
            "costs",
            "What the cost is made of",
            f"Mean cost terms, {unit}; the mark is the whole cost with its interval. Earnings stand to the left.",
            cost_figure(
                {row["policy"]: {**row["terms"], **_terminal(row)} for row in rows},
                {row["policy"]: Interval(**row["cost"]) for row in rows},
                unit=unit,
            ),
        )
    ]
    pairs = _once(data.get("pairs", []))
    if pairs:
        drawn = [
            DrawnPair(
                pair["policy"],
                pair["reference"],
                Interval(**pair["difference"]),
                Interval(**pair["probability_of_improvement"]),
                pair["verdict"],
            )
            for pair in pairs
        ]
        caption = (
            "Left: paired difference in mean cost with its interval; where differences are of very different size the "
            "scale is logarithmic on both sides of 0. Right: share of paths on which the first costs less. Colours "
            "follow the verdict after Holm's correction."
        )
        out.append(Drawn("differences", "Who is cheaper", caption, difference_figure(drawn, unit=unit)))
    return out


def _profile(found: Compared) -> Drawn:
    comparison = found.comparison
    figure = profile_figure(
        comparison.costs,
        xlabel=f"mean cost of a path, {comparison.unit}",
        what="paths",
        confidence=comparison.evaluation.confidence,
    )
    caption = (
        "Share of paths (and training seeds) on which a policy costs at most so much, with pointwise intervals over "
        "the paths. Higher and further left is better; the right end is the tail that CVaR looks at."
    )
    return Drawn("profile", "How costs are spread", caption, figure)


def _learning(found: Compared) -> list[Drawn]:
    curves = {
        one.name: learning_curve([Path(run) for run in one.about["runs"]])
        for one in found.contenders
        if one.about.get("kind") == "agent"
        and all((Path(run) / "evaluations.npz").is_file() for run in one.about["runs"])
    }
    if not curves:
        return []
    rules = {one.name: found.comparison.row(one.name).cost.mean for one in found.contenders if one.tuned is not None}
    best = min(rules, key=lambda name: rules[name], default=None)
    levels = {} if best is None else {best: rules[best]}
    optimum = None if found.comparison.horizon is not None else found.compiled.network.known_value("optimal_cost")
    if optimum is not None:
        levels["optimum"] = optimum.value
    figure = learning_figure(curves, unit=found.comparison.unit, levels=levels)
    caption = (
        "Cost on the validation paths while learning, with the interval over training seeds (with one seed: over "
        "paths). Lines: the best classical policy on the evaluation paths, and the optimum where it is known."
    )
    return [Drawn("learning", "Learning curves", caption, figure)]


def _trajectories(found: Compared) -> Drawn:
    evaluation = found.config.evaluation
    figure = trajectory_figure(
        {one.name: one.members[0] for one in found.contenders[:_BESIDE]},
        seed=world_seed(Purpose.EVALUATION, evaluation.seed),
        paths=min(_PATHS, evaluation.paths),
        periods=min(evaluation.periods, 208),
        warm_up=evaluation.warm_up,
    )
    caption = "The same worlds under each policy: median, middle 80 % of paths, and one path."
    if any(len(one.members) > 1 for one in found.contenders):
        caption += " Of several training seeds the first."
    return Drawn("trajectories", "Stock and orders over time", caption, figure)


def _network(found: Compared) -> list[Drawn]:
    first, evaluation = found.contenders[0], found.config.evaluation
    policy, task = first.members[0]
    if isinstance(task, RoutingTask):
        return _map(first.name, policy, task, evaluation)
    flows = mean_flows(
        policy,
        task,
        seed=world_seed(Purpose.EVALUATION, evaluation.seed),
        paths=min(32, evaluation.paths),
        periods=evaluation.periods,
        warm_up=evaluation.warm_up,
    )
    caption = f"What flows under {first.name}. Flows below 1 % of the largest carry no number."
    return [Drawn("network", "The network", caption, network_figure(found.compiled, flows))]


def _map(name: str, policy: Policy, task: RoutingTask, evaluation: EvaluationConfig) -> list[Drawn]:
    """Cargo on the map, before and during what happens; nothing where a port has no position."""
    liner = task.assignment.routing.liner
    if any(port.position is None for port in liner.ports.values()):
        return []
    seed = world_seed(Purpose.EVALUATION, evaluation.seed)
    flows = leg_flows(policy, task, seed=seed, paths=min(_ON_THE_MAP, evaluation.paths))
    maps = {"days without an event": flows.calm, "days with one": flows.hit}
    figure = liner_map_figure(liner, {k: v for k, v in maps.items() if v is not None}, hit=flows.ports)
    caption = f"What sails under {name}; ports that are hit on one of the paths are marked."
    return [Drawn("network", "The network", caption, figure)]


def _maps(found: Compared) -> list[Drawn]:
    """Orders over what is on hand and what arrives next, where there is one stock point and no hidden process."""
    compiled = found.compiled
    top = compiled.topology
    lead = int(top.arc_fixed_lead.max(initial=0))
    if (
        len(compiled.stock_names) != 1
        or compiled.n_resources
        or lead < 2
        or found.env.finite
        or top.arc_fixed_lead.min() < 0
    ):
        return []
    stream = compiled.demand_distributions[0][0]
    mean = max(1, round(stream.mean_value))
    arc = int(top.arc_fixed_lead.argmax())
    name = compiled.arc_names[arc] if len(compiled.arc_names) > 1 else ""
    grid = StateGrid(
        compiled,
        "on_hand",
        f"arriving[{name}:1]",
        list(range(4 * mean + 1)),
        list(range(3 * mean + 1)),
        {f"arriving[{name}:{k}]": mean for k in range(2, lead)},
    )
    orders = {one.name: grid.orders(*one.members[0]) for one in found.contenders[: _BESIDE - 1]}
    if found.config.exact:
        orders["optimum"] = grid.optimal_orders()
    caption = "Units ordered in each state; everything else on its way as in the headline."
    return [Drawn("policy_map", "What each policy orders", caption, policy_map_figure(grid, orders, arc=arc))]


def comparison_page(data: Mapping[str, Any], figures: Sequence[Drawn]) -> str:
    """The whole page, from a ``comparison.json`` and the figures."""
    names = ", ".join(row["policy"] for row in data["policies"])
    sections = [
        *comparison_sections(data),
        Section("Figures", "".join(figure_html(drawn) for drawn in figures)),
        Section("Where it comes from", _sources(data)),
    ]
    return page(f"Comparison on {data['network']}", names, sections)


def comparison_sections(data: Mapping[str, Any]) -> list[Section]:
    """The tables of a comparison."""
    unit, level = f"{data['currency']} per {data['period']}", 100 * data["evaluation"]["confidence"]
    rows, pairs = data["policies"], _once(data.get("pairs", []))
    return [
        Section("Costs and service", _costs(rows, unit, f"{level:g} %") + _known(data)),
        Section("Differences", _differences(pairs, unit, f"{level:g} %", 1 - data["evaluation"]["confidence"])),
        Section("Cost terms", _terms(rows, unit)),
    ]


def _costs(rows: Sequence[Mapping[str, Any]], unit: str, level: str) -> str:
    def column(key: str, text: Callable[[Interval], str] = interval_text) -> list[str]:
        found = [row.get(key) for row in rows]
        return ["-" if value is None else text(Interval(**value)) for value in found] if any(found) else []

    exact = [row.get("exact_cost") for row in rows]
    seeds = [row.get("training_seeds", 1) for row in rows]
    columns = [
        ("policy", [row["policy"] for row in rows]),
        ("training seeds", [str(n) for n in seeds] if any(n > 1 for n in seeds) else []),
        (f"mean cost, {unit} [{level}]", column("cost")),
        ("interquartile mean", column("cost_interquartile_mean")),
        ("worst 5 % of paths (CVaR)", column("cost_cvar95")),
        ("fill rate", _fill_rate(rows, column("fill_rate_interval", share_text))),
        ("exact cost", ["-" if value is None else f"{value:.4f}" for value in exact] if any(exact) else []),
        ("gap to the optimum", column("gap_to_optimum_percent", percent_text)),
        ("over the hindsight bound", column("over_hindsight_bound_percent", percent_text)),
        ("gap closed", column("gap_closed_percent", percent_text)),
    ]
    return table_html([(name, cells) for name, cells in columns if cells])


def _fill_rate(rows: Sequence[Mapping[str, Any]], intervals: list[str]) -> list[str]:
    """Nothing where no demand is ever met at once, as where what is asked for has to sail first."""
    if not serves_at_once(row["fill_rate"] for row in rows):
        return []
    return intervals or [f"{100 * row['fill_rate']:.1f} %" for row in rows]


def _known(data: Mapping[str, Any]) -> str:
    lines = [
        f"Known {value['name'].replace('_', ' ')}: {value['value']:g}"
        f"{' (' + value['detail'] + ')' if value['detail'] else ''}; {value['source']}."
        for value in data["known_values"]
    ]
    bound = data.get("hindsight_bound")
    if bound is not None:
        text = interval_text(Interval(bound["mean"], bound["low"], bound["high"]))
        lines.append(f"Hindsight bound on {bound['paths']} of the paths: {text}. No policy can pay less.")
        if any(row.get("gap_closed_percent") for row in data["policies"]):
            lines.append(f"Gap closed: of the way from {bound['reference']} to it.")
    e = data["evaluation"]
    horizon = data.get("horizon")
    length = f"the horizon of {horizon}" if horizon else f"{e['periods']} periods after {e['warm_up']} of warm-up"
    lines.append(
        f"{e['paths']} paths of {length}, evaluation seed {e['seed']}, the same for all policies; neither training nor "
        f"tuning used them. Bootstrap with {e['resamples']} resamples."
    )
    at_end = data.get("paths_failing_at_end")
    if at_end:
        lines.append(
            f"On {at_end} of them something still fails when the horizon ends. What that costs afterwards is not "
            f"counted, which favours policies that put it off."
        )
    return "".join(f'<p class="note">{html.escape(line)}</p>' for line in lines)


def _differences(pairs: Sequence[Mapping[str, Any]], unit: str, level: str, alpha: float) -> str:
    if not pairs:
        return ""
    percents = [pair["difference_percent"] for pair in pairs]
    columns = [
        ("policy - reference", [f"{pair['policy']} - {pair['reference']}" for pair in pairs]),
        (f"difference, {unit} [{level}]", [interval_text(Interval(**p["difference"]), signed=True) for p in pairs]),
        ("of the reference", ["-" if v is None else percent_text(Interval(**v)) for v in percents]),
        (
            "probability that it costs less on a path",
            [share_text(Interval(**pair["probability_of_improvement"])) for pair in pairs],
        ),
        ("p", [p_text(pair["p"]) for pair in pairs]),
        ("p, Holm", [p_text(pair["p_holm"]) for pair in pairs]),
        ("cost is", [pair["verdict"] for pair in pairs]),
    ]
    marks = {(r, 6): pair["verdict"] for r, pair in enumerate(pairs) if pair["verdict"] != "not decided"}
    note = (
        "Differences are paired path by path. p is that of no difference in the mean; Holm's holds for all comparisons "
        f"of this table together, and a cost is called lower or higher where it is below {alpha:.2g}. Intervals are of "
        "each difference alone."
    )
    return table_html(columns, classes=marks) + f'<p class="note">{html.escape(note)}</p>'


def _terms(rows: Sequence[Mapping[str, Any]], unit: str) -> str:
    names = [term.name for term in COST_TERMS if any(row["terms"].get(term.name) for row in rows)]
    formulas = {term.name: term.formula for term in COST_TERMS}

    def cell(row: Mapping[str, Any], name: str) -> str:
        interval = row.get("term_intervals", {}).get(name)
        return number_text(row["terms"].get(name, 0.0)) if interval is None else interval_text(Interval(**interval))

    columns = [
        (f"policy, {unit}", [row["policy"] for row in rows]),
        *((name.replace("_", " "), [cell(row, name) for row in rows]) for name in names),
    ]
    meanings = {name.replace("_", " "): formulas[name] for name in names}
    if any(_terminal(row) for row in rows):
        columns.append((_TERMINAL, [number_text(_terminal(row).get(_TERMINAL, 0.0)) for row in rows]))
        meanings[_TERMINAL] = "- what the stock is worth when the horizon ends, spread over its periods"
    return table_html(columns) + definitions(meanings)


def _terminal(row: Mapping[str, Any]) -> dict[str, float]:
    """What of the cost is in no term: what the stock at the end of a finite horizon is worth."""
    rest = row["cost"]["mean"] - sum(row["terms"].values())
    scale = max(abs(row["cost"]["mean"]), *(abs(value) for value in row["terms"].values()))
    return {_TERMINAL: rest} if abs(rest) > 1e-9 * scale else {}


def _sources(data: Mapping[str, Any]) -> str:
    parts = []
    for name, about in data.get("contenders", {}).items():
        kept = {key: value for key, value in about.items() if key != "config"}
        parts.append(details(f"{name}: {about.get('kind', '')}", kept))
        if "config" in about:
            parts.append(details(f"{name}: training configuration", about["config"]))
    parts.append(details("Configuration of the comparison", data.get("config", {})))
    parts.append(details("Versions", data.get("versions", {})))
    parts.append(details("All numbers", dict(data)))
    return "".join(parts)


def _once(pairs: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Without those that are another one the other way round."""
    return list({frozenset((p["policy"], p["reference"])): p for p in reversed(pairs)}.values())[::-1]
