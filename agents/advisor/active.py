"""The bundle that decides now, with its guards and its picture of training: loaded as one, swapped as one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.advisor.canonical import digest
from agents.advisor.guardrails import Guardrails, Mode
from agents.advisor.guards import Guards
from agents.advisor.outliers import OutlierModel
from agents.bundle import Bundle
from agents.bundle_policy import Choice
from agents.bundle_spec import Spec
from envs.features import Field
from twin.errors import ConfigError

if TYPE_CHECKING:
    from agents.advisor.lookahead import TwinLookAhead

__all__ = ["Active", "Decided"]

FloatArray = NDArray[np.float64]


@dataclass(frozen=True)
class Decided:
    """A policy's decision before any guard.

    Attributes
    ----------
    action
        As the policy gave it, plain numbers.
    targets, orders
        (A,) units.
    """

    action: tuple[float, ...] | int
    targets: FloatArray
    orders: FloatArray


@dataclass(frozen=True)
class Active:
    """A loaded bundle with what it may do. Build one with :meth:`load`.

    Attributes
    ----------
    bundle
        Verified, its golden cases run.
    rails, guards
        The guard file, and the guards it gives for this bundle.
    outliers
        What training looked like; None where nobody said.
    look_ahead
        Compares orders as the guard file says; None where it says nothing.
    """

    bundle: Bundle
    rails: Guardrails
    guards: Guards
    outliers: OutlierModel | None
    look_ahead: TwinLookAhead | None = None

    @classmethod
    def load(cls, path: str | Path, settings: Mapping[str, Any], *, expected_id: str | None = None) -> Active:
        """Load a bundle under the settings that an activation recorded.

        Raises
        ------
        BundleError
            When the bundle cannot be trusted.
        ConfigError
            When guard file or outlier model do not fit it.
        """
        return cls.of(Bundle.load(path, expected_id=expected_id), settings)

    @classmethod
    def of(cls, bundle: Bundle, settings: Mapping[str, Any]) -> Active:
        """From a loaded bundle; ConfigError as in :meth:`load`."""
        if bundle.spec.relations:
            raise ConfigError(
                "the bundle's policy also decides moves on contracts; the advisor guards and sends orders only"
            )
        if bundle.chooser.remembers:
            raise ConfigError("the bundle's policy remembers what has been; the advisor decides on one state at a time")
        rails = Guardrails.parse(settings["guardrails"], "guardrails")
        outliers = None if settings["outliers"] is None else OutlierModel.from_dict(settings["outliers"])
        names = tuple(field.name for field in bundle.spec.fields)
        if outliers is not None and outliers.names != names:
            raise ConfigError(
                "the outlier model was fitted to other fields than the bundle observes, or in another order"
            )
        if rails.outliers.action != "flag" and outliers is None:
            raise ConfigError(
                f"guardrails: outliers.action is '{rails.outliers.action}', but there is no outlier model"
            )
        if rails.highest_mode == "autonomous" and outliers is None:
            raise ConfigError(
                "guardrails: highest_mode is 'autonomous', but there is no outlier model to say when a state is unlike "
                "training; give one, or set highest_mode to advisory"
            )
        guards = Guards(rails, bundle.spec)
        return cls(bundle, rails, guards, outliers, _look_ahead(bundle, guards, rails))

    @staticmethod
    def settings_of(
        bundle: Bundle,
        rails: Guardrails | None,
        outliers: OutlierModel | None,
        before: Mapping[str, Any] | None = None,
    ) -> dict[str, Any]:
        """What an activation records beside the bundle.

        A guard file that a person gave stays until a person gives another: no new policy loosens it. Otherwise it is
        the bundle's own. States of training are those of this bundle's training; where it brings none, those of the
        bundle before are better than nothing, as long as both observe the same.

        Parameters
        ----------
        rails, outliers
            As given with this activation; None for what is not.
        before
            Settings of the activation that counts until now; None for the first.

        Raises
        ------
        BundleError, ConfigError
            When the bundle's guard file or its picture of training cannot be read.
        """
        given = rails is not None
        if rails is None and before is not None and before.get("given", True):
            rails, given = Guardrails.parse(before["guardrails"], "the guard file in force"), True
        if rails is None:
            rails = Guardrails.parse(bundle.guardrails, "guardrails.yaml of the bundle")
        if outliers is None and bundle.outliers is not None:
            outliers = OutlierModel.from_dict(bundle.outliers)
        if outliers is None and before is not None and before["outliers"] is not None:
            kept = OutlierModel.from_dict(before["outliers"])
            outliers = kept if kept.names == tuple(field.name for field in bundle.spec.fields) else None
        return {
            "guardrails": rails.to_dict(),
            "given": given,
            "outliers": None if outliers is None else outliers.to_dict(),
        }

    @property
    def bundle_id(self) -> str:
        """Of the bundle."""
        return self.bundle.bundle_id

    @property
    def fields(self) -> tuple[Field, ...]:
        """What it observes."""
        return self.bundle.spec.fields

    @property
    def arcs(self) -> tuple[str, ...]:
        """What it orders on."""
        return self.bundle.spec.arc_names

    @property
    def spec(self) -> Spec:
        """The bundle's, with the ages and risks of the guard file in force: it may be another than the bundle's own."""
        stated, rails = self.bundle.spec, self.rails
        return replace(
            stated,
            ages=tuple(rails.freshness.maximum_age(field.name) for field in stated.fields),
            risks=tuple(rails.risk_of(name) for name in stated.arc_names),
        )

    @property
    def hashes(self) -> dict[str, str]:
        """What a request's ``spec_hash``, ``network_hash`` and ``bundle_id`` must be."""
        manifest = self.bundle.manifest
        return {
            "spec_hash": str(manifest["spec_hash"]),
            "network_hash": str(manifest["network"]["hash"]),
            "bundle_id": self.bundle_id,
        }

    @property
    def highest_mode(self) -> Mode:
        """The lower of what the bundle and the guard file allow; a bundle that says nothing leaves it to the file."""
        from agents.advisor.modes import lowest

        stated = self.bundle.manifest.get("highest_mode")
        return self.rails.highest_mode if stated is None else lowest(stated, self.rails.highest_mode)

    @property
    def valid_until(self) -> str | None:
        """The moment after which the bundle must not decide, as its manifest says; None where it says nothing."""
        stated = self.bundle.manifest.get("valid_until")
        return None if stated is None else str(stated)

    def decide(self, values: FloatArray) -> Decided:
        """The policy's decision for observed values (n,)."""
        return _decided(self.bundle.choose(values))

    def fallback(self, values: FloatArray) -> Decided | None:
        """The decision of the tuned classical policy that travels with the bundle; None where none does."""
        own = self.bundle.fallback
        return None if own is None else _decided(own.choose(values))

    def middle(self, values: FloatArray) -> Decided:
        """The decision that needs no network: the middle of every arc's box, a usual level or quantity."""
        codec = self.bundle.spec.codec
        if codec is None:
            raise ConfigError("the actions of this bundle have no middle")
        return _decided(self.bundle.chooser.follow(codec.encode(codec.center)[None], values[None]))

    def action_hash(self, decision_id: str, orders: Mapping[str, float]) -> str:
        """What an approval is bound to: these orders, of this decision, by this bundle."""
        return digest({"bundle": self.bundle_id, "decision": decision_id, "orders": dict(orders)})

    def named(self, orders: FloatArray) -> dict[str, float]:
        """Orders (A,) by arc."""
        return dict(zip(self.arcs, orders.tolist(), strict=True))

    def vector(self, orders: Mapping[str, float]) -> FloatArray:
        """Orders by arc as (A,); an arc that is not named is 0."""
        return np.array([orders.get(name, 0.0) for name in self.arcs], dtype=np.float64)


def _decided(chosen: Choice) -> Decided:
    return Decided(chosen.plain_action, chosen.targets[:, 0], chosen.orders[:, 0])


def _look_ahead(bundle: Bundle, guards: Guards, rails: Guardrails) -> TwinLookAhead | None:
    if rails.look_ahead is None:
        return None
    # The twin's engine is needed for this alone.
    from agents.advisor.lookahead import TwinLookAhead

    return TwinLookAhead(bundle, guards, rails.look_ahead)
