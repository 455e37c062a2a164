"""The engine on a board: its serial link, pins, clock and constraints; projects for the tools of the board's maker."""
