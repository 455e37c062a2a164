"""Smaller Verilog that says the same."""

from bivit.hw.verilog_text import compact, module_names

TEXT = """\
module \\top.a (i, o);
  input i;
  output o;
  reg \\$auto$verilog_backend.cc:2355:dump_module$1  = 0;
  assign o = ~i;
endmodule
module \\top.b (i, o);
  input i;
  output o;
  reg \\$auto$verilog_backend.cc:2355:dump_module$7  = 0;
  assign o = ~i;
endmodule
module \\top.c (i, o);
  input i;
  output o;
  assign o = i;
endmodule
module \\top.two (i, o);
  \\top.a  a (
    .i(i)
  );
endmodule
module \\top.three (i, o);
  \\top.b  a (
    .i(i)
  );
endmodule
module top(i, o);
  reg [7:0] store [2:0];
  initial begin
    store[0] = 8'h00;
    store[1] = 8'h00;
    store[2] = 8'h00;
  end
  reg [7:0] other [1:0];
  initial begin
    other[0] = 8'h00;
    other[1] = 8'h01;
  end
  \\top.two  first (
    .i(i)
  );
  \\top.three  second (
    .i(i)
  );
  \\top.c  third (
    .i(i)
  );
endmodule
module top_c (i, o);
  reg \\$1 ;
  reg \\$2 ;
  reg \\$3 ;
  reg two_next;
  always @(posedge clk)
    one <= \\$1 ;
  always @(posedge clk)
    two <= \\$2 ;
  assign o = \\$1 [0] + \\$3 ;
endmodule
"""


def test_equal_modules_are_merged_up_to_the_top():
    text = compact(TEXT)
    assert "  top_two  first (" in text
    assert "  top_two  second (" in text
    assert "  top_c_1  third (" in text


def test_names_are_plain_and_no_two_alike():
    assert module_names(compact(TEXT)) == ["top_a", "top_c_1", "top_two", "top", "top_c"]


def test_what_a_register_takes_next_is_named_after_it():
    text = compact(TEXT)
    assert "    one <= one_next ;\n" in text
    assert "  assign o = one_next [0] + \\$3 ;\n" in text
    assert "    two <= \\$2 ;\n" in text  # the name is taken


def test_zeroes_are_a_loop_and_other_contents_stay():
    text = compact(TEXT)
    k = "store_word"
    assert f"  initial for ({k} = 0; {k} < 3; {k} = {k} + 1) store[{k}] = 0;\n" in text
    k = "other_word"
    assert f"  initial begin\n    for ({k} = 0; {k} < 2; {k} = {k} + 1) other[{k}] = 0;\n" in text
    assert "    other[1] = 8'h01;\n" in text
    assert "other[0] = 8'h00" not in text


def test_a_case_says_what_other_values_do() -> None:
    """Nothing; where it says something, inside of another one too, it stays."""
    some = "    casez (a)\n      1'h0:\n        b = 1;\n"
    rest = "      default:\n        b = 0;\n"
    end, nothing = "    endcase\n", "      default: ;\n"
    inner = "        casez (c)\n          1'h1:\n            d = 1;\n"
    begin, last = "module m (a);\n", "endmodule\n"
    assert compact(begin + some + end + last) == begin + some + nothing + end + last
    assert compact(begin + some + rest + end + last) == begin + some + rest + end + last
    assert compact(begin + some + inner + "        endcase\n" + rest + end + last) == (
        begin + some + inner + "          default: ;\n        endcase\n" + rest + end + last
    )
