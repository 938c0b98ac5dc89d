"""A bundle as a zip, and what neither a folder nor a zip gets past the reader; the commands on bundles."""

from __future__ import annotations

import io
import json
import os
import shutil
import stat
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import bundle_files
from agents.advisor.guardrails import Guardrails
from agents.bundle import Bundle
from agents.bundle_cli import OK, UNVERIFIED, USAGE, main
from agents.bundle_files import LIMITS, MANIFEST, pack
from agents.bundle_writer import Extras
from envs.inventory import InventoryTask
from tests.advisor.helpers import around
from tests.agents.test_bundle import edit_json, reseal, write
from twin.errors import BundleError

LEVELS = [500.0, 70.0, 80.0, 90.0, 20.0]


def full(path: Path, plain: Bundle) -> Bundle:
    task = InventoryTask("five_site_distribution")
    return write(
        path,
        task,
        Extras(
            fallback=("base_stock", dict(zip(task.compiled.arc_names, LEVELS, strict=True)), {"tuning_cost": 1.0}),
            guardrails=Guardrails.parse({"freshness": {"maximum_age_seconds": 60}}, "test"),
            outliers=around(plain, plain.example_state).to_dict(),
            seeds={"training": 4},
            config_hash="c" * 64,
            highest_mode="advisory",
        ),
    )


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("files")
    return full(folder / "full", write(folder / "plain", InventoryTask("five_site_distribution"))).path


@pytest.fixture(scope="module")
def archive(original: Path) -> Path:
    path = original.parent / "full.zip"
    pack(original, path, Bundle.load)
    return path


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(original, tmp_path / "copy"))


# -- what is in it ------------------------------------------------------------------------------------------------


def test_a_full_bundle_says_what_it_is(original: Path) -> None:
    bundle = Bundle.load(original)
    manifest, spec = bundle.manifest, json.loads((original / "spec.json").read_text())
    assert set(manifest["files"]) == set(LIMITS) - {MANIFEST, "evaluation.json"}
    assert (manifest["seeds"], manifest["config_hash"], manifest["highest_mode"]) == (
        {"training": 4},
        "c" * 64,
        "advisory",
    )
    assert {"schema", "created", "versions", "git_commit", "data", "calibration", "valid_until"} <= set(manifest)
    first = spec["observation"][0]
    assert first["path"] == "/observation/" + first["name"].replace("/", "~1")
    assert (first["dtype"], first["shape"], first["maximum_age_seconds"], first["required"]) == (
        "float32",
        [],
        60,
        True,
    )
    assert spec["period"] == {"unit": "week", "days": 7.0}
    assert spec["actions"][0].keys() == {"name", "kind", "unit", "low", "high", "step", "risk"}
    assert bundle.fallback is not None
    assert bundle.fallback.policy == "base_stock"
    assert "What it was measured to do" in bundle.contents["card.md"].decode()
    assert Guardrails.parse(bundle.guardrails, "x").freshness.maximum_age_seconds == 60


def test_a_zip_is_the_same_bundle(original: Path, archive: Path) -> None:
    one, other = Bundle.load(original), Bundle.load(archive)
    assert one.bundle_id == other.bundle_id
    assert one.contents == other.contents
    observations = np.ones((3, len(one.spec.fields)), dtype=np.float32)
    np.testing.assert_array_equal(one.predict(observations)[0], other.predict(observations)[0])


def test_a_zip_has_the_same_bytes_twice(
    original: Path, archive: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pack(original, tmp_path / "a.zip", Bundle.load)
    assert (tmp_path / "a.zip").read_bytes() == archive.read_bytes()
    # Exported twice: with the moment fixed, as for every build that must come out the same.
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    for name in ("b.zip", "c.zip"):
        write(tmp_path / name, InventoryTask("five_site_distribution"))
    assert (tmp_path / "b.zip").read_bytes() == (tmp_path / "c.zip").read_bytes()
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["a.zip", "b.zip", "c.zip"]


def test_the_layout_of_a_zip_stays_as_it_is() -> None:
    """Bytes that another version of Python must make as well, or every zip in use would be refused."""
    made = bundle_files._zipped({"spec.json": b"{}", "card.md": b"#"})
    assert made[:10] == b"PK\x03\x04\x14\x00\x00\x00\x00\x00"
    assert len(made) == 30 + 7 + 1 + 30 + 9 + 2 + 46 + 7 + 46 + 9 + 22


# -- damage -------------------------------------------------------------------------------------------------------


def test_300_random_flips_in_a_zip_are_refused(archive: Path, tmp_path: Path) -> None:
    data, rng, path = archive.read_bytes(), np.random.default_rng(0), tmp_path / "x.zip"
    for _ in range(300):
        place, bit = int(rng.integers(len(data))), int(rng.integers(8))
        changed = bytearray(data)
        changed[place] ^= 1 << bit
        path.write_bytes(changed)
        with pytest.raises(BundleError):
            Bundle.load(path)


def test_300_random_flips_in_a_folder_are_refused(folder: Path) -> None:
    files = sorted(folder.iterdir())
    sizes, rng = np.array([file.stat().st_size for file in files]), np.random.default_rng(1)
    for _ in range(300):
        file = files[int(rng.choice(len(files), p=sizes / sizes.sum()))]
        right = file.read_bytes()
        changed = bytearray(right)
        changed[int(rng.integers(len(right)))] ^= 1 << int(rng.integers(8))
        file.write_bytes(changed)
        with pytest.raises(BundleError):
            Bundle.load(folder)
        file.write_bytes(right)
    Bundle.load(folder)


@pytest.mark.parametrize("share", [0.0, 0.3, 0.999])
def test_a_truncated_zip_is_refused(archive: Path, tmp_path: Path, share: float) -> None:
    data = archive.read_bytes()
    (tmp_path / "x.zip").write_bytes(data[: int(share * len(data))])
    with pytest.raises(BundleError):
        Bundle.load(tmp_path / "x.zip")


def rezipped(archive: Path, path: Path, change: Callable[[dict[str, bytes]], None], **options: Any) -> Path:
    """The files of a zip, changed, in another zip."""
    with zipfile.ZipFile(archive) as read:
        contents = {name: read.read(name) for name in read.namelist()}
    change(contents)
    with zipfile.ZipFile(path, "w", **options) as written:
        for name, data in contents.items():
            written.writestr(name, data)
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda c: c.pop("arch.json"), r"the file 'arch\.json' is missing"),
        (lambda c: c.pop("fallback.json"), r"the file 'fallback\.json' is missing"),
        (lambda c: c.update({"evaluation.json": b"{}"}), r"does not list the file 'evaluation\.json'"),
        (lambda c: c.update({"notes.txt": b"x"}), r"'notes\.txt' does not belong"),
        (lambda c: c.update({"../spec.json": c.pop("spec.json")}), r"'\.\./spec\.json' does not belong"),
        (lambda c: c.update({"/etc/passwd": b"x"}), r"'/etc/passwd' does not belong"),
        (lambda c: c.update({"inner/spec.json": b"x"}), r"'inner/spec\.json' does not belong"),
        (lambda c: c.update({"spec.json2": c.pop("spec.json")}), r"did you mean 'spec\.json'"),
        (lambda c: c.update({"golden.npz": c["weights.npz"]}), r"'golden\.npz' (is not|was changed)"),
        (lambda _: None, r"not the archive that these files make"),
    ],
)
def test_other_entries_of_a_zip_are_refused(
    archive: Path, tmp_path: Path, change: Callable[[dict[str, bytes]], None], message: str
) -> None:
    path = rezipped(archive, tmp_path / "x.zip", change)
    # Those that only the exact bytes would show are brought into the form that the reader knows.
    if not message.startswith("not the archive") and "does not belong" not in message and "did you mean" not in message:
        with zipfile.ZipFile(path) as read:
            path.write_bytes(bundle_files._zipped({name: read.read(name) for name in read.namelist()}))
    with pytest.raises(BundleError, match=message):
        Bundle.load(path)


def test_a_zip_that_is_compressed_or_a_bomb_is_refused(archive: Path, tmp_path: Path) -> None:
    path = rezipped(archive, tmp_path / "x.zip", lambda c: c.update({"card.md": bytes(100 << 20)}), compression=8)
    assert path.stat().st_size < 1 << 20
    with pytest.raises(BundleError, match=r"'arch\.json' is compressed, or larger"):
        Bundle.load(path)


def test_a_link_in_a_zip_is_refused(archive: Path, tmp_path: Path) -> None:
    with zipfile.ZipFile(archive) as read:
        contents = {name: read.read(name) for name in read.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as written:
        for name in sorted(contents):
            entry = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))
            entry.create_system = 3
            kind = stat.S_IFLNK if name == "spec.json" else stat.S_IFREG
            entry.external_attr = (kind | 0o644) << 16
            written.writestr(entry, contents[name])
    (tmp_path / "x.zip").write_bytes(buffer.getvalue())
    with pytest.raises(BundleError, match="not the archive that these files make"):
        Bundle.load(tmp_path / "x.zip")


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_twice_in_a_zip_is_refused(archive: Path, tmp_path: Path) -> None:
    path = Path(shutil.copy(archive, tmp_path / "x.zip"))
    with zipfile.ZipFile(path, "a") as added:
        added.writestr("spec.json", b"{}")
    with pytest.raises(BundleError):
        Bundle.load(path)


def test_bytes_around_a_zip_are_refused(archive: Path, tmp_path: Path) -> None:
    for data in (b"#!/bin/sh\n" + archive.read_bytes(), archive.read_bytes() + b"x"):
        (tmp_path / "x.zip").write_bytes(data)
        with pytest.raises(BundleError):
            Bundle.load(tmp_path / "x.zip")


def test_a_zip_behind_a_link_is_refused(archive: Path, tmp_path: Path) -> None:
    (tmp_path / "x.zip").symlink_to(archive)
    with pytest.raises(BundleError, match="cannot be read"):
        Bundle.load(tmp_path / "x.zip")


@pytest.mark.parametrize("name", ["card.md", "guardrails.yaml", MANIFEST])
def test_an_oversized_file_is_refused_unread(folder: Path, name: str) -> None:
    with (folder / name).open("r+b") as stream:
        stream.truncate(LIMITS[name] + 1)
    with pytest.raises(BundleError, match=f"'{name}' has more than the {LIMITS[name]} bytes"):
        Bundle.load(folder)


def test_an_oversized_zip_is_refused(monkeypatch: pytest.MonkeyPatch, archive: Path) -> None:
    monkeypatch.setattr(bundle_files, "LIMITS", dict.fromkeys(LIMITS, 0))
    monkeypatch.setattr(bundle_files, "_MIB", 1000)
    with pytest.raises(BundleError, match="more than 1000 bytes, so it is no bundle"):
        Bundle.load(archive)


# -- the fallback -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d["golden"]["orders"][0].__setitem__(0, 1e3), "a golden order differs"),
        (lambda d: d["parameters"].update({"factory:make:item": 1.0}), "one number for each arc"),
        (lambda d: d["parameters"].update(dict.fromkeys(d["parameters"], 1e4)), "a golden order differs"),
        (lambda d: d.update(policy="nobody"), "cannot be run from a bundle: no policy 'nobody'"),
        (lambda d: d.update(policy="exponential_smoothing"), "other parameters"),
        (lambda d: d.pop("golden"), "must hold golden"),
        (lambda d: d["golden"].update(values=[], orders=[]), "at least one"),
        (lambda d: d.update(parameters=[1.0]), "incomplete"),
    ],
)
def test_a_fallback_that_decides_otherwise_is_refused(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit_json(folder, "fallback.json", change)
    with pytest.raises(BundleError, match=f"fallback.*{message}|{message}"):
        Bundle.load(folder)


def test_a_fallback_that_remembers_is_refused(tmp_path: Path) -> None:
    task = InventoryTask("five_site_distribution")
    names = ["smoothing", *(f"safety[{arc}]" for arc in task.compiled.arc_names)]
    with pytest.raises(BundleError, match="'exponential_smoothing' remembers what has been"):
        write(tmp_path / "b", task, Extras(fallback=("exponential_smoothing", dict.fromkeys(names, 0.5), {})))


# -- the start ----------------------------------------------------------------------------------------------------

_START = """
import sys, time
begun = time.process_time()  # what others on this machine do does not count
from agents.bundle import Bundle
bundle = Bundle.load(sys.argv[1])
advice = bundle.advise(bundle.example_state)
took = time.process_time() - begun
size = next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(took, size / 1024, advice.blocked, "torch" in sys.modules)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="memory is read from /proc")
def test_a_bundle_is_ready_at_once_and_small(archive: Path) -> None:
    """From an empty process to the first advice: under 1 s and 120 MiB, without torch."""
    found = []
    for _ in range(3):  # the first may find cold files
        done = subprocess.run([sys.executable, "-c", _START, str(archive)], capture_output=True, text=True, check=True)
        found.append(done.stdout.split())
    assert min(float(words[0]) for words in found) < 1.0
    assert max(float(words[1]) for words in found) < 120.0
    assert all(words[2:] == ["False", "False"] for words in found)


# -- commands -----------------------------------------------------------------------------------------------------


def run(capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, str, str]:
    code = main(words)
    out, err = capsys.readouterr()
    return code, out, err


def test_verify_and_show(original: Path, archive: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle_id = Bundle.load(original).bundle_id
    for path in (original, archive):
        code, out, _ = run(capsys, "verify", f"bundle={path}", f"id={bundle_id[:12]}")
        assert code == OK
        assert "12 files and 64 golden cases, all good" in out
    assert run(capsys, "verify", f"bundle={original}", "id=000000000000")[0] == UNVERIFIED
    code, out, _ = run(capsys, "show", f"bundle={original}")
    assert (code, out.startswith("# random on five_site_distribution")) == (OK, True)
    assert json.loads(run(capsys, "show", f"bundle={original}", "format=json")[1])["bundle_id"] == bundle_id


def test_verify_looks_at_what_loading_does_not(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "guardrails.yaml").write_text("arcs: {nowhere: {closed: true}}\n")
    reseal(folder)
    Bundle.load(folder)
    code, out, err = run(capsys, "verify", f"bundle={folder}")
    assert (code, out) == (UNVERIFIED, "")
    assert "'nowhere'" in err


def test_diff_names_what_differs(original: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(capsys, "diff", f"first={original}", f"second={folder}")[1] == "nothing differs\n"
    plain = original.parent / "plain"
    code, out, _ = run(capsys, "diff", f"first={original}", f"second={plain}")
    assert code == OK
    assert 'highest_mode: "advisory" -> null' in out
    assert "ood.json\n  only in" in out
    assert "maximum_age_seconds: 60.0 -> null" in out
    data = json.loads(run(capsys, "diff", f"first={original}", f"second={plain}", "format=json")[1])
    assert data["same"] is False


def test_pack_writes_one_file(original: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "b.zip"
    assert run(capsys, "pack", f"bundle={original}", f"output={output}")[0] == OK
    assert Bundle.load(output).bundle_id == Bundle.load(original).bundle_id
    code, _, err = run(capsys, "pack", f"bundle={original}", f"output={output}")
    assert (code, "never overwritten" in err) == (USAGE, True)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["verfy", "bundle=x"], "did you mean 'verify'"),
        (["verify"], "'verify' needs 'bundle=...'"),
        (["verify", "bundel=x"], "did you mean 'bundle'"),
        (["verify", "bundle="], "needs a value"),
        (["verify", "bundle=x", "bundle=y"], "given twice"),
        (["show", "bundle=x", "format=xml"], "allowed: text, json"),
        (["pack", "bundle=x", "output=folder"], "must end in .zip"),
    ],
)
def test_wrong_calls(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, *words)
    assert (code, out) == (USAGE, "")
    assert message in err


def test_the_command_runs_as_a_module(original: Path) -> None:
    environment = {**os.environ, "PYTHONWARNINGS": "error"}
    command = [sys.executable, "-m", "agents.bundle", "verify", f"bundle={original}"]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (OK, "")
    assert (
        subprocess.run([*command[:-1], f"bundle={original / 'card.md'}"], capture_output=True, check=False).returncode
        == 3
    )
