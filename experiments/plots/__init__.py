"""Pictures of results: matplotlib, colour-blind safe, labelled with units. Every function gives a Figure."""

from experiments.plots.costs import cost_figure
from experiments.plots.differences import DrawnPair, difference_figure
from experiments.plots.gaps import gap_figure
from experiments.plots.learning import LearningCurve, learning_curve, learning_figure
from experiments.plots.liner_map import leg_flows, liner_map_figure
from experiments.plots.network import mean_flows, network_figure
from experiments.plots.policy_map import StateGrid, policy_map_figure
from experiments.plots.profiles import profile, profile_figure
from experiments.plots.style import COLOURS, figure_png, figure_svg, save_figure
from experiments.plots.trajectories import plot_trajectories, trajectories, trajectory_figure

__all__ = [
    "COLOURS",
    "DrawnPair",
    "LearningCurve",
    "StateGrid",
    "cost_figure",
    "difference_figure",
    "figure_png",
    "figure_svg",
    "gap_figure",
    "learning_curve",
    "learning_figure",
    "leg_flows",
    "liner_map_figure",
    "mean_flows",
    "network_figure",
    "plot_trajectories",
    "policy_map_figure",
    "profile",
    "profile_figure",
    "save_figure",
    "trajectories",
    "trajectory_figure",
]
