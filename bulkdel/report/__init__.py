"""What people and programs read afterwards."""

from bulkdel.report.model import EXIT_STATUS, Counts, DatasetReport, Report

__all__ = ["EXIT_STATUS", "Counts", "DatasetReport", "Report"]
