"""The differentiable twin on networks that are understood: closed forms, finite differences, limits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from twin import library
from twin.differentiable import DifferentiableTwin, TensorDraws
from twin.economics import COST_TERMS
from twin.engine import Twin
from twin.errors import ActionError
from twin.network import Network

TERMS = [term.name for term in COST_TERMS]


pytestmark = pytest.mark.usefixtures("one_thread")


def shop(demand: Any, *, integer: bool = False, **lane: Any) -> Network:
    """One stock point and one supplier, holding cost 1 and a penalty of 4 for each unit short."""
    return Network.parse(
        {
            "name": "shop",
            "products": {"item": {"integer": integer}},
            "suppliers": {"supplier": {"offers": {"item": {}}}},
            "sites": {"shop": {"stock": {"item": {"holding_cost": 1.0}}}},
            "lanes": [{"from": "supplier", "to": "shop", "product": "item", "modes": {"van": {"lead_time": 0} | lane}}],
            "demands": {
                "sales": {"site": "shop", "product": "item", "distribution": demand, "unmet": "lost", "penalty": 4.0}
            },
        }
    )


def warehouse(*, integer: bool = False, rationing: str = "proportional", **lane: Any) -> Network:
    """A warehouse with 20 units and three stores that draw on it."""
    terms = {"lead_time": 1} | lane
    stores = {f"store{k}": {"stock": {"item": {"holding_cost": 1.0, "initial": 4.0}}} for k in range(3)}
    lanes = [{"from": "warehouse", "to": name, "product": "item", "modes": {f"to_{name}": terms}} for name in stores]
    supply = {"from": "supplier", "to": "warehouse", "product": "item", "modes": {"rail": {"lead_time": 2}}}
    return Network.parse(
        {
            "name": "warehouse",
            "products": {"item": {"integer": integer}},
            "suppliers": {"supplier": {"offers": {"item": {"price": 2.0}}}},
            "sites": {
                "warehouse": {"rationing": rationing, "stock": {"item": {"holding_cost": 0.5, "initial": 20.0}}},
            }
            | stores,
            "lanes": [supply, *lanes],
            "demands": {
                name: {"site": name, "product": "item", "distribution": 3, "unmet": "backlog", "penalty": 9.0}
                for name in stores
            },
        }
    )


def start(network: Network, replicas: int = 1, seed: int = 3, **options: Any) -> tuple[DifferentiableTwin, Twin]:
    kernel = Twin(network, replicas=replicas, seed=seed)
    return DifferentiableTwin(kernel.compiled, **options), kernel


def one_period(twin: DifferentiableTwin, kernel: Twin, orders: torch.Tensor) -> tuple[Any, torch.Tensor]:
    draws = twin.draws(kernel.state, 1)
    return twin.step(twin.from_twin_state(kernel.state), orders, *(values[0] for values in draws))


# -- closed forms -----------------------------------------------------------------------------------------------


def test_newsvendor_gradient():
    """The derivative of the expected cost at level S is h F(S) - p (1 - F(S)), within five standard errors."""
    law = stats.gamma(4.0, scale=2.5)
    twin, kernel = start(shop({"distribution": "gamma", "mean": 10.0, "sd": 5.0}), replicas=40_000)
    for level in (6.0, 10.0, law.ppf(0.8)):
        orders = torch.full((1, 40_000), float(level), dtype=torch.float64, requires_grad=True)
        _, costs = one_period(twin, kernel, orders)
        costs.sum().backward()
        below = law.cdf(level)
        error = 5.0 * np.sqrt(below * (1 - below) / 40_000) * (1.0 + 4.0)
        assert abs(float(orders.grad.mean()) - (1.0 * below - 4.0 * (1 - below))) < error


def test_integer_newsvendor_gradient():
    """In whole units, straight through, the gradient is the central difference of the expected cost."""
    law = stats.poisson(5.0)
    network = shop({"distribution": "poisson", "mean": 5.0}, integer=True)
    twin, kernel = start(network, replicas=40_000, rounding="straight_through")
    for level in (3, 7):
        orders = torch.full((1, 40_000), float(level), dtype=torch.float64, requires_grad=True)
        _, costs = one_period(twin, kernel, orders)
        costs.sum().backward()
        below = 0.5 * (law.cdf(level) + law.cdf(level - 1))
        assert abs(float(orders.grad.mean()) - (1.0 * below - 4.0 * (1 - below))) < 5.0 * 2.5 / np.sqrt(40_000)
    exact, kernel = start(network, replicas=4)
    orders = torch.full((1, 4), 7.0, dtype=torch.float64, requires_grad=True)
    one_period(exact, kernel, orders)[1].sum().backward()
    assert not orders.grad.any()


def test_feasible_orders_pass_the_gradient_straight_through():
    """Minimum, lots and whole units move the order, not its gradient; beyond the largest order there is none."""
    network = shop(3, integer=True, lot_size=4.0, minimum_order=8.0, maximum_order=20.0, lead_time=1)
    twin, kernel = start(network, replicas=5, rounding="straight_through")
    orders = torch.tensor([[3.0, 5.0, 9.5, 13.9, 40.0]], dtype=torch.float64, requires_grad=True)
    state, _ = one_period(twin, kernel, orders)
    assert state.shipped.tolist() == [[0.0, 8.0, 8.0, 12.0, 20.0]]
    state.shipped.sum().backward()
    assert orders.grad.tolist() == [[1.0, 1.0, 1.0, 1.0, 0.0]]
    relaxed, _ = start(network, replicas=5, rounding="none")
    assert one_period(relaxed, kernel, orders.detach())[0].shipped.tolist() == [[0.0, 8.0, 9.5, 13.9, 20.0]]


def test_nothing_is_ordered_for_nan_and_below_zero():
    """NaN and negative orders are no orders, and pass no gradient."""
    twin, kernel = start(shop(3.5, lead_time=1), replicas=3)
    orders = torch.tensor([[float("nan"), -2.0, 5.0]], dtype=torch.float64, requires_grad=True)
    state, _ = one_period(twin, kernel, orders)
    assert state.shipped.tolist() == [[0.0, 0.0, 5.0]]
    state.shipped.sum().backward()
    assert orders.grad.tolist() == [[0.0, 0.0, 1.0]]


@pytest.mark.parametrize("rounding", ["none", "straight_through"])
def test_shares_pass_gradients(rounding):
    """20 units for requests of 10, 20 and 30: the derivatives are those of 20 q[i] / (q[0] + q[1] + q[2])."""
    twin, kernel = start(warehouse(integer=rounding != "none"), rounding=rounding)
    asked = torch.tensor([[0.0], [10.0], [20.0], [30.0]], dtype=torch.float64)

    def shipped(orders: torch.Tensor) -> torch.Tensor:
        return one_period(twin, kernel, orders)[0].shipped[1:, 0]

    if rounding == "straight_through":
        assert shipped(asked).tolist() == [3.0, 6.0, 11.0]
    jacobian = torch.autograd.functional.jacobian(shipped, asked)[:, 1:, 0]
    requests = asked[1:, 0]
    expected = 20.0 * (torch.eye(3) / 60.0 - requests[:, None] / 3600.0)
    torch.testing.assert_close(jacobian, expected.double(), rtol=1e-6, atol=0)


def test_gradients_stay_bounded_where_nothing_is_asked_for():
    """Arcs in turn that ask for nothing, from stock or from none, pass gradients of the size of the costs."""
    network = warehouse().to_dict()
    network["resources"] = {"trucks": {"capacity": 6.0}}
    for lane in network["lanes"][1:]:
        for mode in lane["modes"].values():
            mode["uses"] = {"trucks": 1.0}
    twin, kernel = start(Network.parse(network), replicas=2)
    kernel.state.arrays.on_hand[0, 1] = 0.0
    orders = torch.zeros(4, 2, dtype=torch.float64)
    draws = twin.draws(kernel.state, 3)

    def cost(amounts: torch.Tensor) -> torch.Tensor:
        _, costs = twin.rollout(lambda _: amounts, twin.from_twin_state(kernel.state), draws)
        return costs.sum()

    for amount in (0.0, 1e-300, 1e-12):
        leaf = (orders + amount).requires_grad_()
        cost(leaf).backward()
        assert float(leaf.grad.abs().max()) < 100.0


@pytest.mark.parametrize("up", [True, False])
def test_resources_without_a_limit(up):
    """Arcs on an unlimited resource ship what they ask for, or nothing while it is down; gradients are finite."""
    network = warehouse().to_dict()
    network["resources"] = {"quay": {"availability": {"failure": 0.1, "recovery": 0.5}}}
    for lane in network["lanes"]:
        for mode in lane["modes"].values():
            mode["uses"] = {"quay": 2.0}
    twin, kernel = start(Network.parse(network))
    kernel.state.arrays.availability[:] = float(up)
    orders = torch.tensor([[5.0], [4.0], [3.0], [0.0]], dtype=torch.float64, requires_grad=True)
    state, costs = one_period(twin, kernel, orders)
    assert state.shipped.tolist() == (orders.tolist() if up else [[0.0]] * 4)
    costs.sum().backward()
    assert torch.isfinite(orders.grad).all()


# -- finite differences -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "network",
    [
        warehouse(),
        warehouse(integer=True),
        warehouse(rationing="priority", unfilled="backordered"),
        warehouse(capacity=3.0, order_delay=1, crossing=False),
        warehouse(lead_time={"distribution": "uniform_integer", "low": 0, "high": 2}),
        shop({"distribution": "gamma", "mean": 10.0, "sd": 5.0}, lead_time=2),
        library.load("five_site_distribution"),
        library.load("serial_chain"),
    ],
    ids=["shared", "in turn", "priority", "capacity", "random lead time", "lost sales", "five sites", "chain"],
)
def test_a_step_passes_gradcheck(network):
    """Two steps, as a function of stock, orders and demand at a generic point, pass torch's own check."""
    twin, kernel = start(network, replicas=2, rounding="none")
    base = twin.from_twin_state(kernel.state)
    generator = torch.Generator().manual_seed(5)

    def noise(values: torch.Tensor) -> torch.Tensor:
        return torch.rand(values.shape, generator=generator, dtype=torch.float64)

    draws = twin.draws(kernel.state, 2)
    inputs = base.on_hand + noise(base.on_hand), 12.0 * noise(base.shipped), draws.demand + noise(draws.demand)

    def outcome(on_hand: torch.Tensor, orders: torch.Tensor, demand: torch.Tensor) -> tuple[torch.Tensor, ...]:
        state = base._replace(on_hand=on_hand)
        state, costs = twin.rollout(lambda _: orders, state, draws._replace(demand=demand))
        return costs, state.on_hand, state.in_transit, state.backlog

    assert torch.autograd.gradcheck(outcome, tuple(values.requires_grad_() for values in inputs))


@pytest.mark.parametrize("name", ["serial_chain", "five_site_distribution"])
def test_base_stock_levels_against_the_kernel(name):
    """The gradient of a horizon's cost in the base-stock levels is the slope that the kernel's own rollouts show."""
    twin, kernel = start(library.load(name), replicas=64, rounding="none")
    arcs, periods = kernel.compiled.n_arcs, 30
    levels = {"serial_chain": [14.3, 22.1, 18.7, 12.9], "five_site_distribution": [520.3, 61.2, 66.8, 84.1, 47.7]}[name]
    draws = twin.draws(kernel.state, periods)
    leaf = torch.tensor(levels, dtype=torch.float64, requires_grad=True)
    _, costs = twin.rollout(twin.base_stock(leaf), twin.from_twin_state(kernel.state), draws)
    costs.sum().backward()

    def cost(moved: np.ndarray) -> float:
        return float(kernel.fork().rollout("base_stock", moved, periods).cost.sum()) * periods

    np.testing.assert_allclose(costs.sum().item(), cost(np.array(levels)), rtol=1e-10)
    step = 1e-5
    for a in range(arcs):
        aside = step * np.eye(arcs)[a]
        slope = (cost(levels + aside) - cost(levels - aside)) / (2 * step)
        assert abs(slope - float(leaf.grad[a])) < 1e-5 * max(1.0, abs(slope)) + 1e-3


# -- the object -------------------------------------------------------------------------------------------------


def test_recomputing_changes_neither_value_nor_gradient():
    """Segments that are computed again on the way back give the same costs, the same state and the same gradient."""
    twin, kernel = start(library.load("serial_chain"), replicas=8)
    draws = twin.draws(kernel.state, 10)
    results = []
    for recompute in (None, 3, 10):
        levels = torch.full((4,), 15.0, dtype=torch.float64, requires_grad=True)
        state, costs = twin.rollout(
            twin.base_stock(levels), twin.from_twin_state(kernel.state), draws, recompute=recompute
        )
        costs.sum().backward()
        results.append((costs.detach(), state.on_hand.detach(), levels.grad))
    for result in results[1:]:
        for got, expected in zip(result, results[0], strict=True):
            torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_nothing_is_changed_in_place():
    """A step leaves the state it starts from, the orders and the draws as they were."""
    twin, kernel = start(library.load("five_site_distribution"), replicas=3)
    state = twin.from_twin_state(kernel.state)
    kept, orders = twin.to_twin_state(state).content_hash(), torch.full((5, 3), 30.0, dtype=torch.float64)
    draws = twin.draws(state, 1)
    before = [values.clone() for values in draws]
    twin.step(state, orders, *(values[0] for values in draws))
    assert twin.to_twin_state(state).content_hash() == kept
    assert (orders == 30.0).all()
    for values, copy in zip(draws, before, strict=True):
        torch.testing.assert_close(values, copy, rtol=0, atol=0)


def test_detach_cuts_the_history():
    """After detaching, nothing of the state asks for a gradient, pipelines included."""
    twin, kernel = start(warehouse())
    orders = torch.full((4, 1), 5.0, dtype=torch.float64, requires_grad=True)
    state, _ = one_period(twin, kernel, orders)
    assert state.pipeline[0].requires_grad
    cut = state.detach()
    assert not any(slot.requires_grad for slot in cut.pipeline)
    assert not cut.on_hand.requires_grad
    assert twin.to_twin_state(cut).content_hash() == twin.to_twin_state(state).content_hash()


@pytest.mark.parametrize("name", ["serial_chain", "five_site_distribution", "lost_sales_zipkin2008"])
def test_single_precision(name):
    """In float32 costs agree with the kernel to six digits, and a float32 state goes through the tensors unchanged."""
    network = library.load(name)
    twin, kernel = start(network, replicas=16, dtype=torch.float32, rounding="straight_through")
    levels = torch.full((kernel.compiled.n_arcs,), 20.0, requires_grad=True)
    state, costs = twin.rollout(
        twin.base_stock(levels), twin.from_twin_state(kernel.state), twin.draws(kernel.state, 20)
    )
    costs.sum().backward()
    assert costs.dtype == state.on_hand.dtype == levels.grad.dtype == torch.float32
    assert torch.isfinite(levels.grad).all()
    expected = kernel.rollout("base_stock", np.full(kernel.compiled.n_arcs, 20.0), 20).terms * 20
    np.testing.assert_allclose(costs.detach().numpy(), expected, rtol=2e-5, atol=1e-2)
    single = Twin(network, replicas=3, seed=1, dtype=np.float32)
    single.step(np.full((kernel.compiled.n_arcs, 3), 4.0))
    back = twin.to_twin_state(twin.from_twin_state(single.state))
    assert back.content_hash() == single.state.content_hash()


def test_draws_of_several_periods_are_those_of_the_tape():
    """A block of draws equals the draws of its periods, with fixed lead times filled in."""
    twin, kernel = start(warehouse(lead_time={"distribution": "uniform_integer", "low": 0, "high": 2}), replicas=2)
    draws = twin.draws(kernel.state, 4)
    assert isinstance(draws, TensorDraws)
    assert (draws.lead_time[:, 0] == 2).all()
    later = twin.draws(twin.rollout(lambda s: s.shipped, twin.from_twin_state(kernel.state), draws.block(0, 3))[0], 1)
    for block, one in zip(draws, later, strict=True):
        torch.testing.assert_close(block[3:], one, rtol=0, atol=0)


def test_wrong_options_are_refused():
    """An unknown rounding and a precision of whole numbers are refused by name."""
    with pytest.raises(ValueError, match="rounding must be one of exact, straight_through, none, received 'some'"):
        DifferentiableTwin(warehouse(), rounding="some")
    with pytest.raises(ValueError, match=r"floating-point type, received torch\.int64"):
        DifferentiableTwin(warehouse(), dtype=torch.int64)


def test_on_a_graphics_processor():
    """The same costs and gradients on a CUDA device."""
    if not torch.cuda.is_available():
        pytest.skip("needs a CUDA device, and torch sees none")
    results = []
    for device in ("cpu", "cuda"):
        twin, kernel = start(library.load("five_site_distribution"), replicas=32, device=device)
        levels = torch.full((5,), 60.0, dtype=torch.float64, device=device, requires_grad=True)
        state, costs = twin.rollout(
            twin.base_stock(levels), twin.from_twin_state(kernel.state), twin.draws(kernel.state, 15)
        )
        costs.sum().backward()
        results.append((costs.detach().cpu(), state.on_hand.detach().cpu(), levels.grad.cpu()))
    for got, expected in zip(results[1], results[0], strict=True):
        torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_what_does_not_fit_is_refused():
    """States of other networks, levels of another length and segments without periods are named."""
    twin, kernel = start(shop(3.5, lead_time=1), replicas=2)
    with pytest.raises(ActionError, match="another network"):
        twin.from_twin_state(Twin(library.load("serial_chain")).state)
    state = twin.from_twin_state(kernel.state)
    with pytest.raises(ActionError, match="one row per arc"):
        twin.base_stock_orders(torch.ones(3), twin.positions(state))
    with pytest.raises(ActionError, match="recompute"):
        twin.rollout(twin.base_stock(torch.ones(1)), state, twin.draws(kernel.state, 2), recompute=0)
