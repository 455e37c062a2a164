"""The dense unit: patch embedding and classifier in int8 (docs/semantics.md 1 and 11)."""

from __future__ import annotations

from collections.abc import Iterator

from ..engine.commands import Embed, Logits, Prefix
from ..engine.pipeline import REQUANTIZE_CYCLES, Product, partial_products
from ..engine.timing import Activity
from ..network.formats import DENSE_WEIGHT_BITS, HEAD_BIAS_BITS, PATCH_BIAS_BITS, PATCH_SCALE_BITS
from .last_norm import LastNormUnit
from .unit import Probe, Timings, Unit
from .uses import Extent, Uses, rows_reach
from .written import Padded, Rows, Written


class DenseUnit(Unit):
    """`dense_lanes` multiply-accumulators, whose sums leave `lanes` a cycle through a shadow register."""

    name = "dense"
    loadable = ("dense_weights", "patch_params", "positions", "head_bias")
    #: Signed width of an input of the multipliers: y, or a pixel.
    input_bits = LastNormUnit.y_bits
    #: From the address of a group's last pixel to its sums in the shadow register, one chunk a cycle from there.
    sums_stage = 6
    #: From a chunk in the shadow register to the write of x, and to that of the logits.
    embed_write_cycles = 1 + REQUANTIZE_CYCLES
    logits_write_cycles = 3

    @property
    def multipliers(self) -> int:
        """Elements that are multiplied a cycle."""
        return self.engine.dense_lanes

    @property
    def group_chunks(self) -> int:
        """Chunks of a group of sums."""
        return self.multipliers // self.lanes

    @property
    def acc_bits(self) -> int:
        """Signed width that no sum of the patch embedding or the classifier leaves.

        A patch gives at most 255 * 128 * K. For the classifier, let d[c] = N_c*x[c] - S1. Its squares add up to
        N_c * (V - Eps), so by Cauchy sum |d[c]| <= N_c * sqrt(V - Eps), and sqrt(V - Eps) / R <= sqrt(2) for
        R = isqrt(V) and Eps >= 1. Hence sum |y[c]| <= N_c * (sqrt(2) * 2^head_frac_bits + 1), for each of two rows at
        most; 3/2 stands for the root of 2.
        """
        weight = 1 << (DENSE_WEIGHT_BITS - 1)
        patch = 255 * weight * self.engine.max_patch_dim
        row = self.engine.max_embed_dim * ((3 << self.engine.formats.head_frac_bits) // 2 + 2)
        return max(patch, 2 * weight * row).bit_length() + 1

    @property
    def scaled_bits(self) -> int:
        """Signed width of a sum times the requantizer's factor, with its bias: see `hw.units.requantize`."""
        return max(self.acc_bits + PATCH_SCALE_BITS - 1, PATCH_BIAS_BITS) + 1

    @property
    def timings(self) -> Timings:
        """Patches of a strip, constant tokens, classes."""
        return {Embed: self._embed, Prefix: self._prefix, Logits: self._logits}

    def _embed(self, command: Embed) -> Activity:
        """Embed the patches of one strip.

        Windows: ``pixels.read``; ``strip``, in whose last cycle the strip is released; ``x.write``.
        """
        patch_bytes = command.patch_rows * command.patch_row_bytes
        read_end = 1 + (command.patches * command.groups - 1) * max(patch_bytes, self.group_chunks) + patch_bytes
        last_chunks = command.chunks - (command.groups - 1) * self.group_chunks
        write = self.sums_stage + self.embed_write_cycles
        end = read_end - 1 + write + last_chunks
        windows = {"pixels.read": (1, read_end), "strip": (0, read_end), "x.write": (patch_bytes + write, end)}
        return Activity(end, windows)

    def _prefix(self, command: Prefix) -> Activity:
        """Write the first `words` words of x from the position memory. Windows: ``x.write``."""
        first = 1 + self.embed_write_cycles
        return Activity(first + command.words, {"x.write": (first, first + command.words)})

    def _logits(self, command: Logits) -> Activity:
        """Classify `inputs` elements of y. Windows: ``y.read``; ``logits.w``, writes of the logits memory."""
        last = (command.groups - 1) * max(command.inputs, self.group_chunks) + command.inputs
        write = self.sums_stage + self.logits_write_cycles
        end = last + write + self.group_chunks
        return Activity(end, {"y.read": (1, last + 1), "logits.w": (command.inputs + write, end)})

    def uses(self, command: Embed | Prefix | Logits) -> Uses:
        """Tokens go to x."""
        ports = {} if isinstance(command, Logits) else {"x.write": "x.write"}
        return Uses(self.name, self.timing(command), ports)

    def writes(self, command: Embed | Prefix | Logits) -> Iterator[Written]:
        """Rows of x; logits."""
        if isinstance(command, Logits):
            yield Padded("logits.w", "logits", "logits", command.groups)
        elif isinstance(command, Embed):
            yield Rows("x.write", "rows", "x", command.token * command.stride, command.stride)
        else:
            yield Rows("x.write", "rows", "x")  # one word behind the other, whatever the number of rows

    def reach(self, command: Embed | Prefix | Logits) -> Iterator[Extent]:
        """Tokens with their positions and parameters; y with the classifier's."""
        if isinstance(command, Prefix):
            yield from (Extent(memory, 0, command.words) for memory in ("x", "positions"))
        elif isinstance(command, Embed):
            first = command.token * command.stride
            words = rows_reach(command.patches, command.stride, command.chunks)
            yield from (Extent(memory, first, words) for memory in ("x", "positions"))
            yield Extent("dense_weights", 0, command.groups * command.patch_rows * command.patch_row_bytes)
            yield Extent("patch_params", 0, command.chunks)
        else:
            yield Extent("y", 0, command.inputs)
            yield Extent("dense_weights", command.weight_addr, command.groups * command.inputs)
            yield Extent("head_bias", 0, command.groups * self.group_chunks)

    def features(self) -> dict[str, float]:
        """Grow with both kinds of lanes and their sums."""
        return {
            "unit": 1,
            "dense_lane": self.multipliers,
            "dense_lane_bit": self.multipliers * self.acc_bits,
            "lane": self.lanes,
            "lane_bit": self.lanes * self.scaled_bits,
        }

    def products(self) -> list[Product]:
        """Inputs times weights, the requantizer, and addresses: a token times its words in x and in the positions."""
        token, stride, chunks = (Embed.layout()[name].width for name in ("token", "stride", "chunks"))
        addresses = [(token + 1, stride + 1), (token + 1, chunks + 1)]
        requantizer = partial_products((self.acc_bits, PATCH_SCALE_BITS), self.engine.block_bits) * self.lanes
        return [(self.input_bits, DENSE_WEIGHT_BITS)] * self.multipliers + requantizer + addresses

    def probes(self) -> list[Probe]:
        """Logits."""
        keys = ("logit_write__addr",)
        return [
            self._probe(
                "logits", "logit_write__en", keys, "logit_write__data", HEAD_BIAS_BITS, elements=self.lanes, signed=True
            )
        ]
