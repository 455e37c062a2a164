"""The page of `bivit explore --report`: all that it says is in the JSON, and a browser lets one choose."""

from __future__ import annotations

import json
import re
from copy import deepcopy
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from browser import asked
from program import assert_refused, invoke

from bivit.cli.pages.explored import count, render
from bivit.sim.flow.presets import FLOW_ENGINES, engine_from_dict


class Read(HTMLParser):
    """Texts of a page in their order, what it loads from elsewhere, and tags that are open at its end."""

    VOID = ("meta", "br", "img", "link", "input")

    def __init__(self, page: str):
        super().__init__()
        self.texts: list[str] = []
        self.loads: list[str] = []
        self.open: list[str] = []
        self.data = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in self.VOID:
            self.open.append(tag)
        self.loads += [f"{name}={value}" for name, value in attrs if name in ("src", "href", "srcset", "action")]
        if tag == "link" or tag == "iframe":
            self.loads.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if self.open and self.open[-1] == tag:
            self.open.pop()

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] == "script":
            self.data = self.data or data  # the first one is the JSON
        elif self.open and self.open[-1] != "style" and data.strip():
            self.texts.append(" ".join(data.split()))

    @property
    def text(self) -> str:
        return " ".join(self.texts)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], str]:
    """What one exploration prints, and its page."""
    folder = tmp_path_factory.mktemp("explored")
    with pytest.MonkeyPatch.context() as monkeypatch:
        arguments = ("explore", "digits", "--target", "ulx3s", "--report", "out/page.html", "--json")
        done = invoke(*arguments, cwd=folder, monkeypatch=monkeypatch)
    assert done.returncode == 0, done.stderr
    assert [path.name for path in (folder / "out").iterdir()] == ["page.html"]
    return json.loads(done.stdout), (folder / "out/page.html").read_text(encoding="utf-8")


def test_the_page_is_made_of_the_json_alone(made: tuple[dict[str, Any], str]) -> None:
    found, page = made
    assert render(found) == page
    data = json.loads(Read(page).data)
    assert {name: data[name] for name in found} == found


def test_it_needs_nothing_from_outside_and_is_whole(made: tuple[dict[str, Any], str]) -> None:
    read = Read(made[1])
    assert read.loads == []
    assert read.open == []
    links = re.findall(r"https?://[^\s\"')]+", made[1])
    assert set(links) <= {"http://www.w3.org/2000/svg"}
    assert not re.search(r"@import|url\(|fetch\(|XMLHttp|import\(", made[1])


def test_numbers_stand_with_how_they_are_known(made: tuple[dict[str, Any], str]) -> None:
    found, page = made
    text = Read(page).text
    for part in (
        f"{found['images_per_s']:,.0f} images/s in a long run; exact cycles, assumed clock",
        f"{found['latency_us']:,.1f} µs a single image; exact cycles, assumed clock",
        found["clock_source"],
        f"{found['command']}",
        f"({count(found['interval_cycles'])} from image to image",
        "bounds by the loads of their parts",
        "predicted exactly by the cycle model",
    ):
        assert part in text
    for row in found["resources"]:
        assert f"{row['resource']}, {count(row['used'])} of {count(row['available'])}; estimated" in text
    for unit in found["units"]:
        assert unit["unit"] in text
    for row in found["ceilings"]:
        assert f"{row['cycles']:,} {row['most_images_per_s']:,.0f}" in text
    assert text.count("estimated") > len(found["units"])


def test_what_binds_is_said_with_what_one_would_change(made: tuple[dict[str, Any], str]) -> None:
    found, page = made
    first, second = found["ceilings"][:2]
    text = Read(page).text
    assert first["part"] == found["binds"]
    assert f"{first['part']} binds: busy for {first['cycles']:,} cycles of every image" in text
    assert f"The next, {second['part']}, is busy for" in text
    for row in found["ceilings"]:
        if row["wider"] is not None:
            for name, value in row["wider"]["differs"].items():
                assert f"{name} {found['engine'][name]} → {value}" in text


def test_another_number_is_another_page(made: tuple[dict[str, Any], str]) -> None:
    found = deepcopy(made[0])
    found["ceilings"][1]["cycles"] = found["ceilings"][0]["cycles"]
    found["resources_kind"], found["clock_kind"], found["tile"] = "assumed", "given", None
    found["units"][0]["luts"], found["networks"], found["memory_gb_s"] = None, ["<b>digits"], 1.25
    found["ceilings"].append({**found["ceilings"][-1], "part": "memory", "wider": None})
    text = Read(render(found)).text
    assert "beats of the memory port" in text
    assert f"{found['ceilings'][0]['part']} and {found['ceilings'][1]['part']} bind: busy" in text
    assert "exact cycles, given clock" in text
    assert "resources are assumed" in text
    assert "unknown" in text
    assert "weights streamed" in text
    assert "1.25 GB/s of weights" in text
    assert "too long to be kept" in text
    assert "<b>digits on LFE5U-85F" in text


def test_rows_of_the_json_agree_with_each_other(made: tuple[dict[str, Any], str]) -> None:
    found = made[0]
    (chosen,) = [point for point in found["points"] if point["chosen"]]
    assert chosen["differs"] == {}
    assert (chosen["images_per_s"], chosen["latency_us"]) == (found["images_per_s"], found["latency_us"])
    assert list(chosen["used"].values()) == [row["used"] for row in found["resources"]]
    exact = [point for point in found["points"] if point["images_per_s"] is not None]
    assert len(exact) == 1 + len(found["alternatives"])
    assert all(point["images_per_s"] <= point["most_images_per_s"] for point in exact)
    for row, total in zip(found["resources"], ("luts", "ffs", "dsps", "brams"), strict=True):
        assert sum(unit[total] for unit in found["units"]) == row["used"]
    assert {row["part"]: row["cycles"] / found["ceilings"][0]["cycles"] for row in found["ceilings"]} == found["loads"]
    assert max(span["end"] for span in found["tile"]["spans"]) == found["tile"]["cycles"]


def test_engines_are_told_by_what_differs(made: tuple[dict[str, Any], str]) -> None:
    """Put into the chosen engine's file, what differs gives every engine; a named one's is that of its name."""
    found, names = made[0], set()
    for point in found["points"]:
        array = found["engine"]["engine"] | point["differs"].get("engine", {})
        flow = engine_from_dict(found["engine"] | point["differs"] | {"engine": array})
        assert f"{flow.engine.rows}x{flow.engine.columns}x64" == point["shape"]
        if point["name"]:
            names.add(point["name"])
            assert flow == FLOW_ENGINES[point["name"]].in_fabric(flow.engine.fabric)
    assert {"ulx3s", "sim"} <= names


CHOOSE = """
function answer() {
  const dots = () => [...document.querySelectorAll("#points .dot")], box = document.getElementById("point");
  const all = { dots: dots().length, titles: [...axis.options].map((one) => one.text) };
  const first = box.querySelector("h3").textContent;
  const other = dots().find((dot) => !dot.classList.contains("chosen") && !dot.classList.contains("named"));
  other.dispatchEvent(new MouseEvent("mousemove", { bubbles: true, clientX: 300, clientY: 300 }));
  const tip = document.getElementById("tip");
  const shown = { tip: tip.textContent, display: tip.style.display, right: tip.getBoundingClientRect().right };
  other.dispatchEvent(new MouseEvent("click", { bubbles: true }));
  const file = decodeURIComponent(box.querySelector("a").href.split(",").slice(1).join(","));
  const line = document.getElementById("generate").textContent, index = Number(other.dataset.index);
  const named = dots().find((dot) => dot.classList.contains("named"));
  named.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
  const name = document.getElementById("generate").textContent;
  const selected = document.querySelectorAll(".selected").length;
  const before = other.getAttribute("cx");
  axis.value = axis.options.length - 1;
  axis.dispatchEvent(new Event("change"));
  const moved = dots().some((dot) => Number(dot.dataset.index) === index && dot.getAttribute("cx") !== before);
  const loaded = performance.getEntriesByType("resource").length;
  const bars = document.querySelectorAll(".stack .track").length;
  return { ...all, ...shown, first, index, line, file, name, selected, moved, loaded, bars };
}
"""


def test_a_browser_shows_and_lets_one_choose(made: tuple[dict[str, Any], str], tmp_path: Path) -> None:
    found, page = made
    seen = asked(page, CHOOSE, tmp_path)
    point = found["points"][seen["index"]]
    assert 0.5 * len(found["points"]) < seen["dots"] <= len(found["points"])
    assert seen["titles"] == ["LUT", "FF", "DSP", "BRAM", "latency, µs"]
    assert seen["first"].startswith(f"Chosen: {found['shape']}")
    assert seen["display"] == "block"
    assert seen["right"] < 1200
    assert f"at most {point['most_images_per_s']:,.0f} images/s, by loads" in seen["tip"]
    assert f"LUT {point['used']['luts']:,}" in seen["tip"]
    assert seen["line"] == "bivit generate --net digits --engine engine.json --target lfe5u-85f --out out/verilog"
    flow = engine_from_dict(json.loads(seen["file"]))
    assert f"{flow.engine.rows}x{flow.engine.columns}x64" == point["shape"]
    assert re.search(r"--engine (sim|ulx3s|digits|ecp5_45|latency|arty|kv260|zcu102|vck190) --target", seen["name"])
    assert (seen["selected"], seen["moved"], seen["loaded"], seen["bars"]) == (1, True, 0, 4)


def test_a_fault_of_the_script_is_found(made: tuple[dict[str, Any], str], tmp_path: Path) -> None:
    broken = made[1].replace("function draw() {", "function draw() { nothing();", 1)
    with pytest.raises(AssertionError, match="nothing is not defined"):
        asked(broken, "function answer() { return 1; }", tmp_path)


@pytest.mark.parametrize(("file", "says"), [("page.htm", "a file that ends in .html"), ("folder.html", "is a folder")])
def test_a_page_that_cannot_be_is_refused_at_once(
    file: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "folder.html").mkdir()
    done = invoke("explore", "digits", "--target", "ulx3s", "--report", file, cwd=tmp_path, monkeypatch=monkeypatch)
    assert_refused(done, says)
    assert [path.name for path in tmp_path.iterdir()] == ["folder.html"]
