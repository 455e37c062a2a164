"""The section Members of a unit's docstring says which ports it has, and which way they go."""

import inspect
import pkgutil
import re
from dataclasses import replace
from importlib import import_module

import pytest
from amaranth.hdl import Fragment
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out
from engines import ALL_STREAMED, streamed_flow, tiny_flow
from windowed import tiny_swin, windowed_for

import bivit.hw
from bivit.hw.board.boards import SERIAL_BOARDS
from bivit.hw.board.top import BoardTop
from bivit.hw.engine import Engine
from bivit.hw.parts.component import Component
from bivit.hw.slots.attention_streams import QkvStream
from bivit.hw.synthesis.wrapper import PinWrapper

for _module in pkgutil.walk_packages(bivit.hw.__path__, "bivit.hw."):
    import_module(_module.name)


def components(kind: type = wiring.Component) -> set[type]:
    """Every component that bivit describes."""
    below = {one for child in kind.__subclasses__() for one in components(child) | {child}}
    return {one for one in below if one.__module__.startswith("bivit.hw.") and "elaborate" in vars(one)}


@pytest.fixture(scope="module")
def made() -> dict[type, dict[str, wiring.Member]]:
    """The members of every component that an engine is made of; of a class, those of all components."""
    found: dict[type, dict[str, wiring.Member]] = {}
    initialise = wiring.Component.__init__

    def note(self: wiring.Component, *arguments: object) -> None:
        initialise(self, *arguments)  # type: ignore[arg-type]
        found.setdefault(type(self), {}).update(self.signature.members.items())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(wiring.Component, "__init__", note)
        for flow in (tiny_flow(products_per_dsp=2), streamed_flow(), streamed_flow(**ALL_STREAMED)):
            Fragment.get(PinWrapper(Engine(flow), "engine"), None)
        for lanes in (8, 32):  # rows one by one, and side by side
            flow = windowed_for([tiny_swin()], columns=16, norm_lanes=lanes)
            Fragment.get(Engine(flow), None)
        Fragment.get(Engine(replace(flow, weights="streamed")), None)
        QkvStream(replace(flow, weights="streamed"))  # of which such engines have one that merges patches, too
        Fragment.get(BoardTop(SERIAL_BOARDS["ulx3s"], tiny_flow(), 90.0, 1_000_000), None)
    for base in components() - set(found):
        # A base that is never made itself has what all that are made of it have.
        below = [dict(members) for kind, members in found.items() if issubclass(kind, base)]
        if below:
            found[base] = {name: below[0][name] for name in set.intersection(*map(set, below))}
    return found


def test_all_are_converted_once_for_all_that_are_equal() -> None:
    assert {one.__name__ for one in components() if not issubclass(one, Component)} == set()


def documented_members(docstring: str) -> list[tuple[str, str]]:
    """Names in the section Members with what is said of them, one for each; "In(1)" where it is said of all."""
    lines = inspect.cleandoc(docstring).splitlines()
    if "Members" not in lines:
        return []
    members = []
    for line, following in zip(
        lines[lines.index("Members") + 2 :], [*lines[lines.index("Members") + 3 :], ""], strict=True
    ):
        if following and set(following) == {"-"}:
            break
        if line and not line.startswith(" "):
            names, _, what = line.partition(" : ")
            members += [(name.strip(), what) for name in names.split(",")]
    return members


def complaints(docstring: str, members: dict[str, wiring.Member]) -> list[str]:
    """What the section says and the signature does not, or the other way round."""
    wrong, left = [], dict(members)
    for name, what in documented_members(docstring):
        pattern = re.sub(r"<\w+>|\*", r"\\w+", name)
        meant = [one for one in left if re.fullmatch(pattern, one)]
        if not meant:
            wrong.append(f"has no {name}")
        flows = {one for one in (In, Out) if re.search(rf"\b{one.name}\b", what)}
        wrong += [f"{one} is {left[one].flow.name}" for one in meant if left[one].flow not in flows]
        left = {one: member for one, member in left.items() if one not in meant}
    return wrong + [f"does not say {name}" for name in left]


def test_an_engine_is_made_of_all_components(made: dict[type, dict[str, wiring.Member]]) -> None:
    assert components() - set(made) == set()


def test_docstrings_say_which_ports_there_are(made: dict[type, dict[str, wiring.Member]]) -> None:
    found = {kind.__name__: complaints(kind.__doc__ or "", made[kind]) for kind in components()}
    assert {name: wrong for name, wrong in found.items() if wrong} == {}


@pytest.mark.parametrize(
    ("listed", "expected"),
    [
        ("a, b : In\n    Both.\nissue_<op> : Out(1)\nc : In, Out", []),
        ("a, b : In\nissue_*, c : Out", []),
        ("a : In\nissue_<op> : Out(1)\nc : Out", ["does not say b"]),
        ("a, b, d : In\nissue_<op> : Out(1)\nc : Out", ["has no d"]),
        ("a, b : Out\nissue_<op>, c : Out", ["a is In", "b is In"]),
        ("a, b : In\nissue_<op>, c : Out\n\nNotes\n-----\nd : In", []),
    ],
)
def test_a_wrong_list_is_found(listed: str, expected: list[str]) -> None:
    members = {"a": In(1), "b": In(2), "issue_end": Out(1), "issue_matmul": Out(1), "c": Out(1)}
    assert complaints(f"Do it.\n\nMembers\n-------\n{listed}\n", members) == expected


def test_a_missing_section_is_found() -> None:
    assert complaints("Do it.", {"a": In(1)}) == ["does not say a"]
