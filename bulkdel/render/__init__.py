"""What people and programs read of a run: its plan, its account and its evidence, as text in several forms.

Nothing is imported here: ``bulkdel --help`` needs the words of this package and none of SQLite.
"""
