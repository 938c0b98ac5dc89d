"""Gymnasium's specification of an environment, with what is known of the problem."""

from __future__ import annotations

from dataclasses import fields
from typing import Any

from gymnasium.envs.registration import EnvSpec

__all__ = ["ProblemSpec"]


class ProblemSpec(EnvSpec):
    """A specification that carries the metadata of the environment it was made for.

    Parameters
    ----------
    spec
        As Gymnasium made it.
    metadata
        Of the environment; ``metadata["optimum"]`` (``name``, ``value``, ``source``) where it is known. Not part of
        :meth:`to_json`: an environment made from that finds its own.
    """

    def __init__(self, spec: EnvSpec, metadata: dict[str, Any]) -> None:
        super().__init__(**{entry.name: getattr(spec, entry.name) for entry in fields(EnvSpec) if entry.init})
        self.metadata = dict(metadata)
