"""The log of a published LINERLIB network: its services, what they cost and what the network earns."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

from twin.errors import DataError
from twin.files import read_table_text

__all__ = ["LoggedNetwork", "LoggedService", "read_log"]

_SERVICE = re.compile(r"service \d+ service id (\d+)")
_CALL = re.compile(r"\d+\s+([A-Z0-9]{5})\s+\S.*")
_NUMBER = r"(-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?)"
#: Figure of a service -> how its line begins.
_FIGURES = {
    "capacity": "capacity",
    "vessels": "# vessels",
    "speed": "speed",
    "distance": "voyage distance nautical miles",
    "weeks": "voyage duration in weeks",
    "port_calls": "Port call cost",
    "idle_tonnes": "Bunker idle burn in Ton",
    "bunker_tonnes": "Bunker fuel burn in Ton",
    "charter": "Total TC cost",
}
#: Figure of the network -> how its line begins; money a week.
_TOTALS = {
    "objective": "Objective value:",
    "charter": "Vessel Class cost:",
    "idle_bunker": "Bunker idle burn cost:",
    "bunker": "fuel_burn:",
    "port_calls": "Port Call Cost:",
    "canals": "Canal costs",
    "revenue": "Revenue:",
    "penalty": "Penalty:",
    "handling": "Handling cost:",
}
_LINES = {name: re.compile(rf"{re.escape(text)}\s+{_NUMBER}$") for name, text in _FIGURES.items()}
_BUNKER = re.compile(rf"Total bunker cost at {_NUMBER} USD for one round trip {_NUMBER}")


@dataclass
class LoggedService:
    """One service as the log has it; figures of one round, six digits."""

    number: str
    line: int
    calls: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class LoggedNetwork:
    """Services, the network's totals in USD a week (six digits), and the price of a tonne of bunker."""

    path: Path
    services: tuple[LoggedService, ...]
    totals: dict[str, float]
    bunker_price: float


def read_log(path: str | Path) -> LoggedNetwork:
    """Read a log.

    Raises
    ------
    DataError
        When the file is missing, or lacks services, a figure of a service or the objective.
    """
    path = Path(path)
    lines = [line.strip() for line in read_table_text(path, encoding="latin-1")[0].split("\n")]
    end = next((k for k, line in enumerate(lines) if "Flow Solution" in line), len(lines))
    services: list[LoggedService] = []
    price = 0.0
    for k, line in enumerate(lines[:end], start=1):
        if found := _SERVICE.fullmatch(line):
            services.append(LoggedService(found[1], k))
        elif services:
            if found := _CALL.fullmatch(line):
                services[-1].calls.append(found[1])
            elif found := _BUNKER.fullmatch(line):
                price = float(found[1])
            for name, pattern in _LINES.items():
                if found := pattern.fullmatch(line):
                    services[-1].figures[name] = float(found[1])
    if not services:
        raise DataError(f"{path} has no line 'service 0 service id 0'; is it the log of a network?")
    for k, service in enumerate(services):
        if any(service.number == other.number for other in services[:k]):
            raise DataError(
                f"{path}, line {service.line}: service {service.number} is there twice; give one network's log"
            )
        missing = [text for name, text in _FIGURES.items() if name not in service.figures]
        if missing or len(service.calls) < 2:
            lacks = f"no line '{missing[0]} ...'" if missing else f"{len(service.calls)} calls, at least 2 are needed"
            raise DataError(f"{path}, line {service.line}: service {service.number} has {lacks}")
    return LoggedNetwork(path, tuple(services), _totals(path, lines[end:]), price)


def _totals(path: Path, lines: list[str]) -> dict[str, float]:
    text = "\n".join(lines)
    totals = {}
    for name, begins in _TOTALS.items():
        found = re.search(rf"^{re.escape(begins)}\s+{_NUMBER}(?:\s|$)", text, re.M)
        if found is None:
            raise DataError(f"{path} has no line '{begins} ...' after its flow solution; is the log complete?")
        totals[name] = float(found[1])
    return totals
