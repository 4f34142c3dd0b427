"""The account of a call as values: what is planned, what was counted, and whether it adds up."""

from bulkdel.account.model import EXIT_STATUS, Counts, DatasetReport, Report

__all__ = ["EXIT_STATUS", "Counts", "DatasetReport", "Report"]
