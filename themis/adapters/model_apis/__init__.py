"""Models behind APIs of their providers: OpenAI, vLLM and what speaks like them, and others."""
