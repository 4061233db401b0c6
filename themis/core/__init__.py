"""The data types that all of Themis shares, which cannot be changed, and rules that do no I/O.

Everything else imports from here and nothing here imports from anywhere else in the package.
There is no event loop here; the only third parties are pydantic and orjson (and Jinja, loaded when
a prompt template is rendered).
"""
