"""Reports of a study: terminal, Markdown, CSV, LaTeX, and one self-contained HTML page. Nothing is trained."""
