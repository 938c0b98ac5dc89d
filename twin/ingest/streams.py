"""From dated rows to laws: lead times of lanes out of orders, demand streams out of sales."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, date, tzinfo
from typing import Any

import numpy as np

from twin.calibration import fit, rounded, significant
from twin.errors import DataError
from twin.ingest.mapping import ImportMapping
from twin.ingest.tables import Record

__all__ = ["bucket", "demand_law", "demand_series", "lead_time_laws", "ordered_units"]

SECONDS_PER_DAY = 86400.0


def lead_time_laws(orders: Sequence[Record], least: int) -> dict[str, dict[str, Any]]:
    """Per lane with at least ``least`` orders: its lead time in whole days as an empirical law, and the evidence."""
    days: dict[str, list[int]] = {}
    for record in orders:
        took = record.values["received_at"] - record.values["ordered_at"]
        days.setdefault(record.values["lane"], []).append(int(took.total_seconds() / SECONDS_PER_DAY + 0.5))
    laws = {}
    for lane, sample in days.items():
        if len(sample) < least:
            continue
        counts = sorted(Counter(sample).items())
        laws[lane] = {
            "law": {
                "distribution": "empirical",
                "values": [float(value) for value, _ in counts],
                "probabilities": [count / len(sample) for _, count in counts],
            },
            "evidence": {
                "orders": len(sample),
                "mean_days": significant(float(np.mean(sample))),
                "sd_days": significant(float(np.std(sample, ddof=1)) if len(sample) > 1 else 0.0),
            },
        }
    return laws


def ordered_units(orders: Sequence[Record]) -> dict[str, float]:
    """Units ordered on every lane; an order without a quantity counts as none."""
    units: dict[str, float] = {}
    for record in orders:
        lane = record.values["lane"]
        units[lane] = units.get(lane, 0.0) + record.values.get("quantity", 0.0)
    return units


def bucket(day: date, period: str) -> int:
    """Number of the day, the week (Monday to Sunday) or the month that ``day`` lies in; successive ones differ by 1."""
    if period == "month":
        return day.year * 12 + day.month - 1
    return (day.toordinal() - 1) // 7 if period == "week" else day.toordinal()


def demand_series(records: Sequence[Record], mapping: ImportMapping) -> dict[tuple[str, str], list[float]]:
    """Units per period of every (site, product), over the same periods for all; periods without a row are 0.

    Raises
    ------
    DataError
        When no row lies between the mapping's first and last day.
    """
    zone: tzinfo = mapping.zone or UTC
    rules, period = mapping.demand, mapping.network.period
    rows = [(record.values["date"].astimezone(zone).date(), record.values) for record in records]
    rows = [
        (day, values)
        for day, values in rows
        if (rules.first is None or day >= rules.first) and (rules.last is None or day <= rules.last)
    ]
    if not rows:
        raise DataError(f"no demand between demand.first = {rules.first} and demand.last = {rules.last}")
    first = bucket(rules.first or min(day for day, _ in rows), period)
    last = bucket(rules.last or max(day for day, _ in rows), period)
    series: dict[tuple[str, str], list[float]] = {}
    for day, values in rows:
        line = series.setdefault((values["site"], values["product"]), [0.0] * (last - first + 1))
        line[bucket(day, period) - first] += values["quantity"]
    return series


def demand_law(series: Sequence[float], kind: str) -> tuple[Any, Mapping[str, Any]]:
    """The law of a stream and what it rests on.

    ``recorded`` plays the series. Else moments choose: whole numbers are Poisson where their variance does not exceed
    their mean, negative binomial where it does; other numbers are gamma, with a share of empty periods where there
    are zeros (``intermittent``). A series that never changes is fixed.
    """
    values = np.asarray(series, dtype=np.float64)
    mean, spread = float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else 0.0
    evidence = {
        "periods": len(values),
        "mean": significant(mean),
        "sd": significant(spread),
        "empty_periods": int((values == 0.0).sum()),
    }
    if kind == "recorded":
        return {"distribution": "recorded", "values": values.tolist()}, evidence
    if values.min() == values.max():
        return mean, evidence | {"law": "fixed"}
    whole = not (values % 1.0).any()
    if whole and spread**2 <= mean:
        return {"distribution": "poisson", "mean": significant(mean)}, evidence | {"law": "poisson"}
    if whole:
        found = fit(values, ("negative_binomial",))
    elif (values == 0.0).any():
        if len(np.unique(values[values > 0.0])) < 2:
            share = float((values > 0.0).mean())
            size = significant(float(values.max()))
            law = {
                "distribution": "intermittent",
                "probability": significant(share),
                "size": {"distribution": "fixed", "value": size},
            }
            return law, evidence | {"law": "intermittent"}
        found = fit(values, ("intermittent",))
    else:
        found = fit(values, ("gamma",))
    law = rounded(found.distribution).model_dump(mode="json")
    return law, evidence | {"law": found.quality.family, "ks": significant(found.quality.ks, 3)}
