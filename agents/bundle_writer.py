"""Writing a bundle: golden cases from rollouts of the policy itself, then every file, read back before it is named."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from agents.advice import OrderRules
from agents.advisor.canonical import digest
from agents.advisor.clock import text_of
from agents.advisor.guardrails import Guardrails
from agents.bundle import Bundle
from agents.bundle_card import card
from agents.bundle_fallback import Fallback, fallback_data
from agents.bundle_files import arrays_to, render, write_files
from agents.bundle_golden import ACTION_TOLERANCE, ORDER_TOLERANCE, Golden, action_gap, order_gap
from agents.bundle_policy import Chooser, NetChooser
from agents.bundle_rollout import Decisions, as_told
from agents.bundle_spec import COMPUTED, SCALED, Spec
from agents.onnx_graph import build_onnx
from envs.actions import Codec, OrderSequence
from envs.routing import RoutingTask
from envs.routing_actions import RoutingCodec
from envs.switching_actions import SwitchingCodec
from envs.task import Task
from twin.contracts import MOVES
from twin.errors import BundleError
from twin.periods import DAYS

__all__ = ["GOLDEN_CASES", "Extras", "make_spec", "write_bundle"]

FloatArray = NDArray[np.float64]

#: Cases kept in a bundle, and of its fallback.
GOLDEN_CASES, _FALLBACK_CASES = 64, 16
#: Largest difference between the orders of a bundle and of the environment, relative: where decoding looks at more of
#: an observation than the positions (forecasts, prices, shares of capacity), that is in float32.
_ROUNDED = 1e-5
_PACKAGES = ("cogtwin", "numpy", "gymnasium", "stable-baselines3", "sb3-contrib", "torch", "onnx")


@dataclass(frozen=True)
class Extras:
    """What goes into a bundle beside the policy.

    Attributes
    ----------
    fallback
        Name of a classical policy, its parameters by name, and where they come from; None for none.
    guardrails
        The guard file; usual ones where left out.
    outliers
        What states of training look like, as :meth:`agents.advisor.outliers.OutlierModel.to_dict` gives it.
    evaluation
        Cost, tail and service beside the classical policies, plain data.
    seeds, config_hash
        Of the training.
    highest_mode
        The most that the advisor may ever do with it; None leaves that to the guard file.
    valid_until
        Moment after which it must not decide; None for ever.
    """

    fallback: tuple[str, Mapping[str, float], Mapping[str, Any]] | None = None
    guardrails: Guardrails | None = None
    outliers: Mapping[str, Any] | None = None
    evaluation: Mapping[str, Any] | None = None
    seeds: Mapping[str, Any] | None = None
    config_hash: str | None = None
    highest_mode: str | None = None
    valid_until: datetime.datetime | None = None


def make_spec(task: Task, codec: Codec | None, guardrails: Guardrails | None = None) -> Spec:
    """The specification of a task's observations with a codec for the actions; None for a rule that says orders.

    Raises
    ------
    BundleError
        When it contradicts itself, or cannot be decoded outside the environment.
    """
    compiled, top, network = task.compiled, task.compiled.topology, task.compiled.network
    rails = guardrails or Guardrails()
    switching = None
    relations: tuple[str, ...] = compiled.relation_names if codec is None else ()
    fields, routing = tuple(as_told(task).fields), None
    if isinstance(codec, SwitchingCodec):
        from agents.bundle_decoders import switching_data

        switching, relations = switching_data(codec), compiled.relation_names
    if isinstance(task, RoutingTask):
        routing, codec = task.to_dict(), task.codec
    scaled = None if isinstance(codec, SwitchingCodec | RoutingCodec) else codec
    spec = Spec(
        fields=fields,
        ages=tuple(rails.freshness.maximum_age(field.name) for field in fields),
        arc_names=compiled.arc_names,
        arc_units=compiled.arc_units,
        rules=OrderRules(top.arc_integer, top.arc_minimum, top.arc_lot, top.arc_maximum),
        order_max=top.arc_order_limit,
        risks=tuple(rails.risk_of(name) for name in compiled.arc_names),
        mode="orders" if codec is None else codec.mode,
        codec=scaled,
        switching=switching,
        routing=routing,
        relations=relations,
        moves=tuple(MOVES) if relations else (),
        sequence=OrderSequence.of(compiled),
        period_unit=network.period,
        period_days=float(DAYS[network.period]),
        currency=network.currency,
        horizon=int(task.horizon),
        finite=bool(task.finite),
    )
    spec.check()
    return spec


def write_bundle(
    path: str | Path,
    *,
    task: Task,
    spec: Spec,
    chooser: Chooser,
    arch: Mapping[str, Any],
    weights: Mapping[str, NDArray[Any]],
    decisions: Decisions,
    algorithm: str,
    environment_id: str,
    arguments: Mapping[str, Any],
    training_info: Mapping[str, Any],
    extras: Extras | None = None,
) -> Bundle:
    """Check a policy against its decisions in the environment and write it as a bundle.

    Parameters
    ----------
    path
        A folder, or a zip where the name ends in ``.zip``.
    chooser
        What ``arch`` and ``weights`` describe.
    decisions
        Of the original policy; every one is compared, and 64 of them travel with the bundle.
    arguments
        Of the environment, as plain data.
    training_info
        Whatever should be known about the training: steps, the run it comes from. Plain data.

    Raises
    ------
    BundleError
        When the exported policy decides differently from the original, or ``path`` exists.
    """
    path, extras = Path(path), extras or Extras()
    compiled, rails = task.compiled, extras.guardrails or Guardrails()
    golden = _compare(chooser, spec, decisions)
    network = compiled.network
    discrete = isinstance(chooser, NetChooser) and chooser.net.discrete
    manifest = {
        "created": _moment(),
        "algorithm": algorithm,
        "environment": {"id": environment_id, "arguments": _plain(arguments, "arguments")},
        "training": _plain(training_info, "training_info"),
        "seeds": _plain(extras.seeds or {}, "seeds"),
        "config_hash": extras.config_hash,
        "network": {"name": network.name, "hash": compiled.content_hash()},
        "data": {"source": network.source or None, "sha256": _data_ids(network.provenance)},
        "calibration": {"id": digest(_plain(network.provenance, "provenance")) if network.provenance else None},
        "spec_hash": spec.hash,
        "golden": {
            "cases": len(golden),
            "action_tolerance": 0.0 if discrete else ACTION_TOLERANCE,
            "order_tolerance_relative": ORDER_TOLERANCE,
        },
        "highest_mode": extras.highest_mode,
        "valid_until": None if extras.valid_until is None else text_of(extras.valid_until),
        "versions": _versions(),
        "git_commit": _git_commit(),
    }
    contents = {
        "arch.json": render(dict(arch)),
        "example_state.json": render(_example(spec, decisions, manifest), ordered=True),
        "golden.npz": arrays_to(golden.to_arrays()),
        "guardrails.yaml": _guard_file(rails),
        # Sites and arcs are numbered in file order, so the order of the keys is part of the network.
        "network.json": render(network.to_dict(), ordered=True),
        "spec.json": render(spec.to_dict(), ordered=spec.switching is not None or spec.routing is not None),
        "weights.npz": arrays_to(weights),
    }
    # What a policy of routing looks at is computed from a state, by code that other runtimes have not.
    if isinstance(chooser, NetChooser) and spec.routing is None:
        contents["policy.onnx"] = build_onnx(chooser.net, spec).SerializeToString(deterministic=True)
    if extras.fallback is not None:
        made = Fallback.build(*extras.fallback, spec, lambda: compiled)
        rows = np.linspace(0, len(golden) - 1, _FALLBACK_CASES).astype(np.int64)
        contents["fallback.json"] = render(fallback_data(made, golden.values[rows]), ordered=True)
    for name, data in (("ood.json", extras.outliers), ("evaluation.json", extras.evaluation)):
        if data is not None:
            contents[name] = render(_plain(data, name), ordered=True)
    contents["card.md"] = card(manifest, spec, extras.evaluation, extras.outliers, extras.fallback, rails).encode()
    write_files(path, manifest, contents, Bundle.load)
    return Bundle.load(path)


def _compare(chooser: Chooser, spec: Spec, decisions: Decisions) -> Golden:
    """Compare all decisions; those that serve as golden cases, with the exported policy's own orders."""
    # A rule says units: the original one has counted from the positions as they were shown.
    exact = isinstance(chooser, NetChooser)
    values = decisions.values(spec) if exact else decisions.observations.astype(np.float64)
    original = decisions.actions
    rows = np.arange(len(values))
    if isinstance(chooser, NetChooser) and chooser.net.discrete:
        rows = _clear(chooser, decisions)
    chosen = chooser.choose(values, decisions.memory or None, decisions.masks)
    if chosen.action.shape != original.shape:
        raise BundleError(f"the exported policy acts in shape {chosen.action.shape}, the original in {original.shape}")
    over = action_gap(chooser, chosen.action, original)[rows]
    if not bool((over <= 0.0).all()):
        gap = float(np.abs(np.asarray(chosen.action[rows], dtype=np.float64) - original[rows]).max())
        raise BundleError(
            f"the exported policy differs from the original by {gap:.3g} in an action, more than is allowed; "
            "without observation normalisation large inputs can cost float32 that much accuracy"
        )
    followed = chooser.follow(original, values, decisions.memory or None)
    tolerance = ORDER_TOLERANCE if spec.mode in SCALED and not chooser.remembers else _ROUNDED
    gaps = order_gap(followed.orders.T, decisions.orders).max(axis=1)
    same = gaps <= tolerance
    if followed.moves is not None and decisions.moves is not None:
        same &= (decisions.moves == followed.moves.T).all(axis=1)
    # Where an observation is cut at its bounds the environment knows more than it shows, and a bundle refuses.
    within = decisions.within(spec) if exact else np.ones(len(values), dtype=np.bool_)
    if not bool(same[within].all()):
        raise BundleError(
            f"the environment decodes an action into other orders than the bundle would (relative gap "
            f"{float(gaps[within].max()):.3g}, {int((~same[within]).sum())} of {int(within.sum())} decisions); only "
            "tasks whose orders follow from the observation can be exported"
        )
    rows = rows[within[rows]]
    if len(rows) < GOLDEN_CASES:
        raise BundleError(
            f"only {len(rows)} of {len(values)} decisions are within the bounds of the observation and not tied, and "
            f"{GOLDEN_CASES} are needed as golden cases"
        )
    kept = rows[np.linspace(0, len(rows) - 1, GOLDEN_CASES).astype(np.int64)]
    moves = None if followed.moves is None else followed.moves.T
    return Golden(values, original, followed.orders.T, moves, decisions.masks, decisions.memory).take(kept)


def _clear(chooser: NetChooser, decisions: Decisions) -> NDArray[np.int64]:
    """Decisions whose two best actions do not tie within float32's accuracy: other machines may break such ties."""
    scores = chooser.net.scores(decisions.observations)
    if decisions.masks is not None:
        scores = np.where(decisions.masks, scores, -np.inf).astype(np.float32)
    best = np.sort(scores, axis=1)[:, -2:].astype(np.float64)
    largest = np.where(np.isfinite(scores), np.abs(scores), 0.0).max(axis=1)
    rows = np.flatnonzero(best[:, 1] - best[:, 0] > 1e-4 * np.maximum(1.0, largest))
    if len(rows) < GOLDEN_CASES:
        raise BundleError(
            f"the policy's two best actions tie in all but {len(rows)} of {len(scores)} observations, "
            f"and {GOLDEN_CASES} clear ones are needed: it has not learned to tell its actions apart"
        )
    return rows


def _example(spec: Spec, decisions: Decisions, manifest: Mapping[str, Any]) -> dict[str, Any]:
    """A decision whose numbers are all within their bounds, positions unrounded."""
    values, low = decisions.values(spec), np.array([field.low for field in spec.fields])
    high = np.array([field.high for field in spec.fields])
    inside = np.flatnonzero(((values >= low) & (values <= high)).all(axis=1))
    if not len(inside):
        raise BundleError("the policy drives the network out of the bounds of its observations in every case")
    # Not the very first: its pipelines and demands are those of the start.
    row = values[inside[len(inside) // 2]]
    return {
        "observation": {
            field.name: float(x)
            for field, x in zip(spec.fields, row, strict=True)
            if not field.name.startswith(COMPUTED)
        },
        "network_hash": manifest["network"]["hash"],
        "spec_hash": manifest["spec_hash"],
        "period": "example",
    }


def _data_ids(provenance: Mapping[str, Any]) -> Any:
    """SHA-256 of the data that a network file was made from, as far as it says."""
    inner = provenance.get("data")
    found = inner.get("sha256") if isinstance(inner, dict) else None
    return _plain({"ids": provenance.get("sha256", found)}, "provenance")["ids"]


def _guard_file(rails: Guardrails) -> bytes:
    head = "# The guard file that the advisor takes where a person has given none; docs/advisor.md has every setting.\n"
    return (head + yaml.safe_dump(rails.to_dict(), sort_keys=False, allow_unicode=True)).encode()


def _moment() -> str:
    """Now, or the moment that SOURCE_DATE_EPOCH sets for builds that must come out the same twice."""
    fixed = os.environ.get("SOURCE_DATE_EPOCH")
    if fixed is None:
        return text_of(datetime.datetime.now(datetime.UTC))
    if not fixed.isdecimal():
        raise BundleError(f"SOURCE_DATE_EPOCH must be seconds since 1970, received '{fixed}'")
    return text_of(datetime.datetime.fromtimestamp(int(fixed), datetime.UTC))


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
