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
        "registers": {"luts": {"unit": 420.0}, "ffs": {"unit": 248.0}},
        "loader": {"luts": {"unit": 806.0}, "ffs": {"unit": 367.0}},
        "settings": {"luts": {"bit": 0.0, "unit": 87.0}, "ffs": {"bit": 1.0, "unit": 149.0}},
        "run": {"luts": {"unit": 52.0}, "ffs": {"unit": 37.0}},
        "frame": {"luts": {"unit": 251.0}, "ffs": {"unit": 124.0}},
        "ring": {
            "luts": {"address_bit": 5.248, "bank": 4.414, "byte": 30.58, "unit": 205.1},
            "ffs": {"address_bit": 5.957, "bank": 0.6807, "byte": 13.18, "unit": 171.3},
        },
        "dense": {
            "luts": {
                "block": 119.1,
                "count_bit": 0.5637,
                "loaded_bit": 0.0,
                "parted_bit": 1.447,
                "product": 0.0,
                "unit": 106.9,
                "word_bit": 0.0,
            },
            "ffs": {
                "block": 108.1,
                "count_bit": 1.15,
                "loaded_bit": 0.7816,
                "parted_bit": 1.58,
                "product": 0.0,
                "unit": 0.0,
                "word_bit": 2.568,
            },
        },
        "dense_out": {
            "luts": {"lane_bit": 4.75, "loaded_bit": 3.033, "unit": 400.0},
            "ffs": {"lane_bit": 9.381, "loaded_bit": 0.0, "unit": 890.2},
        },
        "last_norm": {
            "luts": {"pooled_bit": 0.2428, "root_bit_squared": 0.6082, "unit": 0.000249, "word_bit": 1.357},
            "ffs": {"pooled_bit": 0.5573, "root_bit_squared": 0.7732, "unit": 0.0002884, "word_bit": 0.2818},
        },
        "x": {"luts": {"choice": 1.48, "unit": 130.7}, "ffs": {"choice": 1.0, "unit": 8.0}},
        "slots": {
            "luts": {"field_bit": 12.56, "image": 0.0, "job_bit": 7.772, "unit": 0.0},
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
        "weights": {"luts": {"beat": 1.208, "unit": 8.333}, "ffs": {"beat": 64.77, "unit": 1.458}},
        "preload": {"luts": {"beat": 2.0, "unit": 2.0}, "ffs": {"beat": 48.16, "unit": 0.0}},
        "operands": {
            "luts": {"column": 84.0, "key_lane": 1.659, "part": 0.4904, "row": 117.0, "unit": 0.0, "value_lane": 1.659},
            "ffs": {"column": 0.0, "key_lane": 2.135, "part": 0.8869, "row": 0.0, "unit": 73.11, "value_lane": 2.135},
        },
        "shadow": {
            "luts": {"choice": 0.0, "chosen_bit": 1.012, "sum_bit": 0.0, "unit": 4.094, "word_bit": 0.0},
            "ffs": {"choice": 0.0, "chosen_bit": 0.003152, "sum_bit": 1.004, "unit": 5.687, "word_bit": 0.9945},
        },
        "row_writer": {"luts": {"bit": 0.9505, "unit": 3.705}, "ffs": {"bit": 1.019, "unit": 11.54}},
        "value_sums": {
            "luts": {"column_bit": 0.234, "ones_bit": 0.6915, "unit": 38.09},
            "ffs": {"column_bit": 1.249, "ones_bit": 0.2903, "unit": 0.0},
        },
        "residual_add": {
            "luts": {
                "choice": 0.05841,
                "lane": 1.019,
                "lane_bit": 11.2,
                "loaded_bit": 0.07625,
                "root_bit_squared": 0.5178,
                "unit": 0.000215,
            },
            "ffs": {
                "choice": 0.2549,
                "lane": 0.936,
                "lane_bit": 10.29,
                "loaded_bit": 0.1847,
                "root_bit_squared": 1.025,
                "unit": 0.000424,
            },
        },
        "sign_norm": {
            "luts": {"lane": 0.4712, "loaded_bit": 0.0, "unit": 314.2},
            "ffs": {"lane": 39.31, "loaded_bit": 0.01187, "unit": 0.0},
        },
        "head_norm": {
            "luts": {
                "choice": 0.4318,
                "lane": 0.1312,
                "lane_sum_bit": 3.016,
                "loaded_bit": 0.1465,
                "root_bit_squared": 0.4906,
                "unit": 0.0002043,
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
            "luts": {"choice": 0.0, "input": 14.2, "lane": 51.48, "row": 7.599, "unit": 394.0},
            "ffs": {"choice": 0.0, "input": 12.36, "lane": 70.8, "row": 10.68, "unit": 464.0},
        },
        "tables": {"luts": {"unit": 81.37}, "ffs": {"unit": 119.3}},
        "logits_queue": {"luts": {"level_bit": 4.457, "unit": 0.0}, "ffs": {"level_bit": 2.819, "unit": 0.0}},
        "rest": {"luts": {"bit": 0.0, "unit": -18.0}, "ffs": {"bit": 0.6905, "unit": 0.001053}},
    },
    "xc7": {
        "registers": {"luts": {"unit": 420.0}, "ffs": {"unit": 248.0}},
        "loader": {"luts": {"unit": 806.0}, "ffs": {"unit": 367.0}},
        "settings": {"luts": {"bit": 0.0, "unit": 87.0}, "ffs": {"bit": 1.0, "unit": 149.0}},
        "run": {"luts": {"unit": 52.0}, "ffs": {"unit": 37.0}},
        "frame": {"luts": {"unit": 251.0}, "ffs": {"unit": 124.0}},
        "ring": {
            "luts": {"address_bit": 12.0, "bank": 0.0, "byte": 28.0, "unit": 201.0},
            "ffs": {"address_bit": 6.0, "bank": 2.75, "byte": 14.25, "unit": 146.0},
        },
        "dense": {
            "luts": {"block": 117.2, "loaded_bit": 0.0, "product": 0.0, "unit": 0.0, "word_bit": 0.5728},
            "ffs": {"block": 107.5, "loaded_bit": 0.7983, "product": 0.0, "unit": 0.0, "word_bit": 2.554},
        },
        "dense_out": {
            "luts": {"lane_bit": 3.375, "loaded_bit": 3.952, "unit": 0.005613},
            "ffs": {"lane_bit": 14.14, "loaded_bit": 0.0, "unit": 0.0},
        },
        "last_norm": {
            "luts": {"pooled_bit": 0.1781, "root_bit_squared": 0.5857, "unit": 0.0002439, "word_bit": 1.332},
            "ffs": {"pooled_bit": 0.0746, "root_bit_squared": 0.6569, "unit": 0.0002736, "word_bit": 0.2425},
        },
        "x": {"luts": {"choice": 1.444, "unit": 152.0}, "ffs": {"choice": 1.0, "unit": 8.0}},
        "slots": {
            "luts": {"field_bit": 10.32, "image": 0.508, "job_bit": 9.341, "unit": 0.03909},
            "ffs": {"field_bit": 18.81, "image": 57.16, "job_bit": 0.0, "unit": 0.0},
        },
        "matmul": {
            "luts": {"column_bit": 1.287, "field_bit": 0.6884, "unit": 0.02201},
            "ffs": {"column_bit": 3.996, "field_bit": 1.237, "unit": 0.07799},
        },
        "grid": {
            "luts": {"column": 53.35, "dot": 19.98, "dot_bit": 6.337, "row": 2.497},
            "ffs": {"column": 251.8, "dot": 91.65, "dot_bit": 0.9475, "row": 11.46},
        },
        "weights": {"luts": {"beat": 1.969, "unit": 0.2462}, "ffs": {"beat": 63.95, "unit": 7.994}},
        "preload": {"luts": {"beat": 1.0, "unit": 5.0}, "ffs": {"beat": 48.59, "unit": 0.0}},
        "operands": {
            "luts": {"column": 70.23, "key_lane": 4.156, "part": 3.523, "row": 0.0, "unit": 110.1, "value_lane": 4.156},
            "ffs": {"column": 0.0, "key_lane": 2.055, "part": 0.6184, "row": 0.0, "unit": 96.99, "value_lane": 2.055},
        },
        "shadow": {
            "luts": {"choice": 0.00392, "chosen_bit": 1.009, "sum_bit": 0.0, "unit": 4.011, "word_bit": 0.0},
            "ffs": {"choice": 0.003214, "chosen_bit": 0.007059, "sum_bit": 1.001, "unit": 5.182, "word_bit": 0.9982},
        },
        "row_writer": {"luts": {"bit": 0.6875, "unit": 10.0}, "ffs": {"bit": 1.25, "unit": 6.0}},
        "value_sums": {
            "luts": {"column_bit": 0.0, "ones_bit": 0.5775, "unit": 48.94},
            "ffs": {"column_bit": 1.049, "ones_bit": 0.1197, "unit": 21.64},
        },
        "residual_add": {
            "luts": {
                "choice": 0.0,
                "lane": 0.9993,
                "lane_bit": 10.99,
                "loaded_bit": 0.06559,
                "root_bit_squared": 0.5468,
                "unit": 0.0002277,
            },
            "ffs": {
                "choice": 0.0,
                "lane": 0.7536,
                "lane_bit": 8.284,
                "loaded_bit": 0.1043,
                "root_bit_squared": 0.8694,
                "unit": 0.0003621,
            },
        },
        "sign_norm": {
            "luts": {"lane": 47.5, "loaded_bit": 0.9453, "unit": 0.007385},
            "ffs": {"lane": 21.0, "loaded_bit": 2.969, "unit": 0.02319},
        },
        "head_norm": {
            "luts": {
                "choice": 0.0,
                "lane": 0.2079,
                "lane_sum_bit": 4.774,
                "loaded_bit": 0.05663,
                "root_bit_squared": 0.5311,
                "unit": 0.0002212,
            },
            "ffs": {
                "choice": 0.0,
                "lane": 0.1197,
                "lane_sum_bit": 2.745,
                "loaded_bit": 0.07033,
                "root_bit_squared": 0.6597,
                "unit": 0.0002747,
            },
        },
        "softmax": {
            "luts": {"choice": 0.0, "input": 34.29, "lane": 34.29, "row": 4.287, "unit": 360.0},
            "ffs": {"choice": 0.0, "input": 41.92, "lane": 41.92, "row": 5.24, "unit": 464.0},
        },
        "tables": {"luts": {"unit": 81.35}, "ffs": {"unit": 116.3}},
        "logits_queue": {"luts": {"level_bit": 4.298, "unit": 0.0}, "ffs": {"level_bit": 2.782, "unit": 0.0}},
        "rest": {"luts": {"bit": 0.0, "unit": -90.0}, "ffs": {"bit": 0.6585, "unit": 0.001004}},
    },
    "ecp5": {
        "registers": {"luts": {"unit": 501.6}, "ffs": {"unit": 248.0}},
        "loader": {"luts": {"unit": 1232.0}, "ffs": {"unit": 367.0}},
        "settings": {"luts": {"bit": 0.0, "unit": 89.0}, "ffs": {"bit": 1.0, "unit": 149.0}},
        "run": {"luts": {"unit": 113.0}, "ffs": {"unit": 37.0}},
        "frame": {"luts": {"unit": 295.0}, "ffs": {"unit": 124.0}},
        "ring": {
            "luts": {"address_bit": 11.5, "bank": 23.0, "byte": 56.75, "unit": 46.0},
            "ffs": {"address_bit": 6.0, "bank": 2.75, "byte": 14.25, "unit": 146.0},
        },
        "dense": {
            "luts": {"block": 41.91, "loaded_bit": 2.481, "product": 58.44, "unit": 0.0, "word_bit": 0.0},
            "ffs": {"block": 304.7, "loaded_bit": 5.025, "product": 28.0, "unit": 0.0, "word_bit": 1.275},
        },
        "dense_out": {
            "luts": {"lane_bit": 6.875, "loaded_bit": 3.899, "unit": 0.005539},
            "ffs": {"lane_bit": 28.0, "loaded_bit": 0.0, "unit": 0.0},
        },
        "last_norm": {
            "luts": {"pooled_bit": 0.2244, "root_bit_squared": 0.9182, "unit": 0.0003824, "word_bit": 1.54},
            "ffs": {"pooled_bit": 0.1277, "root_bit_squared": 1.177, "unit": 0.0004903, "word_bit": 0.3747},
        },
        "x": {"luts": {"choice": 2.501, "unit": 0.0}, "ffs": {"choice": 1.0, "unit": 8.0}},
        "slots": {
            "luts": {"field_bit": 28.14, "image": 309.6, "job_bit": 0.0, "unit": 0.0},
            "ffs": {"field_bit": 18.44, "image": 71.49, "job_bit": 0.0, "unit": 0.0},
        },
        "matmul": {
            "luts": {"column_bit": 2.311, "field_bit": 0.5596, "unit": 0.04678},
            "ffs": {"column_bit": 4.11, "field_bit": 1.184, "unit": 0.08118},
        },
        "grid": {
            "luts": {"column": 150.6, "dot": 55.63, "dot_bit": 9.585, "row": 6.954},
            "ffs": {"column": 252.4, "dot": 91.89, "dot_bit": 1.107, "row": 11.49},
        },
        "weights": {"luts": {"beat": 1.369, "unit": 0.08559}, "ffs": {"beat": 64.21, "unit": 4.013}},
        "preload": {"luts": {"beat": 3.0, "unit": 2.0}, "ffs": {"beat": 46.27, "unit": 0.0}},
        "operands": {
            "luts": {"column": 148.4, "key_lane": 6.812, "part": 3.948, "row": 112.2, "unit": 0.0, "value_lane": 6.812},
            "ffs": {"column": 137.8, "key_lane": 3.219, "part": 4.859, "row": 120.2, "unit": 0.0, "value_lane": 3.219},
        },
        "shadow": {
            "luts": {"choice": 1.01, "chosen_bit": 0.00346, "sum_bit": 0.0, "unit": 4.011, "word_bit": 0.0},
            "ffs": {"choice": 0.003214, "chosen_bit": 0.007059, "sum_bit": 1.001, "unit": 5.182, "word_bit": 0.9982},
        },
        "row_writer": {"luts": {"bit": 0.8125, "unit": 15.0}, "ffs": {"bit": 1.25, "unit": 6.0}},
        "value_sums": {
            "luts": {"column_bit": 2.244, "ones_bit": 0.7911, "unit": 0.0},
            "ffs": {"column_bit": 1.123, "ones_bit": 0.0, "unit": 21.36},
        },
        "residual_add": {
            "luts": {
                "choice": 0.0,
                "lane": 1.592,
                "lane_bit": 17.5,
                "loaded_bit": 0.07984,
                "root_bit_squared": 0.6656,
                "unit": 0.0002772,
            },
            "ffs": {
                "choice": 0.0,
                "lane": 2.292,
                "lane_bit": 25.2,
                "loaded_bit": 0.1738,
                "root_bit_squared": 1.449,
                "unit": 0.0006035,
            },
        },
        "sign_norm": {
            "luts": {"lane": 97.25, "loaded_bit": 0.9687, "unit": 0.007568},
            "ffs": {"lane": 223.8, "loaded_bit": 4.695, "unit": 0.03668},
        },
        "head_norm": {
            "luts": {
                "choice": 0.0,
                "lane": 0.3678,
                "lane_sum_bit": 8.451,
                "loaded_bit": 0.07137,
                "root_bit_squared": 0.6694,
                "unit": 0.0002788,
            },
            "ffs": {
                "choice": 0.0,
                "lane": 0.7797,
                "lane_sum_bit": 17.92,
                "loaded_bit": 0.1255,
                "root_bit_squared": 1.177,
                "unit": 0.0004901,
            },
        },
        "softmax": {
            "luts": {"choice": 0.0, "input": 43.47, "lane": 43.47, "row": 5.434, "unit": 423.0},
            "ffs": {"choice": 0.0, "input": 43.41, "lane": 43.41, "row": 5.426, "unit": 952.0},
        },
        "tables": {"luts": {"unit": 119.6}, "ffs": {"unit": 116.3}},
        "logits_queue": {"luts": {"level_bit": 9.087, "unit": 0.0}, "ffs": {"level_bit": 3.0, "unit": 0.0}},
        "rest": {"luts": {"bit": 0.4573, "unit": 0.0006971}, "ffs": {"bit": 0.7805, "unit": 0.00119}},
    },
}
