# Shorthand; each line is the whole command.
.PHONY: finetune test check lock ui

finetune:
	python3 src/bootstrap.py kedro run --pipeline finetune

test:
	python3 src/bootstrap.py pytest

check:  ## What CI checks besides the tests
	python3 src/bootstrap.py ruff check
	python3 src/bootstrap.py ruff format --check
	python3 src/bootstrap.py mypy
	python3 src/bootstrap.py lint-imports
	python3 src/bootstrap.py python -m regraft.adapters.dvc_stages --check

lock:  ## After a change of dependencies in pyproject.toml
	.venv/bin/python -m uv pip compile --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--extra demo --extra notebooks --extra openvino --group dev -q pyproject.toml -o requirements.lock

ui:
	MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false .venv/bin/mlflow ui --workers 1 --backend-store-uri sqlite:///mlflow.db
