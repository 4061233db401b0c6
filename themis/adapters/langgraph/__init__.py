"""Compiled graphs of LangGraph as generators."""
