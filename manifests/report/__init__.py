"""The report: one HTML page that shows what is in a dataset."""

from manifests.report.dataset_page import write_report

__all__ = ["write_report"]
