"""One side, in a process of its own: ``python sides.py SIDE COUNT SECONDS SLOTS`` prints how many seconds its search took.

Each evaluates COUNT candidates on one split with SLOTS at a time; a candidate sleeps. The clock starts when the libraries are
imported, and before any process is started. A side's imports are its own, because no environment has them all.
Optuna has its study in the Postgres that OPTUNA_URL names, with a process for each slot; Ray has as many CPUs as there are slots.
"""

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).parents[2]))  # Ray's environment has not our package

_SAMPLES: Final = 4


def _arguments(seconds: float, count: int) -> tuple[Any, dict[str, list[int]], Any]:
    import numpy as np  # noqa: PLC0415

    from benchmarks.scale.sleeper import Sleeper  # noqa: PLC0415

    split = [(np.array([0, 1]), np.array([2, 3]))]
    return Sleeper(seconds), {"number": list(range(count))}, split


def ours(count: int, seconds: float, slots: int) -> float:
    """``tuningjob.GridSearchCV``, told that there are as many CPUs as slots: it takes no more processes, and these only sleep."""
    os.sched_getaffinity = lambda _: set(range(slots))
    from tuningjob import GridSearchCV  # noqa: PLC0415

    return _grid(GridSearchCV, count, seconds, slots)


def stock(count: int, seconds: float, slots: int) -> float:
    """scikit-learn's own, by joblib's processes."""
    from sklearn.model_selection import GridSearchCV  # noqa: PLC0415

    return _grid(GridSearchCV, count, seconds, slots)


def _grid(kind: Any, count: int, seconds: float, slots: int) -> float:  # noqa: ANN401  a class of either
    sleeper, grid, split = _arguments(seconds, count)
    search = kind(sleeper, grid, cv=split, n_jobs=slots, refit=False)
    began = time.perf_counter()
    search.fit([[0.0]] * _SAMPLES, [0, 1, 0, 1])
    took = time.perf_counter() - began
    if len(search.cv_results_["params"]) != count:
        raise AssertionError("not every candidate was evaluated")
    return took


def optuna(count: int, seconds: float, slots: int) -> float:
    """Optuna's random sampler over the same axis: its grid sampler reads all trials before each."""
    import optuna as library  # noqa: PLC0415

    library.logging.set_verbosity(library.logging.ERROR)
    url = os.environ["OPTUNA_URL"]
    name = library.create_study(storage=url, direction="maximize").study_name
    context = multiprocessing.get_context("spawn")
    began = time.perf_counter()
    shares = [count // slots + (slot < count % slots) for slot in range(slots)]
    workers = [context.Process(target=_optimize, args=(url, name, share, seconds, count)) for share in shares]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    took = time.perf_counter() - began
    done = [trial for trial in library.load_study(study_name=name, storage=url).trials if trial.value is not None]
    if len(done) != count:
        raise AssertionError(f"{len(done)} of {count} trials")
    return took


def _optimize(url: str, name: str, trials: int, seconds: float, count: int) -> None:
    import optuna as library  # noqa: PLC0415

    library.logging.set_verbosity(library.logging.ERROR)

    def objective(trial: Any) -> float:  # noqa: ANN401  its own type is not typed
        number = trial.suggest_int("number", 0, count - 1)
        time.sleep(seconds)
        return float(number % 97)

    sampler = library.samplers.RandomSampler()
    library.load_study(study_name=name, storage=url, sampler=sampler).optimize(objective, n_trials=trials)


def ray(count: int, seconds: float, slots: int) -> float:
    """Ray Tune, a trial for each candidate."""
    import ray as library  # noqa: PLC0415
    from ray import tune  # noqa: PLC0415

    library.init(num_cpus=slots, include_dashboard=False, log_to_driver=False, logging_level="error")

    def trial(config: dict[str, int]) -> dict[str, float]:
        time.sleep(seconds)
        return {"score": float(config["number"] % 97)}

    began = time.perf_counter()
    run = tune.RunConfig(verbose=0)
    # a process for each trial, which is the default, would pay Ray's imports 10,000 times
    tuned = tune.TuneConfig(reuse_actors=True)
    space = {"number": tune.grid_search(list(range(count)))}
    tuner = tune.Tuner(trial, param_space=space, tune_config=tuned, run_config=run)
    results = tuner.fit()
    took = time.perf_counter() - began
    if len(results) != count or results.errors:
        raise AssertionError(f"{len(results)} of {count} trials, {len(results.errors)} errors")
    library.shutdown()
    return took


SIDES: Final[dict[str, Callable[[int, float, int], float]]] = {
    "ours": ours,
    "scikit-learn": stock,
    "optuna": optuna,
    "ray": ray,
}


def main() -> None:
    """Run the side that is named."""
    side, count, seconds, slots = sys.argv[1:]
    took = SIDES[side](int(count), float(seconds), int(slots))
    sys.stdout.write(json.dumps({"seconds": took}) + "\n")


if __name__ == "__main__":
    main()
