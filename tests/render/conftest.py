"""The tests that need a browser are there where one is."""

from tests.render.browser import CHROMIUM

collect_ignore = [] if CHROMIUM else ["test_html_in_a_browser.py"]
