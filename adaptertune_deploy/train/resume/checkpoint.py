"""Where a training that was stopped goes on: the folder .<task>.checkpoint/ beside the adapter that it will become.

A run consists of several trainings, one a fold and one on all images, each once a seed. Each has a file of its own,
rewritten as it goes on; one that is finished is a file whose step is the last. What a run computes besides (features,
probe, answers) takes little and is computed again, so that a run which goes on ends in the very weights of one that was
never stopped. The files are safetensors and JSON; nothing in them is run.
"""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from adaptertune_deploy.core.errors import FormatError, UsageError
from adaptertune_deploy.core.storage import records
from adaptertune_deploy.train.resume.state_file import State, read_state, write_state
from adaptertune_deploy.train.resume.stopped import RUN_NAME
from adaptertune_deploy.train.resume.stopwatch import Stopwatch

FORMAT_VERSION = 1
# What decides a run and is not known of one that an older version kept, which is gone on with all the same.
LABELS_OF_IMAGES = "labels of the images"
LATER_FACTS = (LABELS_OF_IMAGES,)
WAY_OUT = "without --resume it starts again"


@dataclass(frozen=True)
class RunRecord:
    """What decides the weights that a run ends in.

    decided: name of an option or a fact -> its value as text.
    spent: seconds that the run and its parts took until they were kept; see train.resume.stopwatch.
    """

    format_version: int
    decided: dict[str, str]
    spent: dict[str, float] = field(default_factory=dict, metadata=records.NOTED)


def kept_setting(folder: Path, name: str) -> str | None:
    """Return what a stopped training was decided by; see RunRecord.

    Args:
        folder: of its checkpoints.
        name: of an option or a fact.

    Returns:
        Its value as text; None where that training knows none of this name.

    Raises:
        FormatError: nothing lies there, or it can't be read.
    """
    return _record(folder).decided.get(name)


def _record(folder: Path) -> RunRecord:
    try:
        return records.read(folder / RUN_NAME, RunRecord, FORMAT_VERSION)
    except FormatError as error:
        raise FormatError(f"{error}; {WAY_OUT}") from None


class Checkpoints:
    """A run's trainings on disk."""

    def __init__(
        self,
        folder: Path,
        decided: Mapping[str, str],
        every: float,
        clock: Callable[[], float] = time.monotonic,
        watch: Stopwatch | None = None,
    ) -> None:
        """Keep a run's trainings in `folder`, at most one file every `every` seconds.

        Args:
            folder: see train.resume.stopped; nothing is written yet.
            decided: see RunRecord.
            every: seconds; 0 keeps nothing.
            clock: tells seconds.
            watch: of the run, whose seconds are kept with every training; None counts none.
        """
        self.folder = folder
        self._watch = watch or Stopwatch()
        self._decide(decided)
        self._every, self._clock = every, clock
        self._last = clock()
        self._mine = False

    def _decide(self, decided: Mapping[str, str]) -> None:
        self._record = RunRecord(FORMAT_VERSION, dict(decided))
        self._digest = records.digest(self._record)

    def resume(self) -> None:
        """Go on with what lies in the folder.

        Raises:
            UsageError: another run lies there; the message names the first difference.
            FormatError: nothing does, or it can't be read.
        """
        kept_run = _record(self.folder)
        found = kept_run.decided
        unknown = [name for name in LATER_FACTS if name not in found]
        asked_for = {name: value for name, value in self._record.decided.items() if name not in unknown}
        for name in (*asked_for, *found):
            asked, kept = asked_for.get(name), found.get(name)
            if asked != kept:
                raise UsageError(
                    f"--resume: the stopped training in {self.folder} had {name} {kept}, this one has {asked}; give "
                    "the same command, or start again without --resume"
                )
        self._decide(asked_for)
        self._watch.add(kept_run.spent)
        self._mine = True

    @property
    def kept(self) -> bool:
        """Whether a training of this run lies in the folder."""
        return self._mine

    @property
    def due(self) -> bool:
        """Whether it is time to keep a training."""
        return self._every > 0 and self._clock() - self._last >= self._every

    @property
    def stoppable(self) -> bool:
        """Whether a run that is stopped now should keep its training.

        Not one that began anew a moment ago, for it would cost the one that was stopped before.
        """
        return self._every > 0 and (self._mine or not self.folder.exists())

    def load(self, training: str) -> State | None:
        """Return where a training of this run was, or None where it did not begin.

        Raises:
            FormatError: the file is damaged, or of another run.
        """
        path = self._path(training)
        if not self._mine or not path.is_file():
            return None
        try:
            run, state = read_state(path)
        except FormatError as error:
            raise FormatError(f"{error}; remove this file, and --resume repeats its training; {WAY_OUT}") from None
        if run != self._digest:
            raise FormatError(f"{path}: is of another run; {WAY_OUT}")
        return state

    def save(self, training: str, state: State) -> None:
        """Keep a training, unless nothing is to be kept; the file before it stands until the new one is complete.

        Raises:
            OSError: no room.
        """
        if self._every == 0:
            return
        self._take_over()
        write_state(self._path(training), self._digest, state)
        self._write_run()
        self._last = self._clock()

    def remove(self) -> None:
        """Remove the folder: the run is finished."""
        if self._mine:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _take_over(self) -> None:
        """Make the folder this run's, once."""
        if self._mine:
            return
        shutil.rmtree(self.folder, ignore_errors=True)
        self.folder.mkdir(parents=True)
        self._write_run()
        self._mine = True

    def _write_run(self) -> None:
        records.write(self.folder / RUN_NAME, replace(self._record, spent=self._watch.spent()))

    def _path(self, training: str) -> Path:
        return self.folder / f"{training.replace(' ', '-').replace(',', '')}.safetensors"


@dataclass(frozen=True)
class Keeper:
    """One training's place among a run's checkpoints.

    training: its name, "seed 0, fold 1 of 2".
    """

    checkpoints: Checkpoints
    training: str

    @property
    def due(self) -> bool:
        """See Checkpoints.due."""
        return self.checkpoints.due

    @property
    def stoppable(self) -> bool:
        """See Checkpoints.stoppable."""
        return self.checkpoints.stoppable

    def load(self) -> State | None:
        """See Checkpoints.load."""
        return self.checkpoints.load(self.training)

    def save(self, state: State) -> None:
        """See Checkpoints.save."""
        self.checkpoints.save(self.training, state)
