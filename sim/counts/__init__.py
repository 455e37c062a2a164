"""Operations and parameter memory of a network, counted."""
