"""The memory beside an engine whose weights are streamed: a slave of AXI4 reads that the bench has, late and faulty."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from ..sim.errors import check
from ..sim.flow.weight_stream import ADDRESS_BITS, IMAGE_ALIGNMENT
from ..sim.system.files import write_text

#: Name of the module.
MEMORY_MODULE = "bench_memory"
#: Where the image lies: not at the beginning, and beyond 4 GiB.
BASE = 0x5_0000_0000 + 3 * IMAGE_ALIGNMENT
#: Cycles from refresh to refresh, and those that one takes: of DDR4 at 250 MHz (7.8 and 0.35 microseconds).
REFRESH_CYCLES, REFRESHING_CYCLES = 1950, 88
#: Words of the smallest memory; larger ones have a power of two, so that networks share a built simulation.
_LEAST_WORDS = 1 << 14
#: Latest that a beat may be, in cycles.
MOST_LATENCY = 5000

#: What can be wrong, from one beat of a run on: an error is answered, a bit is another one, nothing comes any more, a
#: burst ends a beat too soon.
FaultKind = Literal["error", "flip", "silence", "short"]
_KINDS: tuple[FaultKind, ...] = ("error", "flip", "silence", "short")


@dataclass(frozen=True)
class Fault:
    """What is wrong with a memory.

    Parameters
    ----------
    kind : {"error", "flip", "silence", "short"}
    beat : int
        The first beat since reset that is wrong, from 0.
    bit : int
        Of a beat: which one is another one.
    beats : int
        Beats that are wrong; of a silence how many cycles it lasts.
    """

    kind: FaultKind
    beat: int
    bit: int = 0
    beats: int = 1


@dataclass(frozen=True)
class BenchMemory:
    """What lies in the memory, and how late it is.

    Parameters
    ----------
    image : bytes
        As `sim.mapping.weight_image.weight_image` makes it.
    bits : int
        Width of the port.
    least, most : int
        Cycles from a request to its first beat, where the one before is through. Where they differ each request has its
        own, requests are taken with pauses, and refreshes stop everything for a while.
    seed : int
    fault : Fault, optional
    edge : bool
        Whether the engine's edge reads of it as well.
    """

    image: bytes
    bits: int
    least: int = 1
    most: int = 1
    seed: int = 0
    fault: Fault | None = None
    edge: bool = False

    def __post_init__(self) -> None:
        check(
            1 <= self.least <= self.most <= MOST_LATENCY,
            f"the latency of the memory must be 1 to {MOST_LATENCY} cycles, the least one first, got "
            f"{self.least}:{self.most}",
        )

    @property
    def words(self) -> int:
        """Words of the module."""
        beats = len(self.image) * 8 // self.bits
        return max(_LEAST_WORDS, 1 << (beats - 1).bit_length())

    def plusargs(self, folder: Path) -> list[str]:
        """Write the image into a folder; return the arguments of a simulation.

        Parameters
        ----------
        folder : Path
        """
        step, path = self.bits // 8, folder / "memory.hex"
        beats = (self.image[at : at + step] for at in range(0, len(self.image), step))
        write_text(path, "".join(f"{int.from_bytes(beat, 'little'):0{2 * step}x}\n" for beat in beats))
        values: dict[str, object] = {"file": path, "least": self.least, "most": self.most, "seed": self.seed}
        if self.fault is not None:
            fault = self.fault
            values |= {"fault": 1 + _KINDS.index(fault.kind), "fault_beat": fault.beat}
            values |= {"fault_bit": fault.bit, "fault_beats": fault.beats}
        return [f"+memory_{name}={value}" for name, value in values.items()]


_MODULE = """module %(module)s (
  input wire clk,
  input wire rst,
  input wire [%(id)s:0] arid,
  input wire [%(address)s:0] araddr,
  input wire [7:0] arlen,
  input wire arvalid,
  output reg arready,
  output reg [%(id)s:0] rid,
  output reg [%(top)s:0] rdata,
  output reg [1:0] rresp,
  output reg rlast,
  output reg rvalid,
  input wire rready
);
  reg [%(top)s:0] words [0:%(last_word)s];
  reg [8191:0] path;
  integer least, most, fault, fault_beat, fault_bit, fault_beats, seed;
  initial begin
    if (!$value$plusargs("memory_least=%%d", least)) least = 1;
    if (!$value$plusargs("memory_most=%%d", most)) most = 1;
    if (!$value$plusargs("memory_seed=%%d", seed)) seed = 0;
    if (!$value$plusargs("memory_fault=%%d", fault)) fault = 0;
    if (!$value$plusargs("memory_fault_beat=%%d", fault_beat)) fault_beat = 0;
    if (!$value$plusargs("memory_fault_bit=%%d", fault_bit)) fault_bit = 0;
    if (!$value$plusargs("memory_fault_beats=%%d", fault_beats)) fault_beats = 1;
    if ($value$plusargs("memory_file=%%s", path)) $readmemh(path, words);
    drawn = seed * 2 + 1;
  end

  // Requests that are taken: when each may begin, its word, how many beats, whose.
  reg [31:0] due [0:15];
  reg [%(address)s:0] first [0:15];
  reg [7:0] more [0:15];
  reg [%(id)s:0] whose [0:15];
  reg [4:0] taken = 0, begun = 0;
  reg [31:0] now = 0, beat = 0, drawn, refresh = 0, silence = 0;
  reg [8:0] left = 0;
  reg [%(address)s:0] at;
  wire varies = least != most;
  wire waits = varies && refresh >= %(refreshing)s;
  wire faulty = fault != 0 && beat >= fault_beat && beat < fault_beat + fault_beats;
  wire silent = fault == 3 && beat >= fault_beat && silence < fault_beats;
  wire free = !rvalid || rready;
  wire begins = left == 0 && taken != begun && now >= due[begun[3:0]];
  wire sends = free && !waits && !silent && (left != 0 || begins);
  wire [8:0] beats = left != 0 ? left : more[begun[3:0]] + 9'd1;
  wire [%(address)s:0] place = left != 0 ? at : first[begun[3:0]];
  wire last = beats == 1 || (fault == 4 && faulty);
  wire [%(address)s:0] word = (place - 64'd%(base)s) >> %(shift)s;
  wire [%(top)s:0] flipped = fault == 2 && faulty ? {{%(top)s{1'b0}}, 1'b1} << fault_bit : 0;
  always @(posedge clk) begin
    now <= now + 1;
    drawn <= {drawn[30:0], drawn[31] ^ drawn[21] ^ drawn[1] ^ drawn[0]};
    silence <= silence + silent;
    refresh <= refresh == %(refresh)s ? 0 : refresh + 1;
    arready <= (!varies || drawn[4:2] != 0) && taken - begun < 12;
    if (rst) begin
      taken <= 0; begun <= 0; left <= 0; rvalid <= 0; arready <= 0; beat <= 0;
    end else begin
      if (arvalid && arready) begin
        due[taken[3:0]] <= now + least + (varies ? drawn[15:0] %% (most - least + 1) : 0);
        first[taken[3:0]] <= araddr;
        more[taken[3:0]] <= arlen;
        whose[taken[3:0]] <= arid;
        taken <= taken + 1;
      end
      if (free) rvalid <= 0;
      if (sends) begin
        rvalid <= 1;
        rid <= whose[begun[3:0]];
        rdata <= words[word[%(word_top)s:0]] ^ flipped;
        rresp <= word >= %(words)s ? 2'd3 : fault == 1 && faulty ? 2'd2 : 2'd0;
        rlast <= last;
        at <= place + %(bytes)s;
        left <= last ? 0 : beats - 1;
        if (last) begun <= begun + 1;
        beat <= beat + 1;
      end
    end
  end
endmodule
"""


def memory_module(bits: int, words: int, id_bits: int) -> str:
    """Return Verilog of the memory.

    Requests are answered in their order, a beat a cycle; one outside of the image is answered with an error. The
    numbers that are drawn come from a shift register of its own, the same under every simulator.

    Parameters
    ----------
    bits, words : int
        Of the port; what it holds.
    id_bits : int
        Of the number of a read.
    """
    shift = (bits // 8 - 1).bit_length()
    values = {
        "module": MEMORY_MODULE,
        "id": id_bits - 1,
        "address": ADDRESS_BITS - 1,
        "top": bits - 1,
        "last_word": words - 1,
        "refreshing": REFRESH_CYCLES - REFRESHING_CYCLES,
        "base": BASE,
        "shift": shift,
        "refresh": REFRESH_CYCLES - 1,
        "word_top": (words - 1).bit_length() - 1,
        "words": words,
        "bytes": bits // 8,
    }
    return _MODULE % values
