# atd serve on a Jetson with JetPack 6.1 or 6.2 (L4T 36.4), whose TensorRT 10.3 and Python 3.10 the image brings:
#   docker build -f docker/jetson.Dockerfile -t atd-jetson .
#   docker run --rm --runtime nvidia -p 8000:8000 -v "$PWD/bundle:/bundle:ro" -v atd-cache:/cache atd-jetson
# The volume keeps the engines that TensorRT builds on this very device. Linted, not built: no machine of ours is a Jetson.
ARG BASE=nvcr.io/nvidia/l4t-jetpack:r36.4.0
FROM ${BASE}
# hadolint ignore=DL3008
RUN apt-get update \
 && apt-get install --yes --no-install-recommends python3-libnvinfer python3-venv \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY pyproject.toml README.md LICENSE ./
COPY adaptertune_deploy adaptertune_deploy
# The system's packages hold TensorRT's bindings, which no index has for this Python and processor.
RUN python3 -m venv --system-site-packages /venv \
 && /venv/bin/pip install --no-cache-dir '.[cpu]' 'cuda-bindings>=12.8,<13'
ENV PATH="/venv/bin:$PATH" ATD_CACHE=/cache
RUN useradd --uid 10001 --create-home --groups video atd && install --directory --owner atd /cache
USER 10001
VOLUME /cache
EXPOSE 8000
HEALTHCHECK --start-period=600s CMD ["python3", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8000/v2/health/ready', timeout=3)"]
ENTRYPOINT ["atd"]
CMD ["serve", "--bundle", "/bundle", "--host", "0.0.0.0", "--engine", "tensorrt"]
