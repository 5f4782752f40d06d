"""Profile <-> YAML, layers of files, freshness and fit, the compiled copy that apply() reads."""
