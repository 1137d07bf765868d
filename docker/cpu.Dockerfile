# atd serve on a CPU:
#   docker build -f docker/cpu.Dockerfile -t atd .
#   docker run --rm -p 8000:8000 -v "$PWD/bundle:/bundle:ro" atd
# Linted, not built: no machine of ours has Docker. Its pip command was run by itself, and atd serve after it.
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY adaptertune_deploy adaptertune_deploy
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir --constraint constraints.txt '.[cpu]'

FROM python:3.13-slim
COPY --from=build /venv /venv
ENV PATH="/venv/bin:$PATH" ATD_CACHE=/cache
RUN useradd --uid 10001 --create-home atd && install --directory --owner atd /cache
USER 10001
VOLUME /cache
EXPOSE 8000
HEALTHCHECK --start-period=60s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=3)"]
ENTRYPOINT ["atd"]
CMD ["serve", "--bundle", "/bundle", "--host", "0.0.0.0"]
