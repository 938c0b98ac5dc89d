"""A policy as files that a production system can trust: load with every check, then advise. No torch, no pickle.

A bundle is a folder of plain files:

    manifest.json       schema, bundle id, environment, algorithm, hashes and sizes of every other file, versions
    spec.json           ordered observation fields, the action and its arcs, what can be ordered on them, the order
                        sequence, units
    arch.json           the network's layers and output head
    weights.npz         its numbers
    policy.onnx         the same policy for any ONNX runtime: raw observations in, actions out
    golden.npz          observations with the actions and orders they must give; run at every load
    network.json        the supply network it was trained on
    example_state.json  a state that :meth:`Bundle.advise` accepts
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.advice import Advice, Check, Recommendation, limit_orders, place_orders, read_state
from agents.bundle_files import arrays_from, parse_json, read_folder
from agents.bundle_spec import Spec
from agents.runtime import Mlp
from envs.actions import NOTCHES, OrderSequence
from envs.features import spec_hash
from twin.errors import BundleError

__all__ = ["ACTION_TOLERANCE", "ORDER_TOLERANCE", "Bundle"]

#: Largest difference of a continuous action that counts as equal: 1e-5 of the range from -1 to 1.
ACTION_TOLERANCE = 1e-5 * 2.0
#: Largest difference of an order that counts as equal, relative to the larger of the order and one unit.
ORDER_TOLERANCE = 1e-9


@dataclass(frozen=True)
class Bundle:
    """A loaded policy. Build one with :meth:`load`.

    Attributes
    ----------
    path
        The folder.
    manifest
        Its manifest.
    spec
        What it sees and does.
    policy
        The network.
    """

    path: Path
    manifest: Mapping[str, Any]
    spec: Spec
    policy: Mlp

    @classmethod
    def load(cls, path: str | Path, *, expected_id: str | None = None) -> Bundle:
        """Load a bundle and run its golden cases.

        Parameters
        ----------
        path
            The folder.
        expected_id
            The bundle id this must be (or its first 12 or more digits), when it is known from elsewhere.

        Raises
        ------
        BundleError
            When anything is missing, changed, inconsistent, or gives other actions than when it was exported.
        """
        path = Path(path)
        manifest, contents = read_folder(path)
        if expected_id is not None and not (len(expected_id) >= 12 and manifest["bundle_id"].startswith(expected_id)):
            raise BundleError(f"{path}: the bundle id is {manifest['bundle_id']}, expected {expected_id}")
        try:
            _check_manifest(manifest)
            spec = Spec.from_dict(_mapping(contents, "spec.json"))
            try:
                policy = Mlp.build(_mapping(contents, "arch.json"), arrays_from(contents["weights.npz"], "weights.npz"))
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                if isinstance(error, BundleError):
                    raise
                raise BundleError(f"arch.json is incomplete: {type(error).__name__} {error}") from None
            _check_fit(spec, policy, manifest)
            bundle = cls(path, manifest, spec, policy)
            bundle._check_golden(arrays_from(contents["golden.npz"], "golden.npz"))
        except BundleError as error:
            raise BundleError(f"{path}: {error}") from None
        return bundle

    @property
    def bundle_id(self) -> str:
        """SHA-256 over the hashes of its files."""
        return str(self.manifest["bundle_id"])

    def predict(
        self,
        observation: NDArray[np.float32],
        state: tuple[NDArray[Any], ...] | None = None,
        episode_start: NDArray[np.bool_] | None = None,
        deterministic: bool = True,
    ) -> tuple[NDArray[Any], tuple[NDArray[Any], ...] | None]:
        """Actions for raw observations (n,) or (B, n); see :class:`agents.policy.Policy`."""
        actions = self.policy.act(np.atleast_2d(observation))
        return (actions[0] if observation.ndim == 1 else actions), state

    def advise(self, state: Mapping[str, Any]) -> Advice:
        """Orders for one state.

        Parameters
        ----------
        state
            ``observation`` maps every field name to a number in the field's unit; ``network_hash``, ``spec_hash``
            and ``period`` are optional. The folder's example_state.json is one.

        Returns
        -------
        Advice
            With no orders when a check blocks; nothing is raised for a state that is wrong.
        """
        spec, network = self.spec, self.manifest["network"]["hash"]
        values, period, checks = read_state(
            state, spec.fields, spec_hash=self.manifest["spec_hash"], network_hash=network
        )
        if values is None:
            return Advice(self.bundle_id, period, spec.kind, None, (), tuple(checks))
        checks.append(Check("GOLDEN", "pass", f"{self.manifest['golden']['cases']} golden cases agree since loading"))
        scores = self.policy.scores(values[None, :])
        if not np.isfinite(scores).all():
            checks.append(
                Check("ACTION_FINITE", "block", "the policy gives a NaN or an infinite number for this state")
            )
            return Advice(self.bundle_id, period, spec.kind, None, (), tuple(checks))
        checks.append(Check("ACTION_FINITE", "pass", "the action is finite"))
        action = self.policy.head_of(scores)
        # The positions are the state's own float64 numbers, as in the environment: float32 would shift the orders.
        position = values[spec.position_columns()] if spec.codec.up_to else np.zeros(spec.codec.arcs)
        targets, orders = (x[:, 0] for x in spec.decode(action, position[:, None]))
        orders, placed = place_orders(orders, spec.rules, spec.arc_names)
        orders, limited = limit_orders(orders, spec.order_max, spec.rules, spec.arc_names)
        rows = zip(spec.arc_names, orders.tolist(), spec.arc_units, targets.tolist(), strict=True)
        plain = int(action[0]) if action.ndim == 1 else tuple(float(x) for x in action[0])
        return Advice(
            self.bundle_id,
            period,
            spec.kind,
            plain,
            tuple(Recommendation(*row) for row in rows),
            (*checks, *placed, limited),
        )

    def verify_network(self) -> None:
        """Compile network.json again and compare its hash, arcs and order sequence with what the bundle states.

        Slower than :meth:`load`, because it needs the twin; BundleError where they differ.
        """
        from twin.compile import compile_network
        from twin.errors import NetworkError
        from twin.network import Network

        _, contents = read_folder(self.path)
        try:
            compiled = compile_network(Network.parse(_mapping(contents, "network.json"), where="network.json"))
        except NetworkError as error:
            raise BundleError(f"{self.path}: {error}") from None
        spec, top = self.spec, compiled.topology
        same = (
            compiled.content_hash() == self.manifest["network"]["hash"]
            and compiled.arc_names == spec.arc_names
            and compiled.arc_units == spec.arc_units
            and np.array_equal(top.arc_integer, spec.rules.integer)
            and np.array_equal(top.arc_minimum, spec.rules.minimum)
            and np.array_equal(top.arc_lot, spec.rules.lot)
            and np.array_equal(top.arc_maximum, spec.rules.maximum)
            and np.array_equal(top.arc_order_limit, spec.order_max)
            and OrderSequence.of(compiled) == spec.sequence
        )
        if not same:
            raise BundleError(f"{self.path}: network.json is not the network that manifest.json and spec.json state")

    def _check_golden(self, golden: Mapping[str, NDArray[Any]]) -> None:
        arcs, cases = self.spec.codec.arcs, len(golden.get("observations", ()))
        shapes = {"observations": (cases, self.policy.inputs), "positions": (cases, arcs), "orders": (cases, arcs)}
        if set(golden) != {*shapes, "actions"} or any(golden[key].shape != shape for key, shape in shapes.items()):
            raise BundleError("golden.npz must hold observations, positions, actions and orders of the same cases")
        if cases < 1 or cases != self.manifest["golden"]["cases"]:
            raise BundleError(f"golden.npz holds {cases} cases, manifest.json says {self.manifest['golden']['cases']}")
        actions = self.policy.act(golden["observations"])
        if actions.shape != golden["actions"].shape:
            raise BundleError(f"golden.npz has actions of shape {golden['actions'].shape}, the policy {actions.shape}")
        tolerance = 0.0 if self.policy.head == "argmax" else ACTION_TOLERANCE
        _, orders = self.spec.decode(golden["actions"], golden["positions"].T)
        gaps = {
            "action": np.abs(actions - golden["actions"]) - tolerance,
            "order": np.abs(orders.T - golden["orders"]) / np.maximum(1.0, np.abs(golden["orders"])) - ORDER_TOLERANCE,
        }
        for what, gap in gaps.items():
            # "not <=" rather than ">": a NaN must refuse too.
            if not bool((gap <= 0.0).all()):
                raise BundleError(f"golden.npz: an {what} differs from the exported one by more than the tolerance")


def _check_manifest(manifest: Mapping[str, Any]) -> None:
    hashes = (manifest.get("spec_hash"), _entry(manifest, "network", "hash"), _entry(manifest, "environment", "id"))
    cases = _entry(manifest, "golden", "cases")
    if not all(isinstance(value, str) for value in hashes) or not isinstance(cases, int):
        raise BundleError("manifest.json must state spec_hash, network.hash, environment.id and golden.cases")


def _entry(manifest: Mapping[str, Any], block: str, key: str) -> object:
    inner = manifest.get(block)
    return inner.get(key) if isinstance(inner, dict) else None


def _check_fit(spec: Spec, policy: Mlp, manifest: Mapping[str, Any]) -> None:
    if spec_hash(spec.fields) != manifest["spec_hash"]:
        raise BundleError("spec.json has other observation fields than manifest.json says")
    discrete = spec.codec.mode == "discrete"
    outputs = NOTCHES if discrete else spec.codec.arcs
    if policy.inputs != len(spec.fields) or policy.outputs != outputs or (policy.head == "argmax") != discrete:
        raise BundleError(
            f"arch.json ({policy.inputs} inputs, {policy.outputs} outputs, head '{policy.head}') does not fit "
            f"spec.json ({len(spec.fields)} fields, {outputs} outputs, action mode '{spec.codec.mode}')"
        )


def _mapping(contents: Mapping[str, bytes], name: str) -> dict[str, Any]:
    try:
        data = parse_json(contents[name])
    except ValueError as error:
        raise BundleError(f"{name} is not readable as JSON: {error}") from None
    if not isinstance(data, dict):
        raise BundleError(f"{name} must hold a mapping, not {type(data).__name__}")
    return data
