"""Uniform numbers as a function of (seed, stream, entity, replica, episode, period).

They come from the counter-based generator Philox4x32-10 (Salmon, Moraes, Dror & Shaw, "Parallel random numbers: as easy
as 1, 2, 3", SC 2011): key = seed, counter = (period, replica, episode, stream and entity pair). Many counters go
through the ten rounds together, round by round, so that the compiler can use vector registers: 2 ns a number, not 5.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["fill_uniform", "philox", "uniforms"]

FloatArray = NDArray[np.float64]

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
    first, second = np.uint32(0), np.uint32(0)
    for _ in range(10):
        for lane in range(lanes):
            p0 = np.uint64(0xD2511F53) * np.uint64(words[0, lane])
            p1 = np.uint64(0xCD9E8D57) * np.uint64(words[2, lane])
            words[0, lane] = np.uint32(p1 >> shift) ^ words[1, lane] ^ np.uint32(keys[0, lane] + first)
            words[2, lane] = np.uint32(p0 >> shift) ^ words[3, lane] ^ np.uint32(keys[1, lane] + second)
            words[1, lane] = np.uint32(p1)
            words[3, lane] = np.uint32(p0)
        first = np.uint32(first + np.uint32(0x9E3779B9))
        second = np.uint32(second + np.uint32(0xBB67AE85))


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
    n = len(entities)
    e = 0
    while e < n:
        first = entities[e]
        both = e + 1 < n and first % 2 == 0 and entities[e + 1] == first + 1
        last = np.uint32((np.uint64(stream) << np.uint64(28)) | np.uint64(first // 2))
        for t0 in range(0, steps, height):
            t1 = min(steps, t0 + height)
            for b0 in range(0, replicas, width):
                b1 = min(replicas, b0 + width)
                lane = 0
                for t in range(t0, t1):
                    for b in range(b0, b1):
                        words[0, lane] = np.uint32(period[b] + offset + t)
                        words[1, lane] = replica[b]
                        words[2, lane] = episode[b]
                        words[3, lane] = last
                        keys[0, lane] = np.uint32(seed[b])
                        keys[1, lane] = np.uint32(seed[b] >> np.uint64(32))
                        lane += 1
                philox(words, keys, lane)
                pair = 2 * (first % 2)
                lane = 0
                for t in range(t0, t1):
                    for b in range(b0, b1):
                        out[t, rows[e], b] = _to_unit(words[pair, lane], words[pair + 1, lane])
                        lane += 1
                if both:
                    lane = 0
                    for t in range(t0, t1):
                        for b in range(b0, b1):
                            out[t, rows[e + 1], b] = _to_unit(words[2, lane], words[3, lane])
                            lane += 1
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
