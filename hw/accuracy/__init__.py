"""How far estimates are off: against synthesis and placement that are kept, and against synthesis that is run now."""
