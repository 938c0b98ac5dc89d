"""A user's own liner network: ports by their codes, services and demands; positions and distances are looked up.

The plan is a liner network without distances. Its ports may be a plain list of UN/LOCODEs: what is known of them then
comes from a table of the user, and the position, where that has none, from the list of ports in the package searoute.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from twin.errors import DataError, did_you_mean
from twin.files import read_mapping
from twin.geography import closure_set, closure_tables, listed_ports
from twin.ingest.csvfile import CsvFile, read_csv
from twin.liner.network import Cargo, LinerNetwork, Port
from twin.liner.sailing import voyage
from twin.schema import explain

__all__ = ["build_network", "closures", "left_open", "read_plan"]

#: Passages whose closure the network is made for, unless told else.
CLOSABLE = ("suez", "panama")

_PORT_COLUMNS = (*(name for name in Port.model_fields if name != "position"), "longitude", "latitude")
_CARGO_COLUMNS = tuple(info.alias or name for name, info in Cargo.model_fields.items())
_TEXTS = {"name", "country", "from", "to"}


def read_plan(plan: str | Path, ports: str | Path | None = None, demands: str | Path | None = None) -> dict[str, Any]:
    """The plan with its tables, as plain data of a liner network without distances.

    Parameters
    ----------
    plan
        YAML or JSON file.
    ports
        CSV file: ``code``, and any of name, country, longitude, latitude and the other figures of a port.
    demands
        CSV file: ``from``, ``to``, ``ffe_per_week``, ``revenue_per_ffe`` and, if wanted, ``max_transit_days``.

    Raises
    ------
    DataError
        When a table is missing or malformed, or has what the plan has as well.
    NetworkError
        When the plan is missing or not readable.
    """
    data = read_mapping(plan)
    for key in ("distances", "known_values"):
        if key in data:
            raise DataError(f"{plan}: a plan has no {key}; leave the key out")
    given = data.get("ports", [])
    if isinstance(given, list):
        twice = next((code for code in given if given.count(code) > 1), None)
        if twice is not None:
            raise DataError(f"{plan}: ports lists '{twice}' twice")
        given = {code: {} for code in given}
    if not isinstance(given, Mapping) or not all(isinstance(code, str) for code in given):
        raise DataError(f"{plan}: ports must be a list of codes, or codes with what is known of each")
    rows = _port_rows(read_csv(ports)) if ports is not None else {}
    data["ports"] = {code: _port(code, facts, rows) for code, facts in given.items()}
    if demands is not None:
        if "demands" in data:
            raise DataError(f"{plan} and {demands} both have demands; leave them out of one")
        data["demands"] = _cargo_rows(read_csv(demands))
    return data


def closures(names: Sequence[str]) -> list[tuple[str, ...]]:
    """Every set of passages that may be closed together, nothing first.

    Raises
    ------
    DataError
        For an unknown passage, with the nearest one.
    """
    known = closure_set(names)
    return [chosen for size in range(len(known) + 1) for chosen in combinations(known, size)]


def build_network(data: Mapping[str, Any], closable: Sequence[str] = CLOSABLE) -> LinerNetwork:
    """Make a network of a plan: sea distances between all its ports, for every set of passages that may be closed.

    Parameters
    ----------
    data
        From :func:`read_plan`.
    closable
        Passages; the network has the shortest way for each set of them closed.

    Raises
    ------
    DataError
        When a port has no position, lies inland, or a passage is unknown.
    NetworkError
        When the plan, whole, makes an impossible network.
    ImportError
        When the package searoute is missing, with what to install.
    """
    codes = list(data["ports"])
    places = np.array([data["ports"][code]["position"] for code in codes], dtype=np.float64).reshape(-1, 2)
    rows: dict[tuple[str, str, tuple[str, ...]], float] = {}
    for routes in closure_tables(places, closures(closable)).values() if codes else ():
        for i, j in combinations(range(len(codes)), 2):
            nm = round(float(routes.distance_nm[i, j]), 1)
            if nm == 0.0:
                raise DataError(f"ports.{codes[i]} and ports.{codes[j]} are at one place; correct a position")
            if np.isfinite(nm):
                through = tuple(name for name, used in routes.through.items() if used[i, j])
                rows.setdefault((codes[i], codes[j], through), nm)
    distances = [
        {"from": one, "to": other, "nm": nm, **({"through": list(through)} if through else {})}
        for (one, other, through), nm in sorted(rows.items(), key=lambda row: (row[0][:2], row[1]))
    ]
    provenance = {
        **data.get("provenance", {}),
        "distances": "shortest sea routes on the maritime network of the package searoute, without the last miles "
        f"into port; made for every set of these passages closed: {', '.join(closable) or 'none'}",
    }
    whole = {**data, "distances": distances, "provenance": provenance}
    return LinerNetwork.parse(whole, where="the network of the plan")


def left_open(network: LinerNetwork) -> list[str]:
    """What a planner should look at before trusting the network's money: free ports, services short of vessels."""
    free = [code for code, port in network.ports.items() if port.handling_cost == port.call_cost == 0.0]
    notes = [f"no costs are given for {', '.join(free)}: handling and calls are free there"] if free else []
    for name, service in network.services.items():
        needed = voyage(network, name).vessels_needed
        if service.vessels < needed:
            notes.append(f"services.{name} needs {needed} vessels to leave every week, and has {service.vessels}")
    return notes


# -- tables -----------------------------------------------------------------------------------------------------------


def _port(code: str, facts: Any, rows: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    if facts is not None and not isinstance(facts, Mapping):
        raise DataError(f"ports.{code} must be a mapping, received {facts!r}")
    port = {**rows.get(code, {}), **(facts or {})}
    try:
        if Port.model_validate(port).position is not None:
            return port
    except ValidationError as error:
        raise DataError("\n".join(f"ports.{code}.{line}" for line in explain(error))) from None
    known = listed_ports()
    if code not in known:
        near = did_you_mean(code, known)
        raise DataError(f"ports.{code} has no position, and the package searoute does not list the code{near}")
    name, country, position = known[code]
    return {"name": name, "country": country, **port, "position": list(position)}


def _port_rows(file: CsvFile) -> dict[str, dict[str, Any]]:
    ports: dict[str, dict[str, Any]] = {}
    for line, cells in _cells(file, ("code",), _PORT_COLUMNS):
        code = str(cells.pop("code"))
        if code in ports:
            raise DataError(f"{file.path}, line {line}: the port '{code}' is there twice")
        place = cells.pop("longitude", None), cells.pop("latitude", None)
        if (place[0] is None) != (place[1] is None):
            raise DataError(f"{file.path}, line {line}: {code} needs both longitude and latitude, or neither")
        ports[code] = cells | ({"position": list(place)} if place[0] is not None else {})
    return ports


def _cargo_rows(file: CsvFile) -> list[dict[str, Any]]:
    needed = ("from", "to", "ffe_per_week", "revenue_per_ffe")
    return [cells for _, cells in _cells(file, needed, _CARGO_COLUMNS)]


def _cells(file: CsvFile, needed: Sequence[str], known: Collection[str]) -> Iterable[tuple[int, dict[str, Any]]]:
    """(line, values by column) of every row; empty cells are left out."""
    allowed = (*needed, *known)
    for column in file.header:
        if column not in allowed:
            listed = ", ".join(sorted(set(allowed)))
            raise DataError(
                f"{file.path}: unknown column '{column}' (allowed: {listed}){did_you_mean(column, allowed)}"
            )
    file.positions(needed)
    for line, cells in file.records(file.header):
        empty = next((column for column in needed if not cells[column]), None)
        if empty is not None:
            raise DataError(f"{file.path}, line {line}: {empty} is empty")
        yield line, {column: _value(file, line, column, text) for column, text in cells.items() if text}


def _value(file: CsvFile, line: int, column: str, text: str) -> str | float:
    if column in _TEXTS or column == "code":
        return text
    try:
        return float(text)
    except ValueError:
        raise DataError(f"{file.path}, line {line}, {column}: is not a number, received '{text}'") from None
