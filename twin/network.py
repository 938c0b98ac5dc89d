"""What the user writes: a supply network as a YAML file, checked before anything runs.

A network names products, sites, external suppliers, lanes with transport modes, recipes, resources and demand
streams, the order of the phases of a period, and every cost. Quantities are in the product's ``unit``, money in
``currency``, times in periods unless a key says otherwise.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field, ValidationError, field_validator

from twin.contracts import Contract, Expediting
from twin.demand import Correlation, Demand, Forecast, Goodwill, Name, RandomShock, Seasonality, Shock, Trend
from twin.disruptions import Availability, Cause, EarlyWarning, Window
from twin.distributions import TAGS, Distribution
from twin.network_file import NetworkFile, invalid
from twin.periods import DAYS, TimeUnit
from twin.prices import Break, PriceProcess, Tariff
from twin.schema import Flag, NonNegative, Positive, Share, StrictModel, Whole, explain

if TYPE_CHECKING:
    import networkx as nx

__all__ = [
    "ArcTerms",
    "Availability",
    "Break",
    "Cause",
    "Contract",
    "Correlation",
    "Delay",
    "Demand",
    "Docks",
    "EarlyWarning",
    "Expediting",
    "Forecast",
    "Goodwill",
    "KnownValue",
    "Lane",
    "Mode",
    "Network",
    "Offer",
    "Phase",
    "PriceProcess",
    "Product",
    "RandomShock",
    "Recipe",
    "Resource",
    "Seasonality",
    "Shock",
    "Site",
    "Stock",
    "Supplier",
    "Tariff",
    "Trend",
    "Window",
    "WorkingHours",
]

Phase = Literal["receive", "order", "demand"]
#: The three orders of the phases that the literature uses; they are different problems.
PHASE_ORDERS: tuple[tuple[Phase, Phase, Phase], ...] = (
    ("receive", "order", "demand"),
    ("order", "receive", "demand"),
    ("receive", "demand", "order"),
)

#: Keys whose value is a distribution: pydantic adds the distribution's name to the path below them.
_DISTRIBUTION_KEYS = frozenset(
    {"lead_time", "distribution", "size", "time", "duration", "factor", "handling_time", "shock", "start"}
)


class Product(StrictModel):
    """Something that is stocked, moved and sold."""

    unit: str = Field(default="unit", min_length=1)
    integer: Flag = Field(default=False, description="orders and shipments are whole units")
    weight_kg_per_unit: Positive | None = None
    shelf_life: Whole | None = Field(default=None, ge=1, description="periods in which a fresh unit can be used")
    issue: Literal["first_expired", "first_in", "last_expired"] = Field(
        default="first_expired", description="which units of a perishable product leave first"
    )
    description: str = ""


class Stock(StrictModel):
    """One product at one site: a stock point."""

    holding_cost: NonNegative = Field(default=0.0, description="money per unit on hand at the end of a period")
    initial: NonNegative = Field(default=0.0, description="units on hand at the start")
    waste_cost: NonNegative = Field(default=0.0, description="money per unit that perishes here or on its way here")
    terminal_value: NonNegative = Field(
        default=0.0, description="money per unit on hand or on its way here when a finite horizon ends"
    )


class Docks(StrictModel):
    """Berths where shipments unload one after another; run by the event engine alone."""

    berths: Whole = Field(ge=1)
    handling_time: Distribution = Field(description="of one shipment at a berth")
    handling_time_unit: TimeUnit | None = Field(default=None, description="the network's period when absent")


class WorkingHours(StrictModel):
    """When a site works, in a repeating cycle; run by the event engine alone (shipments wait at a closed gate)."""

    cycle: Positive = Field(description="length of the cycle")
    open: tuple[tuple[NonNegative, Positive], ...] = Field(min_length=1, description="[from, to] within the cycle")
    unit: TimeUnit | None = Field(default=None, description="of all three; the network's period when absent")

    @field_validator("open")
    @classmethod
    def _in_order(cls, windows: tuple[tuple[float, float], ...]) -> tuple[tuple[float, float], ...]:
        times = [time for window in windows for time in window]
        if any(b <= a for a, b in pairwise(times)):
            raise ValueError("windows must be in order, must not overlap and must end after they begin")
        return windows


class Site(StrictModel):
    """A place that holds stock."""

    kind: Literal["plant", "port", "warehouse", "distribution_centre", "store", "customer"] = "warehouse"
    region: str = ""
    position: tuple[float, float] | None = Field(default=None, description="longitude, latitude")
    rationing: Literal["proportional", "priority"] = Field(
        default="proportional", description="who is served when stock is short; priority = order of lanes in the file"
    )
    stock: dict[Name, Stock] = Field(default_factory=dict, description="product -> stock point")
    docks: Docks | None = None
    working_hours: WorkingHours | None = None


class Offer(StrictModel):
    """A product that an external supplier sells."""

    price: NonNegative = Field(default=0.0, description="money per unit, paid when it ships")
    breaks: tuple[Break, ...] = Field(default=(), description="lower prices from a quantity on, in ascending order")
    price_process: PriceProcess | None = Field(default=None, description="how the price moves; it stays when absent")


class Delay(StrictModel):
    """A supplier's lateness: with ``probability`` a shipment leaves ``time`` later than promised."""

    probability: Share
    time: Distribution
    unit: TimeUnit | None = Field(default=None, description="unit of time; the network's period when absent")


class Supplier(StrictModel):
    """An external source with unlimited stock; ``uses`` limits it."""

    offers: dict[Name, Offer] = Field(min_length=1)
    region: str = ""
    position: tuple[float, float] | None = None
    delay: Delay | None = None
    uses: dict[Name, Positive] = Field(default_factory=dict, description="resource -> amount per unit shipped")
    on_time_share: Share | None = Field(default=None, description="measured reliability, for the reader")
    contract: Contract | None = Field(default=None, description="needed to order from it; nothing when absent")


class ArcTerms(StrictModel):
    """What every arc has: a lead time, limits, rules for orders and costs."""

    lead_time: Distribution = Field(description="from order to receipt, or from start to finished stock")
    lead_time_unit: TimeUnit | None = Field(default=None, description="the network's period when absent")
    crossing: Flag = Field(default=True, description="whether a shipment may overtake an earlier one")
    order_delay: Whole = Field(default=0, ge=0, le=1000, description="periods that an order takes to reach the source")
    minimum_order: NonNegative = Field(default=0.0, description="smallest order above 0; less becomes the nearest")
    lot_size: Positive | None = Field(default=None, description="orders are whole multiples of it (the nearest)")
    maximum_order: NonNegative | None = Field(default=None, description="largest order in a period")
    fixed_cost: NonNegative = Field(default=0.0, description="money per period in which the arc ships")
    transit_holding_cost: NonNegative = Field(default=0.0, description="money per unit under way per period")
    backorder_cost: NonNegative = Field(default=0.0, description="money per unit the source owes, per period")
    emissions_kg_per_unit: NonNegative = 0.0
    capacity: NonNegative | None = Field(default=None, description="most units shipped in a period; 0 closes it")
    uses: dict[Name, Positive] = Field(default_factory=dict, description="resource -> amount per unit shipped")
    unfilled: Literal["cancelled", "backordered"] = Field(
        default="cancelled", description="what happens to the part of an order that the source cannot ship"
    )
    when_down: Literal["refused", "waits"] | None = Field(
        default=None, description="what happens to an order while a resource it uses is down; as unfilled when absent"
    )
    share: NonNegative | None = Field(default=None, description="usual share of the inflow; equal when absent")
    initial_flow: NonNegative = Field(default=0.0, description="units already under way per period at the start")


class Mode(ArcTerms):
    """One way to move a product along a lane (air, ocean, truck, ...)."""

    freight_cost: NonNegative = Field(default=0.0, description="money per unit shipped")
    expediting: Expediting | None = Field(default=None, description="whether what is under way may be moved forward")


class Lane(StrictModel):
    """A connection from a supplier or a site to a site, for one product, with one or more modes."""

    origin: Name = Field(alias="from")
    destination: Name = Field(alias="to")
    product: Name
    modes: dict[Name, Mode] = Field(min_length=1)


class Recipe(ArcTerms):
    """Production at a site: inputs (units per unit started) become one unit of the product after a lead time."""

    site: Name
    product: Name
    inputs: dict[Name, Positive] = Field(min_length=1)
    yield_share: float = Field(default=1.0, strict=True, gt=0.0, le=1.0, description="good units per unit started")
    unit_cost: NonNegative = Field(default=0.0, description="money per unit started")


class Resource(StrictModel):
    """Something that lanes and recipes share and that is limited: a line, a quay, a supplier's capacity."""

    capacity: NonNegative | None = Field(
        default=None, description="amount per period; 0 means nothing, and nothing given means no limit while it is up"
    )
    unit: str = "unit"
    cost_per_unit: NonNegative = 0.0
    overhead: NonNegative = Field(default=0.0, description="money per period, used or not")
    overhead_when_down: NonNegative | None = Field(
        default=None, description="the same in a period in which its availability is 0; as overhead when absent"
    )
    rationing: Literal["proportional", "priority"] = "proportional"
    calendar: tuple[Share, ...] = Field(
        default=(), description="share of the capacity that there is in period 0, 1, ..., repeating; all when absent"
    )
    availability: Availability | None = None
    causes: tuple[Name, ...] = Field(
        default=(), description="what it depends on besides: its share is multiplied by those of its causes"
    )


class KnownValue(StrictModel):
    """A value of this network that somebody else has computed or published."""

    name: Literal["optimal_cost", "best_base_stock_cost", "best_constant_cost", "policy_cost", "hindsight_cost"]
    value: float
    detail: str = ""
    source: str


class Network(NetworkFile):
    """A whole supply network.

    Build one with :meth:`load` (a YAML or JSON file), :meth:`parse` (a mapping) or the constructor.
    """

    period: TimeUnit = "week"
    currency: str = "money"
    emission_price_per_kg: NonNegative = 0.0
    phases: tuple[Phase, Phase, Phase] = ("receive", "order", "demand")
    products: dict[Name, Product] = Field(min_length=1)
    sites: dict[Name, Site] = Field(min_length=1)
    suppliers: dict[Name, Supplier] = Field(default_factory=dict)
    lanes: tuple[Lane, ...] = ()
    recipes: dict[Name, Recipe] = Field(default_factory=dict)
    resources: dict[Name, Resource] = Field(default_factory=dict)
    causes: dict[Name, Cause] = Field(default_factory=dict, description="what several resources lose at once")
    demands: dict[Name, Demand] = Field(min_length=1)
    correlations: tuple[Correlation, ...] = ()
    known_values: tuple[KnownValue, ...] = ()
    records: Flag = Field(
        default=False,
        description="keep how suppliers have delivered of late even where none has a contract",
    )

    @field_validator("phases")
    @classmethod
    def _phase_order(cls, phases: tuple[Phase, Phase, Phase]) -> tuple[Phase, Phase, Phase]:
        if phases not in PHASE_ORDERS:
            allowed = "; ".join(", ".join(order) for order in PHASE_ORDERS)
            raise ValueError(f"must be one of: {allowed}")
        return phases

    # -- in and out ---------------------------------------------------------------------------------------------

    @classmethod
    def parse(cls, data: Mapping[str, Any], *, where: str = "network") -> Network:
        from twin.checks import structural_problems

        try:
            network = cls.model_validate(data)
        except ValidationError as error:
            raise invalid(where, "network", explain(error, union_keys=_DISTRIBUTION_KEYS, union_tags=TAGS)) from None
        problems = structural_problems(network)
        if problems:
            raise invalid(where, "network", problems)
        return network

    def to_dict(self) -> dict[str, Any]:
        """Plain data that :meth:`parse` reads back to an equal network; defaults are left out."""
        short = self.model_dump(mode="json", by_alias=True, exclude_defaults=True)
        data: dict[str, Any] = _tagged(short, self.model_dump(mode="json", by_alias=True))
        return data

    # -- views --------------------------------------------------------------------------------------------------

    def graph(self) -> nx.MultiDiGraph:
        """The network as a networkx graph: suppliers and sites are nodes, every (lane, mode) is an edge.

        Nodes carry ``kind``, ``region`` and ``position``; edges carry ``product``, ``mode`` and
        ``mean_lead_time_periods``. Recipes are self-loops with ``mode="recipe"``.
        """
        import networkx as nx  # here: it takes a tenth of a second that runs without a picture need not spend

        graph = nx.MultiDiGraph(name=self.name)
        for name, supplier in self.suppliers.items():
            graph.add_node(name, kind="supplier", region=supplier.region, position=supplier.position)
        for name, site in self.sites.items():
            graph.add_node(name, kind=site.kind, region=site.region, position=site.position)
        for lane in self.lanes:
            for mode_name, mode in lane.modes.items():
                graph.add_edge(
                    lane.origin,
                    lane.destination,
                    key=f"{lane.product}:{mode_name}",
                    product=lane.product,
                    mode=mode_name,
                    mean_lead_time_periods=self._mean_lead_time(lane.origin, mode),
                )
        for name, recipe in self.recipes.items():
            graph.add_edge(
                recipe.site,
                recipe.site,
                key=f"recipe:{name}",
                product=recipe.product,
                mode="recipe",
                mean_lead_time_periods=recipe.lead_time.mean_value / self.periods(recipe.lead_time_unit),
            )
        return graph

    def _mean_lead_time(self, origin: str, mode: Mode) -> float:
        promised = mode.lead_time.mean_value / self.periods(mode.lead_time_unit)
        delay = self.suppliers[origin].delay if origin in self.suppliers else None
        if delay is None:
            return promised
        return promised + delay.probability * delay.time.mean_value / self.periods(delay.unit)

    def periods(self, unit: str | None) -> float:
        """How many of ``unit`` make one period of this network (1 when ``unit`` is None)."""
        return 1.0 if unit is None else DAYS[self.period] / DAYS[unit]

    def stock_points(self) -> list[tuple[str, str]]:
        """All (site, product) pairs that hold stock, in file order."""
        return [(site, product) for site, entry in self.sites.items() for product in entry.stock]

    def known_value(self, name: str) -> KnownValue | None:
        """The published value called ``name`` (for example ``optimal_cost``), or None."""
        return next((entry for entry in self.known_values if entry.name == name), None)


def _tagged(short: Any, full: Any) -> Any:
    """Put back the ``distribution`` tags that leaving out defaults removed."""
    if isinstance(short, dict):
        out = {key: _tagged(value, full[key]) for key, value in short.items()}
        return {"distribution": full["distribution"], **out} if "distribution" in full and not _is_nested(full) else out
    if isinstance(short, list):
        return [_tagged(a, b) for a, b in zip(short, full, strict=True)]
    return short


def _is_nested(full: dict[str, Any]) -> bool:
    return isinstance(full["distribution"], dict)
