"""Slots: the table that says in which order the array works, and the credits that say when."""
