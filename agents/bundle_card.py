"""The card of a bundle: what it is, what it was measured to do, and what it must not be used for, in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from agents.bundle_spec import Spec
from twin.economics import serves_at_once

if TYPE_CHECKING:
    from agents.advisor.guardrails import Guardrails

__all__ = ["card"]


def card(
    manifest: Mapping[str, Any],
    spec: Spec,
    evaluation: Mapping[str, Any] | None,
    outliers: Mapping[str, Any] | None,
    fallback: tuple[str, Mapping[str, float], Mapping[str, Any]] | None,
    guardrails: Guardrails,
) -> str:
    """The text of ``card.md``.

    Parameters
    ----------
    evaluation
        As ``comparison.json`` of :mod:`experiments.compare` has it; None where nothing was measured.
    outliers
        With ``held_out``: how often usual states raise an alarm.
    """
    environment, network = manifest["environment"]["id"], manifest["network"]
    lines = [
        f"# {manifest['algorithm']} on {network['name']}",
        "",
        f"- Environment: {environment}, action mode `{spec.mode}`. {spec.meaning}",
        f"- Sees {len(spec.fields)} numbers and orders on {spec.arcs} arcs"
        + (f", with moves on {len(spec.relations)} suppliers." if spec.relations else "."),
        f"- A period is a {spec.period_unit} ({spec.period_days:g} days); money is {spec.currency}.",
        f"- Network hash {network['hash'][:12]}, spec hash {manifest['spec_hash'][:12]}.",
        f"- Highest mode: {manifest['highest_mode'] or 'as the guard file says'}; guard file: "
        f"{guardrails.highest_mode}. Valid until: {manifest['valid_until'] or 'no date set'}.",
        "",
        "## What it was measured to do",
        "",
        *_measured(evaluation),
        "",
        "## When it does not decide",
        "",
    ]
    if fallback is None:
        then = "there is no advice" if spec.codec is None else "the middle of the action box decides"
        lines.append(f"No fallback travels with it: then {then}.")
    else:
        lines.append(f"`{fallback[0]}` decides, tuned on {network['name']}.")
    lines += ["", *_unusual(outliers), "", "## What it was made from", ""]
    source = manifest["data"]["source"]
    lines.append(f"- Network: {source}" if source else "- The network file names no source.")
    seeds = ", ".join(f"{key} {value}" for key, value in manifest["seeds"].items())
    lines.append(f"- Seeds: {seeds}." if seeds else "- No seeds are recorded.")
    lines.append(
        f"- Configuration {manifest['config_hash'][:12]}."
        if manifest["config_hash"]
        else "- No configuration is recorded."
    )
    lines += [
        "",
        "It holds for this network, these fields and these units. Other laws of demand, lead times and outages than",
        "those of network.json have not been tried.",
        "",
    ]
    return "\n".join(lines)


def _measured(evaluation: Mapping[str, Any] | None) -> list[str]:
    if evaluation is None:
        return ["Nothing was measured."]
    ran, policies = evaluation["evaluation"], evaluation["policies"]
    unit = f"{evaluation['currency']} per {evaluation['period']}"
    percent = f"{100.0 * ran['confidence']:g} %"
    at_once = serves_at_once(row["fill_rate"] for row in policies)
    rows = [("policy", f"cost, {unit}", "CVaR 95 %", *(["fill rate"] if at_once else []), "training seeds")]
    for row in policies:
        rows.append(
            (
                row["policy"],
                _interval(row["cost"], 1.0),
                _interval(row["cost_cvar95"], 1.0),
                *([_interval(row["fill_rate_interval"], 100.0) + " %"] if at_once else []),
                str(row["training_seeds"]),
            )
        )
    text = [f"{ran['paths']} paths that neither training nor tuning used; {percent} intervals.", "", *_table(rows)]
    first = policies[0]["policy"]
    for pair in evaluation["pairs"]:
        if pair["policy"] == first:
            text += [
                "",
                f"- Against {pair['reference']}: {_interval(pair['difference'], 1.0)} {unit} ({pair['verdict']}).",
            ]
    return text


def _unusual(outliers: Mapping[str, Any] | None) -> list[str]:
    if outliers is None:
        return ["What states of training look like was not recorded, so nothing says when a state is unlike them."]
    found = outliers.get("held_out")
    if found is None:
        return ["ood.json says what states of training look like."]
    return [
        f"A state is called unusual by its distance from those of training, or by a field out of their range: in "
        f"{100.0 * found['any']:.2f} % of {found['states']} usual states that nothing was fitted to. Slow drift was "
        f"reported in {100.0 * found['drift']:.1f} % of their {found['episodes']} episodes."
    ]


def _interval(value: Mapping[str, float] | None, scale: float) -> str:
    if value is None:
        return "-"
    scaled = (scale * value[key] for key in ("mean", "low", "high"))
    mean, low, high = (f"{x:,.0f}" if abs(x) >= 1e5 else f"{x:.5g}" for x in scaled)
    return f"{mean} ({low} to {high})"


def _table(rows: Sequence[Sequence[str]]) -> list[str]:
    lines = ["| " + " | ".join(row) + " |" for row in rows]
    return [lines[0], "|" + "---|" * len(rows[0]), *lines[1:]]
