"""`bivit build` and `bivit host` as a user calls them: what they print, refuse, and leave behind."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from program import assert_refused, invoke

from bivit.cli.boards.host import read_images
from bivit.cosim.board import simulated_board
from bivit.hw import generate
from bivit.hw.board.tcl import has_tcl
from bivit.hw.board.top import BoardTop
from bivit.hw.synthesis.bitstream import Bitstream
from bivit.sim import BivitError, compile_network, load_engine, load_network, run_reference
from helpers import ROOT

NETWORK = ROOT / "zoo/digits/network.safetensors"
BUILT = "board part kind engine network weights embedded bitstream fits fmax_mhz fmax_kind clock_mhz seed luts ffs"
BUILT += " block_memories multipliers luts_share ffs_share block_memories_share multipliers_share image_cycles"
BUILT += " images_per_s_engine baud images_per_s_link on_silicon seconds"
PROJECT = "board part kind engine network weights embedded bitstream script script_checked vivado fits resources"
PROJECT += " clock_mhz clock_kind image_cycles images_per_s_engine baud on_silicon seconds"


def test_a_build_writes_its_folder_and_says_what_is_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[BoardTop] = []

    def played(top: BoardTop, words: object, **more: object) -> Bitstream:
        asked.append(top)
        assert words is not None
        used = {"luts": 10, "ffs": 20, "block_memories": 3, "multipliers": 4}
        return Bitstream(7, 61.5, used, dict.fromkeys(used, 40), b"bits")

    monkeypatch.setattr("bivit.hw.synthesis.bitstream.build_bitstream", played)
    arguments = ("build", str(NETWORK), "--board", "colorlight-i9", "--engine", "digits", "--clock-mhz", "60")
    done = invoke(*arguments, "--out", "board", "--json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert list(found) == BUILT.split()
    assert found == json.loads((tmp_path / "board/board.json").read_text())
    assert (found["fits"], found["fmax_mhz"], found["clock_mhz"], found["luts_share"]) == (True, 61.5, 60.0, 0.25)
    assert found["images_per_s_engine"] == round(60e6 / found["image_cycles"], 1)
    assert (tmp_path / "board/board.bit").read_bytes() == b"bits"
    files = {path.name for path in (tmp_path / "board").iterdir()}
    assert files == {"board.bit", "board.json", "files.json", "pins.lpf", "engine"}
    assert asked[0].pll is not None


@pytest.mark.parametrize("board", ["kv260", "arty"])
def test_a_project_is_written_where_no_bitstream_can_be_made(
    board: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arguments = ("build", str(NETWORK), "--board", board, "--engine", "digits", "--clock-mhz", "80")
    done = invoke(*arguments, "--out", "board", "--json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    beside = board == "kv260"
    assert list(found) == [name for name in PROJECT.split() if not (beside and name == "baud")]
    assert found == json.loads((tmp_path / "board/board.json").read_text())
    assert (found["kind"], found["bitstream"], found["vivado"]) == ("project", None, "not run: no Vivado was at hand")
    assert (found["clock_mhz"], found["clock_kind"], found["embedded"]) == (80.0, "given", not beside)
    assert found["script_checked"] is (True if has_tcl() else None)
    assert found["images_per_s_engine"] == round(80e6 / found["image_cycles"], 1)
    assert {row["kind"] for row in found["resources"]} <= {"estimated", "assumed"}
    own = {"pynq_overlay.py", "registers.c"} if beside else {"board.v", "pins.xdc"}
    files = {path.name for path in (tmp_path / "board").iterdir()}
    assert files == own | {"board.json", "files.json", "build.tcl", "README.md", "engine"}
    assert (tmp_path / "board/engine/network.bin").is_file()
    if beside:
        driver = (ROOT / "host/pynq_overlay.py").read_bytes()
        assert (tmp_path / "board/pynq_overlay.py").read_bytes() == driver
    text = (tmp_path / "board/README.md").read_text()
    assert "80 MHz" in text
    (tmp_path / "board/engine/bivit_engine.v").write_text("of the user")
    refused = invoke(*arguments, "--out", "board", cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(refused, "`bivit build` did not write so: engine/bivit_engine.v (changed)")
    assert (tmp_path / "board/engine/bivit_engine.v").read_text() == "of the user"


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ("build", "digits", "--board", "icebreaker"),
            "board must be one of ulx3s, colorlight-i9, colorlight-i5, orangecrab-25, orangecrab-85, arty, kv260, "
            "zcu102, got 'icebreaker'",
        ),
        (("build", "digits", "--board", "colorlight-i5"), "does not fit LFE5U-25F"),
        (("build", "digits", "--seeds", "0"), "seeds must be 1 to 64, got 0"),
        (("build", "digits", "--clock-mhz", "1"), "no PLL of ECP5 makes up to 1 MHz"),
        (("build", "digits", "--board", "arty", "--clock-mhz", "1"), "no PLL of 7-series makes up to 1 MHz"),
        (("build", "digits", "--board", "kv260", "--clock-mhz", "2000"), "the clock must be 1 to 1000 MHz, got 2000"),
        (("build", "digits", "--baud", "70000000"), "MHz give no 70,000,000 bits a second"),
        (("build", "digits", "--out", "."), "exists and is no folder of `bivit build`"),
        (("host", "info", "--port", "/dev/none"), "cannot open the port /dev/none"),
        (("host", "info", "--port", "nowhere://"), "cannot open the port nowhere://"),
        (("host", "info", "--port", "socket://127.0.0.1:1"), "cannot open the port socket://127.0.0.1:1"),
        (("host", "load", "--port", "x", "--folder", "none"), "none has no manifest.json"),
    ],
)
def test_what_cannot_be_done_is_said(
    arguments: tuple[str, ...], expected: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine").touch()
    done = invoke(*arguments, cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 2
    assert expected in done.stderr
    assert "Traceback" not in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_images_are_pictures_and_arrays(tmp_path: Path) -> None:
    pixels = np.arange(2 * 64, dtype=np.uint8).reshape(2, 8, 8, 1)
    np.save(tmp_path / "two.npy", pixels)
    Image.fromarray(pixels[0, :, :, 0]).save(tmp_path / "one.png")
    names, found = read_images([tmp_path / "one.png", tmp_path / "two.npy"], (8, 8, 1))
    assert names == [str(tmp_path / "one.png"), f"{tmp_path / 'two.npy'}[0]", f"{tmp_path / 'two.npy'}[1]"]
    assert np.array_equal(found, pixels[[0, 0, 1]])
    for name, data in (("a.npy", b"x"), ("a.png", b"x")):
        (tmp_path / name).write_bytes(data)
        with pytest.raises(BivitError, match=r"is no \.npy file|cannot be read as a picture"):
            read_images([tmp_path / name], (8, 8, 1))
    with pytest.raises(BivitError, match=r"must hold uint8 images \[images, 4, 4, 1\], got uint8 \[2, 8, 8, 1\]"):
        read_images([tmp_path / "two.npy"], (4, 4, 1))
    with pytest.raises(BivitError, match="there is no file"):
        read_images([tmp_path / "none.png"], (8, 8, 1))


@pytest.mark.slow
def test_a_simulated_board_classifies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flow, network = load_engine("digits"), load_network(str(NETWORK))
    generate(flow, network, tmp_path / "board")
    pixels = np.random.default_rng(4).integers(0, 256, (3, 8, 8, 1), dtype=np.uint8)
    np.save(tmp_path / "three.npy", pixels)
    with simulated_board(flow, compile_network(network, flow).words) as board:
        arguments = ("host", "classify", "three.npy", "--port", board.port, "--folder", "board", "--patience", "20")
        done = invoke(*arguments, "--json", cwd=tmp_path, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    rows = json.loads(done.stdout)["rows"]
    expected = run_reference(network, pixels).logits
    assert [row["logits"] for row in rows] == expected.tolist()
    assert [row["prediction"] for row in rows] == expected.argmax(1).tolist()
