"""Reports in the form of Vivado's, made up for tests: no tool wrote them, and their numbers are nobody's.

The form is that of report_utilization and report_timing_summary as AMD's guides UG835 and UG906 show them.
"""

from __future__ import annotations

from collections.abc import Mapping

_RULE = "-" * 96


def utilisation_text(rows: Mapping[str, float], *, device: str = "xck26-sfvc784-2LV-c", cells: str = "") -> str:
    """Return a report of utilisation with a table of `rows`."""
    command = f"report_utilization {f'-cells [get_cells {cells}] ' if cells else ''}-file reports/utilisation.rpt"
    head = {"Tool Version": "Vivado v.2022.1 (lin64)", "Command": command, "Design": "system_wrapper"}
    head |= {"Device": device, "Design State": "Routed"}
    lines = ["Copyright 1986-2022 Xilinx, Inc. All Rights Reserved.", _RULE]
    lines += [f"| {name:<12} : {value}" for name, value in head.items()]
    rule = "+----------------------------+-------+-------+------------+-----------+-------+"
    lines += [_RULE, "", "Utilization Design Information", "", "1. Logic", "--------", "", rule]
    lines += ["|          Site Type         |  Used | Fixed | Prohibited | Available | Util% |", rule]
    for name, used in rows.items():
        lines.append(f"| {name:<26} | {used:>5g} |     0 |          0 |    100000 |  1.00 |")
    return "\n".join([*lines, rule, ""])


def timing_text(clocks: Mapping[str, tuple[float, float, int]], *, indent: str = "") -> str:
    """Return a report of timing with clocks, each with period in ns, worst slack in ns and ends of paths."""
    lines = ["Copyright 1986-2022 Xilinx, Inc. All Rights Reserved.", _RULE]
    lines += [
        "| Tool Version : Vivado v.2022.1 (lin64)",
        "| Command      : report_timing_summary -file reports/timing.rpt",
    ]
    lines += [_RULE, "", "Timing Summary Report", "", _RULE, "| Clock Summary", "| -------------", _RULE, ""]
    lines += ["Clock      Waveform(ns)       Period(ns)      Frequency(MHz)"]
    lines += ["-----      ------------       ----------      --------------"]
    for name, (period, _, _) in clocks.items():
        lines.append(f"{indent}{name:<10} {{0.000 {period / 2:.3f}}}      {period:.3f}           {1000 / period:.3f}")
    lines += ["", "", _RULE, "| Intra Clock Table", "| -----------------", _RULE, ""]
    lines += ["Clock      WNS(ns)      TNS(ns)  TNS Failing Endpoints  TNS Total Endpoints      WHS(ns)"]
    lines += ["-----      -------      -------  ---------------------  -------------------      -------"]
    for name, (_, slack, ends) in clocks.items():
        if ends:
            lines.append(
                f"{indent}{name:<10} {slack:7.3f}        0.000                      0   {ends:10}        0.010"
            )
    lines += ["", "", _RULE, "| Inter Clock Table", "| -----------------", _RULE, ""]
    return "\n".join(lines)
