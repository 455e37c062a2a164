"""The engine on a board: its serial link, pins, clock and constraints."""
