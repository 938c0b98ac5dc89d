"""What the commands share: composing a configuration, and errors as one sentence with an exit code."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, TypeVar

from twin.errors import CogTwinError, ConfigError, did_you_mean
from twin.schema import StrictModel, models_of

__all__ = ["INTERRUPTED", "OK", "USAGE", "compose", "configured", "explained", "run_command", "say"]

OK, USAGE, INTERRUPTED = 0, 2, 130
Model = TypeVar("Model", bound=StrictModel)


def say(text: str) -> None:
    """Write a line for the person at the terminal."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def compose(name: str, overrides: Sequence[str]) -> dict[str, Any]:
    """Compose a Hydra configuration in this process, without Hydra's command line: for tests and notebooks.

    Parameters
    ----------
    name
        A top-level file of ``configs`` (``train``, ``evaluate``, ``export``).
    overrides
        As on the command line, for example ``["experiment=lost_sales_ppo", "training.steps=2048"]``.
    """
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    # Inside a command Hydra is in use already, and would refuse a second composition.
    instance = GlobalHydra.instance()
    outer, instance.hydra = instance.hydra, None
    try:
        with hydra.initialize_config_module("configs", version_base="1.3"):
            return plain(hydra.compose(name, overrides=list(overrides)))
    finally:
        instance.hydra = outer


def configured(name: str, schema: type[Model], overrides: Sequence[str], **values: Any) -> Model:
    """What :func:`compose` gives, with some keys set beside Hydra's grammar, checked: for notebooks.

    Raises
    ------
    ConfigError
        As on the command line.
    """
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from experiments.config import parse

    try:
        data = compose(name, overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ConfigError(explained(error, schema)) from None
    return parse(schema, data | values)


def explained(error: Exception, schema: type[StrictModel]) -> str:
    """An error as a sentence; what Hydra does not find is answered with what there is, and the nearest match."""
    text = str(error)
    key = re.search(r"Could not override '([^']+)'", text)
    place, model = "the configuration", schema
    for part in key[1].split(".") if key is not None else []:
        known = sorted(model.model_fields)
        if part not in known:
            return f"{place} has no key '{part}' (allowed: {', '.join(known)}){did_you_mean(part, known)}"
        inside = models_of(model.model_fields[part].annotation)
        if not inside:
            break
        place, model = part if model is schema else f"{place}.{part}", inside[0]
    option = re.search(r"Could not find '([^'/]+)/([^']+)'", text)
    listed = re.search(r"Available options in '[^']+':\n((?:\t.*\n?)+)", text)
    if option is not None and listed is not None:
        known = listed[1].split()
        return f"{option[1]}: no '{option[2]}' (allowed: {', '.join(known)}){did_you_mean(option[2], known)}"
    return text


def plain(config: Any) -> dict[str, Any]:
    """A composed configuration as plain data, without the keys an experiment file leaves behind.

    Raises
    ------
    ConfigError
        When a value is missing (``???`` in a file).
    """
    from omegaconf import OmegaConf

    missing = sorted(key for key in OmegaConf.missing_keys(config) if not key.startswith("hydra."))
    if missing:
        raise ConfigError(
            "; ".join(f"{key}: this value is required and missing, give it as {key}=..." for key in missing)
        )
    data: Any = OmegaConf.to_container(config, resolve=True)
    return {key: value for key, value in data.items() if key not in {"hydra", "experiment"}}


def run_command(name: str, schema: type[Model], command: Callable[[Model], object], help_text: str) -> None:
    """Run one command of the command line.

    The arguments are Hydra overrides (``key=value``, ``group=option``, ``-m`` for a sweep). What they compose to is
    checked against ``schema``; a problem ends the program with a message and exit code 2.
    """
    if any(argument in {"-h", "--help"} for argument in sys.argv[1:]):
        say(help_text.strip() + "\n\nGroups and options:\n" + _options())
        return
    import hydra
    from hydra.errors import HydraException
    from omegaconf.errors import OmegaConfBaseException

    from experiments.config import parse

    def main(config: Any) -> None:
        command(parse(schema, plain(config)))

    # Hydra then raises its errors instead of ending the program by itself.
    os.environ["HYDRA_FULL_ERROR"] = "1"
    try:
        _check_sweep(name, schema, sys.argv[1:])
        hydra.main(version_base="1.3", config_path="pkg://configs", config_name=name)(main)()
    except (CogTwinError, HydraException, OmegaConfBaseException) as error:
        sys.stderr.write(f"error: {explained(error, schema)}\n")
        sys.exit(USAGE)
    except ImportError as error:
        if "pip install" not in str(error):  # an extra that is not installed, and not a fault of the program
            raise
        sys.stderr.write(f"error: {error}\n")
        sys.exit(USAGE)
    except KeyboardInterrupt:
        sys.stderr.write("interrupted\n")
        sys.exit(INTERRUPTED)


def _check_sweep(name: str, schema: type[StrictModel], words: Sequence[str]) -> None:
    """Check every run of a sweep before the first one starts; Hydra composes them all, and the schema would come late.

    Raises
    ------
    ConfigError
        With the words of each run that is not valid, and what is wrong.
    """
    flags = {word for word in words if word.startswith("-")}
    if not flags or not flags <= {"-m", "--multirun"}:  # with others Hydra finds files elsewhere
        return
    from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
    from hydra.core.override_parser.overrides_parser import OverridesParser

    overrides = OverridesParser.create().parse_overrides([word for word in words if word not in flags])
    wrong = []
    for run in chain.from_iterable(BasicSweeper.split_arguments(overrides, max_batch_size=None)):
        try:
            configured(name, schema, run)
        except ConfigError as error:
            wrong.append(f"{' '.join(run)}: {error}")
    if wrong:
        raise ConfigError("the sweep is not valid, and nothing has run:\n" + "\n".join(wrong))


def _options() -> str:
    import configs

    folder = Path(str(configs.__file__)).parent
    lines = []
    for group in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("_")):
        lines.append(f"  {group.name}=" + "|".join(sorted(file.stem for file in group.glob("*.yaml"))))
    return "\n".join(lines)
