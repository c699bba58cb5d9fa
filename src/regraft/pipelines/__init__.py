"""One folder a step; `find_pipelines` finds them all."""
