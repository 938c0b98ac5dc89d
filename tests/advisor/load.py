"""Many clients at once, each with a connection of its own, one request after the other, for a while."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from agents.advisor import open_store, verify
from agents.advisor.store import Store

__all__ = ["Load", "check_record", "press"]


@dataclass
class Load:
    """What the clients got.

    Attributes
    ----------
    decided
        Record number of every answer, by request id.
    errors
        Everything else that came back.
    seconds
        Of every answer.
    wall
        All of it.
    """

    decided: dict[str, int] = field(default_factory=dict)
    errors: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    wall: float = 0.0

    def summary(self) -> dict[str, float]:
        """Answers a second, and how long they took, milliseconds."""
        p50, p99 = (round(float(x), 2) for x in np.percentile(np.array(self.seconds) * 1e3, [50, 99]))
        number = len(self.decided)
        return {"answers": number, "per_second": round(number / self.wall, 1), "p50_ms": p50, "p99_ms": p99}


def press(address: str, token: str, state: dict[str, Any], *, clients: int, seconds: float) -> Load:
    """Let ``clients`` ask for decisions for ``seconds``, and each at least once."""
    load = Load()

    async def one(number: int, end: float) -> None:
        headers = {"Authorization": f"Bearer {token}"}
        # Without certificates to read, which takes longer than a hundred requests.
        async with httpx.AsyncClient(base_url=address, headers=headers, timeout=30.0, verify=False) as client:
            count = 0
            while count == 0 or time.perf_counter() < end:
                name, begun = f"client {number} request {count}", time.perf_counter()
                count += 1
                try:
                    response = await client.post("/v1/decisions", json={**state, "request_id": name})
                except httpx.HTTPError as error:
                    load.errors.append(f"{type(error).__name__} {error}")
                    continue
                load.seconds.append(time.perf_counter() - begun)
                if response.status_code == 200:
                    load.decided[name] = response.json()["record"]
                else:
                    load.errors.append(f"{response.status_code} {response.text[:300]}")

    async def everybody() -> None:
        end = time.perf_counter() + seconds
        await asyncio.gather(*(one(number, end) for number in range(clients)))

    begun = time.perf_counter()
    asyncio.run(everybody())
    load.wall = time.perf_counter() - begun
    return load


def check_record(path: Path, load: Load) -> Store:
    """Every answer is on record under its number, nothing else is, and the chain is whole."""
    store = open_store(path, create=False)
    kept = {record.data["request"]["request_id"]: record.seq for record in store.records() if record.kind == "decision"}
    assert kept == load.decided
    assert verify(store).ok
    return store
