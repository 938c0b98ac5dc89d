"""A bundle loads only as it was written, and advises only on a state it understands."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents import bundle_files
from agents.advice import OrderRules, limit_orders, place_orders
from agents.bundle import Bundle
from agents.bundle_files import FILES, MANIFEST, arrays_to, parse_json, read_files, render, write_files
from agents.bundle_policy import chooser_of
from agents.bundle_rollout import roll_out
from agents.bundle_writer import Extras, make_spec, write_bundle
from agents.runtime import Mlp
from envs.actions import ACTION_MODES, NOTCHES
from envs.core import Batch
from envs.inventory import InventoryTask
from twin.errors import BundleError
from twin.network import Network

ALL_FILES = (*FILES, "policy.onnx", MANIFEST)


def write(path: Path, task: InventoryTask, extras: Extras | None = None) -> Bundle:
    """A bundle of a small random network that was never trained."""
    rng = np.random.default_rng(0)
    n, discrete = len(task.fields), task.codec.mode == "discrete"
    outputs = NOTCHES if discrete else task.compiled.n_arcs
    arch = {
        "inputs": n,
        "outputs": outputs,
        "head": "argmax" if discrete else "tanh",
        "normalisation": {"epsilon": 1e-8, "clip": 10.0},
        "layers": [
            {"units": 6, "activation": "relu", "alpha": 0.0},
            {"units": outputs, "activation": "identity", "alpha": 0.0},
        ],
    }
    weights = {
        "weight_0": rng.normal(size=(6, n)).astype(np.float32),
        "bias_0": rng.normal(size=6).astype(np.float32),
        "weight_1": rng.normal(size=(outputs, 6)).astype(np.float32),
        "bias_1": rng.normal(size=outputs).astype(np.float32),
        "mean": rng.uniform(0.0, 50.0, size=n),
        "variance": rng.uniform(1e3, 1e4, size=n),
    }
    spec = make_spec(task, task.codec, None if extras is None else extras.guardrails)
    chooser = chooser_of(arch, weights, spec, lambda: task.compiled)
    net = Mlp.build(arch, weights)
    return write_bundle(
        path,
        task=task,
        spec=spec,
        chooser=chooser,
        arch=arch,
        weights=weights,
        decisions=roll_out(task, lambda turn: net.act(turn.observation), seed=1, follow=chooser),
        algorithm="random",
        environment_id="cogtwin/Inventory-v0",
        arguments={"network": task.compiled.network.name, "path": Path("x.yaml"), "levels": np.ones(2)},
        training_info={"seed": 0},
        extras=extras,
    )


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bundles") / "original"
    write(path, InventoryTask("five_site_distribution"))
    return path


@pytest.fixture
def folder(original: Path, tmp_path: Path) -> Path:
    """A copy of the bundle that a test may damage."""
    return Path(shutil.copytree(original, tmp_path / "copy"))


@pytest.fixture
def state(original: Path) -> dict[str, Any]:
    return dict(json.loads((original / "example_state.json").read_text()))


def reseal(folder: Path, change: Callable[[dict[str, Any]], object] | None = None) -> None:
    """Make every hash of a damaged bundle right again, as somebody with bad intentions would."""
    manifest = json.loads((folder / MANIFEST).read_text())
    for name in manifest["files"]:
        if (folder / name).is_file():
            data = (folder / name).read_bytes()
            manifest["files"][name] = {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data)}
    if change is not None:
        change(manifest)
    lines = "".join(f"{name} {manifest['files'][name]['sha256']}\n" for name in sorted(manifest["files"]))
    manifest["bundle_id"] = hashlib.sha256(lines.encode()).hexdigest()
    manifest.pop("manifest_sha256")
    manifest["manifest_sha256"] = hashlib.sha256(render(manifest)).hexdigest()
    (folder / MANIFEST).write_bytes(render(manifest))


def edit_json(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    data = json.loads((folder / name).read_text())
    change(data)
    (folder / name).write_bytes(render(data, ordered=True))
    reseal(folder)


def edit_arrays(folder: Path, name: str, change: Callable[[dict[str, Any]], object]) -> None:
    with np.load(folder / name) as loaded:
        arrays = {key: loaded[key] for key in loaded.files}
    change(arrays)
    (folder / name).write_bytes(arrays_to(arrays))
    reseal(folder)


# -- what is written ----------------------------------------------------------------------------------------------


def test_a_copy_of_a_bundle_loads_and_is_the_network_it_states(folder: Path) -> None:
    bundle = Bundle.load(folder)
    bundle.verify_network()
    manifest = bundle.manifest
    assert manifest["environment"]["arguments"] == {
        "network": "five_site_distribution",
        "path": "x.yaml",
        "levels": [1.0, 1.0],
    }
    assert set(manifest["files"]) == {*FILES, "policy.onnx"}
    assert manifest["golden"]["cases"] >= 64
    assert manifest["versions"]["numpy"] == np.__version__
    spec = json.loads((folder / "spec.json").read_text())
    assert [field["name"] for field in spec["observation"]] == [field.name for field in bundle.spec.fields]
    assert {arc["order_max"] for arc in spec["action"]["arcs"]} == {None}


def test_equal_content_has_an_equal_id(original: Path, tmp_path: Path) -> None:
    again = write(tmp_path / "again", InventoryTask("five_site_distribution"))
    assert again.bundle_id == Bundle.load(original).bundle_id


def test_an_expected_id_must_match(folder: Path) -> None:
    bundle_id = Bundle.load(folder).bundle_id
    assert Bundle.load(folder, expected_id=bundle_id).bundle_id == bundle_id
    assert Bundle.load(folder, expected_id=bundle_id[:12]).bundle_id == bundle_id
    for wrong in ("0" * 64, bundle_id[:11], ""):
        with pytest.raises(BundleError, match="bundle id is"):
            Bundle.load(folder, expected_id=wrong)


def test_an_existing_folder_is_never_touched(folder: Path) -> None:
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    with pytest.raises(BundleError, match=r"never overwritten; choose another path, for example .*copy-2"):
        write(folder, InventoryTask("five_site_distribution"))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert [path.name for path in folder.parent.iterdir()] == ["copy"]


def test_a_missing_parent_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="does not exist"):
        write_files(tmp_path / "no" / "b", {}, {}, Bundle.load)


@pytest.mark.parametrize("failure", [OSError("disk full"), KeyboardInterrupt()])
def test_a_writer_that_fails_midway_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: BaseException
) -> None:
    calls = iter(range(100))
    honest = os.fsync

    def fail(handle: int) -> None:
        if next(calls) == 4:
            raise failure
        honest(handle)

    monkeypatch.setattr(bundle_files.os, "fsync", fail)
    with pytest.raises(type(failure)):
        write(tmp_path / "b", InventoryTask("five_site_distribution"))
    assert list(tmp_path.iterdir()) == []


def test_a_killed_writer_leaves_no_folder_of_that_name(tmp_path: Path) -> None:
    script = (
        "import os, sys\n"
        "from pathlib import Path\n"
        "from agents import bundle_files as b\n"
        "calls = iter(range(9))\n"
        "b.os.fsync = lambda handle: os._exit(9) if next(calls) == 4 else None\n"
        "b.write_files(Path(sys.argv[1]), {}, {name: b'x' for name in b.FILES}, lambda path: None)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(tmp_path / "b")], timeout=60, check=False)
    assert done.returncode == 9
    assert not (tmp_path / "b").exists()
    (left,) = tmp_path.iterdir()
    assert left.name.startswith(".b.")
    with pytest.raises(BundleError, match="is missing"):
        Bundle.load(left)


def test_a_bundle_that_does_not_read_back_gets_no_name(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"manifest\.json must state"):
        write_files(tmp_path / "b", {}, dict.fromkeys(FILES, b"x"), Bundle.load)
    assert list(tmp_path.iterdir()) == []


# -- damage -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_flipped_bit_is_found(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    for place in (0, len(data) // 3, len(data) // 2, len(data) - 1):
        data[place] ^= 1
        (folder / name).write_bytes(data)
        with pytest.raises(BundleError, match=name):
            Bundle.load(folder)
        data[place] ^= 1


def test_every_byte_of_the_manifest_is_covered(folder: Path) -> None:
    data = bytearray((folder / MANIFEST).read_bytes())
    for place in range(0, len(data), 5):
        for bit in (0, 5):
            data[place] ^= 1 << bit
            (folder / MANIFEST).write_bytes(data)
            with pytest.raises(BundleError, match=r"manifest\.json"):
                read_files(folder)
            data[place] ^= 1 << bit


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_truncated_file_is_found(folder: Path, name: str) -> None:
    data = (folder / name).read_bytes()
    for length in (0, len(data) - 1):
        (folder / name).write_bytes(data[:length])
        with pytest.raises(BundleError, match=name):
            Bundle.load(folder)


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_longer_file_is_found(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as stream:
        stream.write(b"\n")
    with pytest.raises(BundleError, match=name):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=f"the file '{name}' is missing"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_renamed_file_is_named_with_its_nearest_match(folder: Path, name: str) -> None:
    (folder / name).rename(folder / f"{name}2")
    with pytest.raises(BundleError, match=f"'{name}2' does not belong to a bundle.*did you mean '{name}'"):
        Bundle.load(folder)


@pytest.mark.parametrize("extra", ["notes.txt", "policy.pkl", ".hidden"])
def test_an_extra_file_is_named(folder: Path, extra: str) -> None:
    (folder / extra).write_text("x")
    with pytest.raises(BundleError, match=f"'{extra}' does not belong"):
        Bundle.load(folder)


def test_an_extra_folder_is_named(folder: Path) -> None:
    (folder / "inner").mkdir()
    with pytest.raises(BundleError, match="'inner' does not belong"):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ALL_FILES)
def test_a_link_is_refused_even_to_the_right_bytes(folder: Path, name: str) -> None:
    target = folder.parent / "outside"
    (folder / name).rename(target)
    (folder / name).symlink_to(target)
    with pytest.raises(BundleError, match=f"'{name}' is a link"):
        Bundle.load(folder)


def test_a_folder_in_the_place_of_a_file_is_refused(folder: Path) -> None:
    (folder / "spec.json").unlink()
    (folder / "spec.json").mkdir()
    with pytest.raises(BundleError, match=r"'spec\.json' is a link or not a plain file"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("path", "message"), [("nothing", "no bundle folder or zip"), ("file", "neither a folder nor")]
)
def test_what_is_no_bundle_is_refused(tmp_path: Path, path: str, message: str) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BundleError, match=message):
        Bundle.load(tmp_path / path)


# -- damage with the hashes put right -----------------------------------------------------------------------------


def test_resealing_an_intact_bundle_changes_nothing(folder: Path) -> None:
    before = (folder / MANIFEST).read_bytes()
    reseal(folder)
    assert (folder / MANIFEST).read_bytes() == before


def test_a_wrong_hash_in_the_manifest_names_the_file(folder: Path) -> None:
    reseal(folder, lambda m: m["files"]["golden.npz"].update(sha256="0" * 64))
    with pytest.raises(BundleError, match=r"'golden\.npz' was changed"):
        Bundle.load(folder)


def test_a_wrong_size_in_the_manifest_names_the_file(folder: Path) -> None:
    reseal(folder, lambda m: m["files"]["policy.onnx"].update(size=3))
    with pytest.raises(BundleError, match=r"'policy\.onnx' is not 3 bytes long"):
        Bundle.load(folder)


def test_a_foreign_bundle_id_is_found(folder: Path) -> None:
    manifest = json.loads((folder / MANIFEST).read_text())
    manifest["bundle_id"] = "0" * 64
    del manifest["manifest_sha256"]
    manifest["manifest_sha256"] = hashlib.sha256(render(manifest)).hexdigest()
    (folder / MANIFEST).write_bytes(render(manifest))
    with pytest.raises(BundleError, match=r"manifest\.json.*bundle id"):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda m: m.update(schema=2), r"manifest\.json' has schema 2, this version reads 3; export the policy again"),
        (lambda m: m.pop("schema"), r"manifest\.json' has schema None"),
        (lambda m: m["files"].update({"../evil.json": m["files"]["spec.json"]}), r"'\.\./evil\.json'"),
        (lambda m: m["files"].update({"/etc/passwd": m["files"]["spec.json"]}), "'/etc/passwd'"),
        (lambda m: m["files"].pop("network.json"), r"does not list 'network\.json'"),
        (lambda m: m["files"]["spec.json"].update(size=True), r"no size and SHA-256 for 'spec\.json'"),
        (lambda m: m["files"]["spec.json"].update(size=-1), r"no size and SHA-256 for 'spec\.json'"),
        (lambda m: m.update(spec_hash="0" * 64), r"spec\.json has other observation fields"),
        (lambda m: m.update(spec_hash=None), r"manifest\.json must state spec_hash"),
        (lambda m: m.update(network="five"), r"manifest\.json must state"),
        (lambda m: m["golden"].update(cases=3), r"golden\.npz holds 64 cases, manifest\.json says 3"),
    ],
)
def test_a_manifest_that_is_wrong_under_right_hashes(
    folder: Path, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    reseal(folder, change)
    with pytest.raises(BundleError, match=message):
        Bundle.load(folder)


def _put(key: str, value: Any) -> Callable[[dict[str, Any]], object]:
    def change(data: dict[str, Any]) -> None:
        data[key].flat[0] = value

    return change


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("weights.npz", _put("weight_0", np.nan), r"weights\.npz: 'weight_0' holds a NaN"),
        ("weights.npz", _put("bias_1", np.inf), r"weights\.npz: 'bias_1' holds a NaN or an infinite"),
        ("weights.npz", _put("mean", -np.inf), r"weights\.npz: 'mean' holds a NaN or an infinite"),
        ("weights.npz", _put("variance", -1.0), r"normalisation is impossible"),
        ("weights.npz", _put("bias_1", 9.0), r"golden\.npz: an action differs"),
        ("weights.npz", lambda d: d.pop("bias_0"), r"weights\.npz: the array 'bias_0' is missing"),
        ("weights.npz", lambda d: d.update(extra=np.ones(1)), r"'extra' belongs to no layer"),
        ("weights.npz", lambda d: d.update(bias_0=d["bias_0"][1:]), r"'bias_0' must be float32 of shape \(6,\)"),
        ("weights.npz", lambda d: d.update(bias_0=d["bias_0"].astype(float)), r"'bias_0' must be float32"),
        ("golden.npz", _put("actions", 0.123), r"golden\.npz: an action differs"),
        ("golden.npz", _put("orders", 1e3), r"golden\.npz: an order differs"),
        ("golden.npz", _put("actions", np.nan), r"golden\.npz: an action differs"),
        ("golden.npz", _put("orders", np.nan), r"golden\.npz: an order differs"),
        ("golden.npz", lambda d: d.pop("orders"), r"golden\.npz must hold"),
        ("golden.npz", lambda d: d.update(actions=d["actions"][:, 1:]), r"golden\.npz has actions of shape"),
        ("golden.npz", lambda d: d.update({k: v[:3] for k, v in d.items()}), r"golden\.npz holds 3 cases"),
        ("golden.npz", lambda d: d.update({k: v[:0] for k, v in d.items()}), r"golden\.npz holds 0 cases"),
    ],
)
def test_wrong_numbers_under_right_hashes(
    folder: Path, name: str, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit_arrays(folder, name, change)
    with pytest.raises(BundleError, match=message):
        Bundle.load(folder)


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("arch.json", lambda d: d.update(head="tanhh"), r"arch\.json: no output head 'tanhh'.*did you mean 'tanh'"),
        ("arch.json", lambda d: d["layers"][0].update(activation="rellu"), r"no activation 'rellu'.*mean 'relu'"),
        ("arch.json", lambda d: d["layers"][0].update(units=7), r"weights\.npz: 'weight_0' must be"),
        ("arch.json", lambda d: d["layers"][0].update(units=0), r"arch\.json: 'units' must be a positive whole number"),
        ("arch.json", lambda d: d["layers"][0].pop("activation"), r"arch\.json is incomplete"),
        ("arch.json", lambda d: d.update(layers=[]), r"arch\.json: 0 layers do not lead to 5 outputs"),
        ("arch.json", lambda d: d.update(head="argmax"), r"arch\.json .*does not fit spec\.json"),
        ("arch.json", lambda d: d.update(normalisation=None), r"weights\.npz: the array 'mean' belongs to no layer"),
        ("arch.json", lambda d: d.update(surprise=1), r"arch\.json: missing or unknown entry 'surprise'"),
        ("arch.json", lambda d: d["normalisation"].update(clip=0.5), r"golden\.npz: an action differs"),
        (
            "spec.json",
            lambda d: d["observation"][0].update(name="stock"),
            r"spec\.json says something that it cannot mean",
        ),
        ("spec.json", lambda d: d["observation"].pop(), r"spec\.json has other observation fields"),
        ("spec.json", lambda d: d["observation"][0].update(low=1e9), r"bounds are crossed"),
        ("spec.json", lambda d: d["observation"][1].update(d["observation"][0]), r"the same name"),
        ("spec.json", lambda d: d["action"]["arcs"][0].update(high=-1.0), r"low, center and high"),
        ("spec.json", lambda d: d["action"]["arcs"][0].update(order_max=-1.0), r"low, center and high"),
        ("spec.json", lambda d: d["action"]["arcs"][0].update(minimum_order=-1.0), r"allow no order"),
        ("spec.json", lambda d: d["action"]["arcs"][0].update(lot_size=-5.0), r"allow no order"),
        ("spec.json", lambda d: d["action"]["arcs"][0].update(maximum_order=-1.0), r"allow no order"),
        ("spec.json", lambda d: d["action"]["arcs"][0].update(minimum_order=7.0, lot_size=5.0), r"allow no order"),
        ("spec.json", lambda d: d["action"]["arcs"][0].update(lot_size=5.0, maximum_order=4.0), r"allow no order"),
        ("spec.json", lambda d: d["action"]["arcs"][0].update(integer=True), r"allow no order"),
        ("spec.json", lambda d: d["action"]["arcs"][0].update(lot_size=None), r"allow no order"),
        ("spec.json", lambda d: d["action"]["arcs"][0].pop("lot_size"), r"spec\.json is incomplete"),
        ("spec.json", lambda d: d["action"]["arcs"][0].update(center=1.5), r"golden\.npz: an order differs"),
        ("spec.json", lambda d: d["action"]["arcs"][0].update(name="other"), r"no field 'position\[other\]'"),
        ("spec.json", lambda d: d["action"].update(mode="levels"), r"spec\.json has no action mode 'levels'"),
        ("spec.json", lambda d: d["action"].update(meaning="order nothing"), r"spec\.json says something"),
        ("spec.json", lambda d: d["sequence"]["groups"].pop(), r"spec\.json"),
        ("spec.json", lambda d: d["sequence"].update(stocks=0), r"order sequence"),
        ("spec.json", lambda d: d.pop("sequence"), r"spec\.json is incomplete"),
        ("spec.json", lambda d: d.pop("currency"), r"spec\.json is incomplete"),
    ],
)
def test_a_wrong_description_under_right_hashes(
    folder: Path, name: str, change: Callable[[dict[str, Any]], object], message: str
) -> None:
    edit_json(folder, name, change)
    with pytest.raises(BundleError, match=message):
        Bundle.load(folder)


@pytest.mark.parametrize("name", ["spec.json", "arch.json", "weights.npz", "golden.npz"])
@pytest.mark.parametrize("data", [b"", b"[]", b"\xff\xfe", b'{"a": 1, "a": 2}', b"[" * 100_000, b"PK\x03\x04"])
def test_garbage_under_right_hashes(folder: Path, name: str, data: bytes) -> None:
    (folder / name).write_bytes(data)
    reseal(folder)
    with pytest.raises(BundleError, match=name):
        Bundle.load(folder)


class Attack:
    def __reduce__(self) -> tuple[Any, ...]:
        return (os.mkdir, (os.environ["COGTWIN_TEST_ATTACK"],))


@pytest.mark.parametrize("form", ["pickle", "object array"])
def test_a_pickle_is_refused_and_never_run(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    monkeypatch.setenv("COGTWIN_TEST_ATTACK", str(tmp_path / "attacked"))
    if form == "pickle":
        (folder / "weights.npz").write_bytes(pickle.dumps(Attack()))
    else:
        with np.load(folder / "weights.npz") as loaded:
            arrays: dict[str, Any] = {key: loaded[key] for key in loaded.files}
        arrays["bias_0"] = np.array([Attack()], dtype=object)
        np.savez(folder / "weights.npz", **arrays)
    reseal(folder)
    with pytest.raises(BundleError, match=r"weights\.npz is not readable as plain arrays"):
        Bundle.load(folder)
    assert not (tmp_path / "attacked").exists()


def test_another_network_is_found_by_the_full_verification(folder: Path) -> None:
    edit_json(folder, "network.json", lambda d: d["sites"]["central"]["stock"]["item"].update(holding_cost=9.0))
    bundle = Bundle.load(folder)
    with pytest.raises(BundleError, match=r"network\.json is not the network"):
        bundle.verify_network()


def test_a_broken_network_is_found_by_the_full_verification(folder: Path) -> None:
    edit_json(folder, "network.json", lambda d: d.pop("sites"))
    with pytest.raises(BundleError, match=r"network\.json is not a valid network"):
        Bundle.load(folder).verify_network()


# -- advice -------------------------------------------------------------------------------------------------------


def test_the_example_state_gives_orders_on_every_arc(original: Path, state: dict[str, Any]) -> None:
    bundle = Bundle.load(original)
    advice = bundle.advise(state)
    assert not advice.blocked
    assert [order.arc for order in advice.orders] == list(bundle.spec.arc_names)
    assert {order.unit for order in advice.orders} == {"case"}
    assert [check.code for check in advice.checks] == [
        "SPEC_HASH",
        "NETWORK_HASH",
        "FIELDS",
        "FINITE",
        "RANGE",
        "GOLDEN",
        "ACTION_FINITE",
        "MINIMUM_ORDER",
        "INTEGER_LOT",
        "MAXIMUM_ORDER",
        "ORDER_LIMIT",
    ]
    assert json.loads(json.dumps(advice.to_dict()))["orders"][0]["arc"] == bundle.spec.arc_names[0]


def test_metadata_is_optional_and_integers_are_numbers(original: Path, state: dict[str, Any]) -> None:
    bundle = Bundle.load(original)
    full = bundle.advise(state)
    bare = bundle.advise({"observation": state["observation"]})
    assert bare.orders == full.orders
    state["observation"]["on_hand[east/item]"] = 40
    assert not bundle.advise(state).blocked
    state["observation"]["on_hand[east/item]"] = np.float32(40)
    assert bundle.advise({**state, "period": 12}).period == 12


EAST = "on_hand[east/item]"


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (float("nan"), "FINITE"),
        (float("inf"), "FINITE"),
        (-float("inf"), "FINITE"),
        (10**400, "FINITE"),
        (None, "FINITE"),
        ("12", "FINITE"),
        (True, "FINITE"),
        ([1.0], "FINITE"),
        ({}, "FINITE"),
        (1e300, "RANGE"),
        (-1e300, "RANGE"),
        (-0.001, "RANGE"),
        (1e5, "RANGE"),
    ],
)
def test_a_wrong_value_blocks(original: Path, state: dict[str, Any], value: Any, code: str) -> None:
    state["observation"][EAST] = value
    advice = Bundle.load(original).advise(state)
    assert advice.reasons == (code,)
    assert advice.orders == ()
    assert advice.action is None
    assert f"'{EAST}'" in advice.checks[-1].detail


def test_bounds_themselves_are_allowed(original: Path, state: dict[str, Any]) -> None:
    bundle = Bundle.load(original)
    for field in bundle.spec.fields:
        for value in (field.low, field.high):
            assert not bundle.advise({"observation": {**state["observation"], field.name: value}}).blocked


def test_a_missing_field_is_named(original: Path, state: dict[str, Any]) -> None:
    del state["observation"][EAST]
    advice = Bundle.load(original).advise(state)
    assert advice.reasons == ("FIELDS",)
    assert advice.checks[-1].detail == f"'{EAST}' is missing"


def test_an_extra_field_is_named(original: Path, state: dict[str, Any]) -> None:
    state["observation"]["wind"] = 1.0
    advice = Bundle.load(original).advise(state)
    assert advice.reasons == ("FIELDS",)
    assert "'wind' is not a field" in advice.checks[-1].detail


def test_a_renamed_field_is_named_with_its_nearest_match(original: Path, state: dict[str, Any]) -> None:
    state["observation"]["onhand[east/item]"] = state["observation"].pop(EAST)
    detail = Bundle.load(original).advise(state).checks[-1].detail
    assert f"'{EAST}' is missing; did you mean 'onhand[east/item]'?" in detail
    assert f"'onhand[east/item]' is not a field; did you mean '{EAST}'?" in detail


def test_many_problems_are_counted(original: Path) -> None:
    detail = Bundle.load(original).advise({"observation": {}}).checks[-1].detail
    assert detail.endswith("; and 24 more")


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (lambda s: s.update(network_hash="0" * 64), "NETWORK_HASH"),
        (lambda s: s.update(network_hash=None), "NETWORK_HASH"),
        (lambda s: s.update(spec_hash="0" * 64), "SPEC_HASH"),
        (lambda s: s.update(spec_hash=7), "SPEC_HASH"),
        (lambda s: s.update(period=True), "STATE"),
        (lambda s: s.update(period=1.5), "STATE"),
        (lambda s: s.update(observations=s.pop("observation")), "STATE"),
        (lambda s: s.pop("observation"), "STATE"),
        (lambda s: s.update(observation=[1.0] * 27), "STATE"),
        (lambda s: s.update(observation=None), "STATE"),
    ],
)
def test_wrong_metadata_blocks(
    original: Path, state: dict[str, Any], change: Callable[[dict[str, Any]], object], code: str
) -> None:
    change(state)
    advice = Bundle.load(original).advise(state)
    assert advice.reasons == (code,)
    assert advice.orders == ()


@pytest.mark.parametrize("wrong", [None, [], "state", 3, [{"observation": {}}]])
def test_a_state_that_is_no_mapping_blocks(original: Path, wrong: Any) -> None:
    advice = Bundle.load(original).advise(wrong)
    assert advice.reasons == ("STATE",)
    assert advice.orders == ()


def test_an_action_that_is_not_finite_blocks(
    original: Path, state: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = Bundle.load(original)
    monkeypatch.setattr(Mlp, "scores", lambda _, x: np.full((len(x), 5), np.nan, dtype=np.float32))
    advice = bundle.advise(state)
    assert advice.reasons == ("ACTION_FINITE",)
    assert advice.orders == ()


def small_network(capacity: float | None = None, *, integer: bool = True, **rules: float) -> Network:
    """A shop with one arc; ``rules`` are its minimum_order, lot_size and maximum_order."""
    truck = {"lead_time": 1, **({} if capacity is None else {"capacity": capacity}), **rules}
    return Network.parse(
        {
            "name": "shop",
            "products": {"box": {"unit": "box", "integer": integer}},
            "suppliers": {"maker": {"offers": {"box": {"price": 1.0}}}},
            "sites": {"shop": {"stock": {"box": {"holding_cost": 0.1, "initial": 5}}}},
            "lanes": [{"from": "maker", "to": "shop", "product": "box", "modes": {"truck": truck}}],
            "demands": {
                "shop": {"site": "shop", "product": "box", "distribution": {"distribution": "poisson", "mean": 4}}
            },
        }
    )


@pytest.mark.parametrize(("capacity", "most"), [(100.0, 100), (2.5, 2), (0.0, 0)])
def test_orders_are_whole_and_within_the_capacity_of_their_arc(tmp_path: Path, capacity: float, most: int) -> None:
    bundle = write(tmp_path / "b", InventoryTask(small_network(capacity), action_mode="quantity"))
    bundle.verify_network()
    modified = set()
    rng = np.random.default_rng(3)
    for _ in range(50):
        values = {field.name: float(rng.uniform(field.low, field.high)) for field in bundle.spec.fields}
        advice = bundle.advise({"observation": values})
        (order,) = advice.orders
        assert order.order == min(np.floor(order.target + 0.5), most)
        for check in advice.checks:
            assert (check.verdict == "modify") == bool(check.changes)
            if check.changes:
                modified.add(check.code)
                assert check.changes[0].before != check.changes[0].after
    assert modified == {"INTEGER_LOT"} | ({"ORDER_LIMIT"} if most < 12 else set())


INF = np.inf


def test_each_rule_changes_orders_under_its_own_code() -> None:
    names = ("any", "whole", "lots", "least", "most", "dust")
    rules = OrderRules(
        integer=np.array([False, True, False, False, True, True]),
        minimum=np.array([0.0, 0.0, 0.0, 20.0, 4.0, 0.0]),
        lot=np.array([0.0, 1.0, 5.0, 10.0, 2.0, 1.0]),
        maximum=np.array([INF, INF, INF, INF, 8.0, INF]),
    )
    placed, checks = place_orders(np.array([2.5, 2.5, 14.0, 12.0, 9.0, 1e-15]), rules, names)
    assert placed.tolist() == [2.5, 3.0, 15.0, 20.0, 8.0, 0.0]
    assert {check.code: [(c.arc, c.before, c.after) for c in check.changes] for check in checks} == {
        "MINIMUM_ORDER": [("least", 12.0, 20.0)],
        "INTEGER_LOT": [("whole", 2.5, 3.0), ("lots", 14.0, 15.0), ("most", 9.0, 10.0), ("dust", 1e-15, 0.0)],
        "MAXIMUM_ORDER": [("most", 10.0, 8.0)],
    }
    assert {check.verdict for check in checks} == {"modify"}
    again, checks = place_orders(placed, rules, names)
    assert again.tolist() == placed.tolist()
    assert {check.verdict for check in checks} == {"pass"}
    few, (minimum, *_) = place_orders(np.array([1e-12, 0.0, 0.0, 9.9, 0.0, 0.0]), rules, names)
    assert not few.any()
    assert [(c.arc, c.before) for c in minimum.changes] == [("any", 1e-12), ("least", 9.9)]


def test_an_order_that_is_cut_can_still_be_placed() -> None:
    names = ("whole", "free", "any", "lots", "least", "closed")
    rules = OrderRules(
        integer=np.array([True, True, False, True, False, False]),
        minimum=np.array([0.0, 0.0, 0.0, 0.0, 20.0, 20.0]),
        lot=np.array([1.0, 1.0, 0.0, 5.0, 0.0, 10.0]),
        maximum=np.full(6, INF),
    )
    orders, order_max = np.array([3.0, 1.0, 2.5, 25.0, 30.0, 20.0]), np.array([2.9, INF, 2.4, 12.0, 7.0, 0.0])
    limited, check = limit_orders(orders, order_max, rules, names)
    assert limited.tolist() == [2.0, 1.0, 2.4, 15.0, 20.0, 0.0]
    assert [(c.arc, c.before, c.after) for c in check.changes] == [
        ("whole", 3.0, 2.0),
        ("any", 2.5, 2.4),
        ("lots", 25.0, 15.0),
        ("least", 30.0, 20.0),
        ("closed", 20.0, 0.0),
    ]
    assert place_orders(limited, rules, names)[0].tolist() == limited.tolist()


def test_orders_that_follow_a_forecast_are_those_of_the_environment(tmp_path: Path) -> None:
    """Safety amounts on the demand expected ahead and on the periods left, which the observation shows."""
    task = InventoryTask("three_stage_serial", action_mode="echelon", finite=True, horizon=30, forecast=8)
    bundle = write(tmp_path / "b", task)
    assert bundle.spec.kind == "safety amount"
    advice = bundle.advise(bundle.example_state)
    assert not advice.blocked


@pytest.mark.parametrize("mode", ACTION_MODES)
@pytest.mark.parametrize(
    "rules",
    [
        {"lot_size": 5},
        {"minimum_order": 20, "lot_size": 10},
        {"lot_size": 3, "maximum_order": 7},
        {"integer": False, "minimum_order": 4, "lot_size": 2.5, "maximum_order": 9},
        {"integer": False, "maximum_order": 4.5},
        {"lot_size": 5, "capacity": 7},
        {"minimum_order": 9, "capacity": 4},
    ],
)
def test_what_is_advised_is_what_the_twin_places(tmp_path: Path, mode: str, rules: dict[str, Any]) -> None:
    """The advice on an observation of the environment is the order that its step reports, or ships the same."""
    task = InventoryTask(small_network(**rules), action_mode=mode)
    bundle = write(tmp_path / "b", task)
    bundle.verify_network()
    batch, slots = Batch(task, 8), np.arange(8, dtype=np.uint32)
    observation = batch.reset(np.full(8, 3, dtype=np.uint64), slots, np.zeros_like(slots))
    task.action_space.seed(5)
    compared = modified = 0
    for step in range(60):
        # Random actions for the others: states of every kind are met.
        b, action = step % 8, np.stack([task.action_space.sample() for _ in range(8)])
        action[b] = bundle.predict(observation)[0][b]
        values = {field.name: float(x) for field, x in zip(task.fields, observation[b], strict=True)}
        if mode != "quantity":
            values[f"position[{task.compiled.arc_names[0]}]"] = float(batch.position[0, b])
        advice, twin = bundle.advise({"observation": values}), batch.twin.fork()
        result = batch.step(action)
        observation = result.observation
        if advice.reasons == ("RANGE",):
            continue
        (order,), changed = advice.orders, {check.code for check in advice.checks if check.changes}
        if "ORDER_LIMIT" in changed:
            assert order.order < result.orders[0, b]
        else:
            assert order.order == pytest.approx(result.orders[0, b], rel=1e-12)
        result.orders[0, b] = order.order
        twin.step(result.orders)
        np.testing.assert_allclose(twin.state.arrays.shipped, batch.twin.state.arrays.shipped, rtol=1e-12)
        modified += bool(changed - {"ORDER_LIMIT"})
        compared += 1
    assert compared > 30
    # Orders up to a level are cut to the maximum while they are decided.
    assert modified or (mode != "quantity" and "maximum_order" in rules)


def test_a_bundle_with_other_order_rules_is_not_the_network(tmp_path: Path) -> None:
    write(tmp_path / "b", InventoryTask(small_network(lot_size=5)))

    def change(spec: dict[str, Any]) -> None:
        spec["action"]["arcs"][0]["lot_size"] = spec["actions"][0]["step"] = 10.0

    edit_json(tmp_path / "b", "spec.json", change)
    bundle = Bundle.load(tmp_path / "b")
    with pytest.raises(BundleError, match=r"network\.json is not the network"):
        bundle.verify_network()


def test_json_reading_is_strict() -> None:
    assert parse_json(b'{"a": 1.5}') == {"a": 1.5}
    assert parse_json(b"[Infinity]", constants=True) == [float("inf")]
    for data in (b"[NaN]", b"[-Infinity]", b'{"a": 1, "a": 1}', b"{", b"\xff", b"[" * 100_000):
        with pytest.raises(ValueError, match=r"."):
            parse_json(data)


def test_observations_of_a_wrong_shape_are_refused(original: Path) -> None:
    with pytest.raises(BundleError, match=r"shape \(B, 27\), received \(1, 3\)"):
        Bundle.load(original).predict(np.zeros(3, dtype=np.float32))
