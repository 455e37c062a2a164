"""All proofs and planted faults, by name."""

import arithmetic_proofs
import bias_proofs
import dot_proofs
import edge_proofs
import fetch_proofs
import loader_proofs
import merge_proofs
import place_proofs
import queue_proofs
import ring_proofs
import root_proofs
import score_proofs
import score_top_proofs
import search_proofs
import sequence_proofs
import stream_proofs
import walk_proofs
from proving import Fault, Proof

FAMILIES = (
    dot_proofs,
    arithmetic_proofs,
    root_proofs,
    search_proofs,
    edge_proofs,
    queue_proofs,
    score_proofs,
    score_top_proofs,
    ring_proofs,
    loader_proofs,
    stream_proofs,
    walk_proofs,
    sequence_proofs,
    place_proofs,
    bias_proofs,
    merge_proofs,
    fetch_proofs,
)
PROOFS: dict[str, Proof] = {name: proof for family in FAMILIES for name, proof in family.PROOFS.items()}
FAULTS: dict[str, Fault] = {name: fault for family in FAMILIES for name, fault in family.FAULTS.items()}
