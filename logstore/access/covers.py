"""Tables that say which operations a rule's operation includes."""

from typing import Final

from logstore.access.resources import ALL, IMPLIED, OPERATIONS

# What a rule that denies has to say, and one that allows. Kafka: who may read may also see.
DENIED_BY: Final = {it: (it, ALL) for it in OPERATIONS}
COVERED_BY: Final = {it: (it, ALL, *IMPLIED.get(it, ())) for it in OPERATIONS}
