"""The LINERLIB benchmark and its published networks as liner networks.

B. D. Brouer, J. F. Alvarez, C. E. M. Plum, D. Pisinger, M. M. Sigurd, "A Base Integer Programming Model and Benchmark
Suite for Liner-Shipping Network Design", Transportation Science 48(2):281-312, 2014. The conventions that its papers
leave open are those that reproduce the published networks; docs/routing.md lists them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from twin.calibration import significant
from twin.errors import DataError, did_you_mean
from twin.ingest.csvfile import CsvFile, read_csv
from twin.ingest.linerlib_log import LoggedNetwork, LoggedService, read_log
from twin.liner.network import LinerNetwork, Port

__all__ = ["CHARTER_LEVELS", "build_network", "instances", "read_linerlib"]

#: Charter market -> factor on the rates of fleet_data.csv; results are rounded to 1,000 USD a day.
CHARTER_LEVELS = {"base": 1.0, "high": 0.8, "low": 1.4}

_MARKET = {
    level: "as they are" if factor == 1.0 else f"x {factor:g}, rounded to 1,000"
    for level, factor in CHARTER_LEVELS.items()
}

#: Nautical miles by which a logged round may differ from the table's: the log has six digits.
_NM = 0.5

_PORTS = {
    "UNLocode": "code",
    "name": "name",
    "Country": "country",
    "Longitude": "longitude",
    "Latitude": "latitude",
    "Draft": "draft",
    "CostPerFULL": "handling",
    "CostPerFULLTrnsf": "transshipment",
    "PortCallCostFixed": "call",
    "PortCallCostPerFFE": "call_per_ffe",
}
_COSTS = {
    "handling": "handling_cost",
    "transshipment": "transshipment_cost",
    "call": "call_cost",
    "call_per_ffe": "call_cost_per_ffe",
}
_VESSELS = {
    "Vessel class": "name",
    "Capacity FFE": "capacity",
    "TC rate daily (fixed Cost)": "charter",
    "draft": "draft",
    "minSpeed": "min_speed",
    "maxSpeed": "max_speed",
    "designSpeed": "design_speed",
    "Bunker ton per day at designSpeed": "bunker",
    "Idle Consumption ton/day": "idle",
    "panamaFee": "panama",
    "suezFee": "suez",
}
_DEMANDS = {
    "Origin": "origin",
    "Destination": "destination",
    "FFEPerWeek": "ffe",
    "Revenue_1": "revenue",
    "TransitTime": "days",
}
_WAYS = {
    "fromUNLOCODe": "one",
    "ToUNLOCODE": "other",
    "Distance": "nm",
    "Draft": "draft",
    "IsPanama": "panama",
    "IsSuez": "suez",
}


@dataclass(frozen=True)
class _Tables:
    """The five files of an instance, rows by short names, and their checksums."""

    ports: dict[str, tuple[int, dict[str, str]]]
    vessels: list[tuple[int, dict[str, str]]]
    fleet: list[tuple[int, dict[str, str]]]
    demands: list[tuple[int, dict[str, str]]]
    ways: list[tuple[int, dict[str, str]]]
    files: dict[str, CsvFile]

    def value(self, table: str, line: int, column: str, text: str, *, positive: bool = False) -> float:
        """A number of a cell.

        Raises
        ------
        DataError
            When it is none, negative, or 0 where it must be positive.
        """
        try:
            number = float(text)
        except ValueError:
            number = math.nan
        if not (math.isfinite(number) and (number > 0.0 if positive else number >= 0.0)):
            least = "above 0" if positive else "at least 0"
            where = f"{self.files[table].path}, line {line}, {column}"
            raise DataError(f"{where}: must be a number {least}, received '{text}'")
        return number


def instances(folder: str | Path) -> list[str]:
    """Names of the instances whose demands are in a folder, sorted."""
    return sorted(path.stem.removeprefix("Demand_") for path in Path(folder).glob("Demand_*.csv"))


def read_linerlib(folder: str | Path, instance: str, log: str | Path) -> LinerNetwork:
    """A published network of an instance.

    Parameters
    ----------
    folder
        With ports.csv, dist_dense.csv, fleet_data.csv, fleet_<instance>.csv and Demand_<instance>.csv.
    instance
        For example ``Baltic``.
    log
        The log of the network.

    Raises
    ------
    DataError
        When a file is missing or malformed, or log and data do not belong together.
    NetworkError
        When the rows, each good by itself, make an impossible network.
    """
    known = instances(folder)
    if instance not in known:
        listed = ", ".join(known) or f"none: there is no Demand_<instance>.csv in {folder}"
        raise DataError(f"no instance '{instance}' (allowed: {listed}){did_you_mean(instance, known)}")
    return build_network(_read(Path(folder), instance), instance, read_log(log))


def build_network(tables: _Tables, instance: str, log: LoggedNetwork) -> LinerNetwork:
    """Make a network of the tables of an instance and a log; see :func:`read_linerlib`."""
    vessels = {row["name"]: _vessel(tables, line, row) for line, row in tables.vessels}
    level = _charter_level(log, vessels)
    for vessel in vessels.values():
        vessel["charter_per_day"] = _charter(vessel["charter_per_day"], level)
    for line, row in tables.fleet:
        if row["name"] not in vessels:
            raise DataError(f"{tables.files['fleet'].path}, line {line}: fleet_data.csv has no class '{row['name']}'")
        vessels[row["name"]]["vessels"] = int(tables.value("fleet", line, "Quantity", row["quantity"]))
    services = {f"service_{entry.number}": _service(entry, log, vessels) for entry in log.services}
    demands = [_cargo(tables, line, row) for line, row in tables.demands]
    wanted = [code for cargo in demands for code in (cargo["from"], cargo["to"])]
    codes = sorted({*wanted, *(code for entry in log.services for code in entry.calls)})
    used = {entry["class"] for entry in services.values()} | {row["name"] for _, row in tables.fleet}
    notes: list[str] = []
    data = {
        "name": f"linerlib_{instance.lower()}",
        "description": f"The published network {log.path.stem} of the LINERLIB instance {instance}: {len(services)} "
        f"services, {len(codes)} ports, {len(demands)} demands.",
        "source": "B. D. Brouer, J. F. Alvarez, C. E. M. Plum, D. Pisinger, M. M. Sigurd, A Base Integer Programming "
        "Model and Benchmark Suite for Liner-Shipping Network Design, Transportation Science 48(2):281-312, 2014; "
        "network: the benchmark's published results",
        "licence": "research data; the repository states none",
        "bunker_price_per_t": log.bunker_price,
        "ports": {code: _port(tables, code, notes) for code in codes},
        "vessel_classes": {name: entry for name, entry in vessels.items() if name in used},
        "services": services,
        "demands": demands,
        "distances": _distances(tables, codes),
        "known_values": _known_values(log),
    }
    notes += _agreed(log, data)
    return LinerNetwork.parse(
        data
        | {
            "provenance": {
                **{file.path.name: file.sha256 for file in tables.files.values()},
                "instance": instance,
                "log": log.path.name,
                "charter_market": level,
                "assumptions": [
                    "of several rows of a pair in dist_dense.csv the shortest one that the vessel may take",
                    f"charter market {level}: rates of fleet_data.csv {_MARKET[level]}",
                    "every service leaves each call once a week with its whole capacity, however many vessels it has",
                    "1,000 a FFE for cargo that is not carried, as in the published objective",
                ],
                "notes": notes,
            },
        },
        where=f"the network of {log.path}",
    )


# -- rows -------------------------------------------------------------------------------------------------------------


def _read(folder: Path, instance: str) -> _Tables:
    names = {
        "ports": ("ports.csv", _PORTS),
        "vessels": ("fleet_data.csv", _VESSELS),
        "fleet": (f"fleet_{instance}.csv", {"Vessel class": "name", "Quantity": "quantity"}),
        "demands": (f"Demand_{instance}.csv", _DEMANDS),
        "ways": ("dist_dense.csv", _WAYS),
    }
    files, rows = {}, {}
    for table, (name, columns) in names.items():
        files[table] = file = read_csv(folder / name, delimiter="\t", encoding="latin-1")
        rows[table] = [
            (line, {columns[column]: text for column, text in cells.items()}) for line, cells in file.records(columns)
        ]
    ports = {row["code"]: (line, row) for line, row in rows["ports"]}
    return _Tables(ports, rows["vessels"], rows["fleet"], rows["demands"], rows["ways"], files)


def _vessel(tables: _Tables, line: int, row: Mapping[str, str]) -> dict[str, Any]:
    columns = {short: column for column, short in _VESSELS.items()}

    def number(name: str) -> float:
        return tables.value("vessels", line, columns[name], row[name], positive=True)

    return {
        "capacity_ffe": number("capacity"),
        "charter_per_day": number("charter"),
        "min_speed_knots": number("min_speed"),
        "max_speed_knots": number("max_speed"),
        "design_speed_knots": number("design_speed"),
        "bunker_t_per_day": number("bunker"),
        "idle_bunker_t_per_day": number("idle"),
        "draft_m": number("draft"),
        # A class without a fee is too large for the canal.
        "canal_fees": {canal: number(canal) for canal in ("suez", "panama") if row[canal]},
    }


def _port(tables: _Tables, code: str, notes: list[str]) -> dict[str, Any]:
    if code not in tables.ports:
        raise DataError(f"{tables.files['ports'].path} has no port '{code}'{did_you_mean(code, tables.ports)}")
    line, row = tables.ports[code]
    costs = {}
    for column, name in _PORTS.items():
        if name in _COSTS:
            if not row[name]:
                place = f"{tables.files['ports'].path}, line {line}"
                raise DataError(f"{place}: {code} has no {column}, so that its calls cannot be priced")
            costs[_COSTS[name]] = tables.value("ports", line, column, row[name])
    port: dict[str, Any] = {"name": row["name"], "country": row["country"]}
    if row["longitude"] and row["latitude"]:
        try:
            position = Port(position=(float(row["longitude"]), float(row["latitude"]))).position
        except ValueError:  # pydantic's is one as well
            notes.append(f"{code}: ports.csv has an impossible position, which is left out")
        else:
            port["position"] = position
    if row["draft"]:
        port["draft_m"] = tables.value("ports", line, "Draft", row["draft"], positive=True)
    return port | costs


def _cargo(tables: _Tables, line: int, row: Mapping[str, str]) -> dict[str, Any]:
    return {
        "from": row["origin"],
        "to": row["destination"],
        "ffe_per_week": tables.value("demands", line, "FFEPerWeek", row["ffe"]),
        "revenue_per_ffe": tables.value("demands", line, "Revenue_1", row["revenue"]),
        "max_transit_days": tables.value("demands", line, "TransitTime", row["days"], positive=True),
    }


def _distances(tables: _Tables, codes: list[str]) -> list[dict[str, Any]]:
    """Rows between the network's ports, each pair in one direction (the table has both, with equal figures)."""
    known, rows = set(codes), []
    for line, row in tables.ways:
        if row["one"] < row["other"] and row["one"] in known and row["other"] in known:
            way: dict[str, Any] = {"from": row["one"], "to": row["other"]}
            way["nm"] = tables.value("ways", line, "Distance", row["nm"], positive=True)
            through = [canal for canal in ("suez", "panama") if row[canal] == "1"]
            rows.append(way | ({"through": through} if through else {}))
            if row["draft"]:
                rows[-1]["draft_m"] = tables.value("ways", line, "Draft", row["draft"], positive=True)
    return sorted(rows, key=lambda way: (way["from"], way["to"], way["nm"]))


# -- the log ----------------------------------------------------------------------------------------------------------


def _charter(rate: float, level: str) -> float:
    return rate if level == "base" else 1000.0 * math.floor(rate * CHARTER_LEVELS[level] / 1000.0 + 0.5)


def _class_of(entry: LoggedService, log: LoggedNetwork, vessels: Mapping[str, Mapping[str, Any]]) -> str:
    fits = [name for name, vessel in vessels.items() if vessel["capacity_ffe"] == entry.figures["capacity"]]
    if len(fits) != 1:
        sizes = ", ".join(f"{name} {vessel['capacity_ffe']:g}" for name, vessel in vessels.items())
        raise DataError(
            f"{log.path}, line {entry.line}: no one vessel class has a capacity of {entry.figures['capacity']:g} FFE "
            f"(there is: {sizes})"
        )
    return fits[0]


def _charter_level(log: LoggedNetwork, vessels: Mapping[str, Mapping[str, Any]]) -> str:
    """The charter market in which the logged services cost what the log says."""
    for level in CHARTER_LEVELS:
        rates = {name: _charter(vessel["charter_per_day"], level) for name, vessel in vessels.items()}
        weekly = [7.0 * entry.figures["vessels"] * rates[_class_of(entry, log, vessels)] for entry in log.services]
        if weekly == [entry.figures["charter"] for entry in log.services]:
            return level
    raise DataError(
        f"{log.path}: the charter costs of its services fit none of the markets {', '.join(CHARTER_LEVELS)} with the "
        "rates of fleet_data.csv; do log and data belong together?"
    )


def _service(entry: LoggedService, log: LoggedNetwork, vessels: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    return {
        "class": _class_of(entry, log, vessels),
        "vessels": int(entry.figures["vessels"]),
        "speed_knots": entry.figures["speed"],
        "calls": entry.calls,
    }


def _known_values(log: LoggedNetwork) -> list[dict[str, Any]]:
    fixed = math.fsum(log.totals[name] for name in ("charter", "bunker", "idle_bunker", "port_calls", "canals"))
    return [
        {"name": "weekly_objective", "value": log.totals["objective"], "source": f"{log.path.name}, six digits"},
        {"name": "weekly_fixed_cost", "value": significant(fixed, 6), "source": f"{log.path.name}, sum of five lines"},
    ]


def _agreed(log: LoggedNetwork, data: Mapping[str, Any]) -> list[str]:
    """Check that the log's rounds are as long as the table says; notes on what is unusual.

    Raises
    ------
    DataError
        When a pair has no distance, or a round is longer or shorter than the log says.
    """
    shortest: dict[tuple[str, str], float] = {}
    for way in data["distances"]:
        pair = way["from"], way["to"]
        shortest[pair] = min(way["nm"], shortest.get(pair, math.inf))
    notes = []
    for entry in log.services:
        pairs = [(min(pair), max(pair)) for pair in _rounds(entry.calls)]
        missing = next((pair for pair in pairs if pair not in shortest), None)
        if missing:
            raise DataError(f"dist_dense.csv has no row for {missing[0]} and {missing[1]}, which {log.path} sails")
        total = math.fsum(shortest[pair] for pair in pairs)
        if abs(total - entry.figures["distance"]) > _NM:
            raise DataError(
                f"{log.path}, line {entry.line}: service {entry.number} sails {entry.figures['distance']:g} nm, but "
                f"its legs in dist_dense.csv add up to {total:g}; do log and data belong together?"
            )
        if entry.figures["weeks"] > entry.figures["vessels"] + 1e-4:
            notes.append(
                f"service_{entry.number} takes {entry.figures['weeks']:g} weeks and has {entry.figures['vessels']:g} "
                "vessels; the published objective counts it as weekly all the same"
            )
    return notes


def _rounds(calls: list[str]) -> list[tuple[str, str]]:
    return list(zip(calls, [*calls[1:], calls[0]], strict=True))
