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
"""


def test_equal_modules_are_merged_up_to_the_top():
    text = compact(TEXT)
    assert module_names(text) == ["\\top.a", "\\top.c", "\\top.two", "top"]
    assert "  \\top.two  first (" in text
    assert "  \\top.two  second (" in text
    assert "  \\top.c  third (" in text


def test_zeroes_are_a_loop_and_other_contents_stay():
    text = compact(TEXT)
    k = "store_word"
    assert f"  initial for ({k} = 0; {k} < 3; {k} = {k} + 1) store[{k}] = 0;\n" in text
    assert "    other[1] = 8'h01;\n" in text
