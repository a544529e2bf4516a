"""A study folder becomes a report: terminal, Markdown, CSV, LaTeX, and one self-contained page. Nothing is trained."""
