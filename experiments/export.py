"""Export a run's policy as a bundle: ``python -m experiments.export run=<folder>``."""

from __future__ import annotations

from pathlib import Path

from agents.learners.extract import export_sb3
from experiments.cli import run_command, say
from experiments.config import ExportConfig
from experiments.loading import load_run

__all__ = ["export", "main"]

HELP = """
Write a run's policy as files that a production system can trust: no torch, no pickle, every file hashed.

  python -m experiments.export run=runs/essential_medicines_ppo/<folder>
  python -m experiments.export run=runs/essential_medicines_ppo/<folder> model=last output=bundles/medicines
"""


def export(config: ExportConfig) -> Path:
    """Write the bundle; returns its folder.

    Raises
    ------
    BundleError
        When the folder exists, or the numpy policy does not reproduce the trained one.
    """
    run = load_run(config.run, model=config.model)
    target = Path(config.output) if config.output is not None else run.folder.path / "bundle"
    info = run.folder.info()
    export_sb3(
        target,
        model=run.model,
        normalize=run.normalise,
        task=run.task,
        environment_id=run.config.env.id,
        arguments=run.arguments,
        training_info={
            "run": run.folder.path.name,
            "model": config.model,
            "timesteps": info.get("timesteps"),
            "best_validation_cost": info.get("best_validation_cost"),
            "seeds": info.get("seeds"),
            "versions": info.get("versions"),
        },
    )
    return target


def _command(config: ExportConfig) -> None:
    target = export(config)
    say(f"bundle: {target}")
    say(f"advice: python -m experiments.advise bundle={target} state={target / 'example_state.json'}")


def main() -> None:
    """Command line."""
    run_command("export", ExportConfig, _command, HELP)


if __name__ == "__main__":
    main()
