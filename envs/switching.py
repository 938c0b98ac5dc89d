"""Supplier switching: from whom to buy, when to switch, and when to switch back, while suppliers fail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from envs.core import TwinEnv
from envs.inventory import InventoryTask, check_arguments
from envs.inventory_features import GROUPS
from envs.sourcing import Sources, Supply
from envs.switching_actions import SWITCHING_MODES, MixCodec, MoveCodec, OrdersAndMovesCodec, SwitchingCodec
from envs.switching_rules import SWITCHING_RULES
from envs.vector import TwinVectorEnv
from envs.watcher import Watcher
from twin.compile import CompiledNetwork
from twin.engine import Twin
from twin.errors import ActionError, did_you_mean
from twin.library import resolve
from twin.network import Network

__all__ = ["SupplierSwitchingEnv", "SupplierSwitchingVectorEnv", "SwitchingTask"]

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


class SwitchingTask(InventoryTask):
    """Orders and moves on contracts; see :class:`SupplierSwitchingEnv` for the meaning of the arguments."""

    def __init__(
        self,
        network: str | Path | Network | CompiledNetwork = "prolonged_shortage",
        *,
        parameters: Mapping[str, Any] | None = None,
        action_mode: str = "mix",
        base: str = "status",
        rule: Sequence[float] | Mapping[str, float] | None = None,
        residual_scale: float = 0.5,
        notches: Sequence[float] = (1.0,),
        horizon: int = 104,
        finite: bool = False,
        observe: Sequence[str] | None = None,
        arrivals: str = "bands",
        forecast: int = 1,
    ) -> None:
        if action_mode not in SWITCHING_MODES:
            raise ActionError(
                f"no action mode '{action_mode}' for supplier switching "
                f"(allowed: {', '.join(SWITCHING_MODES)}){did_you_mean(action_mode, SWITCHING_MODES)}"
            )
        if base not in SWITCHING_RULES:
            raise ActionError(
                f"no rule '{base}' to act on the base of "
                f"(allowed: {', '.join(SWITCHING_RULES)}){did_you_mean(base, SWITCHING_RULES)}"
            )
        if not isinstance(network, CompiledNetwork):
            # Choosing among suppliers takes records of how they have been.
            network = resolve(network, **dict(parameters or {})).model_copy(update={"records": True})
            parameters = None
        super().__init__(
            network,
            parameters=parameters,
            action_mode="orders",
            horizon=horizon,
            finite=finite,
            observe=[group for group in GROUPS if group not in ("owed", "outlook")] if observe is None else observe,
            arrivals=arrivals,
            forecast=forecast,
        )
        self.sources = Sources(self.compiled)
        kind = SWITCHING_RULES[base]
        if kind.believes and self.watcher is None:
            self.watcher = Watcher(self.compiled)
        self.rule = kind(self.compiled, self.sources)
        self.rule_parameters = self._rule_parameters(rule)
        codecs: dict[str, type[SwitchingCodec]] = {
            "mix": MixCodec,
            "moves": MoveCodec,
            "orders": OrdersAndMovesCodec,
        }
        self.switching: SwitchingCodec = codecs[action_mode].make(
            self.compiled, self.rule, self.rule_parameters, residual_scale=residual_scale, notches=tuple(notches)
        )
        self.codec = self.switching
        self.action_space = self.switching.space()

    def decide(
        self,
        action: NDArray[Any],
        twin: Twin,
        position: FloatArray,
        periods_left: FloatArray | None = None,
        belief: FloatArray | None = None,
    ) -> tuple[FloatArray, IntArray | None]:
        return self.switching.decide(action, Supply.of(twin, position, belief))

    def decode(
        self, action: NDArray[Any], twin: Twin, position: FloatArray, periods_left: FloatArray | None = None
    ) -> FloatArray:
        return self.decide(action, twin, position, periods_left)[0]

    def mask(self, twin: Twin) -> NDArray[np.bool_] | None:
        return self.switching.mask(twin)

    def _rule_parameters(self, rule: Sequence[float] | Mapping[str, float] | None) -> FloatArray:
        names, start = self.rule.names, self.rule.start
        if rule is None:
            return start
        if isinstance(rule, Mapping):
            unknown = [name for name in rule if name not in names]
            if unknown:
                raise ActionError(
                    f"rule: no parameter '{unknown[0]}' (allowed: {', '.join(names)}){did_you_mean(unknown[0], names)}"
                )
            rule = [float(rule.get(name, usual)) for name, usual in zip(names, start, strict=True)]
        given = np.asarray(rule, dtype=np.float64)
        if given.shape != (len(names),) or not np.isfinite(given).all():
            raise ActionError(f"rule must be {len(names)} finite numbers ({', '.join(names)}); received {rule!r}")
        return given


class SupplierSwitchingEnv(TwinEnv):
    """From whom to buy, and when to switch, while suppliers fail for unknown times.

    ## Description
    Any supply network with alternative sources (:class:`twin.network.Network`). Suppliers fail and recover by processes
    that nobody sees through: an observation shows which work now, for how long they have or have not, warnings that may
    be false, and how they have delivered of late, but not how long an outage will last. A supplier under contract must
    be qualified, which takes time and money, and activated before it may be ordered from; while active it may demand a
    minimum. Prices move.

    What all that has been seen says of the outages ahead, by the laws of the network, is a belief that the environment
    keeps (:class:`envs.watcher.Watcher`) where the rule or the observation looks at it: a single observation forgets
    whether the long outage has been, and which warnings came true.

    ## Action Space
    ``action_mode="mix"`` (the default): ``Box(-1, 1, (n,), float32)``, a correction of a rule, which the zero action
    follows exactly. With ``base="status"`` (the default) that is :class:`envs.switching_rules.StatusRule`: order up to
    a level from the cheapest that can deliver, hold backups active while a main supplier is out. With ``base="risk"``
    it is :class:`envs.switching_rules.RiskRule`, on a belief of how much supply will be missing. In order: for every
    stock point that is replenished, the level (1 is ``residual_scale`` times half the usual box above the rule's); for
    every arc into a stock point with several, what is added to the share of the need that the rule orders there; for
    every contract, what is wanted (above 1/3 one move towards being active, below -1/3 out, between them what the rule
    wants); for every supplier with open orders that can be expedited, whether to (above 1/3).

    ``action_mode="moves"``: ``Discrete(n)``. Action 0 makes the moves of the rule, 1 keeps everything; the others are
    one move on one supplier each, in the order of ``task.switching.names`` (qualify, activate, deactivate or expedite).
    Orders then raise every stock point to the level of the rule, times one of ``notches`` (all choices come again for
    each), from the cheapest that can deliver. ``action_masks()`` and
    ``info["action_mask"]`` say which moves are possible now.

    ``action_mode="orders"``: the units on every arc, then one move code for every supplier
    (:data:`twin.contracts.MOVES`), for classical policies.

    A move that is not possible counts as keep, and an order on an arc that is closed as none:
    ``info["repaired"]`` counts both.

    ## Observation Space
    As :class:`envs.inventory.InventoryEnv`, and for sourcing: ``since`` (periods since a resource's capacity last went
    from full to less or back), ``warning``, ``on_time`` (recent performance by arc), ``price`` (over the list price),
    ``contract`` (stage, as 0 and 1) and ``clock`` (periods of qualification left, or since activation). Where asked
    for, ``outlook``: periods of capacity that the belief expects to be missing in the next 4, 13, 26 and 52.

    ## Rewards
    Minus the sum of the cost terms of the period, ``info["cost_terms"]``; what contracts and expediting cost are terms
    of their own.

    ## Starting State
    The network's initial stock and flows; contracts as the file has them.

    ## Episode End
    After ``horizon`` periods: truncated where the problem continues (the default), terminated with ``finite=True``.

    ## Arguments
    * ``network``, ``parameters``, ``horizon``, ``finite``, ``observe``, ``arrivals``, ``forecast``, ``replica``: as
      :class:`envs.inventory.InventoryEnv`.
    * ``action_mode``: ``mix``, ``moves`` or ``orders``.
    * ``base``: the rule that actions correct or follow, ``status`` or ``risk``.
    * ``rule``: its parameters, by name or in order; usual values where left out. Tune them with the classical policy
      ``status_switching`` or ``risk_switching``.
    * ``residual_scale``: reach of the correction of levels, in ``mix``.
    * ``notches``: multiples of the levels to choose among, in ``moves``.

    ## Version History
    * v0: first version.
    """

    def __init__(
        self,
        network: str | Path | Network | CompiledNetwork = "prolonged_shortage",
        *,
        render_mode: str | None = None,
        replica: int = 0,
        **arguments: Any,
    ) -> None:
        check_arguments(arguments, task=SwitchingTask)
        super().__init__(SwitchingTask(network, **arguments), render_mode=render_mode, replica=replica)


class SupplierSwitchingVectorEnv(TwinVectorEnv):
    """Many replicas of :class:`SupplierSwitchingEnv` in one process; the same arguments, and ``num_envs``."""

    def __init__(
        self,
        num_envs: int = 1,
        network: str | Path | Network | CompiledNetwork = "prolonged_shortage",
        *,
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        check_arguments(arguments, task=SwitchingTask)
        super().__init__(SwitchingTask(network, **arguments), num_envs, render_mode=render_mode)
