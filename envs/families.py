"""Published problems as environments of their own: their parameters as arguments, an observation that suits them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from envs.inventory import InventoryEnv, InventoryVectorEnv, check_arguments
from twin.errors import ActionError

__all__ = [
    "BeerGameEnv",
    "BeerGameVectorEnv",
    "DualSourcingEnv",
    "DualSourcingVectorEnv",
    "LostSalesEnv",
    "LostSalesVectorEnv",
    "OneWarehouseManyRetailersEnv",
    "OneWarehouseManyRetailersVectorEnv",
    "SerialEnv",
    "SerialVectorEnv",
]

# Demand that is independent from period to period says nothing of the next one: the latest is left out. What is in
# transit is the sum of what arrives.
_LOST_SALES: dict[str, Any] = {"observe": ("on_hand", "position", "arriving", "periods_left"), "arrivals": "slots"}
_DUAL_SOURCING: dict[str, Any] = {
    "observe": ("on_hand", "position", "arriving", "backlog", "periods_left"),
    "arrivals": "slots",
}
_SERIAL: dict[str, Any] = {
    "observe": ("on_hand", "position", "arriving", "owed", "backlog", "periods_left"),
    "arrivals": "slots",
}
_ONE_WAREHOUSE: dict[str, Any] = {"observe": ("on_hand", "position", "arriving", "periods_left"), "arrivals": "slots"}
# Demand of the beer game moves, and the move is a surprise: the latest demand is shown, the expected one is not.
_BEER_GAME: dict[str, Any] = {
    "observe": ("on_hand", "position", "in_mail", "arriving", "owed", "backlog", "demand", "periods_left"),
    "arrivals": "slots",
    "horizon": 36,
    "finite": True,
}


def _problem(
    network: str, settings: Mapping[str, Any], arguments: Mapping[str, Any], **parameters: Any
) -> dict[str, Any]:
    """Arguments of an inventory environment: those of the family, but for what the user says."""
    for key in ("network", "parameters"):
        if key in arguments:
            raise ActionError(
                f"this environment is of the network '{network}' and takes no '{key}' "
                "(cogtwin/Inventory-v0 takes any network)"
            )
    check_arguments(arguments, parameters)
    return {"network": network, "parameters": parameters, **settings, **arguments}


class LostSalesEnv(InventoryEnv):
    """One stock point that loses the demand it cannot meet, with a lead time: the 32 problems of Zipkin (2008).

    ## Description
    Every period the order of ``lead_time`` periods ago arrives, an order is placed, and demand with a mean of 5 is met
    from stock or lost. "Old and New Methods for Lost-Sales Inventory Systems", Operations Research 56(5):1256-1263.

    ## Action Space
    ``Box(-1, 1, (1,), float32)``; see :class:`envs.inventory.InventoryEnv` for it and for ``action_mode``.

    ## Observation Space
    Stock on hand, inventory position, and what arrives at each of the next ``lead_time - 1`` receipts; the periods left
    where the horizon is finite. The latest demand says nothing of the next one and is not shown.

    ## Rewards
    Minus 1 per unit on hand at the end of the period and minus ``penalty`` per unit lost.

    ## Starting State
    Nothing on hand, nothing under way.

    ## Episode End
    Truncated after ``horizon`` periods (104); terminated there with ``finite=True``.

    ## Arguments
    * ``demand``: ``poisson`` or ``geometric``.
    * ``lead_time``: 1, 2, 3 or 4 periods.
    * ``penalty``: 4, 9, 19 or 39 per unit lost.
    * all of :class:`envs.inventory.InventoryEnv` but ``network`` and ``parameters``.

    ``info["optimum"]`` holds the optimal average cost per period (4.72853 by default), found by dynamic programming.

    ## Version History
    * v0: first version.
    """

    def __init__(self, *, demand: str = "poisson", lead_time: int = 4, penalty: int = 4, **arguments: Any) -> None:
        chosen = {"demand": demand, "lead_time": lead_time, "penalty": penalty}
        super().__init__(**_problem("lost_sales_zipkin2008", _LOST_SALES, arguments, **chosen))


class LostSalesVectorEnv(InventoryVectorEnv):
    """Many replicas of :class:`LostSalesEnv` in one process; the same arguments, and ``num_envs``."""

    def __init__(
        self, num_envs: int = 1, *, demand: str = "poisson", lead_time: int = 4, penalty: int = 4, **arguments: Any
    ) -> None:
        chosen = {"demand": demand, "lead_time": lead_time, "penalty": penalty}
        super().__init__(num_envs, **_problem("lost_sales_zipkin2008", _LOST_SALES, arguments, **chosen))


class DualSourcingEnv(InventoryEnv):
    """One stock point with a cheap slow supplier and a dear one that delivers at once.

    ## Description
    Every period what the regular supplier shipped ``regular_lead_time`` periods ago arrives, orders are placed with
    both suppliers, and demand, uniform on 0 to 4, is met or waits. Veeraraghavan & Scheller-Wolf (2008), Operations
    Research 56(4):850-864; the instances are those of Gijsbrechts, Boute, Van Mieghem & Zhang (2022), M&SOM 24(3).

    ## Action Space
    ``Box(-1, 1, (2,), float32)``, regular first; see :class:`envs.inventory.InventoryEnv` for it and ``action_mode``.

    ## Observation Space
    Stock on hand, the inventory position of each supplier's order (the express one counts only what is there), what
    arrives at each receipt ahead, backlog; the periods left where the horizon is finite.

    ## Rewards
    Minus 100 per regular and ``express_price`` per express unit, 5 per unit on hand and 495 per unit of backlog.

    ## Starting State
    Nothing on hand, nothing under way, nothing owed.

    ## Episode End
    Truncated after ``horizon`` periods (104); terminated there with ``finite=True``.

    ## Arguments
    * ``regular_lead_time``: 2, 3 or 4 periods.
    * ``express_price``: 105 or 110 per unit.
    * all of :class:`envs.inventory.InventoryEnv` but ``network`` and ``parameters``.

    ``info["optimum"]`` holds the optimal average cost per period (216.7698 by default), found by dynamic programming.

    ## Version History
    * v0: first version.
    """

    def __init__(self, *, regular_lead_time: int = 2, express_price: int = 105, **arguments: Any) -> None:
        chosen = {"regular_lead_time": regular_lead_time, "express_price": express_price}
        super().__init__(**_problem("dual_sourcing", _DUAL_SOURCING, arguments, **chosen))


class DualSourcingVectorEnv(InventoryVectorEnv):
    """Many replicas of :class:`DualSourcingEnv` in one process; the same arguments, and ``num_envs``."""

    def __init__(
        self, num_envs: int = 1, *, regular_lead_time: int = 2, express_price: int = 105, **arguments: Any
    ) -> None:
        chosen = {"regular_lead_time": regular_lead_time, "express_price": express_price}
        super().__init__(num_envs, **_problem("dual_sourcing", _DUAL_SOURCING, arguments, **chosen))


class SerialEnv(InventoryEnv):
    """Four stages in series, the last of which serves customers who wait.

    ## Description
    Factory, national and regional warehouse and store, with lead times of 2, 4, 3 and ``store_lead_time`` periods.
    Every stage ships what it has after receipts and owes the rest; demand is normal (5, 2), cut at 0. An instance of
    Alvo, Russo & Kanoria (2023), arXiv:2306.11246; an echelon base-stock policy is optimal (Clark & Scarf 1960).

    ## Action Space
    ``Box(-1, 1, (4,), float32)``, upstream first; see :class:`envs.inventory.InventoryEnv` for it and ``action_mode``.

    ## Observation Space
    Of every stage stock on hand, inventory position, what arrives at each receipt ahead and what its source owes it;
    customer backlog; the periods left where the horizon is finite.

    ## Rewards
    Minus 0.1, 0.2, 0.5 and 1 per unit on hand, upstream first, and ``penalty`` per unit of backlog.

    ## Starting State
    10, 20, 15 and 10 units on hand and 5 a period under way, upstream first; the first of these have just arrived.

    ## Episode End
    Truncated after ``horizon`` periods (104); terminated there with ``finite=True``.

    ## Arguments
    * ``store_lead_time``: 1, 2, 3 or 4 periods.
    * ``penalty``: 4, 9, 19 or 39 per unit and period.
    * all of :class:`envs.inventory.InventoryEnv` but ``network`` and ``parameters``.

    ``info["optimum"]`` holds the optimal average cost per period (8.3669 by default), by Clark and Scarf's recursion.

    ## Version History
    * v0: first version.
    """

    def __init__(self, *, store_lead_time: int = 1, penalty: int = 9, **arguments: Any) -> None:
        chosen = {"store_lead_time": store_lead_time, "penalty": penalty}
        super().__init__(**_problem("serial_chain", _SERIAL, arguments, **chosen))


class SerialVectorEnv(InventoryVectorEnv):
    """Many replicas of :class:`SerialEnv` in one process; the same arguments, and ``num_envs``."""

    def __init__(self, num_envs: int = 1, *, store_lead_time: int = 1, penalty: int = 9, **arguments: Any) -> None:
        chosen = {"store_lead_time": store_lead_time, "penalty": penalty}
        super().__init__(num_envs, **_problem("serial_chain", _SERIAL, arguments, **chosen))


class OneWarehouseManyRetailersEnv(InventoryEnv):
    """One warehouse and many different retailers with correlated demand and lost sales.

    ## Description
    The warehouse (lead time 3) ships to retailers (lead time 2 or 3) what it has, in proportion to what they ask; what
    it lacks is cancelled. Demands are normal, cut at 0, with a correlation of 0.5. The setting of Alvo, Russo & Kanoria
    (2023), arXiv:2306.11246, with the retailers that it draws at random fixed (twin/library/one_warehouse.yaml).

    ## Action Space
    ``Box(-1, 1, (1 + retailers,), float32)``, the warehouse first; see :class:`envs.inventory.InventoryEnv` for it and
    ``action_mode``.

    ## Observation Space
    Of every stock point stock on hand, inventory position and what arrives at each receipt ahead; the periods left
    where the horizon is finite.

    ## Rewards
    Minus 0.3 per unit on hand in the warehouse, and each retailer's costs per unit on hand (0.7 to 1.3) and per unit
    lost (6.3 to 11.7).

    ## Starting State
    Half a period's mean demand on hand at every retailer and as much a period under way to it; the warehouse is empty.

    ## Episode End
    Truncated after ``horizon`` periods (104); terminated there with ``finite=True``.

    ## Arguments
    * ``retailers``: 3, 10 or 30.
    * all of :class:`envs.inventory.InventoryEnv` but ``network`` and ``parameters``.

    No optimum is known.

    ## Version History
    * v0: first version.
    """

    def __init__(self, *, retailers: int = 10, **arguments: Any) -> None:
        super().__init__(**_problem("one_warehouse", _ONE_WAREHOUSE, arguments, retailers=retailers))


class OneWarehouseManyRetailersVectorEnv(InventoryVectorEnv):
    """Many replicas of :class:`OneWarehouseManyRetailersEnv` in one process; the same arguments, and ``num_envs``."""

    def __init__(self, num_envs: int = 1, *, retailers: int = 10, **arguments: Any) -> None:
        super().__init__(num_envs, **_problem("one_warehouse", _ONE_WAREHOUSE, arguments, retailers=retailers))


class BeerGameEnv(InventoryEnv):
    """The beer game on its board: four stages, orders by mail, and a demand that doubles once. All four in one hand.

    ## Description
    Factory, distributor, wholesaler and retailer of Sterman (1989), Management Science 35(3):321-339. The source of an
    order reads it a week later, what it ships takes two weeks more, and so does production. Customers ask for 4 cases a
    week, from the fifth week on for 8; nothing is random.

    ## Action Space
    ``Box(-1, 1, (4,), float32)``, upstream first; see :class:`envs.inventory.InventoryEnv` for it and ``action_mode``.
    The levels of ``echelon`` follow the true mean of demand, and so know that it doubles.

    ## Observation Space
    Of every stage stock on hand, inventory position, orders in the mail, what arrives at each receipt ahead and what
    its source owes it; customer backlog, the latest demand, the weeks left where the horizon is finite. That demand
    will double is not shown.

    ## Rewards
    Minus 0.50 per case on hand and 1.00 per case owed, every week, at every stage.

    ## Starting State
    12 cases on hand at every stage and 4 in each step of mail and transport, the first of which have just arrived.

    ## Episode End
    Terminated after ``horizon`` weeks (36); truncated there with ``finite=False``.

    ## Arguments
    * all of :class:`envs.inventory.InventoryEnv` but ``network`` and ``parameters``.

    Sterman's benchmark rule costs 204 in 36 weeks (``policy_cost`` of the network); the least possible cost is not
    published, so that ``info`` has no optimum.

    ## Version History
    * v0: first version.
    """

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**_problem("beer_game", _BEER_GAME, arguments))


class BeerGameVectorEnv(InventoryVectorEnv):
    """Many replicas of :class:`BeerGameEnv` in one process; the same arguments, and ``num_envs``."""

    def __init__(self, num_envs: int = 1, **arguments: Any) -> None:
        super().__init__(num_envs, **_problem("beer_game", _BEER_GAME, arguments))
