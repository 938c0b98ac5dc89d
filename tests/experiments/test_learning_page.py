"""Every command of docs/learning.md composes to a valid configuration, and its files are what they say."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from experiments.benchmark_config import BenchmarkConfig
from experiments.catalogue import KINDS
from experiments.cli import compose
from experiments.config import CompareConfig, EpisodeConfig, EvaluateConfig, TrainConfig, parse
from experiments.tune_config import SearchConfig, TuneConfig, check_search

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "docs" / "learning.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```bash\n(.*?)^```", TEXT, re.S | re.M)
COMMANDS = [
    line.split("#")[0].strip() for body in BLOCKS for line in body.splitlines() if line.startswith("python -m ")
]
SCHEMAS: dict[str, Any] = {
    "benchmark": BenchmarkConfig,
    "compare": CompareConfig,
    "episode": EpisodeConfig,
    "evaluate": EvaluateConfig,
    "train": TrainConfig,
    "tune": TuneConfig,
}


@pytest.mark.parametrize("command", COMMANDS)
def test_commands_compose(command: str) -> None:
    """Names of files and keys exist; of a sweep the first run. A folder of one's own is another test's."""
    name, *words = command.removeprefix("python -m experiments.").split()
    if name == "list":
        assert set(words) <= set(KINDS)
        return
    if "--config-dir" in words:
        assert words[words.index("--config-dir") + 1] == "my_configs"
        return
    if "-m" in words:
        words = [re.sub(r"^([\w.]+=[^\[,]+),.*$", r"\1", word) for word in words if word != "-m"]
    config = parse(SCHEMAS[name], compose(name, [word.strip("\"'") for word in words]))
    if isinstance(config, TuneConfig):
        check_search(config)


def test_the_search_space_of_the_page_is_one() -> None:
    """It parses, and fits the experiment that it is searched in."""
    body = next(body for body in re.findall(r"^```yaml\n(.*?)^```", TEXT, re.S | re.M) if "kind:" in body)
    space = parse(SearchConfig, yaml.safe_load(body))
    config = parse(TuneConfig, compose("tune", ["experiment=lost_sales_ppo"]))
    check_search(config.model_copy(update={"search": space}))
