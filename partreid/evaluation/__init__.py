"""What ``partreid eval`` does: runs to scores, tables and pages."""

from partreid.evaluation.outcome import Evaluation, Options
from partreid.evaluation.runs import evaluate_runs

__all__ = ["Evaluation", "Options", "evaluate_runs"]
