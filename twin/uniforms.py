"""Uniform numbers as a function of (seed, stream, entity, replica, episode, period).

They come from the counter-based generator Philox4x32-10 (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy
as 1, 2, 3", SC 2011): key = seed, counter = (period, replica, episode, stream and entity pair). Many counters go
through the ten rounds side by side, in vector registers: 1.5 ns a number.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = [
    "AVAILABILITY",
    "DEMAND",
    "DISRUPTION",
    "HANDLING",
    "INITIAL_STATE",
    "LEAD_TIME",
    "PRICE",
    "SHOCK",
    "fill_uniform",
    "philox",
    "uniforms",
]

FloatArray = NDArray[np.float64]

#: Stream numbers, below 16. A new stream gets a new number; these never change, or recorded runs would.
DEMAND, LEAD_TIME, AVAILABILITY, PRICE, INITIAL_STATE, SHOCK, HANDLING, DISRUPTION = 0, 1, 2, 3, 4, 5, 7, 8

#: Counters that go through the rounds together: their words and keys stay in the first-level cache.
LANES = 1024


@njit(cache=True, nogil=True)
def philox(words, keys, lanes):  # type: ignore[no-untyped-def]
    """Ten rounds of Philox4x32 in place.

    Parameters
    ----------
    words
        (4, L) uint32: counters in, random words out.
    keys
        (2, L) uint32.
    lanes
        How many of the L columns to work on.
    """
    shift = np.uint64(32)
    for lane in range(lanes):
        w0, w1, w2, w3 = words[0, lane], words[1, lane], words[2, lane], words[3, lane]
        k0, k1 = keys[0, lane], keys[1, lane]
        for _ in range(10):  # unrolled by the compiler, which then works on a vector of lanes
            p0 = np.uint64(0xD2511F53) * np.uint64(w0)
            p1 = np.uint64(0xCD9E8D57) * np.uint64(w2)
            w0, w1 = np.uint32(p1 >> shift) ^ w1 ^ k0, np.uint32(p1)
            w2, w3 = np.uint32(p0 >> shift) ^ w3 ^ k1, np.uint32(p0)
            k0, k1 = np.uint32(k0 + np.uint32(0x9E3779B9)), np.uint32(k1 + np.uint32(0xBB67AE85))
        words[0, lane], words[1, lane], words[2, lane], words[3, lane] = w0, w1, w2, w3


@njit(cache=True, inline="always")
def _to_unit(high, low):  # type: ignore[no-untyped-def]
    """Two 32-bit words as a double strictly between 0 and 1 (52 bits and a half step)."""
    bits = (np.uint64(high) << np.uint64(20)) | (np.uint64(low) >> np.uint64(12))
    return (np.float64(bits) + 0.5) * (1.0 / 4503599627370496.0)


@njit(cache=True, nogil=True)
def fill_uniform(out, seed, replica, episode, period, offset, stream, entities, rows):  # type: ignore[no-untyped-def]
    """Fill ``out[t, rows[e], b]`` with the uniforms of ``entities[e]``; entities 2j and 2j + 1 share one Philox call.

    Parameters
    ----------
    out
        (T, rows, B).
    seed, replica, episode, period
        (B,) where each replica stands; t = 0 is its period plus ``offset``.
    """
    steps, _, replicas = out.shape
    width = min(replicas, LANES)
    height = min(steps, max(1, LANES // max(1, width)))
    words, keys = np.empty((4, width * height), np.uint32), np.empty((2, width * height), np.uint32)
    # Unsigned, so that the compiler need not ask whether an index counts from the end.
    none, n = np.uint64(0), len(entities)
    for t0 in range(0, steps, height):
        t1 = min(steps, t0 + height)
        for first in range(0, replicas, width):
            b0, count = np.uint64(first), np.uint64(min(replicas - first, width))
            for t in range(t0, t1):
                lane = np.uint64(t - t0) * count
                for b in range(none, count):
                    keys[0, lane + b] = np.uint32(seed[b0 + b])
                    keys[1, lane + b] = np.uint32(seed[b0 + b] >> np.uint64(32))
            e = 0
            while e < n:
                entity = entities[e]
                both = e + 1 < n and entity % 2 == 0 and entities[e + 1] == entity + 1
                last = np.uint32((np.uint64(stream) << np.uint64(28)) | np.uint64(entity // 2))
                for t in range(t0, t1):
                    lane, ahead = np.uint64(t - t0) * count, offset + t
                    for b in range(none, count):
                        words[0, lane + b] = np.uint32(period[b0 + b] + ahead)
                        words[1, lane + b] = replica[b0 + b]
                        words[2, lane + b] = episode[b0 + b]
                        words[3, lane + b] = last
                philox(words, keys, np.uint64(t1 - t0) * count)
                pair = 2 * (entity % 2)
                for t in range(t0, t1):
                    lane, row = np.uint64(t - t0) * count, rows[e]
                    for b in range(none, count):
                        out[t, row, b0 + b] = _to_unit(words[pair, lane + b], words[pair + 1, lane + b])
                    if both:
                        row = rows[e + 1]
                        for b in range(none, count):
                            out[t, row, b0 + b] = _to_unit(words[2, lane + b], words[3, lane + b])
                e += 2 if both else 1


def uniforms(
    seed: int,
    stream: int,
    entity: int,
    replicas: int = 1,
    periods: int = 1,
    *,
    first_replica: int = 0,
    episode: int = 0,
    first_period: int = 0,
) -> FloatArray:
    """The raw uniform numbers of one entity. Shape (periods, replicas)."""
    out = np.empty((periods, 1, replicas))
    fill_uniform(
        out,
        np.full(replicas, seed, dtype=np.uint64),
        np.arange(first_replica, first_replica + replicas, dtype=np.uint32),
        np.full(replicas, episode, dtype=np.uint32),
        np.full(replicas, first_period, dtype=np.int64),
        0,
        stream,
        np.array([entity], dtype=np.int64),
        np.zeros(1, dtype=np.int64),
    )
    return out[:, 0]
