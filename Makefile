# make quickstart   the whole path on small data, in quickstart/; needs Python 3.11 or newer and pip, and about 6 GB
# make test         the whole test suite
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Progress where somebody looks, silence in a log.
QUIET := $(shell [ -t 2 ] || echo --quiet --quiet)
INSTALL := -m pip install $(QUIET) --disable-pip-version-check --constraint constraints.txt
PIP := $(BIN)/python $(INSTALL)
# Which tests share a worker stands in tests/conftest.py.
# A worker that dies ends the run: replaced, its group of tests may wait for it forever.
WORKERS := --numprocesses=2 --max-worker-restart=0
USUAL := "not slow and not gpu and not tensorrt"
SIZE := about 6 GB on Linux (torch's CUDA build) unless torch's CPU build is already there, see README.md

.PHONY: gpu triton-server perf-analyzer proto quickstart screenshots test test-all test-gpu test-device test-device-3.10 lint types types-all types-device format bench-accuracy bench-methods bench-train bench-families bench-planted-rank bench-auto-rank bench-nested-widths bench-infer bench-serve bench-sizing bench-precision bench-precision-answers bench-precision-timing bench-export tensorrt-bindings fuzz soak noisy reliability clean

quickstart: $(VENV)/.installed
	$(BIN)/atd quickstart

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest $(WORKERS) -m $(USUAL) --durations=15 --cov --cov-report=term --cov-fail-under=90

test-all: $(VENV)/.installed-dev
	$(BIN)/python -m pytest

# On a machine with an NVIDIA GPU: the CUDA build of ONNX Runtime in place of the CPU's, then every test that needs a GPU.
test-gpu: $(VENV)/.installed-dev
	$(BIN)/python -m pip uninstall --quiet --yes onnxruntime
	$(PIP) 'onnxruntime-gpu[cuda,cudnn]' 'tensorrt-cu13>=10.13.3,<11'
	$(BIN)/python -m pytest -m gpu

# Tests, inference and training on a machine with an NVIDIA GPU, in the Python that is there, without a network and in under
# ten minutes. WHEELS=FOLDER brings packages that this Python lacks.
gpu:
	PYTHON=$(PYTHON) bash benchmarks/gpu/measure.sh $(WHEELS)

# The pictures of the page at / in docs/pictures, of what make quickstart left; needs Chromium on PATH.
screenshots: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.screenshots

# 100,000 mutated requests against a server; the tests send 400 of them.
fuzz: $(VENV)/.installed-dev
	$(BIN)/python -m tests.serve.http.fuzz 100000

# Ten minutes at twice the capacity with good and bad traffic, then a noisy task beside another; about fourteen minutes in
# all, on a quiet machine of two cores or more. Writes docs/results/soak.md.
soak: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.robustness.soak
	$(BIN)/python -m benchmarks.robustness.soak_page

# The noisy task beside another one alone, beside what make soak measured on this machine; three minutes.
noisy: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.robustness.soak --noisy
	$(BIN)/python -m benchmarks.robustness.soak_page

# The tables of docs/reliability.md, made out of what the tests say that they try.
reliability:
	$(PYTHON) -m tests.cases

# What a device has: the base package and ONNX Runtime; no torch, timm or onnx.
test-device: $(VENV)-device/.installed
	$(VENV)-device/bin/python -m pytest -p no:cacheprovider tests/core tests/engines tests/serve tests/bench tests/doctor tests/inspection tests/device

# The same on the oldest Python that devices have, with the newest packages that there are for it.
test-device-3.10: $(VENV)-device-3.10/.installed
	$(VENV)-device-3.10/bin/python -m pytest -p no:cacheprovider tests/core tests/engines tests/serve tests/bench tests/doctor tests/inspection tests/device

# The messages of gRPC, after a change of the files that declare them.
proto: $(VENV)/.installed-dev
	cd adaptertune_deploy/serve/grpc && $(abspath $(BIN))/python -m grpc_tools.protoc -I proto --descriptor_set_out=messages.binpb \
		inference.proto health.proto

# NVIDIA's tritonserver, and what its Python backend runs: an environment of its own, since that backend needs numpy 1.
triton-server: $(VENV)-triton/.installed

# NVIDIA's perf_analyzer, out of the last of its Python packages that brings the program, with the two libraries that it
# needs: 15 MB. apt-get fetches one of them and installs nothing.
perf-analyzer: $(VENV)-perf/.installed

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/hadolint docker/*.Dockerfile

types: types-all types-device

types-all: $(VENV)/.installed-dev
	$(BIN)/mypy

# What runs on a device runs on Python 3.10 too.
types-device: $(VENV)/.installed-dev
	$(BIN)/mypy --python-version 3.10 adaptertune_deploy/core adaptertune_deploy/engines adaptertune_deploy/serve adaptertune_deploy/bench adaptertune_deploy/doctor adaptertune_deploy/inspection adaptertune_deploy/cli

format: $(VENV)/.installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# ATD_BENCH_DATA: pets/, pets-3breeds/, flowers/, cifar10/, tiny-imagenet/ and weights/, see
# benchmarks/training/accuracy.py; hours on two cores.
bench-accuracy: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.training.accuracy --data $(ATD_BENCH_DATA) --weights $(ATD_BENCH_DATA)/weights/deit_tiny_patch16_224.fp16.safetensors

# The same data: full fine-tuning of all datasets and a searched rank on those that bench-auto-rank leaves out; hours too.
bench-methods: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.ranks.methods --data $(ATD_BENCH_DATA) --weights $(ATD_BENCH_DATA)/weights/deit_tiny_patch16_224.fp16.safetensors

# What --rank auto finds on four of them and what it costs; hours on two cores. Goes on where it stopped.
bench-auto-rank: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.ranks.auto --data $(ATD_BENCH_DATA) --weights $(ATD_BENCH_DATA)/weights/deit_tiny_patch16_224.fp16.safetensors

# ATD_BENCH_WEIGHTS=FILE gives DeiT-Tiny its real weights; about an hour on two cores, and goes on where it stopped.
bench-families: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.families.parity $(if $(ATD_BENCH_WEIGHTS),--weights $(ATD_BENCH_WEIGHTS))

# Whether --rank auto finds a rank that was planted, what the seed does to that, and cheaper searches; half an hour on
# one core.
bench-planted-rank: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.ranks.planted
	$(BIN)/python -m benchmarks.ranks.planted_seeds
	$(BIN)/python -m benchmarks.ranks.cheaper
	$(BIN)/python -m benchmarks.ranks.planted_page

# Ways to train nested adapters on the same problem; two minutes on one core.
bench-nested-widths: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.ranks.nested_widths
	$(BIN)/python -m benchmarks.ranks.planted_page

# ATD_BENCH_DATA as above: flowers/, cifar10/ and weights/. On a quiet machine; about an hour on two cores. Writes
# docs/results/training-speed.md too. BENCH_TRAIN=--only=steps leaves the whole commands out: ten minutes. Then two
# trainings at once.
bench-train: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.training.speed --data $(ATD_BENCH_DATA) --weights $(ATD_BENCH_DATA)/weights/deit_tiny_patch16_224.fp16.safetensors $(BENCH_TRAIN)
	$(BIN)/python -m benchmarks.training.waiting --data $(ATD_BENCH_DATA) --weights $(ATD_BENCH_DATA)/weights/deit_tiny_patch16_224.fp16.safetensors

# On a quiet machine; about half an hour on two cores. Writes docs/results/inference.md too.
bench-infer: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.inference.cpu
	$(BIN)/python -m benchmarks.inference.bank
	$(BIN)/python -m benchmarks.inference.page

# A server over HTTP against its own engine, at half load and beside NVIDIA's tritonserver, and swaps in traffic; about
# twelve minutes on a quiet machine of two cores. Writes docs/results/serving.md and its picture.
bench-serve: $(VENV)/.installed-dev $(VENV)-triton/.installed
	$(BIN)/python -m benchmarks.serving.swaps --swaps 300
	$(BIN)/python -m benchmarks.serving.measure
	$(BIN)/python -m benchmarks.serving.page

# What an image costs at half load, and how many a second that says, of one process and of two replicas on Ray; twelve minutes on
# a quiet machine.
bench-sizing: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.serving.sizing

# ATD_BENCH_DATA: flowers/ and weights/ as above. Trains and exports once into ATD_BENCH_WORK, then asks; about an hour on two
# cores, and goes on where it stopped. The timing part wants a quiet machine; about half an hour.
bench-precision: bench-precision-answers bench-precision-timing

bench-precision-answers bench-precision-timing: bench-precision-%: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.precision.measure --data $(ATD_BENCH_DATA) --weights $(ATD_BENCH_DATA)/weights/deit_tiny_patch16_224.fp16.safetensors --work $(or $(ATD_BENCH_WORK),precision-run) --only $*

# Time and memory of an export, time of atd add; adds them to the page.
bench-export: $(VENV)/.installed-dev
	$(BIN)/python -m benchmarks.inference.export_cost
	$(BIN)/python -m benchmarks.inference.page

# NVIDIA's Python bindings of three TensorRT versions, 4 MB, without the libraries that they bind: the engine's names are
# compared with theirs. A version without a wheel for this Python is left out, and its tests say so.
tensorrt-bindings: $(VENV)-tensorrt/.installed

clean:
	rm -rf $(VENV) $(VENV)-device $(VENV)-triton $(VENV)-tensorrt $(VENV)-perf

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing torch, timm, onnx and onnxruntime into $(VENV): $(SIZE)" >&2
	$(PIP) --editable '.[cpu,train,export]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing the package with all that its tests use into $(VENV): $(SIZE)" >&2
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/.installed

$(VENV)-device/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)-device
	$(VENV)-device/bin/python $(INSTALL) --editable '.[cpu,grpc]' pytest httpx hypothesis 'tritonclient[http]'
	touch $@

$(VENV)-device-3.10/.installed: pyproject.toml
	python3.10 -m venv $(VENV)-device-3.10
	$(VENV)-device-3.10/bin/python -m pip install $(QUIET) --disable-pip-version-check --editable '.[cpu,grpc]' pytest httpx hypothesis 'tritonclient[http]'
	touch $@

$(VENV)-triton/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)-triton
	$(VENV)-triton/bin/python -m pip install $(QUIET) --disable-pip-version-check nvidia-pytriton==0.7.0 --editable '.[cpu]'
	touch $@

$(VENV)-perf/.installed: | $(BIN)/python
	mkdir -p $(@D)/lib
	$(BIN)/python -m pip download $(QUIET) --no-deps --only-binary=:all: --platform manylinux1_x86_64 --platform manylinux2014_x86_64 \
		--dest $(@D)/packages tritonclient==2.50.0 nvidia-cuda-runtime-cu12==12.6.77
	cd $(@D)/packages && apt-get download libb64-0d && dpkg-deb --extract libb64-0d_*.deb .
	cd $(@D)/packages && for wheel in *.whl; do python3 -m zipfile --extract $$wheel .; done
	cp $(@D)/packages/nvidia/cuda_runtime/lib/libcudart.so.12 $(@D)/packages/usr/lib/*/libb64.so.0d $(@D)/lib/
	install -m 755 $(@D)/packages/tritonclient-2.50.0.data/data/bin/perf_analyzer $(@D)/perf_analyzer
	rm -r $(@D)/packages
	touch $@

BINDINGS := 10.3=tensorrt-cu12-bindings==10.3.0 10.13.3=tensorrt-cu13-bindings==10.13.3.9 11.4=tensorrt-cu13-bindings==11.4.0.106

$(VENV)-tensorrt/.installed: | $(BIN)/python
	mkdir -p $(@D)
	for pair in $(BINDINGS); do \
		$(BIN)/python $(INSTALL) --no-deps --target $(@D)/$${pair%%=*} "$${pair#*=}" || rm -rf $(@D)/$${pair%%=*}; done
	touch $@
