"""What makes a text of this project hard to read, as patterns (docs/writing.md says why)."""

import re

# A text that is shown alone has no word that points to its neighbours.
POINTS_ELSEWHERE = re.compile(
    r"\b(it|they|them|those|these|else|so many|ours?|there(?! (is|are)))\b", re.IGNORECASE
)
# "who listens", "what is synced": a relative without a noun in front of it.
HEADLESS = re.compile(
    r"\b(who|whom|what|how)(ever)?\b|(^|[:;] )(where|when|which|whether|those|else)\b",
    re.IGNORECASE,
)
# What a native reader reads twice, and what is said instead.
UNIDIOMATIC = {
    "is there already": "already exists",
    "at the most": "at most",
    "at the latest": "at most, within",
    "for ever": "forever",
    "so many": "this many, a number",
    "by itself": "separately, without being asked",
    "said to be": "called",
}
