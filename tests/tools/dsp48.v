// What hw/synthesis/multiplier_blocks.py uses of AMD's DSP48E1 (user guide UG479) and DSP48E2 (UG579), and no more.
//
// CELL stands for its name, WIDE for the width of the wider operand at the multiplier, MODES for that of OPMODE.
//
// A parameter that is not here is an error of the tool. One that is here with a value beyond the subset asks for a
// module that there is not. A pin beyond the subset turns all bits of the sum around: whoever compares will see it.
// Pins that the subset does not look at do nothing in a block of these parameters and modes.

module `CELL #(
  parameter ACASCREG = 1, AREG = 1, BCASCREG = 1, BREG = 1, MREG = 1, OPMODEREG = 1, PREG = 1,
  parameter ADREG = 1, ALUMODEREG = 1, CARRYINREG = 1, CARRYINSELREG = 1, CREG = 1, DREG = 1, INMODEREG = 1,
  parameter USE_MULT = "MULTIPLY"
) (
  input CLK,
  input [29:0] A, ACIN,
  input [17:0] B, BCIN,
  input [47:0] C, PCIN,
  input [`WIDE-1:0] D,
  input [`MODES-1:0] OPMODE,
  input [3:0] ALUMODE,
  input [4:0] INMODE,
  input [2:0] CARRYINSEL,
  input CARRYIN, CARRYCASCIN, MULTSIGNIN,
  input CEA1, CEA2, CEB1, CEB2, CEC, CED, CEAD, CEM, CEP, CECTRL, CEALUMODE, CECARRYIN, CEINMODE,
  input RSTA, RSTB, RSTC, RSTD, RSTM, RSTP, RSTCTRL, RSTALUMODE, RSTALLCARRYIN, RSTINMODE,
  output [47:0] P, PCOUT
);
  generate
    // One register or none of an operand, and its cascade taken behind the same ones.
    if (AREG > 1 || ACASCREG != AREG || BREG > 1 || BCASCREG != BREG) operand_registers_beyond_the_subset beyond();
    // What is not used is not registered, so that its pin means what it says.
    if (ALUMODEREG || CARRYINREG || CARRYINSELREG || CREG || INMODEREG) control_registers_beyond_the_subset beyond();
    if (ADREG || DREG) pre_adder_registers_beyond_the_subset beyond();
    if (USE_MULT != "MULTIPLY") use_of_the_multiplier_beyond_the_subset beyond();
  endgenerate

  // Registers: a reset before an enable, and all 0 from the configuration on.
  reg [29:0] a_held = 0;
  reg [17:0] b_held = 0;
  reg [`WIDE+17:0] m_held = 0;
  reg [`MODES-1:0] mode_held = 0;
  reg [47:0] p_held = 0;
  wire [29:0] a = AREG ? a_held : A;
  wire [17:0] b = BREG ? b_held : B;
  wire [`MODES-1:0] mode = OPMODEREG ? mode_held : OPMODE;

  // The multiplier takes the lower bits of A, signed, where the pre-adder is off.
  wire signed [`WIDE+17:0] product = $signed(a[`WIDE-1:0]) * $signed(b);
  wire signed [`WIDE+17:0] m = MREG ? m_held : product;

  // X and Y hold a half of the product each, which are only of use together.
  wire [47:0] xy = mode[3:0] == 4'b0101 ? {{48 - `WIDE - 18{m[`WIDE+17]}}, m} : 48'b0;
  wire [47:0] z = mode[6:4] == 3'b001 ? PCIN : mode[6:4] == 3'b010 ? p_held : mode[6:4] == 3'b011 ? C : 48'b0;
  // The sum, or Z less what the others are.
  wire [47:0] sum = ALUMODE == 4'b0011 ? z - xy : z + xy;

  wire known_mode = (mode[3:0] == 4'b0101 || mode[3:0] == 4'b0000) && !mode[6] && !(mode >> 7);
  wire known_sum = ALUMODE == 4'b0000 || ALUMODE == 4'b0011;
  wire beyond = !known_mode || !known_sum || INMODE || CARRYINSEL || CARRYIN;
  wire [47:0] p_next = beyond ? ~sum : sum;
  // A register that is left out cannot feed its own sum back.
  assign P = PREG ? p_held : mode[6:4] == 3'b010 ? ~p_next : p_next;
  assign PCOUT = P;

  always @(posedge CLK) begin
    if (RSTA) a_held <= 0; else if (CEA2) a_held <= A;
    if (RSTB) b_held <= 0; else if (CEB2) b_held <= B;
    if (RSTM) m_held <= 0; else if (CEM) m_held <= product;
    if (RSTCTRL) mode_held <= 0; else if (CECTRL) mode_held <= OPMODE;
    if (RSTP) p_held <= 0; else if (CEP) p_held <= p_next;
  end
endmodule
