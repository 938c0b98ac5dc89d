"""A policy as files that a production system can trust: load with every check, then advise. No torch, no pickle.

A bundle is a folder of plain files, or a zip of them that has the same bytes whenever it is made:

    manifest.json       schema, bundle id, environment, algorithm, seeds, data, versions, validity; hashes and sizes
    spec.json           ordered observation fields, actions, how actions become orders, the period
    arch.json           the network's layers and head, or the classical policy
    weights.npz         its numbers
    policy.onnx         the same network for any ONNX runtime: raw observations in, actions and orders out
    golden.npz          observations with the actions and orders they must give; run at every load
    fallback.json       a tuned classical policy for when the policy may not decide, with golden cases of its own
    guardrails.yaml     the guard file that the advisor takes where a person has given none
    ood.json            what states of training look like, and how often usual ones raise an alarm
    evaluation.json     cost, tail and service beside the classical policies, with intervals
    card.md             all of that for people
    network.json        the supply network it was trained on
    example_state.json  a state that :meth:`Bundle.advise` accepts

``policy.onnx``, ``fallback.json``, ``ood.json`` and ``evaluation.json`` may be missing. ``python -m agents.bundle``
verifies, shows, compares and packs bundles.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from agents.advice import Advice, Check, Move, Recommendation, limit_orders, place_orders, read_memory, read_state
from agents.bundle_fallback import Fallback
from agents.bundle_files import arrays_from, parse_json, read_files
from agents.bundle_golden import Golden
from agents.bundle_policy import Choice, Chooser, Memory, NetChooser, chooser_of
from agents.bundle_spec import COMPUTED, Spec
from twin.errors import BundleError

if TYPE_CHECKING:
    from twin.compile import CompiledNetwork

__all__ = ["Bundle"]


@dataclass(frozen=True)
class Bundle:
    """A loaded policy. Build one with :meth:`load`.

    Attributes
    ----------
    path
        The folder or zip.
    manifest
        Its manifest.
    spec
        What it sees and does.
    chooser
        The policy, with what makes orders of its actions.
    fallback
        Who decides when the policy may not; None where the bundle has none.
    network
        Gives network.json compiled, once, and checked to be the one that manifest and spec state; BundleError where it
        is another.
    contents
        The files as they were verified.
    """

    path: Path
    manifest: Mapping[str, Any]
    spec: Spec
    chooser: Chooser
    fallback: Fallback | None
    network: Callable[[], CompiledNetwork]
    contents: Mapping[str, bytes]

    @classmethod
    def load(cls, path: str | Path, *, expected_id: str | None = None) -> Bundle:
        """Load a bundle and run its golden cases.

        Parameters
        ----------
        path
            A folder or a zip.
        expected_id
            The bundle id this must be (or its first 12 or more digits), when it is known from elsewhere.

        Raises
        ------
        BundleError
            When anything is missing, changed, inconsistent, or gives other actions than when it was exported.
        """
        path = Path(path)
        manifest, contents = read_files(path)
        if expected_id is not None and not (len(expected_id) >= 12 and manifest["bundle_id"].startswith(expected_id)):
            raise BundleError(f"{path}: the bundle id is {manifest['bundle_id']}, expected {expected_id}")
        try:
            _check_manifest(manifest)
            spec = Spec.from_dict(_mapping(contents, "spec.json"))
            if spec.hash != manifest["spec_hash"]:
                raise BundleError("spec.json has other observation fields than manifest.json says")
            network = _Network(contents, manifest, spec)
            weights = arrays_from(contents["weights.npz"], "weights.npz")
            chooser = chooser_of(_mapping(contents, "arch.json"), weights, spec, network)
            Golden.from_arrays(
                arrays_from(contents["golden.npz"], "golden.npz"), chooser, len(spec.fields), spec.arcs
            ).expect(manifest["golden"]["cases"]).check(chooser)
            fallback = None
            if "fallback.json" in contents:
                fallback = Fallback.from_dict(_mapping(contents, "fallback.json"), spec, network)
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from None
        return cls(path, manifest, spec, chooser, fallback, network, contents)

    @property
    def bundle_id(self) -> str:
        """SHA-256 over the hashes of its files."""
        return str(self.manifest["bundle_id"])

    @property
    def policy(self) -> Any:
        """The network (:class:`agents.runtime.Net`), or the classical policy (:class:`OrderingPolicy`)."""
        chooser = self.chooser
        return chooser.net if isinstance(chooser, NetChooser) else getattr(chooser, "rule", None)

    @property
    def heeds_masks(self) -> bool:
        """Whether :meth:`predict` takes ``action_masks``, as a policy that was trained with masks does."""
        return self.chooser.masked

    @cached_property
    def guardrails(self) -> Mapping[str, Any]:
        """The guard file as plain data, for :class:`agents.advisor.Guardrails`; BundleError where it cannot be read."""
        from twin.errors import NetworkError
        from twin.files import parse_mapping

        try:
            return parse_mapping(self.contents["guardrails.yaml"].decode(), "guardrails.yaml")
        except (NetworkError, UnicodeDecodeError) as error:
            raise BundleError(f"{self.path}: {error}") from None

    @cached_property
    def outliers(self) -> Mapping[str, Any] | None:
        """What states of training look like, as plain data for :class:`agents.advisor.OutlierModel`; None without."""
        return _mapping(self.contents, "ood.json") if "ood.json" in self.contents else None

    @cached_property
    def evaluation(self) -> Mapping[str, Any] | None:
        """Cost, tail and service beside the classical policies; None where nothing was measured."""
        return _mapping(self.contents, "evaluation.json") if "evaluation.json" in self.contents else None

    @property
    def example_state(self) -> dict[str, Any]:
        """A state that :meth:`advise` accepts."""
        return _mapping(self.contents, "example_state.json")

    def choose(
        self,
        values: NDArray[np.float64],
        memory: Memory | None = None,
        masks: NDArray[np.bool_] | None = None,
    ) -> Choice:
        """What the policy chooses for values (n,) or (B, n) in the order of the fields, float64.

        Raises
        ------
        FloatingPointError
            When the policy gives a number that is not finite.
        BundleError
            When a mask leaves no action, or the memory is none of this policy.
        """
        return self.chooser.choose(np.atleast_2d(np.asarray(values, dtype=np.float64)), memory, masks)

    def predict(
        self,
        observation: NDArray[np.float32],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
        action_masks: NDArray[np.bool_] | None = None,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Actions for raw observations (n,) or (B, n); see :class:`agents.policy.Policy`.

        The state is the policy's memory; it begins anew where ``episode_start`` is True.
        """
        values = np.atleast_2d(observation).astype(np.float64)
        memory = state
        if self.chooser.remembers:
            fresh = self.chooser.begin(values)
            if not state:
                memory = fresh
            elif episode_start is not None:
                memory = tuple(np.where(episode_start, new, old) for new, old in zip(fresh, state, strict=True))
        masks = None if action_masks is None else np.atleast_2d(np.asarray(action_masks, dtype=np.bool_))
        chosen = self.chooser.choose(values, memory, masks)
        actions = chosen.action
        return (actions[0] if observation.ndim == 1 else actions), chosen.memory or state

    def advise(self, state: Mapping[str, Any]) -> Advice:
        """Orders for one state, and moves where the policy decides them.

        Parameters
        ----------
        state
            ``observation`` maps every field name to a number in the field's unit; ``network_hash``, ``spec_hash``,
            ``period``, ``memory`` (as the last advice gave it, for a policy that has one) and ``mask`` (which discrete
            actions are possible, for one that was trained so) are optional. The bundle's example_state.json is one.

        Returns
        -------
        Advice
            With no orders when a check blocks; nothing is raised for a state that is wrong.
        """
        spec, network = self.spec, self.manifest["network"]["hash"]
        given, period, checks = read_state(
            state, spec.required, spec_hash=self.manifest["spec_hash"], network_hash=network
        )

        def refused(*more: Check) -> Advice:
            return Advice(self.bundle_id, period, spec.kind, None, (), (*checks, *more))

        if given is None:
            return refused()
        values = np.zeros(len(spec.fields))
        values[[not field.name.startswith(COMPUTED) for field in spec.fields]] = given
        checks.append(Check("GOLDEN", "pass", f"{self.manifest['golden']['cases']} golden cases agree since loading"))
        memory, mask, wrong = read_memory(state, self.chooser)
        if wrong is not None:
            return refused(wrong)
        try:
            chosen = self.choose(values, memory, mask)
        except FloatingPointError as error:
            return refused(Check("ACTION_FINITE", "block", str(error)))
        except BundleError as error:
            return refused(Check("MEMORY" if "memory" in str(error) else "MASK", "block", str(error)))
        checks.append(Check("ACTION_FINITE", "pass", "the action is finite"))
        orders, placed = place_orders(chosen.orders[:, 0], spec.rules, spec.arc_names)
        orders, limited = limit_orders(orders, spec.order_max, spec.rules, spec.arc_names)
        rows = zip(spec.arc_names, orders.tolist(), spec.arc_units, chosen.targets[:, 0].tolist(), strict=True)
        moves: tuple[Move, ...] = ()
        if chosen.moves is not None:
            moves = tuple(
                Move(name, spec.moves[k]) for name, k in zip(spec.relations, chosen.moves[:, 0].tolist(), strict=True)
            )
        return Advice(
            self.bundle_id,
            period,
            spec.kind,
            chosen.plain_action,
            tuple(Recommendation(*row) for row in rows),
            (*checks, *placed, limited),
            moves,
            tuple(array[..., 0].tolist() for array in chosen.memory),
        )

    def verify_network(self) -> None:
        """Compile network.json and compare its hash, arcs and order sequence with what the bundle states.

        Slower than :meth:`load`, which does so only where the policy itself needs the network; BundleError where they
        differ.
        """
        try:
            self.network()
        except BundleError as error:
            raise BundleError(f"{self.path}: {error}") from None


class _Network:
    """The network of a bundle, compiled when it is first asked for and checked to be the one that the bundle states."""

    def __init__(self, contents: Mapping[str, bytes], manifest: Mapping[str, Any], spec: Spec) -> None:
        self._contents, self._manifest, self._spec = contents, manifest, spec
        self._compiled: CompiledNetwork | None = None

    def __call__(self) -> CompiledNetwork:
        if self._compiled is None:
            self._compiled = self._compile()
        return self._compiled

    def _compile(self) -> CompiledNetwork:
        from envs.actions import OrderSequence
        from twin.compile import compile_network
        from twin.errors import NetworkError
        from twin.network import Network

        try:
            compiled = compile_network(Network.parse(_mapping(self._contents, "network.json"), where="network.json"))
        except NetworkError as error:
            raise BundleError(str(error)) from None
        spec, top = self._spec, compiled.topology
        same = (
            compiled.content_hash() == self._manifest["network"]["hash"]
            and compiled.arc_names == spec.arc_names
            and compiled.arc_units == spec.arc_units
            and np.array_equal(top.arc_integer, spec.rules.integer)
            and np.array_equal(top.arc_minimum, spec.rules.minimum)
            and np.array_equal(top.arc_lot, spec.rules.lot)
            and np.array_equal(top.arc_maximum, spec.rules.maximum)
            and np.array_equal(top.arc_order_limit, spec.order_max)
            and OrderSequence.of(compiled) == spec.sequence
            and (not spec.relations or compiled.relation_names == spec.relations)
        )
        if not same:
            raise BundleError("network.json is not the network that manifest.json and spec.json state")
        return compiled


def _check_manifest(manifest: Mapping[str, Any]) -> None:
    hashes = (manifest.get("spec_hash"), _entry(manifest, "network", "hash"), _entry(manifest, "environment", "id"))
    cases = _entry(manifest, "golden", "cases")
    if not all(isinstance(value, str) for value in hashes) or not isinstance(cases, int):
        raise BundleError("manifest.json must state spec_hash, network.hash, environment.id and golden.cases")


def _entry(manifest: Mapping[str, Any], block: str, key: str) -> object:
    inner = manifest.get(block)
    return inner.get(key) if isinstance(inner, dict) else None


def _mapping(contents: Mapping[str, bytes], name: str) -> dict[str, Any]:
    try:
        data = parse_json(contents[name])
    except ValueError as error:
        raise BundleError(f"{name} is not readable as JSON: {error}") from None
    if not isinstance(data, dict):
        raise BundleError(f"{name} must hold a mapping, not {type(data).__name__}")
    return data


if __name__ == "__main__":
    from agents.bundle_cli import main

    sys.exit(main())
