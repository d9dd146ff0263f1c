"""Makes docs/study.md and the evidence of methods from docs/results/study: `make study-page`."""
