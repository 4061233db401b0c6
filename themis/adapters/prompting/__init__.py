"""The content of a request, made from a case and its prompt material."""
