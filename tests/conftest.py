"""What all tests share: one thread per worker, the same seeds, patient but repeatable property tests."""

import random
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, settings

# The first example of a property may pay for an import; the machine may be busy. Neither is a failure.
settings.register_profile(
    "partreid", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("partreid")

torch.set_num_threads(1)


@pytest.fixture(autouse=True)
def _seeded() -> Iterator[None]:
    """Every test starts from the same random state, alone or in company, and leaves torch's settings alone."""
    random.seed(0)
    np.random.seed(0)
    torch.manual_seed(0)
    deterministic = torch.are_deterministic_algorithms_enabled()
    yield
    if torch.are_deterministic_algorithms_enabled() != deterministic:  # setting it imports the compiler: 5 s
        torch.use_deterministic_algorithms(deterministic)
