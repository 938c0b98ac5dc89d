"""Inventory decisions on any network: how much to order on every arc."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from envs.actions import NOTCHES, BoxCodec, Codec, make_codec
from envs.core import TwinEnv, repaired_moves
from envs.echelon import EchelonRule
from envs.inventory_features import inventory_observation
from envs.task import Task
from envs.vector import TwinVectorEnv
from envs.watcher import Watcher
from twin.beliefs import ever_fails
from twin.compile import CompiledNetwork, compile_network
from twin.economics import terminal_value
from twin.engine import Twin
from twin.errors import ActionError, did_you_mean
from twin.library import resolve
from twin.network import Network
from twin.state import TwinState

__all__ = ["InventoryEnv", "InventoryTask", "InventoryVectorEnv", "check_arguments"]

FloatArray = NDArray[np.float64]


class InventoryTask:
    """Order quantities on all arcs; see :class:`InventoryEnv` for the meaning of the arguments."""

    periods_per_decision = 1

    def __init__(
        self,
        network: str | Path | Network | CompiledNetwork = "essential_medicines",
        *,
        parameters: Mapping[str, Any] | None = None,
        action_mode: str = "base_stock",
        levels: Sequence[float] | Mapping[str, float] | None = None,
        residual_scale: float = 0.5,
        horizon: int = 104,
        finite: bool = False,
        observe: Sequence[str] | None = None,
        arrivals: str = "bands",
        forecast: int = 1,
    ) -> None:
        if isinstance(horizon, bool) or not isinstance(horizon, int | np.integer) or horizon < 1:
            raise ActionError(f"horizon must be a whole number of periods, at least 1, received {horizon!r}")
        if not isinstance(finite, bool | np.bool_):
            raise ActionError(f"finite must be true or false, received {finite!r}")
        if isinstance(network, CompiledNetwork):
            if parameters:
                raise ActionError("parameters apply to a network of the library, not to a compiled network")
            self.compiled = network
        else:
            self.compiled = compile_network(resolve(network, **dict(parameters or {})))
        self.horizon, self.finite = int(horizon), bool(finite)
        self.codec: Codec = make_codec(
            self.compiled,
            action_mode,
            levels=_level_array(self.compiled, levels),
            residual_scale=residual_scale,
            horizon=self.horizon,
        )
        #: How safety amounts become orders, in the echelon mode.
        self.echelon = EchelonRule(self.compiled) if action_mode == "echelon" else None
        outlook = observe is not None and "outlook" in observe and ever_fails(self.compiled)
        self.watcher: Watcher | None = Watcher(self.compiled) if outlook else None
        self.observation = inventory_observation(
            self.compiled,
            finite=self.finite,
            horizon=self.horizon,
            observe=observe,
            arrivals=arrivals,
            forecast=forecast,
            watcher=self.watcher,
        )
        self.fields = self.observation.fields
        self.observation_space: spaces.Space[NDArray[np.float32]] = spaces.Box(
            self.observation.low, self.observation.high, dtype=np.float32
        )
        self.action_space: spaces.Space[Any] = spaces.Box(-1.0, 1.0, (self.compiled.n_arcs,), dtype=np.float32)
        if action_mode == "discrete":
            self.action_space = spaces.Discrete(NOTCHES)
        elif action_mode == "orders":
            self.action_space = spaces.Box(0.0, np.inf, (self.compiled.n_arcs,), dtype=np.float64)

    def begin(
        self, twin: Twin, seed: NDArray[np.uint64], replica: NDArray[np.uint32], episode: NDArray[np.uint32]
    ) -> TwinState:
        return twin.initial_state(seed, replica, episode)

    def observe(
        self, twin: Twin, position: FloatArray, periods_left: FloatArray, belief: FloatArray | None = None
    ) -> NDArray[np.float32]:
        return self.observation.read(twin, position, periods_left, belief)

    def decode(
        self, action: NDArray[Any], twin: Twin, position: FloatArray, periods_left: FloatArray | None = None
    ) -> FloatArray:
        codec = self.codec
        # Boxes in one pass over the batch: to the last bit what their codec says.
        box = isinstance(codec, BoxCodec)
        targets = twin.scaled(action, codec.low, codec.center, codec.high) if box else codec.targets(action)
        if self.echelon is not None:
            period = twin.state.period
            left = np.asarray(self.horizon - period, dtype=np.float64) if periods_left is None else periods_left
            return self.echelon.orders(
                targets, position, *self.echelon.on_calendar(period, left if self.finite else None)
            )
        return twin.base_stock_orders(position, targets) if codec.up_to else targets

    def decide(
        self,
        action: NDArray[Any],
        twin: Twin,
        position: FloatArray,
        periods_left: FloatArray | None = None,
        belief: FloatArray | None = None,
    ) -> tuple[FloatArray, NDArray[np.int64] | None]:
        return self.decode(action, twin, position, periods_left), None

    def repairs(
        self, action: NDArray[Any], twin: Twin, orders: FloatArray, moves: NDArray[np.int64] | None
    ) -> NDArray[np.int64] | None:
        return None if moves is None else repaired_moves(twin, orders, moves)

    def left(self, state: TwinState) -> FloatArray:
        return terminal_value(state)

    def mask(self, twin: Twin) -> NDArray[np.bool_] | None:
        return None

    def reward(self, costs: FloatArray) -> FloatArray:
        # Row by row, so that the last bit does not depend on the number of replicas (numpy adds a single one in pairs).
        if costs.shape[1] > 1:
            return np.asarray(np.negative(np.add.reduce(costs, axis=0)))
        total: FloatArray = costs[0].copy()
        for term in costs[1:]:
            total += term
        return np.negative(total)


class InventoryEnv(TwinEnv):
    """How much to order, on every arc of a supply network, every period.

    ## Description
    A network of suppliers, plants, warehouses and customers (:class:`twin.network.Network`). Every period the agent
    decides how much to order on each arc: a (supplier or site, mode) that brings a product to a stock point. Sources
    ship what their stock and resources allow, shipments arrive after lead times that may be random, customers take
    what there is, and the rest is lost or waits.

    ## Action Space
    ``Box(-1, 1, (arcs,), float32)``. By default (``action_mode="base_stock"``) each number is a level to order up to:
    0 is the demand expected over the arc's lead time and one review period, -1 is a level of 0, 1 is
    twice as much or four standard deviations more. ``"quantity"``: the units to order, 0 meaning the arc's usual flow.
    ``"discrete"``: ``Discrete(21)``, one notch for all levels together. ``"echelon"``: a safety amount; the order
    raises what the arc's stock point and everything below it have, and have under way, to the demand expected until
    the order after it can serve the customers, plus this amount (:mod:`envs.echelon`). So the same action follows the
    forecast and lets the stock run out where a finite horizon ends; 0 is a standard deviation of the demand covered.

    ## Observation Space
    ``Box`` of float32 with a name, a unit and bounds for every entry (``env.unwrapped.task.fields``): stock on hand,
    inventory position by arc, units in transit by arc and by how soon they arrive, perishable stock by remaining life,
    customer backlog, last demand, the demand expected next where it follows a trend or has a forecast, resource
    status, season, and the periods left where the horizon is finite. Values outside the bounds are clipped.
    ``observe``, ``arrivals`` and ``forecast`` choose what is shown.

    ## Rewards
    Minus the sum of the cost terms of the period, which ``info["cost_terms"]`` holds by name, in the currency of the
    network. When a finite horizon ends, plus the terminal value of the stock (``terminal_value`` in the network file),
    which is in ``info["terminal_value"]``.

    ``info["optimum"]`` (``name``, ``value``, ``source``) is the least possible average cost per period where it is
    known, from the network file, at every reset and step; ``metadata["optimum"]`` of the environment is the same. Both
    are absent with a finite horizon, which has another optimum.

    ## Starting State
    The network's initial stock, and pipelines filled by its initial flows.

    ## Episode End
    After ``horizon`` periods: truncated where the problem continues (the default), terminated with ``finite=True``.

    ## Arguments
    * ``network``: a library name, a path of a YAML or JSON file, or a Network.
    * ``parameters``: of a library family, for example ``{"lead_time": 4, "penalty": 9}``.
    * ``action_mode``: ``base_stock``, ``quantity``, ``discrete`` or ``echelon``.
    * ``levels``: base-stock levels, or safety amounts in the echelon mode, (by arc name or in order) that the zero
      action stands for; the agent then learns a correction (a residual), of at most ``residual_scale`` times the upper
      half of the usual box.
    * ``horizon``, ``finite``: see Episode End.
    * ``observe``: groups of fields to show, in any order, of ``on_hand``, ``position``, ``in_transit``, ``in_mail``
      (orders that have not reached their source), ``arriving`` (by stock point and receipts ahead), ``owed`` (ordered
      and not shipped), ``backlog``, ``demand`` (the latest), ``life``, ``expected``, ``availability``, ``season`` and
      ``periods_left``. A group that the network has nothing of is empty. By default all but ``owed``.
    * ``arrivals``: ``bands`` (1, 2-4, 5-12, more than 12 receipts ahead) or ``slots``, one field per receipt.
    * ``forecast``: periods of expected demand to show, ``expected[stream]`` being the period decided for,
      ``expected[stream:2]`` the one after. Streams with a constant mean have none, it being no news; streams that only
      a season moves have theirs where ``observe`` names ``expected`` or ``forecast`` is more than 1.
    * ``replica``: which path of the seed this environment follows.

    ## Version History
    * v0: first version.
    """

    def __init__(
        self,
        network: str | Path | Network | CompiledNetwork = "essential_medicines",
        *,
        render_mode: str | None = None,
        replica: int = 0,
        **arguments: Any,
    ) -> None:
        check_arguments(arguments)
        super().__init__(InventoryTask(network, **arguments), render_mode=render_mode, replica=replica)


class InventoryVectorEnv(TwinVectorEnv):
    """Many replicas of :class:`InventoryEnv` in one process; the same arguments, and ``num_envs``."""

    def __init__(
        self,
        num_envs: int = 1,
        network: str | Path | Network | CompiledNetwork = "essential_medicines",
        *,
        render_mode: str | None = None,
        **arguments: Any,
    ) -> None:
        check_arguments(arguments)
        super().__init__(InventoryTask(network, **arguments), num_envs, render_mode=render_mode)


def check_arguments(arguments: Iterable[str], others: Iterable[str] = (), *, task: type[Task] = InventoryTask) -> None:
    """Refuse what is no argument of an environment.

    Parameters
    ----------
    arguments
        Their names.
    others
        Names that the environment has besides.
    task
        Whose arguments it takes.

    Raises
    ------
    ActionError
        With the nearest name.
    """
    known = [*others, *inspect.signature(task.__init__).parameters, "render_mode", "replica"]
    known.remove("self")
    for name in arguments:
        if name not in known:
            raise ActionError(f"no argument '{name}' (allowed: {', '.join(known)}){did_you_mean(name, known)}")


def _level_array(compiled: CompiledNetwork, levels: Sequence[float] | Mapping[str, float] | None) -> FloatArray | None:
    if not isinstance(levels, Mapping):
        return None if levels is None else np.asarray(levels, dtype=np.float64)
    missing = [name for name in compiled.arc_names if name not in levels]
    unknown = [name for name in levels if name not in compiled.arc_names]
    if missing or unknown:
        raise ActionError(
            f"levels must name every arc once; missing: {missing or 'none'}; unknown: {unknown or 'none'}"
        )
    return np.array([float(levels[name]) for name in compiled.arc_names])
