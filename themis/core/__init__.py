"""The words of Themis: frozen types and pure rules.

Everything else imports from here and nothing here imports from anywhere else in the package.
No I/O, no event loop; the only third parties are pydantic and orjson (and Jinja, loaded when a
prompt template is rendered).
"""
