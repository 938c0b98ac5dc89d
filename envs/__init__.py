"""Gymnasium environments on the supply network twin. Importing this package registers them."""

from gymnasium.envs.registration import register

register(
    id="cogtwin/Inventory-v0",
    entry_point="envs.inventory:InventoryEnv",
    vector_entry_point="envs.inventory:InventoryVectorEnv",
)
# No reward_threshold where the optimum is known: it is an average over an endless run, and an episode starts elsewhere,
# so that not even the optimal policy would earn minus optimum x horizon. info["optimum"] has it.
for _family in ("LostSales", "DualSourcing", "Serial", "OneWarehouseManyRetailers", "BeerGame"):
    register(
        id=f"cogtwin/{_family}-v0",
        entry_point=f"envs.families:{_family}Env",
        vector_entry_point=f"envs.families:{_family}VectorEnv",
    )
register(
    id="cogtwin/SupplierSwitching-v0",
    entry_point="envs.switching:SupplierSwitchingEnv",
    vector_entry_point="envs.switching:SupplierSwitchingVectorEnv",
)
register(
    id="cogtwin/Routing-v0",
    entry_point="envs.routing:RoutingEnv",
    vector_entry_point="envs.routing:RoutingVectorEnv",
)
