# atd serve on a server with an NVIDIA GPU, driver 580 or newer, and NVIDIA's container toolkit:
#   docker build -f docker/gpu.Dockerfile -t atd-gpu .
#   docker run --rm --gpus all -p 8000:8000 -v "$PWD/bundle:/bundle:ro" atd-gpu
# CUDA and cuDNN come as Python packages, so no CUDA image is needed. Linted, not built: no machine of ours has a GPU.
FROM python:3.13-slim AS build
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY adaptertune_deploy adaptertune_deploy
RUN python -m venv /venv \
 && /venv/bin/pip install --no-cache-dir '.[gpu]'

FROM python:3.13-slim
COPY --from=build /venv /venv
# NVIDIA's toolkit mounts the driver's libraries that these name.
ENV PATH="/venv/bin:$PATH" ATD_CACHE=/cache NVIDIA_VISIBLE_DEVICES=all NVIDIA_DRIVER_CAPABILITIES=compute,utility
RUN useradd --uid 10001 --create-home atd && install --directory --owner atd /cache
USER 10001
VOLUME /cache
EXPOSE 8000
HEALTHCHECK --start-period=120s CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=3)"]
ENTRYPOINT ["atd"]
CMD ["serve", "--bundle", "/bundle", "--host", "0.0.0.0", "--device", "cuda"]
