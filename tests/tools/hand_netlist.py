"""Netlists made by hand, as Yosys would write them."""

from __future__ import annotations

from typing import Any


class Hand:
    """A netlist made by hand: cells by name, with the nets at their pins; the pins O, Q, P, CO and DO are outputs."""

    def __init__(self) -> None:
        self.cells: dict[str, Any] = {}
        self.ports: dict[str, Any] = {}
        self.names: dict[str, int] = {}

    def bit(self, name: str) -> int | str:
        return name if name in ("0", "1") else self.names.setdefault(name, len(self.names) + 2)

    def cell(self, name: str, kind: str, parameters: dict[str, str] | None = None, **pins: str) -> Hand:
        outputs = ("O", "Q", "P", "CO", "DO", "Z", "DOUTADOUT", "DOUTBDOUT")
        self.cells[name] = {
            "type": kind,
            "parameters": parameters or {},
            "port_directions": {pin: "output" if pin in outputs else "input" for pin in pins},
            "connections": {pin: [self.bit(net) for net in nets.split()] for pin, nets in pins.items()},
        }
        return self

    def port(self, name: str, direction: str) -> Hand:
        self.ports[name] = {"direction": direction, "bits": [self.bit(name)]}
        return self

    def netlist(self) -> dict[str, Any]:
        nets = {name: {"bits": [bit]} for name, bit in self.names.items()}
        module = {"attributes": {"top": "1"}, "ports": self.ports, "cells": self.cells, "netnames": nets}
        return {"modules": {"top": module}}
