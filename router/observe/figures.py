"""The metrics of one process, as it hands them to the one that joins them (`merged_metrics.py`)."""

from collections.abc import Sequence
from typing import Any

# [family, type, help, whether it is added up, [[sample, labels, value], ...]] for each family; behind the value of a bucket may be
# its exemplar: [labels, value, time or null].
Figures = Sequence[Sequence[Any]]
