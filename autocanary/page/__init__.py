"""The web page and the report: what ``views`` say, as HTML with plots, and the acts of users.

A Starlette application over ports (``page_source``): the service, the dashboard and the demo each give it their own
source of data and their own rules of access. It starts no server.
Must never be here: a decision, an import of ``kube`` or ``controller``, or a sentence that ``views`` has.
"""

from __future__ import annotations

from autocanary.page.page_source import AccessDenied, PageAccess, PageSource, Visitor
from autocanary.page.report_file import render_report
from autocanary.page.web_page import PageOptions, WebPage

__all__ = ["AccessDenied", "PageAccess", "PageOptions", "PageSource", "Visitor", "WebPage", "render_report"]
