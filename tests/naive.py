"""Plain-Python twins of the kernels: lists of ints and the formulas of docs/semantics.md, slow and obvious.

Bits are unpacked, rows are lists, and one call handles one row, or one head of one image.
"""

import math
from fractions import Fraction

Row = list[int]
Rows = list[Row]


def pack(bits: Row) -> Row:
    words = [0] * math.ceil(len(bits) / 64)
    for k, bit in enumerate(bits):
        words[k // 64] += bit * 2 ** (k % 64)
    return words


def sign(bit: int) -> int:
    return 1 if bit else -1


def saturate_signed(value: int, bits: int) -> int:
    return max(-(2 ** (bits - 1)), min(2 ** (bits - 1) - 1, value))


def round_half_up_shift(value: int, shift: int) -> int:
    return math.floor(Fraction(value, 2**shift) + Fraction(1, 2))


def patches(image: list[Rows], side: int) -> Rows:
    """Patches of an image [row][column][channel], in raster order."""
    corners = range(0, len(image), side)
    return [
        [image[top + y][left + x][c] for y in range(side) for x in range(side) for c in range(len(image[0][0]))]
        for top in corners
        for left in corners
    ]


def patch_embed(
    patch: Row, weight: Rows, scale: Row, bias: Row, shift: int, position: Row, residual_bits: int
) -> tuple[Row, int]:
    """Residual of one patch's token, and how many channels were clamped."""
    x, saturations = [], 0
    for c in range(len(weight)):
        acc = sum(pixel * w for pixel, w in zip(patch, weight[c], strict=True))
        value = round_half_up_shift(acc * scale[c] + bias[c], shift) + position[c]
        x.append(saturate_signed(value, residual_bits))
        saturations += x[-1] != value
    return x, saturations


def norm_sign(x: Row, theta: Row, eps: int, theta_frac_bits: int) -> tuple[Row, int, int]:
    """Bits, S1 and R of one row."""
    s1 = sum(x)
    variance = len(x) * sum(value**2 for value in x) - s1**2 + eps
    r = math.isqrt(variance)
    bits = [int((len(x) * x[c] - s1) * 2**theta_frac_bits >= theta[c] * r) for c in range(len(x))]
    return bits, s1, r


def sign_norm(residual: Row, theta: Row, eps: int, norm_shift: int, theta_frac_bits: int) -> tuple[Row, int, int]:
    return norm_sign([value // 2**norm_shift for value in residual], theta, eps, theta_frac_bits)


def sign_norm_mean(residual: Row, theta: Row, norm_shift: int, mean_shift: int) -> tuple[Row, int]:
    """Bits and S1 of one row in mode `mean`, by the form of it that has no R."""
    x = [value // 2**norm_shift for value in residual]
    s1 = sum(x)
    return [int(len(x) * x[c] - s1 >= theta[c] * 2**mean_shift) for c in range(len(x))], s1


def head_norm(acc: Row, theta: Row, scale: Row, eps: int, theta_frac_bits: int) -> tuple[Row, int, int]:
    return norm_sign([s * a for s, a in zip(scale, acc, strict=True)], theta, eps, theta_frac_bits)


def binary_linear(activations: Row, weights: Rows) -> Row:
    return [sum(sign(a) * sign(w) for a, w in zip(activations, row, strict=True)) for row in weights]


def residual_add(x: Row, acc: Row, scale: Row, bias: Row, residual_bits: int) -> tuple[Row, int]:
    exact = [x[c] + scale[c] * acc[c] + bias[c] for c in range(len(x))]
    clamped = [saturate_signed(value, residual_bits) for value in exact]
    return clamped, sum(a != b for a, b in zip(exact, clamped, strict=True))


def threshold_sign(acc: Row, theta: Row) -> Row:
    return [int(a >= t) for a, t in zip(acc, theta, strict=True)]


def scores(queries: Rows, keys: Rows) -> Rows:
    return [[sum(a == b for a, b in zip(q, k, strict=True)) for k in keys] for q in queries]


def attention_threshold(p: Row, exp: Row, tau: int) -> tuple[Row, int, int]:
    """Bits, m and Z of one row of scores."""
    m = max(p)
    z = sum(exp[m - score] for score in p)
    return [int(exp[m - score] * 2**16 >= tau * z) for score in p], m, z


def score_threshold(p: Row, theta: int) -> Row:
    return [int(score >= theta) for score in p]


def context(attention: Row, values: Rows) -> tuple[Row, Row]:
    """c and bits of one row of attention; values [token][channel]."""
    c = [sum(a * sign(v[channel]) for a, v in zip(attention, values, strict=True)) for channel in range(len(values[0]))]
    return c, [int(value >= 0) for value in c]


def pool_mean(residual: Rows, pool_shift: int) -> Row:
    return [sum(column) // 2**pool_shift for column in zip(*residual, strict=True)]


def head_row(pooled: Row, eps: int, norm_shift: int, head_m: int, head_frac_bits: int) -> tuple[int, int, int, Row]:
    """S1, R, Q and y of one pooled row."""
    x = [value // 2**norm_shift for value in pooled]
    _, s1, r = norm_sign(x, [0] * len(x), eps, 0)
    q = 2**head_m // r
    return s1, r, q, [(len(x) * value - s1) * q // 2 ** (head_m - head_frac_bits) for value in x]


def classify(y: Row, weight: Rows, bias: Row) -> Row:
    return [sum(w * value for w, value in zip(row, y, strict=True)) + b for row, b in zip(weight, bias, strict=True)]
