"""Classical policies as bundles."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from agents.bundle import Bundle
from agents.bundle_policy import chooser_of
from agents.bundle_rollout import GOLDEN_SEED, Turn, roll_out
from agents.bundle_writer import Extras, make_spec, write_bundle
from agents.registry import baseline, load_class
from envs.actions import BaseStockCodec, Codec, QuantityCodec
from envs.task import Task
from twin.errors import ActionError, BundleError

__all__ = ["act_of_rule", "export_baseline", "export_rule", "extract_baseline"]


def extract_baseline(
    values: ArrayLike, *, inputs: int, up_to: bool = True
) -> tuple[dict[str, Any], dict[str, NDArray[Any]], Codec]:
    """A classical policy with one number per arc as a bundle's parts.

    Parameters
    ----------
    values
        Shape (A,), units: base-stock levels, or with ``up_to=False`` constant order quantities.
    inputs
        Length of an observation.

    Returns
    -------
    arch, weights, codec
        The action is 0 on every arc, which the codec decodes into exactly ``values``.
    """
    values = np.array(values, dtype=np.float64)
    if values.ndim != 1 or not len(values) or not np.isfinite(values).all():
        raise BundleError(f"a policy needs one finite number per arc; received shape {values.shape}")
    arch: dict[str, Any] = {
        "kind": "layers",
        "inputs": inputs,
        "outputs": len(values),
        "head": "constant",
        "normalisation": None,
        "layers": [],
        "choices": [],
        "masked": False,
        "box": False,
    }
    kind = BaseStockCodec if up_to else QuantityCodec
    return arch, {"constant": np.zeros(len(values), dtype=np.float32)}, kind(values, values, values)


def export_baseline(
    path: str | Path,
    *,
    name: str,
    values: ArrayLike,
    up_to: bool,
    task: Task,
    environment_id: str,
    arguments: Mapping[str, Any],
    training_info: Mapping[str, Any],
    extras: Extras | None = None,
) -> Bundle:
    """Write levels, or quantities with ``up_to=False``, as a bundle that needs no network to decide.

    Parameters
    ----------
    name
        Of the policy, for the manifest.
    values
        See :func:`extract_baseline`.
    task
        Whose observations it reads.
    environment_id, arguments, training_info, extras
        See :func:`agents.bundle_writer.write_bundle`.
    """
    arch, weights, codec = extract_baseline(values, inputs=len(task.fields), up_to=up_to)
    if codec.arcs != task.compiled.n_arcs:
        raise BundleError(f"a policy needs {task.compiled.n_arcs} numbers, one per arc; received {codec.arcs}")
    spec = make_spec(task, codec, None if extras is None else extras.guardrails)
    decisions = roll_out(
        task,
        lambda turn: np.zeros((len(turn.observation), codec.arcs), dtype=np.float32),
        seed=GOLDEN_SEED,
        decide=lambda action, batch: (spec.decode(action, batch.position)[1], None),
    )
    return write_bundle(
        path,
        task=task,
        spec=spec,
        chooser=chooser_of(arch, weights, spec, lambda: task.compiled),
        arch=arch,
        weights=weights,
        decisions=decisions,
        algorithm=name,
        environment_id=environment_id,
        arguments=arguments,
        training_info=training_info,
        extras=extras,
    )


def export_rule(
    path: str | Path,
    *,
    name: str,
    parameters: ArrayLike,
    task: Task,
    environment_id: str,
    arguments: Mapping[str, Any],
    training_info: Mapping[str, Any],
    extras: Extras | None = None,
) -> Bundle:
    """Write any classical policy of the registry as a bundle: it is run on the network that travels with it.

    Parameters
    ----------
    name, parameters
        The policy, and its parameters in the order of its parameter space.
    task
        In which it acts exactly, its actions being orders (:func:`agents.baselines.simulation.acting_task`).
    environment_id, arguments, training_info, extras
        See :func:`agents.bundle_writer.write_bundle`.

    Raises
    ------
    BundleError
        When the policy does not fit the task.
    """
    if name in ("base_stock", "constant") and not task.compiled.relation_names:
        return export_baseline(
            path,
            name=name,
            values=parameters,
            up_to=name == "base_stock",
            task=task,
            environment_id=environment_id,
            arguments=arguments,
            training_info=training_info,
            extras=extras,
        )
    kind, numbers = load_class(baseline(name).path), np.array(parameters, dtype=np.float64)
    try:
        policy = kind(task, numbers)
    except ActionError as error:
        raise BundleError(str(error)) from None
    spec = make_spec(task, None, None if extras is None else extras.guardrails)
    arch = {"kind": "rule", "policy": name, "parameters": list(kind.space(task).names)}
    weights = {"parameters": numbers}
    chooser = chooser_of(arch, weights, spec, lambda: task.compiled)
    return write_bundle(
        path,
        task=task,
        spec=spec,
        chooser=chooser,
        arch=arch,
        weights=weights,
        decisions=roll_out(task, act_of_rule(policy), seed=GOLDEN_SEED, follow=chooser),
        algorithm=name,
        environment_id=environment_id,
        arguments=arguments,
        training_info=training_info,
        extras=extras,
    )


def act_of_rule(policy: Any) -> Any:
    """What a classical policy does at a decision epoch, its memory kept from one to the next."""
    state: tuple[NDArray[Any], ...] | None = None

    def act(turn: Turn) -> NDArray[Any]:
        nonlocal state
        actions, state = policy.predict(turn.observation, state, turn.start)
        return np.asarray(actions)

    return act
