"""One number out of a process's metrics."""

from router.observe.metrics import Metrics


def sample(metrics: Metrics, name: str, **labels: str) -> float:
    """The value of the sample of that full name with exactly these labels; 0 where there is none."""
    found = {
        (said, frozenset(given.items())): value for family in metrics.figures() for said, given, value in family[4]
    }
    return float(found.get((name, frozenset(labels.items())), 0.0))
