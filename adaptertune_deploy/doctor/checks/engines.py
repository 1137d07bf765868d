"""Every engine that is installed, by really running a small graph on each device that it offers here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from adaptertune_deploy.core.precision import Precision
from adaptertune_deploy.doctor import nvidia
from adaptertune_deploy.doctor.child import ask
from adaptertune_deploy.doctor.finding import NOTE, OK, PROBLEM, Finding
from adaptertune_deploy.doctor.machine import Machine
from adaptertune_deploy.engines.options import settings_of
from adaptertune_deploy.engines.table import ENGINES, EngineEntry

# What answers around 1 may differ by: of float32 products, and of products with 8 bits of mantissa.
TOLERANCE, COARSE = 1e-4, 0.1
PROVIDER, TENSORRT = "provider", "tensorrt"  # a setting of ONNX Runtime, and a value of it
INSTALL = "pip install 'adaptertune-deploy[cpu]' (with an NVIDIA GPU: [gpu] instead)"
# The project is on no index: only where it is installed does pip find its extras by its name.
AFRESH = "in a fresh environment, in a clone of the project: pip install '.[cpu]' (with an NVIDIA GPU: '.[gpu]')"
OTHER = "install another version of the engine, and tell its makers"
NO_THREADS = ("Resource temporarily unavailable", "can't start new thread", "pthread_create")
THREADS = "end other work, or raise the limit on threads and processes: ulimit -u, a container's --pids-limit"


@dataclass(frozen=True)
class Trial:
    """What one run of the small graph is asked for; see engines.options.EngineOptions."""

    engine: str
    device: str
    precision: Precision = Precision.FP32
    setting: str = ""

    @property
    def words(self) -> str:
        """What a person reads: "onnxruntime on cuda, provider=tensorrt"."""
        asked = [self.setting] if self.setting else []
        asked += [str(self.precision)] if self.precision != Precision.FP32 else []
        return ", ".join([f"{self.engine} on {self.device}", *asked])


def check(machine: Machine) -> Iterator[Finding]:
    """Run the graph on every engine, and say so where there is none."""
    installed = False
    for engine, entry in ENGINES.items():
        for trial in trials(machine, engine, entry):
            answer = ask(
                machine, "engine", trial.engine, trial.device, str(trial.precision), *filter(None, [trial.setting])
            )
            if "absent" in answer:
                break
            installed = True
            yield _finding(machine, trial, answer)
    if not installed:
        yield Finding(
            PROBLEM, "engine", "none for this machine is installed", "one, for atd predict, serve and add", INSTALL
        )


def trials(machine: Machine, engine: str, entry: EngineEntry) -> Iterator[Trial]:
    """Yield what an engine is tried with here: each device, then what it makes of an fp32 graph by itself."""
    devices = [name for name in entry.devices if name != "auto" and (name != "cuda" or nvidia.has_gpu(machine))]
    for device in devices:
        yield Trial(engine, device)
    provider = settings_of(entry.settings).get(PROVIDER)
    if "cuda" in devices and provider is not None and provider.read(TENSORRT) is not None:
        yield Trial(engine, "cuda", setting=f"{PROVIDER}={TENSORRT}")
    for device in devices[:1]:
        yield from (Trial(engine, device, precision) for precision in sorted(entry.derives))


def _finding(machine: Machine, trial: Trial, answer: dict[str, Any]) -> Finding:
    if "died" in answer:
        return Finding(
            PROBLEM,
            trial.words,
            f"a small graph {answer['died']}",
            "an answer",
            _fix(answer["died"], AFRESH),
        )
    if "refused" in answer:
        found, _, fix = answer["refused"].partition("; ")
        return Finding(
            _refused(machine, trial), trial.words, found, "a small graph that runs", fix or _fix(found, OTHER)
        )
    wrong = answer["error"]
    by = f"{answer['version']}, {answer['provider']} on {answer['device']}"
    if not wrong <= (TOLERANCE if trial.precision == Precision.FP32 else COARSE):
        return Finding(
            PROBLEM,
            trial.words,
            f"{by}: a small graph's answers are wrong by {wrong:.1e}",
            f"at most {TOLERANCE:.0e}",
            OTHER,
        )
    return Finding(OK, trial.words, f"{by}: a small graph ran, right to {wrong:.0e}")


def _fix(found: str, otherwise: str) -> str:
    """Return what to do about words of a library or of Python that say nothing of it."""
    return THREADS if any(words in found for words in NO_THREADS) else otherwise


def _refused(machine: Machine, trial: Trial) -> str:
    """Return how bad a refusal is: what nobody installed the means for is worth a note only."""
    optional = trial.precision != Precision.FP32 or trial.setting
    without = (
        trial.device == "cuda" and trial.engine == "onnxruntime" and "onnxruntime-gpu" not in machine.distributions
    )
    return NOTE if optional or without else PROBLEM
