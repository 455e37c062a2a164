"""Weights of the sizes in `sim.estimate.units`; by `python -m bivit.hw.synthesis.calibrate fit`."""

from __future__ import annotations

from .devices import Family

#: Tools and command behind the numbers of a family.
TOOLS: dict[Family, str] = {
    "xcup": "yosys 0.70.0.0.post1259, amaranth 0.5.10: synth_xilinx -family xcup -flatten -noiopad -noclkbuf",
    "xc7": "yosys 0.70.0.0.post1259, amaranth 0.5.10: synth_xilinx -family xc7 -flatten -noiopad -noclkbuf",
    "ecp5": "yosys 0.70.0.0.post1259, amaranth 0.5.10: synth_ecp5 -abc9 -nowidelut",
}

#: By family, unit, quantity and size.
CONSTANTS: dict[Family, dict[str, dict[str, dict[str, float]]]] = {
    "xcup": {
        "registers": {"luts": {"unit": 458.3}, "ffs": {"unit": 249.0}},
        "loader": {"luts": {"unit": 811.2}, "ffs": {"unit": 368.6}},
        "settings": {
            "luts": {"bit": 0.0, "unit": 87.0, "windowed": 30.0},
            "ffs": {"bit": 1.0, "unit": 149.0, "windowed": 29.0},
        },
        "run": {"luts": {"unit": 52.0}, "ffs": {"unit": 37.0}},
        "frame": {"luts": {"unit": 251.0}, "ffs": {"unit": 124.0}},
        "ring": {
            "luts": {"address_bit": 9.893, "bank": 1.197, "byte": 0.0, "byte_step": 4.44, "read_lut": 1.27,
                "unit": 287.6},
            "ffs": {"address_bit": 3.651, "bank": 0.5399, "byte": 14.85, "byte_step": 0.0, "read_lut": 0.04129,
                "unit": 187.3},
        },
        "dense": {
            "luts": {"block": 5.879, "chosen_bit": 1.034, "count_bit": 0.812, "loaded_bit": 0.0113, "parted_bit": 1.299,
                "product": 0.0, "product_bit": 1.748, "unit": 206.7, "word_bit": 0.0},
            "ffs": {"block": 43.17, "chosen_bit": 0.4728, "count_bit": 1.249, "loaded_bit": 1.144, "parted_bit": 1.924,
                "product": 0.0, "product_bit": 0.6658, "unit": 67.45, "word_bit": 2.241},
        },
        "dense_out": {
            "luts": {"lane_bit": 1.714, "loaded_bit": 4.047, "unit": 254.2, "windowed": 0.0, "windowed_cut": 6.892},
            "ffs": {"lane_bit": 0.0, "loaded_bit": 3.268, "unit": 320.1, "windowed": 0.0, "windowed_cut": 171.1},
        },
        "last_norm": {
            "luts": {"pooled_bit": 0.2098, "root_bit_squared": 0.5749, "unit": 100.1, "word_bit": 1.357,
                "windowed": 18.29},
            "ffs": {"pooled_bit": 0.5711, "root_bit_squared": 0.6831, "unit": 224.9, "word_bit": 0.268,
                "windowed": 16.88},
        },
        "x": {
            "luts": {"address_bit": 1.642, "bank": 1.095, "bit": 1.027, "choice_lut": 0.9519, "windowed": 0.0,
                "windowed_address_bit": 0.8141, "windowed_bit": 0.0, "windowed_choice_lut": 1.063},
            "ffs": {"address_bit": 0.0, "bank": 2.0, "bit": 0.9875, "choice_lut": 0.025, "windowed": 11.5,
                "windowed_address_bit": 0.006731, "windowed_bit": 1.002, "windowed_choice_lut": 0.0},
        },
        "slots": {
            "luts": {"field_bit": 0.0, "image": 235.7, "job_bit": 12.94, "unit": 0.0, "windowed": 544.9,
                "windowed_image": 170.2, "windowed_image_bit": 0.0, "windowed_place_bit": 13.78},
            "ffs": {"field_bit": 16.45, "image": 144.9, "job_bit": 0.7178, "unit": 0.0, "windowed": 307.1,
                "windowed_image": 0.0, "windowed_image_bit": 1.758, "windowed_place_bit": 12.96},
        },
        "matmul": {
            "luts": {"column_bit": 1.048, "field_bit": 0.9341, "unit": 6.013},
            "ffs": {"column_bit": 2.987, "field_bit": 1.61, "unit": 50.18},
        },
        "grid": {
            "luts": {"column": 32.0, "dot": 75.0, "dot_bit": 1.0, "row": 32.0},
            "ffs": {"column": 252.0, "dot": 61.0, "dot_bit": 1.0, "row": 252.0},
        },
        "weights": {"luts": {"beat": 1.209, "unit": 8.326}, "ffs": {"beat": 64.64, "unit": 5.429}},
        "preload": {
            "luts": {"address_bit": 0.0441, "beat": 1.964, "bit": 0.0001331, "unit": 1.723},
            "ffs": {"address_bit": 1.0, "beat": 0.0, "bit": 1.0, "unit": 1.0},
        },
        "operands": {
            "luts": {"column": 55.03, "key_lane": 7.637, "part": 0.0, "row": 132.7, "unit": 162.9,
                "value_lane": 0.03246},
            "ffs": {"column": 1.357, "key_lane": 3.845, "part": 0.4482, "row": 1.856, "unit": 89.98, "value_lane": 0.0},
        },
        "shadow": {
            "luts": {"choice_lut": 1.013, "sum_bit": 2.709e-06, "unit": 4.012, "word_bit": 0.0},
            "ffs": {"choice_lut": 0.0003331, "sum_bit": 1.008, "unit": 5.399, "word_bit": 0.9901},
        },
        "row_writer": {"luts": {"bit": 0.9505, "unit": 3.705}, "ffs": {"bit": 1.019, "unit": 11.54}},
        "value_sums": {
            "luts": {"column_bit": 0.9471, "ones_bit": 0.1146, "unit": 12.69},
            "ffs": {"column_bit": 1.177, "ones_bit": 0.1653, "unit": 6.999},
        },
        "residual_add": {
            "luts": {"choice_lut": 0.3618, "lane": 0.0, "lane_bit": 10.96, "loaded_bit": 0.0, "root_bit_squared": 0.0,
                "unit": 1304.0, "windowed": 398.4, "windowed_address_bit": 15.49, "windowed_choice_lut": 1.051,
                "windowed_lane": 132.8, "windowed_lane_bit": 0.0, "windowed_root_bit_squared": 0.3224},
            "ffs": {"choice_lut": 0.0, "lane": 104.2, "lane_bit": 0.4627, "loaded_bit": 1.815,
                "root_bit_squared": 0.7845, "unit": 0.0, "windowed": 1508.0, "windowed_address_bit": 3.673,
                "windowed_choice_lut": 1.095, "windowed_lane": 86.41, "windowed_lane_bit": 0.0,
                "windowed_root_bit_squared": 0.4304},
        },
        "sign_norm": {
            "luts": {"deep": 202.1, "deep_bit": 0.01348, "lane": 2.112, "shallow": 296.9},
            "ffs": {"deep": 206.7, "deep_bit": 2.836, "lane": 21.62, "shallow": 155.5},
        },
        "head_norm": {
            "luts": {"choice_lut": 1.433, "lane": 0.0, "lane_sum_bit": 2.635, "loaded_bit": 0.0,
                "root_bit_squared": 0.56, "unit": 0.0002332, "windowed": 0.0, "windowed_cut": 21.07,
                "windowed_root_bit_squared": 0.3695},
            "ffs": {"choice_lut": 0.0, "lane": 0.0, "lane_sum_bit": 1.909, "loaded_bit": 0.0,
                "root_bit_squared": 0.7907, "unit": 0.0003293, "windowed": 199.8, "windowed_cut": 109.6,
                "windowed_root_bit_squared": 0.4081},
        },
        "softmax": {
            "luts": {"input": 16.98, "lane": 40.58, "row": 29.27, "unit": 474.6, "windowed": 57.75,
                "windowed_choice_lut": 1.01, "windowed_score": 5.013},
            "ffs": {"input": 16.24, "lane": 53.02, "row": 79.0, "unit": 547.7, "windowed": 243.8,
                "windowed_choice_lut": 0.1264, "windowed_score": 14.57},
        },
        "tables": {
            "luts": {"address_bit": 7.194, "table_bit": 0.2482, "unit": 13.71, "windowed": 21.24},
            "ffs": {"address_bit": 5.341, "table_bit": 1.877, "unit": 61.32, "windowed": 26.48},
        },
        "logits_queue": {"luts": {"level_bit": 3.876, "unit": 0.0}, "ffs": {"level_bit": 2.744, "unit": 2.676}},
        "rest": {"luts": {"bit": 0.0, "unit": -30.0}, "ffs": {"bit": 0.7713, "unit": 0.001176}},
        "fetch": {
            "luts": {"lane": 458.7, "unit": 187.9, "word_bit": 0.0134},
            "ffs": {"lane": 99.02, "unit": 332.9, "word_bit": 1.019},
        },
        "edge_lines": {
            "luts": {"lane": 445.8, "line": 163.1, "word_bit": 0.03364},
            "ffs": {"lane": 60.14, "line": 233.6, "word_bit": 1.665},
        },
        "patch_norm": {
            "luts": {"windowed": 1300.0, "windowed_divider": 0.0, "windowed_lane": 257.9},
            "ffs": {"windowed": 1909.0, "windowed_divider": 33.64, "windowed_lane": 269.6},
        },
        "passes": {
            "luts": {"windowed": 16.1, "windowed_place_bit": 2.973},
            "ffs": {"windowed": 0.0, "windowed_place_bit": 2.134},
        },
    },
    "xc7": {
        "registers": {"luts": {"unit": 461.2}, "ffs": {"unit": 249.0}},
        "loader": {"luts": {"unit": 806.0}, "ffs": {"unit": 367.0}},
        "settings": {"luts": {"bit": 0.0, "unit": 87.0}, "ffs": {"bit": 1.0, "unit": 149.0}},
        "run": {"luts": {"unit": 52.0}, "ffs": {"unit": 37.0}},
        "frame": {"luts": {"unit": 251.0}, "ffs": {"unit": 124.0}},
        "ring": {
            "luts": {"address_bit": 9.056, "bank": 0.08719, "byte": 0.0, "byte_step": 4.731, "read_lut": 1.35,
                "unit": 299.1},
            "ffs": {"address_bit": 4.83, "bank": 1.53, "byte": 13.31, "byte_step": 0.0, "read_lut": 0.0, "unit": 174.2},
        },
        "dense": {
            "luts": {"block": 3.91, "chosen_bit": 1.066, "count_bit": 2.67, "loaded_bit": 0.0239, "parted_bit": 0.8779,
                "product": 0.0, "product_bit": 1.749, "unit": 204.5, "word_bit": 0.0},
            "ffs": {"block": 48.25, "chosen_bit": 0.4603, "count_bit": 4.159, "loaded_bit": 1.178, "parted_bit": 1.183,
                "product": 0.0, "product_bit": 0.6658, "unit": 14.47, "word_bit": 2.465},
        },
        "dense_out": {
            "luts": {"lane_bit": 1.613, "loaded_bit": 4.048, "unit": 261.4},
            "ffs": {"lane_bit": 13.3, "loaded_bit": 0.0, "unit": 230.9},
        },
        "last_norm": {
            "luts": {"pooled_bit": 0.8825, "root_bit_squared": 0.5743, "unit": 0.0, "word_bit": 0.9319},
            "ffs": {"pooled_bit": 1.132, "root_bit_squared": 0.606, "unit": 0.0, "word_bit": 0.0},
        },
        "x": {
            "luts": {"address_bit": 1.643, "bank": 1.071, "bit": 1.027, "choice_lut": 0.9518},
            "ffs": {"address_bit": 0.0, "bank": 2.0, "bit": 0.9875, "choice_lut": 0.025},
        },
        "slots": {
            "luts": {"field_bit": 0.0, "image": 232.4, "job_bit": 13.14, "unit": 0.0},
            "ffs": {"field_bit": 7.541, "image": 190.9, "job_bit": 5.877, "unit": 0.0},
        },
        "matmul": {
            "luts": {"column_bit": 1.034, "field_bit": 0.9986, "unit": 0.0},
            "ffs": {"column_bit": 2.979, "field_bit": 1.602, "unit": 51.51},
        },
        "grid": {
            "luts": {"column": 32.0, "dot": 77.78, "dot_bit": 1.0, "row": 9.723},
            "ffs": {"column": 252.0, "dot": 91.08, "dot_bit": 1.0, "row": 11.38},
        },
        "weights": {"luts": {"beat": 1.5, "unit": 4.0}, "ffs": {"beat": 64.3, "unit": 8.143}},
        "preload": {
            "luts": {"address_bit": 0.0, "beat": 1.02, "bit": 0.0, "unit": 4.954},
            "ffs": {"address_bit": 1.0, "beat": 0.0, "bit": 1.0, "unit": 1.0},
        },
        "operands": {
            "luts": {"column": 54.74, "key_lane": 5.344, "part": 0.7564, "row": 95.75, "unit": 205.9,
                "value_lane": 2.728},
            "ffs": {"column": 1.62, "key_lane": 3.874, "part": 0.5727, "row": 0.0, "unit": 83.21, "value_lane": 0.0},
        },
        "shadow": {
            "luts": {"choice_lut": 1.015, "sum_bit": 0.0001812, "unit": 3.924, "word_bit": 0.0},
            "ffs": {"choice_lut": 0.001638, "sum_bit": 1.008, "unit": 5.209, "word_bit": 0.9906},
        },
        "row_writer": {"luts": {"bit": 0.6875, "unit": 10.0}, "ffs": {"bit": 1.25, "unit": 6.0}},
        "value_sums": {
            "luts": {"column_bit": 0.745, "ones_bit": 0.0, "unit": 23.61},
            "ffs": {"column_bit": 1.112, "ones_bit": 0.06472, "unit": 16.53},
        },
        "residual_add": {
            "luts": {"choice_lut": 0.7136, "lane": 0.0, "lane_bit": 11.08, "loaded_bit": 0.0,
                "root_bit_squared": 0.06703, "unit": 1172.0},
            "ffs": {"choice_lut": 0.0, "lane": 10.42, "lane_bit": 7.405, "loaded_bit": 1.968,
                "root_bit_squared": 0.6398, "unit": 0.582},
        },
        "sign_norm": {
            "luts": {"deep": 190.8, "deep_bit": 0.0, "lane": 45.67, "shallow": 148.9},
            "ffs": {"deep": 174.3, "deep_bit": 2.046, "lane": 19.82, "shallow": 398.9},
        },
        "head_norm": {
            "luts": {"choice_lut": 1.475, "lane": 4.394, "lane_sum_bit": 4.447, "loaded_bit": 0.1687,
                "root_bit_squared": 0.5328, "unit": 0.0002219},
            "ffs": {"choice_lut": 0.0, "lane": 0.0, "lane_sum_bit": 3.095, "loaded_bit": 0.0,
                "root_bit_squared": 0.6283, "unit": 0.0002617},
        },
        "softmax": {
            "luts": {"input": 24.26, "lane": 44.93, "row": 0.0, "unit": 387.4},
            "ffs": {"input": 20.93, "lane": 60.14, "row": 0.0, "unit": 524.4},
        },
        "tables": {
            "luts": {"address_bit": 7.774, "table_bit": 0.7367, "unit": 8.749},
            "ffs": {"address_bit": 6.572, "table_bit": 1.879, "unit": 51.03},
        },
        "logits_queue": {"luts": {"level_bit": 2.591, "unit": 11.2}, "ffs": {"level_bit": 3.044, "unit": 0.0}},
        "rest": {"luts": {"bit": 0.0, "unit": -109.0}, "ffs": {"bit": 0.7393, "unit": 0.001127}},
        "fetch": {
            "luts": {"lane": 459.2, "unit": 188.2, "word_bit": 0.01225},
            "ffs": {"lane": 99.02, "unit": 332.9, "word_bit": 1.019},
        },
        "edge_lines": {
            "luts": {"lane": 442.9, "line": 137.6, "word_bit": 0.2901},
            "ffs": {"lane": 65.66, "line": 215.9, "word_bit": 1.712},
        },
    },
    "ecp5": {
        "registers": {"luts": {"unit": 645.3}, "ffs": {"unit": 249.0}},
        "loader": {"luts": {"unit": 1232.0}, "ffs": {"unit": 367.0}},
        "settings": {"luts": {"bit": 0.0, "unit": 89.0}, "ffs": {"bit": 1.0, "unit": 149.0}},
        "run": {"luts": {"unit": 113.0}, "ffs": {"unit": 37.0}},
        "frame": {"luts": {"unit": 295.0}, "ffs": {"unit": 124.0}},
        "ring": {
            "luts": {"address_bit": 16.06, "bank": 6.234, "byte": 0.0, "byte_step": 7.616, "read_lut": 0.0,
                "unit": 330.6},
            "ffs": {"address_bit": 4.814, "bank": 1.487, "byte": 13.33, "byte_step": 0.0, "read_lut": 0.0,
                "unit": 174.5},
        },
        "dense": {
            "luts": {"block": 0.0, "chosen_bit": 0.1806, "loaded_bit": 0.4836, "product": 68.87, "product_bit": 2.106,
                "unit": 96.28, "word_bit": 0.0},
            "ffs": {"block": 0.0, "chosen_bit": 1.357, "loaded_bit": 3.013, "product": 39.62, "product_bit": 0.1385,
                "unit": 248.9, "word_bit": 1.914},
        },
        "dense_out": {
            "luts": {"lane_bit": 4.207, "loaded_bit": 4.013, "unit": 418.3},
            "ffs": {"lane_bit": 2.906, "loaded_bit": 6.361, "unit": 212.0},
        },
        "last_norm": {
            "luts": {"pooled_bit": 1.248, "root_bit_squared": 0.8456, "unit": 0.0, "word_bit": 1.389},
            "ffs": {"pooled_bit": 0.2866, "root_bit_squared": 1.039, "unit": 309.5, "word_bit": 0.3321},
        },
        "x": {
            "luts": {"address_bit": 1.892, "bank": 0.0, "bit": 0.9658, "choice_lut": 1.026},
            "ffs": {"address_bit": 0.0, "bank": 1.933, "bit": 1.002, "choice_lut": 0.0},
        },
        "slots": {
            "luts": {"field_bit": 8.291, "image": 562.1, "job_bit": 10.14, "unit": 0.0},
            "ffs": {"field_bit": 8.959, "image": 187.0, "job_bit": 4.943, "unit": 0.0},
        },
        "matmul": {
            "luts": {"column_bit": 1.141, "field_bit": 1.595, "unit": 20.2},
            "ffs": {"column_bit": 3.007, "field_bit": 1.817, "unit": 41.82},
        },
        "grid": {
            "luts": {"column": 123.8, "dot": 128.3, "dot_bit": 2.875, "row": 16.04},
            "ffs": {"column": 252.0, "dot": 93.05, "dot_bit": 1.0, "row": 11.63},
        },
        "weights": {"luts": {"beat": 0.0, "unit": 21.6}, "ffs": {"beat": 64.17, "unit": 7.662}},
        "preload": {
            "luts": {"address_bit": 0.0, "beat": 0.0, "bit": 0.02983, "unit": 5.618},
            "ffs": {"address_bit": 1.0, "beat": 0.0, "bit": 1.0, "unit": 1.0},
        },
        "operands": {
            "luts": {"column": 12.37, "key_lane": 6.071, "part": 3.949, "row": 145.9, "unit": 599.8,
                "value_lane": 28.95},
            "ffs": {"column": 44.46, "key_lane": 4.346, "part": 1.557, "row": 239.6, "unit": 354.6,
                "value_lane": 15.67},
        },
        "shadow": {
            "luts": {"choice_lut": 1.012, "sum_bit": 0.0, "unit": 4.005, "word_bit": 0.0},
            "ffs": {"choice_lut": 0.0, "sum_bit": 1.009, "unit": 5.255, "word_bit": 0.9897},
        },
        "row_writer": {"luts": {"bit": 0.8125, "unit": 15.0}, "ffs": {"bit": 1.25, "unit": 6.0}},
        "value_sums": {
            "luts": {"column_bit": 2.179, "ones_bit": 0.8763, "unit": 0.0},
            "ffs": {"column_bit": 1.147, "ones_bit": 0.0, "unit": 16.17},
        },
        "residual_add": {
            "luts": {"choice_lut": 0.4026, "lane": 0.0, "lane_bit": 17.29, "loaded_bit": 0.0, "root_bit_squared": 0.0,
                "unit": 1663.0},
            "ffs": {"choice_lut": 0.0, "lane": 223.0, "lane_bit": 5.139, "loaded_bit": 2.019, "root_bit_squared": 1.089,
                "unit": 13.3},
        },
        "sign_norm": {
            "luts": {"deep": 243.9, "deep_bit": 0.0, "lane": 97.44, "shallow": 113.2},
            "ffs": {"deep": 263.6, "deep_bit": 3.265, "lane": 228.2, "shallow": 529.8},
        },
        "head_norm": {
            "luts": {"choice_lut": 0.4939, "lane": 0.0, "lane_sum_bit": 7.948, "loaded_bit": 0.0,
                "root_bit_squared": 0.7527, "unit": 0.0003135},
            "ffs": {"choice_lut": 0.0, "lane": 0.0, "lane_sum_bit": 18.36, "loaded_bit": 1.134,
                "root_bit_squared": 1.03, "unit": 0.000429},
        },
        "softmax": {
            "luts": {"input": 37.51, "lane": 48.0, "row": 8.0, "unit": 440.8},
            "ffs": {"input": 17.07, "lane": 65.38, "row": 0.0, "unit": 1052.0},
        },
        "tables": {
            "luts": {"address_bit": 10.75, "table_bit": 2.881, "unit": 15.64},
            "ffs": {"address_bit": 6.572, "table_bit": 1.879, "unit": 51.03},
        },
        "logits_queue": {"luts": {"level_bit": 8.927, "unit": 0.0}, "ffs": {"level_bit": 3.237, "unit": 0.0}},
        "rest": {"luts": {"bit": 0.1326, "unit": 0.0002022}, "ffs": {"bit": 0.8613, "unit": 0.001313}},
        "fetch": {
            "luts": {"lane": 615.9, "unit": 269.6, "word_bit": 0.03119},
            "ffs": {"lane": 99.02, "unit": 332.9, "word_bit": 1.019},
        },
        "edge_lines": {
            "luts": {"lane": 578.4, "line": 315.4, "word_bit": 0.08053},
            "ffs": {"lane": 65.66, "line": 215.9, "word_bit": 1.712},
        },
    },
}  # fmt: skip
