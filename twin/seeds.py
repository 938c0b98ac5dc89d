"""Blocks of seeds by purpose: disjoint by construction, so that nothing is tuned on what it is judged by."""

from __future__ import annotations

from enum import IntEnum

from twin.errors import ConfigError

__all__ = ["Purpose", "world_seed"]

_BITS = 32


class Purpose(IntEnum):
    """What a world's random numbers are used for."""

    TRAINING = 1
    TUNING = 2
    VALIDATION = 3
    EVALUATION = 4
    #: States that say what is usual in production, and those that this is tried on.
    MONITORING = 5


def world_seed(purpose: Purpose, seed: int) -> int:
    """Seed of the twin for a user's seed and a purpose; two purposes never share one.

    Parameters
    ----------
    seed
        0 to 2**32 - 1.

    Raises
    ------
    ConfigError
        When the seed is outside that range.
    """
    if not 0 <= seed < 1 << _BITS:
        raise ConfigError(f"seed must be between 0 and {(1 << _BITS) - 1}, received {seed}")
    return (int(purpose) << _BITS) | seed
