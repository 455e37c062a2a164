"""The cycle model: a slot table replayed, and when everything happens that slots, units and edge do."""
