"""Reading cases: from JSONL, CSV and Parquet files, from the Hugging Face hub, from iterators."""
