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


def patch_embed(patch: Row, weight: Rows, scale: Row, bias: Row, shift: int) -> Row:
    """One patch on the residual's grid, not yet saturated."""
    acc = [sum(pixel * w for pixel, w in zip(patch, row, strict=True)) for row in weight]
    return [round_half_up_shift(acc[c] * scale[c] + bias[c], shift) for c in range(len(acc))]


def saturate_row(exact: Row, residual_bits: int) -> tuple[Row, int]:
    """The row, clamped, and how many of its channels were."""
    clamped = [saturate_signed(value, residual_bits) for value in exact]
    return clamped, sum(a != b for a, b in zip(exact, clamped, strict=True))


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
    return saturate_row([x[c] + scale[c] * acc[c] + bias[c] for c in range(len(x))], residual_bits)


def threshold_sign(acc: Row, theta: Row) -> Row:
    return [int(a >= t) for a, t in zip(acc, theta, strict=True)]


def scores(queries: Rows, keys: Rows) -> Rows:
    return [[sum(a == b for a, b in zip(q, k, strict=True)) for k in keys] for q in queries]


def attention_threshold(p: Row, exp: Row, tau: int) -> tuple[Row, int, int]:
    """Bits, m and Z of one row of scores; a score of -1 is a pair that may not attend."""
    allowed = [score for score in p if score != -1]
    m = max(allowed)
    z = sum(exp[m - score] for score in allowed)
    return [int(score != -1 and exp[m - score] * 2**16 >= tau * z) for score in p], m, z


def score_threshold(p: Row, theta: int) -> Row:
    return [int(score != -1 and score >= theta) for score in p]


def context(attention: Row, values: Rows) -> tuple[Row, Row]:
    """c and bits of one row of attention; values [token][channel]."""
    c = [sum(a * sign(v[channel]) for a, v in zip(attention, values, strict=True)) for channel in range(len(values[0]))]
    return c, [int(value >= 0) for value in c]


def pool_mean(residual: Rows, pool_shift: int) -> Row:
    return [sum(column) // 2**pool_shift for column in zip(*residual, strict=True)]


def normalise(residual: Row, eps: int, norm_shift: int, head_m: int, frac_bits: int) -> tuple[int, int, int, Row]:
    """S1, R, Q and y of one row."""
    x = [value // 2**norm_shift for value in residual]
    _, s1, r = norm_sign(x, [0] * len(x), eps, 0)
    q = 2**head_m // r
    return s1, r, q, [(len(x) * value - s1) * q // 2 ** (head_m - frac_bits) for value in x]


def affine(y: Row, scale: Row, bias: Row, frac_bits: int) -> Row:
    return [round_half_up_shift(y[c] * scale[c], frac_bits) + bias[c] for c in range(len(y))]


def classify(y: Row, weight: Rows, bias: Row) -> Row:
    return [sum(w * value for w, value in zip(row, y, strict=True)) + b for row, b in zip(weight, bias, strict=True)]


def window_places(grid: int, window: int, shift: int) -> list[list[tuple[int, int]]]:
    """Row and column of each window's tokens in the shifted grid, not yet wrapped around its edges."""
    count, side = range(grid // window), range(window)
    return [
        [(a * window + row + shift, b * window + column + shift) for row in side for column in side]
        for a in count
        for b in count
    ]


def window_tokens(grid: int, window: int, shift: int) -> Rows:
    """Raster indices of each window's tokens."""
    places = window_places(grid, window, shift)
    return [[(row % grid) * grid + column % grid for row, column in tokens] for tokens in places]


def window_allowed(grid: int, window: int, shift: int) -> list[list[list[bool]]]:
    """Which pairs may attend: those where both tokens, or neither, wrapped around the lower edge; the same right."""
    return [
        [[(i[0] >= grid) == (j[0] >= grid) and (i[1] >= grid) == (j[1] >= grid) for j in tokens] for i in tokens]
        for tokens in window_places(grid, window, shift)
    ]


def relative_position(window: int, i: int, j: int) -> int:
    """Row of the bias table for query i and key j of a window."""
    down, right = i // window - j // window, i % window - j % window
    return (down + window - 1) * (2 * window - 1) + right + window - 1


def biased_scores(p: Rows, bias: Row, window: int, allowed: list[list[bool]]) -> Rows:
    """Scores of one head of one window with its column of the bias table; -1 for pairs that may not attend."""
    tokens = range(len(p))
    return [[p[i][j] + bias[relative_position(window, i, j)] if allowed[i][j] else -1 for j in tokens] for i in tokens]


def merge_neighbours(x: Rows, grid: int) -> Rows:
    """Channels of the neighbours (0, 0), (1, 0), (0, 1), (1, 1), given as (row, column), after one another."""
    return [
        [value for column in (0, 1) for row in (0, 1) for value in x[(top + row) * grid + left + column]]
        for top in range(0, grid, 2)
        for left in range(0, grid, 2)
    ]
