"""Words of memories that several rooms know: tables of Exp, and what comes beside a logit."""

from __future__ import annotations

from ..network.formats import EXP_BITS
from .words import WORD

#: Words of a head's table: Tau, then Exp[1] to Exp[64].
TABLE_WORDS = WORD + 1
#: Word 0 of a table holds Tau, up to 2^16.
TABLE_BITS = EXP_BITS + 1
#: Width of TUSER beside a logit, the number of the image modulo 2^16.
TAG_BITS = 16
