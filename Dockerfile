# One image for every Dealwright process; docker-compose.yml says which command each runs.
FROM python:3.12-slim

RUN useradd --create-home dealwright
WORKDIR /app
COPY requirements.lock pyproject.toml README.md ./
RUN pip install --no-cache-dir --require-hashes -r requirements.lock
COPY . .
RUN pip install --no-cache-dir --no-deps --editable . && chown -R dealwright /app
USER dealwright
EXPOSE 8080
HEALTHCHECK CMD ["python", "-c", "import httpx; httpx.get('http://127.0.0.1:8080/healthz').raise_for_status()"]
CMD ["uvicorn", "--factory", "app.asgi:application", "--host", "0.0.0.0", "--port", "8080", "--no-access-log"]
