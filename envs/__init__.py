"""Gymnasium environments on the supply network twin. Importing this package registers them."""

from gymnasium.envs.registration import register

register(
    id="cogtwin/Inventory-v0",
    entry_point="envs.inventory:InventoryEnv",
    vector_entry_point="envs.inventory:InventoryVectorEnv",
)
