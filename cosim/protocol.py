"""The rules of the bus ports: AXI4-Lite and AXI4-Stream checkers as Verilog that the bench has beside the engine.

Both sides of every port are looked at, so a fault of the bench is found as well as one of the engine.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

#: Name of the module, and of its instance in the bench's top level.
MODULE = "bus_rules"
#: Cycles within which a slave must answer.
PATIENCE_CYCLES = 1000
#: Reports after which a simulation says no more.
_MOST_REPORTS = 100

#: What each rule asks.
RULES = {
    "IN_RESET": "VALID must be low in reset",
    "UNKNOWN": "VALID and READY, and what comes with VALID, must be known after reset",
    "WITHDRAWN": "VALID must stay high until READY takes it",
    "CHANGED": "what comes with VALID must stay as it is until READY takes it",
    "UNASKED": "a response must follow a request that has none yet",
    "SILENT": f"a request must have its response within {PATIENCE_CYCLES} cycles",
    "RESPONSE": "AXI4-Lite has the responses OKAY, SLVERR and DECERR",
    "LAST": "TLAST must be at the last beat of a packet and nowhere else",
    "TAG": "TUSER must be the same for all beats of a packet",
    "BOUNDARY": "a burst must not cross a multiple of 4096 bytes",
    "LEVEL": "the interrupt must stay high until a write to a register clears it",
}


@dataclass(frozen=True)
class Channel:
    """Signals of one handshake: VALID, READY, and what is transferred."""

    name: str
    valid: str
    ready: str
    payload: tuple[str, ...]


def _channel(name: str, prefix: str, *payload: str) -> Channel:
    return Channel(name, f"{prefix}valid", f"{prefix}ready", payload)


#: The port that streamed weights are read by.
_READ = "m_axi_weights"
#: Every handshake of an engine.
CHANNELS = (
    _channel("s_axil_aw", "s_axil_aw", "s_axil_awaddr"),
    _channel("s_axil_w", "s_axil_w", "s_axil_wdata", "s_axil_wstrb"),
    _channel("s_axil_b", "s_axil_b", "s_axil_bresp"),
    _channel("s_axil_ar", "s_axil_ar", "s_axil_araddr"),
    _channel("s_axil_r", "s_axil_r", "s_axil_rdata", "s_axil_rresp"),
    *(
        _channel(port, f"{port}_t", f"{port}_tdata", *user, f"{port}_tlast")
        for port, user in (
            ("s_axis_pixels", ()),
            ("s_axis_load", ()),
            ("m_axis_logits", ("m_axis_logits_tuser",)),
        )
    ),
    _channel(
        f"{_READ}_ar", f"{_READ}_ar", *(f"{_READ}_ar{name}" for name in ("id", "addr", "len", "size", "burst", "cache"))
    ),
    _channel(f"{_READ}_r", f"{_READ}_r", *(f"{_READ}_r{name}" for name in ("id", "data", "resp", "last"))),
)


@dataclass(frozen=True)
class Violation:
    """A rule that was broken.

    Parameters
    ----------
    port : str
        Channel of an AXI4-Lite port, stream, or ``irq``.
    rule : str
        Key of `RULES`.
    cycle : int
        When, in clock edges since the simulation's start.
    """

    port: str
    rule: str
    cycle: int

    def __str__(self) -> str:
        return f"port {self.port} breaks the bus rule {self.rule} in cycle {self.cycle}: {RULES[self.rule]}"


def read_violations(path: Path) -> list[Violation]:
    """Return what the checkers of a simulation wrote, in order; nothing when they wrote no file."""
    if not path.is_file():
        return []
    found = (line.split() for line in path.read_text(encoding="utf-8").splitlines())
    return [Violation(port, rule, int(cycle)) for port, rule, cycle in found]


def rules_module(ports: Mapping[str, tuple[str, int]]) -> str:
    """Return Verilog of a module with all ports of an engine as inputs, which watches those that have rules.

    It takes ``+violations_file=PATH`` and writes a line there for each broken rule: port, rule, cycle; without the
    argument it writes to standard output. ``+classes=N`` says how many beats a packet of logits has; without it, or
    with 0, their number is not checked.

    Parameters
    ----------
    ports : mapping of str to (str, int)
        As `hw.verilog_ports.ports_of`.
    """
    inputs = ",\n".join(f"  input wire [{bits - 1}:0] {name}" for name, (_, bits) in ports.items())
    checks = "\n".join(_checks(ports))
    return f"""module {MODULE} (
{inputs},
  input wire [63:0] cycle
);
  reg [8191:0] path;
  integer file = 1, reports = 0, classes = 0;
  initial begin
    if ($value$plusargs("violations_file=%s", path)) file = $fopen(path, "w");
    if (!$value$plusargs("classes=%d", classes)) classes = 0;
  end
  // Whether a reset was seen at all, and whether the last clock edge was in one.
  reg seen = 0, was_reset = 0;
  always @(posedge clk) begin
    if (rst === 1'b1) seen <= 1;
    was_reset <= rst === 1'b1;
  end
{checks}
endmodule
"""


def _checks(ports: Mapping[str, tuple[str, int]]) -> Iterator[str]:
    for channel in CHANNELS:
        if channel.valid in ports:
            yield _handshake(channel, ports)
    if "s_axil_awvalid" in ports:
        yield _responses("s_axil_b", "s_axil_bvalid", "s_axil_bready", "s_axil_bresp", ("s_axil_aw", "s_axil_w"))
        yield _responses("s_axil_r", "s_axil_rvalid", "s_axil_rready", "s_axil_rresp", ("s_axil_ar",))
    if "m_axis_logits_tvalid" in ports:
        yield _packets()
    if f"{_READ}_arvalid" in ports:
        yield _bursts()
    if "irq" in ports:
        yield _interrupt()


def _report(port: str, rule: str) -> str:
    """Return the statement that writes a line, a block so that no `else` can slip into it."""
    line = f'$fwrite(file, "{port} {rule} %0d\\n", cycle);'
    return f"begin if (reports < {_MOST_REPORTS}) {line} reports = reports + 1; end"


def _handshake(channel: Channel, ports: Mapping[str, tuple[str, int]]) -> str:
    """Rules of one handshake; ``===`` takes an unknown value for what it is."""
    name, valid, ready = channel.name, channel.valid, channel.ready
    payload = "{" + ", ".join(channel.payload) + "}"
    bits = sum(ports[signal][1] for signal in channel.payload)
    return f"""
  reg {name}_waits = 0;
  reg [{bits - 1}:0] {name}_held;
  always @(posedge clk)
    if (rst !== 1'b0) begin
      {name}_waits <= 0;
      if (was_reset && {valid} !== 1'b0) {_report(name, "IN_RESET")}
    end else if (seen) begin
      {name}_waits <= {valid} && !{ready};
      {name}_held <= {payload};
      if (^{{{valid}, {ready}}} === 1'bx || ({valid} && ^{payload} === 1'bx)) {_report(name, "UNKNOWN")}
      if ({name}_waits) begin
        if ({valid} === 1'b0) {_report(name, "WITHDRAWN")}
        else if ({payload} !== {name}_held) {_report(name, "CHANGED")}
      end
    end"""


def _responses(name: str, valid: str, ready: str, response: str, requests: tuple[str, ...]) -> str:
    """One response for each request; a write's request is whole when both its address and its data are taken."""
    declared = "".join(f"\n  integer {request}_open = 0;" for request in requests)
    whole = " && ".join(f"{request}_open > 0" for request in requests)
    answered = f"({valid} && {ready} && {whole} ? 1 : 0)"
    counted = "".join(
        f"\n      {request}_open <= {request}_open + ({request}valid && {request}ready ? 1 : 0) - {answered};"
        for request in requests
    )
    cleared = "".join(f"\n      {request}_open <= 0;" for request in requests)
    return f"""{declared}
  integer {name}_waited = 0;
  always @(posedge clk)
    if (rst !== 1'b0) begin
      {name}_waited <= 0;{cleared}
    end else if (seen) begin{counted}
      {name}_waited <= {whole} && !{valid} ? {name}_waited + 1 : 0;
      if ({valid} && !({whole})) {_report(name, "UNASKED")}
      if ({valid} && {response} == 2'd1) {_report(name, "RESPONSE")}
      if ({name}_waited == {PATIENCE_CYCLES}) {_report(name, "SILENT")}
    end"""


def _packets() -> str:
    """TUSER and TLAST of the logits."""
    name = "m_axis_logits"
    return f"""
  integer {name}_beat = 0;
  reg [15:0] {name}_tag;
  always @(posedge clk)
    if (rst !== 1'b0) {name}_beat <= 0;
    else if (seen && {name}_tvalid && {name}_tready) begin
      {name}_beat <= {name}_tlast ? 0 : {name}_beat + 1;
      {name}_tag <= {name}_tuser;
      if (classes != 0 && {name}_tlast != ({name}_beat == classes - 1)) {_report(name, "LAST")}
      if ({name}_beat != 0 && {name}_tuser != {name}_tag) {_report(name, "TAG")}
    end"""


def _bursts() -> str:
    """Bursts of reads end before the next multiple of 4096 bytes."""
    name = f"{_READ}_ar"
    return f"""
  wire [31:0] {name}_end = {name}addr[11:0] + (({name}len + 1) << {name}size);
  always @(posedge clk)
    if (rst === 1'b0 && seen && {name}valid && {name}_end > 4096) {_report(name, "BOUNDARY")}"""


def _interrupt() -> str:
    """The level: known, and cleared by nothing but a write, whose address was taken and whose response was not."""
    return f"""
  reg irq_was = 0, irq_written = 0;
  always @(posedge clk)
    if (rst !== 1'b0) irq_was <= 0;
    else if (seen) begin
      irq_was <= irq;
      irq_written <= s_axil_aw_open > 0;
      if (^irq === 1'bx) {_report("irq", "UNKNOWN")}
      if (irq_was && !irq && !irq_written) {_report("irq", "LEVEL")}
    end"""
