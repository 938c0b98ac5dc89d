"""Writing a bundle: golden cases from rollouts of the policy itself, then every file, read back before it is named."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from agents.advice import OrderRules
from agents.bundle import ACTION_TOLERANCE, ORDER_TOLERANCE, Bundle
from agents.bundle_files import arrays_to, render, write_folder
from agents.bundle_spec import Spec
from agents.onnx_graph import build_onnx
from agents.runtime import Mlp
from envs.actions import Codec, OrderSequence
from envs.core import Batch
from envs.features import spec_hash
from envs.switching import SwitchingTask
from envs.task import Task
from twin.errors import BundleError

__all__ = ["GOLDEN_CASES", "Golden", "make_spec", "roll_out", "write_bundle"]

FloatArray = NDArray[np.float64]

#: Cases kept in a bundle.
GOLDEN_CASES = 64
#: Replicas and periods of the rollout they are taken from.
_REPLICAS, _PERIODS = 16, 64
_PACKAGES = ("cogtwin", "numpy", "gymnasium", "stable-baselines3", "torch", "onnx")


@dataclass(frozen=True)
class Golden:
    """Decisions of a policy.

    Attributes
    ----------
    observations
        (N, n) float32, raw.
    positions
        (N, A) units: what the orders count from.
    actions
        (N, A) float32, or (N,) int64.
    orders
        (N, A) units, before minimum, lots, maximum and limits.
    """

    observations: NDArray[np.float32]
    positions: FloatArray
    actions: NDArray[Any]
    orders: FloatArray

    def take(self, rows: NDArray[Any]) -> Golden:
        """The cases ``rows``."""
        return Golden(self.observations[rows], self.positions[rows], self.actions[rows], self.orders[rows])


def make_spec(task: Task, codec: Codec) -> Spec:
    """The specification of a task's observations with a codec for the actions."""
    if isinstance(task, SwitchingTask):
        raise BundleError("policies of supplier switching cannot be exported yet: a bundle holds orders, and no moves")
    if task.watcher is not None:
        raise BundleError("an observation with 'outlook' cannot be exported: a bundle keeps no belief between periods")
    compiled, top = task.compiled, task.compiled.topology
    spec = Spec(
        tuple(task.fields),
        compiled.arc_names,
        compiled.arc_units,
        OrderRules(top.arc_integer, top.arc_minimum, top.arc_lot, top.arc_maximum),
        top.arc_order_limit,
        codec,
        OrderSequence.of(compiled),
        compiled.network.period,
        compiled.network.currency,
    )
    spec.check()
    return spec


def roll_out(
    task: Task,
    act: Callable[[NDArray[np.float32]], NDArray[Any]],
    decode: Callable[[NDArray[Any], Batch], FloatArray],
    *,
    seed: int,
) -> Golden:
    """Let a policy run the task, 16 replicas for 64 periods, and keep every decision.

    Parameters
    ----------
    act
        Actions (B, ...) from raw observations (B, n).
    decode
        Orders (A, B) from actions and the batch they are decided in.
    """
    batch = Batch(task, _REPLICAS)
    slots = np.arange(_REPLICAS, dtype=np.uint32)
    observation = batch.reset(np.full(_REPLICAS, seed, dtype=np.uint64), slots, np.zeros_like(slots))
    rows: list[tuple[Any, ...]] = []
    for _ in range(_PERIODS):
        action = act(observation)
        orders = decode(action, batch)
        rows.append((observation.copy(), batch.position.T.copy(), action.copy(), orders.T.copy()))
        batch.twin.step(orders)
        batch.elapsed += 1
        observation = batch.observe()
        ended = np.flatnonzero(batch.elapsed >= task.horizon)
        if len(ended):
            observation = batch.restart(ended)
    return Golden(*(np.concatenate(column) for column in zip(*rows, strict=True)))


def write_bundle(
    path: str | Path,
    *,
    task: Task,
    spec: Spec,
    arch: Mapping[str, Any],
    weights: Mapping[str, NDArray[Any]],
    golden: Golden,
    algorithm: str,
    environment_id: str,
    arguments: Mapping[str, Any],
    training_info: Mapping[str, Any],
) -> Bundle:
    """Check a policy against its decisions in the environment and write it as a bundle.

    Parameters
    ----------
    golden
        Decisions of the original policy; every one is compared, and 64 of them travel with the bundle.
    arguments
        Of the environment, as plain data.
    training_info
        Whatever should be known about the training: seeds, steps, the run it comes from. Plain data.

    Raises
    ------
    BundleError
        When the exported policy decides differently from the original, or ``path`` exists.
    """
    path = Path(path)
    compiled, policy = task.compiled, Mlp.build(arch, weights)
    decisive = _compare(policy, spec, golden)
    kept = golden.take(decisive[np.linspace(0, len(decisive) - 1, GOLDEN_CASES).astype(np.int64)])
    manifest = {
        "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "algorithm": algorithm,
        "environment": {"id": environment_id, "arguments": _plain(arguments, "arguments")},
        "training": _plain(training_info, "training_info"),
        "network": {"name": compiled.network.name, "hash": compiled.content_hash()},
        "spec_hash": spec_hash(spec.fields),
        "golden": {
            "cases": GOLDEN_CASES,
            "action_tolerance": 0.0 if policy.head == "argmax" else ACTION_TOLERANCE,
            "order_tolerance_relative": ORDER_TOLERANCE,
        },
        "versions": _versions(),
        "git_commit": _git_commit(),
    }
    contents = {
        "arch.json": render(dict(arch)),
        "example_state.json": render(_example(spec, golden, manifest), ordered=True),
        "golden.npz": arrays_to(vars(kept)),
        # Sites and arcs are numbered in file order, so the order of the keys is part of the network.
        "network.json": render(compiled.network.to_dict(), ordered=True),
        "policy.onnx": build_onnx(policy).SerializeToString(deterministic=True),
        "spec.json": render(spec.to_dict()),
        "weights.npz": arrays_to(weights),
    }
    write_folder(path, manifest, contents, Bundle.load)
    return Bundle.load(path)


def _compare(policy: Mlp, spec: Spec, golden: Golden) -> NDArray[np.int64]:
    """Compare all decisions; the rows that can serve as golden cases."""
    scores = policy.scores(golden.observations)
    actions = policy.head_of(scores)
    rows = np.arange(len(scores))
    if policy.head == "argmax":
        # Where the two best actions tie within float32's accuracy another machine may break the tie the other way.
        best = np.sort(scores, axis=1)[:, -2:].astype(np.float64)
        rows = np.flatnonzero(best[:, 1] - best[:, 0] > 1e-4 * np.maximum(1.0, np.abs(scores).max(axis=1)))
        if len(rows) < GOLDEN_CASES:
            raise BundleError(
                f"the policy's two best actions tie in all but {len(rows)} of {len(scores)} observations, "
                f"and {GOLDEN_CASES} clear ones are needed: it has not learned to tell its actions apart"
            )
    if actions.shape != golden.actions.shape:
        raise BundleError(f"the exported policy acts in shape {actions.shape}, the original in {golden.actions.shape}")
    gap = float(np.abs(actions[rows] - golden.actions[rows]).max())
    tolerance = 0.0 if policy.head == "argmax" else ACTION_TOLERANCE
    if not gap <= tolerance:
        raise BundleError(
            f"the exported policy differs from the original by {gap:.3g} in an action (allowed: {tolerance:.3g}); "
            "without observation normalisation large inputs can cost float32 that much accuracy"
        )
    _, orders = spec.decode(golden.actions, golden.positions.T)
    gap = float((np.abs(orders.T - golden.orders) / np.maximum(1.0, np.abs(golden.orders))).max())
    if not gap <= ORDER_TOLERANCE:
        raise BundleError(
            f"the environment decodes an action into other orders than the bundle would (relative gap {gap:.3g}); "
            "only tasks whose orders follow from codec and inventory position can be exported"
        )
    return rows


def _example(spec: Spec, golden: Golden, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """The first decision whose numbers are all within their bounds, positions unrounded."""
    low = np.array([field.low for field in spec.fields])
    high = np.array([field.high for field in spec.fields])
    values = golden.observations.astype(np.float64)
    if spec.codec.up_to:
        values[:, spec.position_columns()] = golden.positions
    inside = np.flatnonzero(((values >= low) & (values <= high)).all(axis=1))
    if not len(inside):
        raise BundleError("the policy drives the network out of the bounds of its observations in every case")
    # Not the very first: its pipelines and demands are those of the start.
    row = values[inside[len(inside) // 2]]
    return {
        "observation": {field.name: float(x) for field, x in zip(spec.fields, row, strict=True)},
        "network_hash": manifest["network"]["hash"],
        "spec_hash": manifest["spec_hash"],
        "period": "example",
    }


def _plain(data: Mapping[str, Any], what: str) -> Any:
    try:
        return json.loads(json.dumps(data, default=_default, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise BundleError(f"{what} must be plain data that JSON can hold: {error}") from None


def _default(value: object) -> Any:
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    raise TypeError(f"{type(value).__name__} is not plain data")


def _versions() -> dict[str, str]:
    out = {"python": platform.python_version()}
    for name in _PACKAGES:
        try:
            out[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return out


def _git_commit() -> str | None:
    """The commit of this code, with ``-dirty`` where files were changed; None outside a git checkout."""
    command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        done = subprocess.run(
            command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip() or None
