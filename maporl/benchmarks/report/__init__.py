"""The report: one HTML file that opens from disk, with the figures of a study and the discussions behind them."""

from maporl.benchmarks.report.data import Payload, collect
from maporl.benchmarks.report.html import page, write_report

__all__ = ["Payload", "collect", "page", "write_report"]
